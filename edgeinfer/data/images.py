"""Images into samples, as a Preparation says; what callers say of one, completed by the input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.data.data_set import only_input
from edgeinfer.data.image_file import MOST_PIXELS, pillow, read_image
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, Preparation
from edgeinfer.graph.preparation import Channels, Layout

__all__ = ["ImageOptions", "image_reader", "preparation_for"]


@dataclass(frozen=True)
class ImageOptions:
    """What a caller says of images; None leaves it to the model, or to the input's shape.

    Parameters
    ----------
    size, layout, channels
        As in ``Preparation``.
    mean, std : tuple of float or None
        As in ``Preparation``; where every ``std`` is below 1, both in fractions of 255, as
        torchvision has them. They are given together: without one, it is 0 or 1.
    """

    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: Layout | None = None
    channels: Channels | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The names of what was said."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is not None)


def preparation_for(graph: Graph, options: ImageOptions) -> Preparation:
    """How images become the only input of ``graph``: as it carries it, changed by ``options``.

    Raises
    ------
    InputError
        The input takes no images, or its shape leaves open which.
    """
    name = only_input(graph)
    shape = graph.types[name].shape
    if len(shape) != 4:
        raise InputError(f"input {name!r} of shape {list(shape)} does not take images")
    carried = graph.preparation.get(name)
    layout = options.layout or (_layout(shape) if carried is None else carried.layout)
    depth = shape[1] if layout == "nchw" else shape[3]
    if depth not in (1, 3):
        raise InputError(f"images have 1 or 3 channels, but the model's input has {depth}")
    if carried is None:
        carried = Preparation(layout, "grey" if depth == 1 else "rgb")
    changes = {field: getattr(options, field) for field in options.given}
    if options.mean is not None or options.std is not None:
        mean, std = options.mean or (0.0,), options.std or (1.0,)
        unit = 255 if max(std) < 1 else 1
        changes["mean"] = tuple(unit * number for number in mean)
        changes["std"] = tuple(unit * number for number in std)
    made = replace(carried, **changes)
    made.extent(shape)  # refuses channels that do not fit
    return made


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


def image_reader(graph: Graph, how: Preparation) -> Callable[[Path], np.ndarray]:
    """What reads a file of an image as one sample of the only input of ``graph``."""
    height, width = how.extent(graph.types[only_input(graph)].shape)
    pillow()  # which is missed before any work is done

    def decode(path: Path) -> np.ndarray:
        image = read_image(path, "L" if how.depth == 1 else "RGB")
        fitted = _fitted(image, how.size, height, width, path)
        pixels = np.asarray(fitted).reshape(height, width, how.depth)
        return how.pixels_to_input(pixels[:, :, ::-1] if how.channels == "bgr" else pixels)

    return decode


def _fitted(image: Any, size: int | None, height: int, width: int, path: Path) -> Any:
    bilinear = pillow().Resampling.BILINEAR
    if size is None:
        return image.resize((width, height), bilinear)
    factor = size / min(image.size)
    extents = [max(1, round(extent * factor)) for extent in image.size]
    if math.prod(extents) > MOST_PIXELS:
        raise InputError(f"size {size} makes {path} larger than {MOST_PIXELS:,} pixels")
    scaled = image.resize(extents, bilinear)
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    if left < 0 or top < 0:
        raise InputError(f"size {size} leaves less than {width}x{height}")
    return scaled.crop((left, top, left + width, top + height))
