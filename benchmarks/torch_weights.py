"""PyTorch's older files of weights, without PyTorch and without running what a pickle may hold.

Such a file is a few pickles one after another (a magic number, a version, sizes of types, the
dictionary of tensors, the keys of their storages) and then each storage: its length as an int64,
and its elements.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dictionary by name.

    Raises
    ------
    pickle.UnpicklingError
        The file is none of these, or holds anything else.
    """
    with path.open("rb") as file:
        magic, _, _ = (_Tensors(file).load() for _ in range(3))
        if magic != _MAGIC:
            raise pickle.UnpicklingError(f"{path} is no older file of PyTorch's")
        tensors = _Tensors(file)
        named = tensors.load()
        for key in _Tensors(file).load():
            storage = tensors.storages[key]
            (count,) = np.frombuffer(file.read(8), "<i8")
            if count != storage.size:
                raise pickle.UnpicklingError(f"{path} has a storage of another length than it says")
            storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    return dict(named)


class _Tensors(pickle.Unpickler):
    """Knows dictionaries and tensors, and nothing else; tensors are views of ``storages``."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no tensor")

    def persistent_load(self, identity: Any) -> np.ndarray:
        _, dtype, key, _, count, _ = identity
        return self.storages.setdefault(key, np.zeros(count, dtype))


def _view(
    storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> np.ndarray:
    steps = [stride * storage.itemsize for stride in strides]
    within = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if min(offset, *strides, 0) < 0 or within >= max(storage.size, 1):
        raise pickle.UnpicklingError("a tensor lies outside of its storage")
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)
