"""An exploration as pictures: the Pareto front and the roofline, SVG and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edgeinfer.drawing import BLUE, GREY, RED, drawing, plain, svg
from edgeinfer.hdl.explore.estimate import Estimate, LayerEstimate
from edgeinfer.hdl.explore.exploration import Exploration

__all__ = ["front_svg", "front_text", "roofline_svg"]

_SMALL = 6
"""Of the layers' names, in points."""
_CHARACTER, _LINE = 5.0, 9.0
"""Of such a name, in pixels of a hundred an inch."""
_CLOSE = 12.0
"""Pixels within which dots share a label."""
_STEPS = 100
"""Points of the slope that no label covers."""


def front_svg(found: Exploration, title: str) -> str:
    """Cycles over multipliers: what does not fit, what does, the front and the best."""
    with drawing() as (figure, axes):
        affordable = set(map(id, found.affordable))
        rest = [each for each in found.estimates if id(each) not in affordable]
        for points, color, label in (
            (rest, GREY, "beyond the budget"),
            (found.affordable, BLUE, "affordable"),
        ):
            if points:
                axes.scatter(
                    [e.multipliers for e in points],
                    [e.cycles for e in points],
                    s=12,
                    color=color,
                    label=label,
                )
        best = found.best
        edge = _fastest_by_multipliers(found)
        axes.step(
            [e.multipliers for e in edge], [e.cycles for e in edge], where="post", color=BLUE, lw=1
        )
        axes.scatter([best.multipliers], [best.cycles], s=60, marker="*", color=RED, label="best")
        axes.annotate(
            best.config.name,
            (best.multipliers, best.cycles),
            xytext=(6, -12),
            textcoords="offset points",
            color=RED,
        )
        axes.set(
            title=plain(title),
            xlabel="multipliers of 18 x 18 bits",
            ylabel="cycles of an inference",
            xscale="log",
            yscale="log",
        )
        axes.legend(frameon=False)
        return svg(figure)


def roofline_svg(best: Estimate, title: str) -> str:
    """Layers under the limits of one NPU: what the array can multiply, what its weights allow."""
    config = best.config
    port = config.weight_port * config.word_bytes  # bytes a cycle
    with drawing() as (figure, axes):
        layers = [each for each in best.layers if each.macs and each.weight_bytes]
        knee = config.macs / port
        low = min([knee, *(each.intensity for each in layers)]) / 2
        high = max([knee, *(each.intensity for each in layers)]) * 2
        axes.plot(
            [low, knee, high],
            [low * port, config.macs, config.macs],
            color=GREY,
            label=f"{config.macs} multipliers, {port} bytes of weights a cycle",
        )
        axes.scatter(
            [each.intensity for each in layers],
            [each.macs / max(1, each.cycles) for each in layers],
            s=[8 + 200 * each.cycles / best.cycles for each in layers],
            color=BLUE,
            alpha=0.6,
            label="a layer; the larger, the more of the cycles",
        )
        _name_layers(axes, layers, best.cycles)
        legend = axes.legend(frameon=False, loc="lower right")
        # the first layer's dot may be too small to see
        legend.legend_handles[1].set_sizes([40])
        axes.set(
            title=plain(title),
            xlabel="multiply-accumulates a byte of weights",
            ylabel="multiply-accumulates a cycle",
            xscale="log",
            yscale="log",
        )
        return svg(figure)


def _name_layers(axes: Any, layers: Sequence[LayerEstimate], cycles: int) -> None:
    """The layers' names beside their dots; dots that lie close share a label.

    The layers that take most of ``cycles`` are named first; a label that would cover another, a
    dot or the roof, or leave the axes, goes to the next free side of its dot.
    """
    axes.set(xscale="log", yscale="log")
    axes.autoscale_view()
    to_points = axes.transData.transform
    groups: list[tuple[tuple[float, float], list[LayerEstimate]]] = []
    for layer in sorted(layers, key=lambda each: -each.cycles):
        dot = tuple(to_points((layer.intensity, layer.macs / max(1, layer.cycles))))
        near = [names for other, names in groups if math.dist(dot, other) < _CLOSE]
        if near:
            near[0].append(layer)
        else:
            groups.append((dot, [layer]))
    roof = axes.lines[0].get_xydata()
    (foot, ground), (knee, height), (end, _) = map(to_points, roof)
    taken = [(knee, height - 1, end, height + 1)]
    for part in range(_STEPS):
        x, y = (
            low + (high - low) * part / _STEPS for low, high in ((foot, knee), (ground, height))
        )
        taken.append((x, y, x, y))
    taken += [(x - 2, y - 2, x + 2, y + 2) for (x, y), _ in groups]
    first, last = (to_points((edge, roof[1][1]))[0] for edge in axes.get_xlim())
    for (x, y), named in groups:
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        text = plain(named[0].output) + more
        radius = math.sqrt(8 + 200 * named[0].cycles / cycles) / 2 + 2
        width, height = _CHARACTER * len(text), _LINE
        for left, bottom in (
            (x + radius, y - height / 2),
            (x - width / 2, y + radius),
            (x - width / 2, y - radius - height),
            (x - radius - width, y - height / 2),
        ):
            box = (left, bottom, left + width, bottom + height)
            inside = first <= left and left + width <= last
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                axes.annotate(
                    text,
                    axes.transData.inverted().transform((left, bottom)),
                    fontsize=_SMALL,
                    color=BLUE,
                    annotation_clip=False,
                )
                break


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    """Whether two boxes, left, bottom, right and top, have a point in common."""
    apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
    return not apart


def front_text(found: Exploration, width: int, height: int = 14) -> str:
    """Cycles over multipliers for the terminal, both logarithmic, ``width`` columns of it."""
    affordable = set(map(id, found.affordable))
    marks = [(".", e) for e in found.estimates if id(e) not in affordable]
    marks += [("o", e) for e in found.affordable]
    marks.append(("*", found.best))
    least, most = found.estimates[0].cycles, found.estimates[-1].cycles
    fewest = min(e.multipliers for e in found.estimates)
    largest = max(e.multipliers for e in found.estimates)
    labels = [f"{most:,}", f"{least:,}"]
    left = max(map(len, labels)) + 1
    columns = width - left - 1
    grid = [[" "] * columns for _ in range(height)]
    for mark, each in marks:
        x = _place(each.multipliers, fewest, largest, columns)
        grid[height - 1 - _place(each.cycles, least, most, height)][x] = mark
    labels = [labels[0], *[""] * (height - 2), labels[1]]
    lines = ["cycles (log): . beyond the budget, o affordable, * best"]
    lines += [
        f"{label:>{left}}|{''.join(row)}".rstrip() for label, row in zip(labels, grid, strict=True)
    ]
    lines.append(" " * left + "+" + "-" * columns)
    under = f"{fewest:,}"
    lines.append(
        " " * (left + 1) + under + f"{largest:,} multipliers (log)".rjust(columns - len(under))
    )
    return "\n".join(lines)


def _place(value: int, low: int, high: int, cells: int) -> int:
    """The cell of ``value`` on a logarithmic axis from ``low`` to ``high``."""
    return 0 if low == high else int(math.log(value / low) / math.log(high / low) * (cells - 1))


def _fastest_by_multipliers(found: Exploration) -> list[Estimate]:
    """Of the affordable, each that is faster than all with fewer multipliers."""
    edge: list[Estimate] = []
    for each in sorted(found.affordable, key=lambda e: (e.multipliers, e.cycles)):
        if not edge or each.cycles < edge[-1].cycles:
            edge.append(each)
    return edge
