"""How an image becomes an input of a model: what a device must do before it runs one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from edgeinfer.errors import InputError

__all__ = ["Channels", "Layout", "Preparation"]

Layout = Literal["nchw", "nhwc"]
Channels = Literal["grey", "rgb", "bgr"]

_MOST_SIZE = 1 << 16
# where height, width and channels stand
_AXES = {"nchw": (2, 3, 1), "nhwc": (1, 2, 3)}


@dataclass(frozen=True)
class Preparation:
    """An image's pixels of 0 to 255 into one input, by ``(pixel - mean) / std`` in float32.

    Height and width are the input's own.

    Parameters
    ----------
    layout : "nchw" or "nhwc"
        The order of the input's axes.
    channels : "grey", "rgb" or "bgr"
        What the channels hold, in order.
    size : int or None
        Scale the shorter side to this, bilinearly, and cut the input's extent out of the middle;
        None stretches the whole image to the input's extent.
    mean, std : tuple of float
        In pixel values; one number, or one for each channel.
    """

    layout: Layout
    channels: Channels
    size: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for what, value, choices in (
            ("layout", self.layout, get_args(Layout)),
            ("channels", self.channels, get_args(Channels)),
        ):
            if value not in choices:
                raise InputError(f"{what} must be one of {', '.join(choices)}, not {value!r}")
        if self.size is not None and not 1 <= self.size <= _MOST_SIZE:
            raise InputError(f"an image's size must be between 1 and {_MOST_SIZE}, not {self.size}")
        for what, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, self.depth):
                raise InputError(
                    f"{what} has {len(numbers)} numbers for {self.channels}, which takes 1"
                    + (f" or {self.depth}" if self.depth > 1 else "")
                )
        if not np.isfinite(_float32(self.mean)).all():
            raise InputError(f"a mean must be finite as a float32, not {list(self.mean)}")
        if not all(math.isfinite(s) and s > 0 for s in _float32(self.std)):
            raise InputError(
                f"a standard deviation must be positive and finite as a float32, not "
                f"{list(self.std)}"
            )

    @property
    def depth(self) -> int:
        """How many channels."""
        return 1 if self.channels == "grey" else 3

    def extent(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of the input of ``shape``.

        Raises
        ------
        InputError
            An input of this shape does not take such images.
        """
        if len(shape) == 4:
            height, width, depth = (shape[i] for i in _AXES[self.layout])
            if depth == self.depth:
                return height, width
        raise InputError(
            f"an input of shape {list(shape)} does not take {self.channels} images in {self.layout}"
        )

    def pixels_to_input(self, pixels: np.ndarray) -> np.ndarray:
        """One sample, float32 in ``layout`` without the batch, from ``pixels``.

        Parameters
        ----------
        pixels : numpy.ndarray
            Numbers of 0 to 255 of shape [height, width, channels], ``channels`` in order.
        """
        # what is too large becomes infinite, which whoever takes the input refuses
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (pixels.astype(np.float32) - _float32(self.mean)) / _float32(self.std)
        return scaled if self.layout == "nhwc" else scaled.transpose(2, 0, 1)


def _float32(numbers: tuple[float, ...]) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        return np.array(numbers, np.float32)
