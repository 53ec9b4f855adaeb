"""NumPy files into arrays by input name: an .npz, an .npy, or a folder of .npy files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeinfer.data.data_set import only_input
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph

__all__ = ["LABELS", "array_reader", "read_arrays"]

LABELS = "y"
"""The name of the labels beside the inputs."""

_STARTS = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")
_SMALL = 1 << 27  # bytes as they stand; of the smallest, float32 takes five times as many
_MOST_TIMES = 20  # its size that an archive may unpack to beyond that; samples rarely pack so well
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_QUOTED = 300


def read_arrays(path: Path, graph: Graph) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """What is for each input in an ``.npz`` or ``.npy``, and the labels.

    Raises
    ------
    InputError
        The file is damaged, or unpacks to more than 128 MiB and than twenty times its size.
    """
    loaded = _load(path, graph)
    if isinstance(loaded, np.ndarray):
        return {graph.inputs[0] if len(graph.inputs) == 1 else path.name: loaded}, None
    labels = None if LABELS in graph.inputs else loaded.pop(LABELS, None)
    labels = None if labels is None else np.asarray(labels)  # a member that is no array is bytes
    if len(loaded) == len(graph.inputs) == 1:
        loaded = {graph.inputs[0]: next(iter(loaded.values()))}
    return loaded, labels


def array_reader(graph: Graph) -> Callable[[Path], np.ndarray]:
    """What reads an ``.npy`` of one sample, with or without an axis for the batch."""
    name = only_input(graph)
    shape = graph.types[name].shape[1:]

    def decode(path: Path) -> np.ndarray:
        array = _load(path, graph)
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path} is an archive, not an array")
        if array.shape not in (shape, (1, *shape)):
            raise InputError(
                f"{path} has shape {list(array.shape)}, but a sample of input {name!r} has shape "
                f"{list(shape)}"
            )
        return array.reshape(shape)

    return decode


def _load(path: Path, graph: Graph) -> np.ndarray | dict[str, np.ndarray]:
    try:
        # np.load leaves a file open that it opened itself and could not read
        with path.open("rb") as file:
            start = file.read(6)
            # NumPy takes all other files for pickles, which it advises to trust
            if start and not start.startswith(_STARTS):
                raise InputError(f"{path} is no NumPy file, or a damaged one")
            file.seek(0)
            if start.startswith(b"PK"):
                _check_size(path, zipfile.ZipFile(file))
                file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else _members(loaded, graph)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen types on damaged bytes
        # NumPy's may hold a whole header
        raise InputError(f"{path} cannot be read: {str(error)[:_QUOTED]}") from error


def _members(archive: np.lib.npyio.NpzFile, graph: Graph) -> dict[str, np.ndarray]:
    """The arrays by name; empty ones where they will be refused by their names."""
    names = {name for name in archive.files if name != LABELS or LABELS in graph.inputs}
    if names == set(graph.inputs) or len(names) == len(graph.inputs) == 1:
        return dict(archive)
    return dict.fromkeys(sorted(names, key=archive.files.index), np.empty(0))


def _check_size(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse what says that it unpacks to too much; zipfile never unpacks more than is said."""
    if any(member.compress_type not in _METHODS for member in archive.infolist()):
        # whose decoders unpack whole blocks, whatever size is said
        raise InputError(f"{path} is packed as NumPy packs nothing; write it with numpy.savez")
    unpacked = sum(member.file_size for member in archive.infolist())
    size = path.stat().st_size
    if unpacked > max(_SMALL, _MOST_TIMES * size):
        raise InputError(
            f"{path} unpacks to {unpacked / 2**30:.1f} GiB, {unpacked // size} times its size, and "
            f"at most {_MOST_TIMES} times are read; write it without compression"
        )
