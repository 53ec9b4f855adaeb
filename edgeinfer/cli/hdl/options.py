"""Options that the ``hdl`` commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["config_option"]

F = TypeVar("F", bound=Callable[..., Any])


def config_option(function: F) -> F:
    """``--config``."""
    return click.option(
        "--config",
        metavar="NAME",
        default="8x16",
        show_default=True,
        help="Rows x columns of the array: 4x4, 8x8, 8x16, 16x16; 8x8-16 for int16 models.",
    )(function)
