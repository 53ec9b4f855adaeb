"""Options that the ``hdl`` commands share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeinfer.cli.models import open_model
from edgeinfer.errors import InputError
from edgeinfer.files.atomic_write import is_special

if TYPE_CHECKING:
    from edgeinfer.graph import Graph

__all__ = [
    "SVG",
    "Megahertz",
    "baud_option",
    "config_option",
    "open_integer_model",
    "samples_option",
]

F = TypeVar("F", bound=Callable[..., Any])


class Megahertz(click.FloatRange):
    """A clock: a number, not any of IEEE 754's others."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number that ``value`` says."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a clock", param, ctx)
        return number


class _Svg(click.Path):
    """The name of a picture: in a file called .png an SVG would not be found."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """The path that ``value`` is."""
        path = Path(value)
        try:
            special = is_special(path)
        except OSError:  # which the write that is to come names better
            special = False
        if path.suffix.lower() != ".svg" and not special:
            self.fail(f"{str(path)!r} does not end in .svg", param, ctx)
        return path


SVG = _Svg()


def config_option(function: F) -> F:
    """``--config``."""
    return click.option(
        "--config",
        metavar="NAME",
        default="8x16",
        show_default=True,
        help="Rows x columns of the array: 4x4, 8x8, 8x16 or 16x16, which bring their sizes, "
        "or others, such as 4x8; 8x8-16 for int16 models. "
        "Other sizes than these follow: 8x16,lanes=16,buffer_bytes=65536.",
    )(function)


def baud_option(function: F) -> F:
    """``--baud``."""
    return click.option(
        "--baud",
        type=click.IntRange(57_600, 12_000_000),
        default=1_000_000,
        show_default=True,
        help="Of the serial line; the same to build and to run.",
    )(function)


def samples_option(function: F) -> F:
    """``--samples``."""
    return click.option(
        "--samples",
        metavar="N",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="How many samples to run, one after another.",
    )(function)


def open_integer_model(path: Path) -> Graph:
    """The integer Graph in ``path``.

    Raises
    ------
    InputError
        It is a float one.
    """
    if path.suffix.lower() == ".onnx":
        raise InputError(f"the NPU runs integer models; quantize {path} first")
    graph = open_model(path)
    if not graph.is_integer:
        raise InputError(f"the NPU runs integer models; quantize {path} first")
    return graph
