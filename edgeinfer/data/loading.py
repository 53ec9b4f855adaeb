"""A file or folder of samples into data that fits a Graph's inputs.

An ``.npz`` holds an array for each input by its name, and labels under ``y``; an ``.npy`` holds
the samples of the only input. A folder holds images, whose labels are the sorted names of its
subfolders; they are decoded one run at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgeinfer.data.samples import Data, runs
from edgeinfer.errors import InputError, MissingExtraError
from edgeinfer.files.input_file import check_file, is_folder
from edgeinfer.graph import Graph

__all__ = ["DataSet", "ImageFolder", "Preprocessing", "load_data"]

Layout = Literal["nchw", "nhwc"]

_LABELS = "y"
_MOST_SIZE = 1 << 16
_QUOTED = 300
_NUMPY = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")
_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tiff", ".webp"})


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a model's input: ``(pixel - mean) / std``, channel by channel.

    Parameters
    ----------
    size : int or None
        Scale the shorter side to this and cut the model's extent out of the middle; None
        stretches the whole image to the model's extent.
    mean, std : tuple of float
        One number, or one a channel, in pixel values of 0 to 255; or, where every ``std`` is
        below 1, in fractions of 255, as torchvision has them.
    layout : "nchw", "nhwc" or None
        The order of the input's axes; None where its shape tells.
    """

    size: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Layout | None = None

    def __post_init__(self) -> None:
        if self.size is not None and not 1 <= self.size <= _MOST_SIZE:
            raise InputError(f"an image's size must be between 1 and {_MOST_SIZE}, not {self.size}")
        if not all(map(math.isfinite, _float32(self.mean))):
            raise InputError(f"a mean must be finite as a float32, not {list(self.mean)}")
        if not all(math.isfinite(s) and s > 0 for s in _float32(self.std)):
            raise InputError(
                f"a standard deviation must be positive and finite as a float32, not "
                f"{list(self.std)}"
            )


class ImageFolder:
    """Images that are decoded while they are iterated: a dict for one run after another."""

    def __init__(self, paths: Sequence[Path], graph: Graph, how: Preprocessing) -> None:
        if len(graph.inputs) != 1:
            raise InputError(
                f"images feed one input, but the model has {len(graph.inputs)}; give an .npz"
            )
        (self._name,) = graph.inputs
        shape = graph.types[self._name].shape
        if len(shape) != 4:
            raise InputError(f"input {self._name!r} of shape {list(shape)} does not take images")
        self._layout = how.layout or _layout(shape)
        nhwc = shape if self._layout == "nhwc" else (shape[0], *shape[2:], shape[1])
        self._batch, self._height, self._width, channels = nhwc
        if channels not in (1, 3):
            raise InputError(f"images have 1 or 3 channels, but the model's input has {channels}")
        if len(paths) % self._batch:
            raise InputError(
                f"the model takes batches of {self._batch}, which do not divide {len(paths)} images"
            )
        self._mode = "L" if channels == 1 else "RGB"
        unit = 255.0 if max(how.std) < 1 else 1.0
        self._mean = _per_channel("mean", how.mean, channels, unit)
        self._std = _per_channel("std", how.std, channels, unit)
        self._size = how.size
        self._paths = tuple(paths)

    def __len__(self) -> int:
        return len(self._paths) // self._batch

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(self._paths), self._batch):
            images = np.stack([self._decode(p) for p in self._paths[start : start + self._batch]])
            yield {self._name: images if self._layout == "nhwc" else images.transpose(0, 3, 1, 2)}

    def _decode(self, path: Path) -> np.ndarray:
        try:
            with _pillow().open(path) as file:
                image = file.convert(self._mode)
        except Exception as error:  # Pillow's decoders raise a dozen types on damaged bytes
            raise InputError(f"{path} is not an image that can be read: {error}") from error
        pixels = np.asarray(self._fitted(image, path), np.float32)
        # what is too large becomes infinite, which ``runs`` refuses
        with np.errstate(over="ignore", invalid="ignore"):
            return (pixels.reshape(self._height, self._width, -1) - self._mean) / self._std

    def _fitted(self, image: Any, path: Path) -> Any:
        bilinear, limit = _pillow().Resampling.BILINEAR, _pillow().MAX_IMAGE_PIXELS
        if self._size is None:
            return image.resize((self._width, self._height), bilinear)
        factor = self._size / min(image.size)
        size = [max(1, round(extent * factor)) for extent in image.size]
        if limit is not None and math.prod(size) > limit:
            raise InputError(f"size {self._size} makes {path} larger than {limit:,} pixels")
        scaled = image.resize(size, bilinear)
        left, top = (scaled.width - self._width) // 2, (scaled.height - self._height) // 2
        if left < 0 or top < 0:
            raise InputError(f"size {self._size} leaves less than {self._width}x{self._height}")
        return scaled.crop((left, top, left + self._width, top + self._height))


