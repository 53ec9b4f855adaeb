"""A file of an image into pixels of 8 bits a channel, as a viewer shows it.

Turned as its EXIF tag says, transparent parts over white, wider numbers scaled, the first image of
several. What that takes is bounded before a pixel is decoded.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgeinfer.errors import InputError, MissingExtraError
from edgeinfer.files.input_file import read_file

__all__ = ["MOST_PIXELS", "SUFFIXES", "pillow", "read_image"]

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
# whatever the suffix, no other decoder is tried: that of EPS runs a program
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

MOST_PIXELS = 9000 * 6000
"""Of an image: its decoder, it and what becomes of it take up to 16 bytes a pixel, under a GiB."""

_TOO_LARGE = f"has more than {MOST_PIXELS:,} pixels; scale it down"

_MOST_PASSES = 100
"""Of a JPEG of so many pixels: each scan of a few bytes goes over all of them."""

_STRIP = 1 << 20
"""Pixels that are converted at a time, so that what lies between takes no memory of its own."""

# tags of TIFF and EXIF
_ORIENTATION, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 274, 258, 262, 339
_WHITE_IS_ZERO, _UNSIGNED = 0, 1

# what a transparent value of a PNG of fewer bits becomes with its pixels
_WIDENED = {"1": 255, "L;2": 85, "L;4": 17}


def read_image(path: Path, mode: Literal["L", "RGB"]) -> Any:
    """The image in ``path``, a PIL.Image of grey or of colours.

    Raises
    ------
    InputError
        It is damaged, too large, or of numbers whose range nobody knows.
    MissingExtraError
        Pillow is not installed.
    """
    library = pillow()
    from PIL import UnidentifiedImageError

    try:
        return _upright(_decoded(path, mode))
    except library.DecompressionBombError:
        raise InputError(f"{path} {_TOO_LARGE}") from None
    except UnidentifiedImageError:
        kinds = f"{', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}"
        raise InputError(
            f"{path} is not an image that can be read: it is no {kinds}, or it is damaged"
        ) from None
    except InputError as error:
        raise InputError(f"{path} {error}") from error
    except MemoryError as error:
        raise InputError(f"{path} takes more memory than there is") from error
    except Exception as error:  # Pillow's decoders raise a dozen types on damaged bytes
        raise InputError(f"{path} is not an image that can be read: {error}") from error


def pillow() -> Any:
    """The module PIL.Image.

    Raises
    ------
    MissingExtraError
        Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("PIL", "cli") from error
    return Image


def _decoded(path: Path, mode: str) -> Any:
    """The pixels over white, with the orientation that the file gives them."""
    library = pillow()
    # by a file's name, Pillow maps an uncompressed TIFF into memory, and turns it wrong
    with path.open("rb") as stream:
        with warnings.catch_warnings():
            # our own limit is stricter
            warnings.simplefilter("ignore", library.DecompressionBombWarning)
            # only the header is read
            opened = library.open(stream, formats=_FORMATS)
        with opened as file:
            _check_work(path, file)
            return _flat(file, mode)


def _check_work(path: Path, file: Any) -> None:
    pixels = math.prod(file.size)
    if pixels > MOST_PIXELS:
        raise InputError(_TOO_LARGE)
    if file.format in ("JPEG", "MPO"):
        scans = read_file(path).count(b"\xff\xda")
        if pixels * scans > MOST_PIXELS * _MOST_PASSES:
            raise InputError(f"is a JPEG of {scans:,} scans, which is more work than any image is")


@dataclass(frozen=True)
class _Numbers:
    """How numbers of more than 8 bits become grey.

    Parameters
    ----------
    top : int
        The largest.
    inverted : bool
        It is black, and 0 white.
    transparent : int or None
        The number that nobody sees.
    """

    top: int
    inverted: bool
    transparent: int | None

    def grey(self, image: Any) -> Any:
        """``image`` in 8 bits."""
        numbers = np.asarray(image)
        grey = np.rint(numbers * (255 / self.top)).astype(np.uint8)
        if self.inverted:
            grey = 255 - grey
        if self.transparent is not None:
            grey[numbers == self.transparent] = 255
        return pillow().fromarray(grey)


def _numbers(file: Any) -> _Numbers | None:
    """None of an image that has 8 bits a channel, or comes to have them as it is decoded."""
    unknown = InputError("holds numbers of no known range; give them as an .npy")
    tags = file.tag_v2 if file.format == "TIFF" else {}
    if set(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))) != {_UNSIGNED}:
        raise unknown
    if file.mode not in ("I", "F") and not file.mode.startswith("I;"):
        return None
    bits = max(tags.get(_BITS, (16,)))
    if bits > 16 or file.mode == "F" or file.format not in ("PNG", "PPM", "TIFF"):
        raise unknown
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    return _Numbers((1 << bits) - 1, inverted, file.info.get("transparency"))


def _flat(file: Any, mode: str) -> Any:
    numbers = _numbers(file)
    if file.format == "PNG":
        _widen_transparent_value(file)
    file.load()
    width, height = file.size
    flat = pillow().new(mode, file.size)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        strip = file.crop((0, top, width, min(top + rows, height)))
        if numbers is not None:
            strip = numbers.grey(strip)
        elif strip.has_transparency_data:
            strip = strip.convert("RGBA")
            white = pillow().new("RGBA", strip.size, "white")
            strip = pillow().alpha_composite(white, strip)
        flat.paste(strip.convert(mode), (0, top))
    flat.getexif()[_ORIENTATION] = file.getexif().get(_ORIENTATION, 1)
    return flat


def _widen_transparent_value(file: Any) -> None:
    """Make 8 bits of the one value that is transparent, as Pillow does of pixels alone."""
    value = file.info.get("transparency")
    held_as = file.tile[0][3]
    if isinstance(value, int) and held_as in _WIDENED:
        file.info["transparency"] = value * _WIDENED[held_as]
    elif isinstance(value, tuple) and held_as == "RGB;16B":
        file.info["transparency"] = tuple(part >> 8 for part in value)


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)
