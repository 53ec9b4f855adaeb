"""Options that the ``hdl`` commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = [
    "Megahertz",
    "baud_option",
    "config_option",
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


def config_option(function: F) -> F:
    """``--config``."""
    return click.option(
        "--config",
        metavar="NAME",
        default="8x16",
        show_default=True,
        help="Rows x columns of the array: 4x4, 8x8, 8x16, 9x16 or 16x16, which bring their "
        "sizes, or others, such as 4x8; 8x8-16 for int16 models. "
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
