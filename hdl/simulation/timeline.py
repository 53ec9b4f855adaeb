"""A report into a picture of what the units did: one band a unit, time from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from edgeinfer.hdl.isa import Unit
from edgeinfer.hdl.simulation.simulation import InferenceReport
from edgeinfer.hdl.simulation.simulator import Interval
from edgeinfer.printable import printable

__all__ = ["timeline_svg"]

_BINS = 1000
_LEFT, _TOP, _BAND, _GAP = 80, 40, 34, 10
_WORKING, _WAITING, _IDLE = "#2f6f9f", "#e0a458", "#f2f2f2"
_STYLE = "font-family:sans-serif;font-size:11px"


def timeline_svg(report: InferenceReport, title: str) -> str:
    """An SVG of ``report``.

    Each unit's band is divided into a thousand bins; a bin is filled as far as the unit was working
    in it (dark), and above that as far as it was waiting (light). Lines are the layers' ends; where
    there is room, a layer has its number in the report.
    """
    width, height = _LEFT + _BINS + 20, _TOP + len(Unit) * (_BAND + _GAP) + 60
    scale = _BINS / max(1, report.cycles)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" style="{_STYLE}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="13">{_text(title)}: {report.cycles:,} cycles, '
        f"{report.utilization:.1%} of the multipliers busy</text>",
    ]
    for row, unit in enumerate(Unit):
        y = _TOP + row * (_BAND + _GAP)
        parts.append(f'<text x="8" y="{y + _BAND / 2 + 4}">{unit.name.lower()}</text>')
        parts.append(f'<rect x="{_LEFT}" y="{y}" width="{_BINS}" height="{_BAND}" fill="{_IDLE}"/>')
        own = [i for i in report.intervals if i.unit == unit]
        working = _share([i for i in own if not i.waiting], report.cycles)
        waiting = _share([i for i in own if i.waiting], report.cycles)
        parts += _bars(y, np.zeros(_BINS), working, _WORKING)
        parts += _bars(y, working, waiting, _WAITING)
    bottom = _TOP + len(Unit) * (_BAND + _GAP)
    for number, layer in enumerate(report.layers):
        x = _LEFT + layer.end * scale
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{bottom}" stroke="#888" '
            f'stroke-width="0.5"><title>{_text(layer.output)}: {layer.cycles:,} cycles</title>'
            "</line>"
        )
        middle = _LEFT + (layer.start + layer.end) / 2 * scale
        if layer.cycles * scale > 14:
            parts.append(
                f'<text x="{middle:.1f}" y="{_TOP - 8}" text-anchor="middle" fill="#555">'
                f"{number}</text>"
            )
    parts += _axis(report.cycles, scale, bottom)
    parts.append(
        f'<text x="{_LEFT + _BINS}" y="{bottom + 42}" text-anchor="end" fill="#333">'
        "cycles; above, the numbers of the layers from 0</text>"
    )
    legend = ((_WORKING, "working"), (_WAITING, "waiting"), (_IDLE, "nothing to do"))
    for i, (color, text) in enumerate(legend):
        x = _LEFT + i * 90
        parts.append(f'<rect x="{x}" y="{bottom + 32}" width="12" height="12" fill="{color}"/>')
        parts.append(f'<text x="{x + 18}" y="{bottom + 42}">{text}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _text(name: str) -> str:
    """A name as XML may hold it."""
    return escape(printable(name))


def _share(intervals: Sequence[Interval], cycles: int) -> np.ndarray:
    """The share of each bin that ``intervals`` cover."""
    edges = np.linspace(0, max(1, cycles), _BINS + 1)
    covered = np.zeros(_BINS + 1)
    # cycles covered before each edge: each interval is a ramp
    for each in intervals:
        covered += np.clip(edges, each.start, each.end) - each.start
    return np.diff(covered) / np.diff(edges)


def _bars(y: int, base: np.ndarray, share: np.ndarray, color: str) -> list[str]:
    """Runs of bins of equal height as one rectangle each."""
    low = np.round(base * _BAND, 1)
    high = np.round(np.clip(base + share, 0, 1) * _BAND, 1)
    parts = []
    start = 0
    for end in range(1, _BINS + 1):
        if end < _BINS and low[end] == low[start] and high[end] == high[start]:
            continue
        if high[start] > low[start]:
            top = y + _BAND - high[start]
            parts.append(
                f'<rect x="{_LEFT + start}" y="{top:.1f}" width="{end - start}" '
                f'height="{high[start] - low[start]:.1f}" fill="{color}"/>'
            )
        start = end
    return parts


def _axis(cycles: int, scale: float, y: int) -> list[str]:
    step = 10 ** (len(str(max(1, cycles))) - 1)
    while cycles / step < 4 and step > 1:
        step //= 2
    return [
        f'<text x="{_LEFT + at * scale:.1f}" y="{y + 16}" text-anchor="middle" fill="#333">'
        f"{at:,}</text>"
        for at in range(0, cycles + 1, step)
    ]
