"""Pictures: figures drawn without a screen, in one style, as SVG that is the same each time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgeinfer.printable import printable

__all__ = ["BLUE", "GREY", "RED", "drawing", "plain", "svg"]

_STYLE: Any = {"svg.hashsalt": "edgeinfer", "svg.fonttype": "none", "font.size": 9}
GREY, BLUE, RED = "#a8adb4", "#2763a5", "#b3261e"


@contextmanager
def drawing() -> Iterator[tuple[Any, Any]]:
    """A figure and its axes."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        yield figure, figure.add_subplot()


def plain(text: str) -> str:
    """``text`` in which a dollar sign begins no formula, and nothing is what XML cannot hold."""
    return printable(text).replace("$", r"\$")


def svg(figure: Any) -> str:
    """The figure as a file's text, without its date."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
