"""What a caller names as data into a DataSet that fits a Graph's inputs.

An ``.npz`` holds an array for each input by its name, and labels under ``y``. All else feeds the
only input: an ``.npy``, a table (``.csv``), an image, a sound, a folder of images, sounds or
``.npy`` files, whose labels are the sorted names of its subfolders, or a Python function,
``module:function``. Files of a folder are decoded one run at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgeinfer.data.arrays import array_reader, read_arrays
from edgeinfer.data.data_set import DataSet, SampleFiles, class_numbers, only_input
from edgeinfer.data.functions import FunctionError, FunctionSamples, is_function
from edgeinfer.data.image_file import SUFFIXES as IMAGES
from edgeinfer.data.images import ImageOptions, image_reader, preparation_for
from edgeinfer.data.samples import Data, runs, samples_in
from edgeinfer.data.sounds import SUFFIXES as SOUNDS
from edgeinfer.data.sounds import sound_reader
from edgeinfer.data.tables import SUFFIXES as TABLES
from edgeinfer.data.tables import read_table
from edgeinfer.errors import InputError
from edgeinfer.files.file_name import as_path
from edgeinfer.files.input_file import check_file, is_folder
from edgeinfer.graph import Graph
from edgeinfer.printable import printable
from edgeinfer.shortage import tells_shortage

__all__ = ["load_data"]

_log = logging.getLogger(__name__)

Kind = Literal["images", "sounds", "arrays"]

_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(IMAGES, "images"),
    **dict.fromkeys(SOUNDS, "sounds"),
    ".npy": "arrays",
}


@tells_shortage
def load_data(
    path: Path,
    graph: Graph,
    options: ImageOptions | None = None,
    *,
    samples: int | None = None,
    seed: int | None = None,
) -> DataSet:
    """The samples in ``path``, checked against the inputs of ``graph``.

    Parameters
    ----------
    path : Path
        A file or folder, or ``module:function``.
    graph : Graph
        Its inputs' names and shapes are what the samples must fit; images are prepared as its
        ``preparation`` says.
    options : ImageOptions
        What is to be different with images. Other data is taken as it is.
    samples : int or None
        How many runs are wanted of a function, which may then go on for ever; None asks for all.
    seed : int or None
        Shuffles a folder, whose first samples would otherwise be of its first classes only.

    Raises
    ------
    InputError
        The data is missing, damaged or empty, or does not fit the Graph's inputs.
    """
    data = _loaded(as_path(path), graph, options or ImageOptions(), samples, seed)
    labels = "no labels" if data.labels is None else f"labels of shape {list(data.labels.shape)}"
    _log.info("%s feeds %d runs, with %s", printable(str(path)), data.count, labels)
    for name, how in data.preparation.items():
        _log.info("images become input %r by %s", name, how)
    return data


def _loaded(
    path: Path, graph: Graph, options: ImageOptions, samples: int | None, seed: int | None
) -> DataSet:
    if is_function(str(path)) and not path.exists():
        _refuse_options(path, options)
        return _from_function(str(path), graph, samples)
    if is_folder(path):
        return _from_files(path, *_listing(path, graph.labels), graph, options, seed)
    check_file(path)
    suffix = path.suffix.lower()
    if suffix in IMAGES | SOUNDS:
        return _from_files(path.parent, [path], None, (), graph, options, None)
    _refuse_options(path, options)
    if suffix in TABLES:
        arrays, labels, classes = read_table(path, graph)
    elif suffix in (".npz", ".npy"):
        (arrays, labels), classes = read_arrays(path, graph), ()
    else:
        raise InputError(
            f"{path} is no data: that is an .npz, .npy, .csv, .wav, an image, a folder of such "
            "files, or module:function"
        )
    return DataSet(arrays, _runs_in(path, graph, arrays), labels, classes)


def _runs_in(path: Path | str, graph: Graph, data: Data, limit: int | None = None) -> int:
    try:
        return sum(1 for _ in runs(graph, data, limit=limit))
    except FunctionError:
        raise  # which says its name
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _refuse_options(path: Path, options: ImageOptions) -> None:
    if options.given:
        raise InputError(
            f"{' and '.join(options.given)}: for images only, but {path} is taken as it is"
        )


def _from_function(name: str, graph: Graph, limit: int | None) -> DataSet:
    samples = FunctionSamples(name, graph)
    found = []
    batches = 0

    def inputs() -> Iterator[Any]:
        nonlocal batches
        for batch, labels in samples.labelled():
            batches += 1
            if labels is not None:
                found.append(labels)
            yield batch

    count = _runs_in(name, graph, inputs(), limit)
    if found and len(found) != batches:
        raise InputError(f"{name} gives labels for some batches, but not for others")
    if len({labels.shape[1:] for labels in found}) > 1:
        raise InputError(
            f"{name} gives labels of one shape for some batches, of another for others"
        )
    labels = np.concatenate(found) if found else None
    if labels is not None and count == limit:
        labels = labels[: count * samples_in(graph)]  # of the last batch, part was not asked for
    return DataSet(samples, count, labels)


# ---- files of one sample each ------------------------------------------------------------------


def _from_files(
    root: Path,
    paths: list[Path],
    labels: np.ndarray | None,
    classes: tuple[str, ...],
    graph: Graph,
    options: ImageOptions,
    seed: int | None,
) -> DataSet:
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(paths))
        paths = [paths[i] for i in order]
        labels = None if labels is None else labels[order]
    kind = _KINDS[paths[0].suffix.lower()]
    preparation = {}
    if kind == "images":
        how = preparation_for(graph, options)
        preparation[only_input(graph)] = how
        decode = image_reader(graph, how)
    else:
        _refuse_options(paths[0] if len(paths) == 1 else root, options)
        decode = sound_reader(graph, paths) if kind == "sounds" else array_reader(graph)
    files = SampleFiles(paths, graph, decode)
    names = tuple(path.relative_to(root).as_posix() for path in paths)
    return DataSet(files, len(files), labels, classes, names, preparation)


def _listing(
    folder: Path, known: tuple[str, ...]
) -> tuple[list[Path], np.ndarray | None, tuple[str, ...]]:
    """The files right inside ``folder``; where there are none, its subfolders' with classes."""
    try:
        paths, labels = _files(folder), None
        classes: dict[str, int] = {}
        if not paths:
            names = [path.name for path in folder.iterdir() if path.is_dir()]
            try:
                classes = class_numbers(names, known)
            except InputError as error:
                raise InputError(f"{folder}: {error}") from error
            found = {name: _files(folder / name) for name in classes if name in names}
            paths = [path for name in found for path in found[name]]
            numbers = [classes[name] for name in found for _ in found[name]]
            labels = np.array(numbers, np.int64)
    except OSError as error:
        raise InputError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    if not paths:
        raise InputError(f"{folder} holds no images, sounds or .npy files")
    kinds = sorted({_KINDS[path.suffix.lower()] for path in paths})
    if len(kinds) > 1:
        raise InputError(f"{folder} holds {' and '.join(kinds)}; give one kind")
    return paths, labels, tuple(classes)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _KINDS and p.is_file())
