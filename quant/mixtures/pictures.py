"""A front of mixtures as a picture: decibels over latency."""

from __future__ import annotations

from collections.abc import Sequence
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
        axes.set(
            title=plain(title),
            xlabel=f"{found.goal.unit} a run"
            if timed
            else "latency, of int8's, by the model of kernels",
            ylabel="SQNR of the worst output, dB",
        )
        axes.legend(frameon=False, loc="best")
        names = [
            (
                found.short(point),
                (point.time if timed else point.latency, point.quality.sqnr_db),
                RED if point is chosen else BLUE,
            )
            for point in sorted(front, key=lambda p: (p is not chosen, -p.quality.sqnr_db))
        ]
        _name(figure, axes, names)
        return svg(figure)


# where a name may stand beside its point, in points of print, and which end of it is there
_PLACES = (((5, -10), "left"), ((5, 4), "left"), ((-5, 4), "right"), ((-5, -10), "right"))


def _name(figure: Any, axes: Any, names: Sequence[tuple[str, Any, str]]) -> None:
    """Write names beside their points, in this order; one that would cover another is left out,
    as the table has all."""
    figure.draw_without_rendering()  # so that extents are those of the layout
    taken = [axes.get_legend().get_window_extent()]
    for text, at, color in names:
        for offset, end in _PLACES:
            name = axes.annotate(
                text, at, offset, textcoords="offset points", ha=end, color=color, fontsize=7
            )
            name.set_in_layout(False)
            box = name.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            inside &= bool(axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            name.remove()
