"""A front of mixtures as a picture: decibels over latency."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from edgeinfer.quant.mixtures.front import Mixture

__all__ = ["front_svg"]

_STYLE: Any = {"svg.hashsalt": "edgeinfer", "svg.fonttype": "none", "font.size": 9}
_GREY, _BLUE, _RED = "#a8adb4", "#2763a5", "#b3261e"


def front_svg(found: Mixture, title: str) -> str:
    """What was measured, the front and what was chosen; the same each time."""
    timed = found.goal.max_latency is not None
    chosen, front = found.chosen, found.front
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.add_subplot()

        def draw(points: Any, **style: Any) -> None:
            across = [p.microseconds if timed else p.latency for p in points]
            axes.scatter(across, [p.quality.sqnr_db for p in points], **style)

        rest = [point for point in found.points if point not in front]
        if rest:
            draw(rest, s=12, color=_GREY, label="beaten by another")
        draw(front, s=16, color=_BLUE, label="front")
        draw([chosen], s=70, marker="*", color=_RED, label="chosen")
        for point in front:
            axes.annotate(
                found.short(point),
                (point.microseconds if timed else point.latency, point.quality.sqnr_db),
                xytext=(5, -10),
                textcoords="offset points",
                color=_RED if point is chosen else _GREY,
                fontsize=7,
            )
        axes.set(
            title=title.replace("$", r"\$"),
            xlabel="microseconds a run" if timed else "latency, of int8's, by the model of kernels",
            ylabel="SQNR of the worst output, dB",
        )
        axes.legend(frameon=False, loc="best")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()