@dataclass(frozen=True)
class DataSet:
    """Samples for a Graph, to be iterated as often as needed.

    Parameters
    ----------
    samples : dict of numpy.ndarray, or ImageFolder
        What ``edgeinfer.quant.quantize`` and ``edgeinfer.data.samples.runs`` take.
    count : int
        How many runs of the Graph they feed.
    labels : numpy.ndarray or None
        What is right for each sample: its class, or numbers; with the samples along the first
        axis.
    """

    samples: Data
    count: int
    labels: np.ndarray | None = None

    def count_within(self, limit: int | None) -> int:
        """How many of the runs there are up to ``limit``; all, where that is None."""
        return self.count if limit is None else min(limit, self.count)


def load_data(
    path: Path,
    graph: Graph,
    how: Preprocessing | None = None,
    *,
    seed: int | None = None,
) -> DataSet:
    """The samples in ``path``, checked against the inputs of ``graph``.

    Parameters
    ----------
    path : Path
        An ``.npz``, an ``.npy``, an image or a folder of images.
    graph : Graph
        Its inputs' names and shapes are what the samples must fit.
    how : Preprocessing
        For images.
    seed : int or None
        Shuffles a folder, whose first samples would otherwise be of its first classes only.

    Raises
    ------
    InputError
        The data is missing, damaged or empty, or does not fit the Graph's inputs.
    """
    folder = is_folder(path)
    if not folder:
        check_file(path)
    if folder or path.suffix.lower() in _SUFFIXES:
        return _images(path, graph, how or Preprocessing(), seed)
    if path.suffix.lower() not in (".npz", ".npy"):
        raise InputError(f"{path} is neither an .npz, an .npy, an image nor a folder of images")
    arrays = _arrays(path, graph)
    labels = None if _LABELS in graph.inputs else arrays.pop(_LABELS, None)
    if len(arrays) == len(graph.inputs) == 1:
        arrays = {graph.inputs[0]: next(iter(arrays.values()))}
    try:
        count = sum(1 for _ in runs(graph, arrays))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return DataSet(arrays, count, labels)


def _arrays(path: Path, graph: Graph) -> dict[str, np.ndarray]:
    try:
        # np.load leaves a file open that it opened itself and could not read
        with path.open("rb") as file:
            start = file.read(6)
            # NumPy takes all other files for pickles, which it advises to trust
            if start and not start.startswith(_NUMPY):
                raise InputError(f"{path} is no NumPy file, or a damaged one")
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                return dict(loaded)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen types on damaged bytes
        # NumPy's may hold a whole header
        raise InputError(f"{path} cannot be read: {str(error)[:_QUOTED]}") from error
    return {graph.inputs[0] if len(graph.inputs) == 1 else path.name: loaded}


# ---- images ----------------------------------------------------------------------------------


def _images(path: Path, graph: Graph, how: Preprocessing, seed: int | None) -> DataSet:
    _pillow()
    try:
        paths, labels = _listing(path, graph.labels) if path.is_dir() else ([path], None)
    except OSError as error:
        raise InputError(f"cannot read {error.filename or path}: {error.strerror}") from error
    if not paths:
        raise InputError(f"{path} holds no images")
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(paths))
        paths = [paths[i] for i in order]
        labels = None if labels is None else labels[order]
    folder = ImageFolder(paths, graph, how)
    return DataSet(folder, len(folder), labels)


def _listing(folder: Path, classes: Sequence[str]) -> tuple[list[Path], np.ndarray | None]:
    """The images right inside ``folder``; where there are none, its subfolders' with classes."""
    direct = _image_files(folder)
    if direct:
        return direct, None
    names = sorted(p.name for p in folder.iterdir() if p.is_dir())
    if set(names) & set(classes):
        unknown = [name for name in names if name not in classes]
        if unknown:
            raise InputError(f"{folder / unknown[0]} is not named for one of the model's labels")
        names = list(classes)
    files = [_image_files(folder / name) for name in names]
    labels = np.repeat(np.arange(len(files), dtype=np.int64), [len(found) for found in files])
    return [path for found in files for path in found], labels


def _image_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and p.is_file())


def _layout(shape: tuple[int, ...]) -> Layout:
    fits: list[Layout] = []
    if shape[1] in (1, 3):
        fits.append("nchw")
    if shape[3] in (1, 3):
        fits.append("nhwc")
    if len(fits) != 1:
        raise InputError(
            f"an input of shape {list(shape)} does not tell its layout; say nchw or nhwc"
        )
    return fits[0]


def _per_channel(what: str, numbers: tuple[float, ...], channels: int, unit: float) -> np.ndarray:
    if len(numbers) not in (1, channels):
        raise InputError(f"{what} has {len(numbers)} numbers for {channels} channels")
    # what is too large becomes infinite, which ``runs`` refuses
    with np.errstate(over="ignore"):
        return _float32(numbers) * np.float32(unit)


def _float32(numbers: tuple[float, ...]) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        return np.array(numbers, np.float32)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("PIL", "cli") from error
    return Image
