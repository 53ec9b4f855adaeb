"""PyTorch's older files are read without PyTorch, and nothing in them is called."""

import io
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def read(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import torch_weights

    return torch_weights.read


class Storage:
    """What a pickle refers to by a key."""

    def __init__(self, key, kind, values):
        self.key, self.kind, self.values = key, kind, values


@pytest.fixture
def torch(monkeypatch):
    """The names of PyTorch that a file refers to."""
    utils, package = ModuleType("torch._utils"), ModuleType("torch")

    def _rebuild_tensor_v2(*arguments):
        raise AssertionError("is for its name")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in ("FloatStorage", "LongStorage"):
        setattr(package, name, type(name, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return package, utils


class Tensor:
    def __init__(self, rebuild, storage, offset, shape, strides):
        self.arguments = rebuild, (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self):
        return self.arguments


def written(path, tensors, storages, *, counts=None):
    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if isinstance(item, Storage):
                return ("storage", item.kind, item.key, "cpu", item.values.size, None)
            return None

    file = io.BytesIO()
    for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(header, file, protocol=2)
    Pickler(file, protocol=2).dump(OrderedDict(tensors))
    pickle.dump([storage.key for storage in storages], file, protocol=2)
    for storage, count in zip(storages, counts or [s.values.size for s in storages], strict=True):
        file.write(np.int64(count).tobytes() + storage.values.tobytes())
    path.write_bytes(file.getvalue())


def test_tensors_are_views_of_their_storages(read, torch, tmp_path):
    package, utils = torch
    rebuild = utils._rebuild_tensor_v2
    floats = Storage("1", package.FloatStorage, np.arange(12, dtype=np.float32))
    integers = Storage("2", package.LongStorage, np.array([7], np.int64))
    tensors = {
        "whole": Tensor(rebuild, floats, 0, (3, 4), (4, 1)),
        "turned": Tensor(rebuild, floats, 2, (2, 3), (1, 4)),
        "count": Tensor(rebuild, integers, 0, (), ()),
    }
    written(tmp_path / "a.pth", tensors, [floats, integers])
    found = read(tmp_path / "a.pth")
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert list(found) == list(tensors)
    assert np.array_equal(found["whole"], table)
    assert np.array_equal(found["turned"], table[:, 2:].T)
    assert found["count"] == 7


def test_a_tensor_stays_in_its_storage(read, torch, tmp_path):
    package, utils = torch
    floats = Storage("1", package.FloatStorage, np.zeros(12, np.float32))
    beyond = Tensor(utils._rebuild_tensor_v2, floats, 1, (3, 4), (4, 1))
    written(tmp_path / "a.pth", {"beyond": beyond}, [floats])
    with pytest.raises(pickle.UnpicklingError) as caught:
        read(tmp_path / "a.pth")
    assert str(caught.value) == "a tensor lies outside of its storage"


def test_a_storage_has_the_length_that_was_said(read, torch, tmp_path):
    package, utils = torch
    floats = Storage("1", package.FloatStorage, np.zeros(12, np.float32))
    whole = Tensor(utils._rebuild_tensor_v2, floats, 0, (3, 4), (4, 1))
    written(tmp_path / "a.pth", {"whole": whole}, [floats], counts=[13])
    with pytest.raises(pickle.UnpicklingError) as caught:
        read(tmp_path / "a.pth")
    path = tmp_path / "a.pth"
    assert str(caught.value) == f"{path} has a storage of another length than it says"


def test_what_is_no_tensor_is_not_called(read, tmp_path):
    class Call:
        def __reduce__(self):
            return Path.touch, (tmp_path / "called",)

    file = io.BytesIO()
    for header in (0x1950A86A20F9469CFC6C, 1001, {}):
        pickle.dump(header, file, protocol=2)
    pickle.dump({"weights": Call()}, file, protocol=2)
    (tmp_path / "a.pth").write_bytes(file.getvalue())
    with pytest.raises(pickle.UnpicklingError, match=r"^\S+ is no tensor$"):
        read(tmp_path / "a.pth")
    assert not (tmp_path / "called").exists()
