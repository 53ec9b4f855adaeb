"""A front of mixtures as a picture: decibels over latency."""

from __future__ import annotations

from typing import Any

from edgeinfer.drawing import BLUE, GREY, RED, drawing, plain, svg
from edgeinfer.quant.mixtures.front import Mixture

__all__ = ["front_svg"]


def front_svg(found: Mixture, title: str) -> str:
    """What was measured, the front and what was chosen; the same each time."""
    timed = found.goal.is_timed
    chosen, front = found.chosen, found.front
    with drawing() as (figure, axes):

        def draw(points: Any, **style: Any) -> None:
            across = [p.time if timed else p.latency for p in points]
            axes.scatter(across, [p.quality.sqnr_db for p in points], **style)

        rest = [point for point in found.points if point not in front]
        if rest:
            draw(rest, s=12, color=GREY, label="beaten by another")
        draw(front, s=16, color=BLUE, label="front")
        draw([chosen], s=70, marker="*", color=RED, label="chosen")
        for point in front:
            axes.annotate(
                found.short(point),
                (point.time if timed else point.latency, point.quality.sqnr_db),
                xytext=(5, -10),
                textcoords="offset points",
                color=RED if point is chosen else GREY,
                fontsize=7,
            )
        axes.set(
            title=plain(title),
            xlabel=f"{found.goal.unit} a run"
            if timed
            else "latency, of int8's, by the model of kernels",
            ylabel="SQNR of the worst output, dB",
        )
        axes.legend(frameon=False, loc="best")
        return svg(figure)
