"""The NPU's rules of what takes several layers: PRelu in two parts, resizing by patterns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeinfer.arithmetic.accumulators import folded_bias, largest_resized, reach
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.layers import Grid, Region, Second
from edgeinfer.hdl.compiler.rules.computing import bounds, requantizing
from edgeinfer.hdl.compiler.rules.registry import PHASES, NpuSite, rule
from edgeinfer.hdl.isa import Operation

_SHARES = 8
"""Weights of the array, at most, that add up to one of a resize."""

_FARTHEST = min(isa.fields(isa.SetKernel)["emit"].high, isa.fields(isa.SetSource)["stride"].high)


@rule(ops.QPRelu, where="a factor a channel; none below 0 where it rounds twice")
def _prelu(op: ops.QPRelu, site: NpuSite) -> None:
    factor, shift = (_each_channel(site, role) for role in ("multiplier", "shift"))
    if op.rounding == "double" and (factor < 0).any():
        raise site.refuse("rounds twice with a factor below 0, where signs are the weights'")
    zero = int(np.clip(op.output_zero_point, op.lo, op.hi))
    bounded, ones = requantizing(op), np.ones(site.channels, np.int64)
    # either part is zero where the other is not
    positive = site.make("positive part", site.source_geometry)
    site.add(
        site.filter(
            output=positive,
            bias=-op.input_zero_point * ones,
            multiplier=op.multiplier * ones,
            shift=op.shift * ones,
            **bounded | {"lo": zero},
        )
    )
    source = site.source
    if (factor >= 0).all():
        bounded |= {"hi": zero}
    elif (factor <= 0).all():
        bounded |= {"lo": zero}
    else:
        source = site.make("negative numbers", site.source_geometry)
        least = bounds(site.type("x"))[0]
        site.add(site.filter(output=source, lo=least, hi=op.input_zero_point))
    signs = np.where(factor < 0, -1, 1)
    site.add(
        site.filter(
            source=source,
            weights=signs.reshape(-1, 1, 1, 1),
            bias=-op.input_zero_point * signs,
            multiplier=np.abs(factor),
            shift=shift,
            second=Second(positive, None, Operation.ADD, _plain_sum(op, zero), False),
            **bounded,
        )
    )


def _each_channel(site: NpuSite, role: str) -> np.ndarray:
    """A constant, int64 [C], that has one number, or one a channel, or these for every pixel."""
    values = site.constant(role).astype(np.int64)
    pixels = values.reshape(-1, 1 if values.size == 1 else site.channels)
    if (pixels != pixels[0]).any():
        raise site.refuse(
            "has factors that differ from pixel to pixel; the lanes have one a channel"
        )
    return np.broadcast_to(pixels[0], site.channels)


def _plain_sum(op: ops.Requantizing, zero: int) -> ops.QAdd:
    """The sum of two integers as they are, of which the first has ``zero`` added."""
    one, exact = 1 << 30, 30  # R of these is the integer itself
    return ops.QAdd(
        lo=op.lo,
        hi=op.hi,
        rounding=op.rounding,
        a_zero_point=zero,
        left_shift=15,
        a_multiplier=one,
        a_shift=exact,
        b_multiplier=one,
        b_shift=exact,
        multiplier=one,
        shift=exact + 15,
    )


@rule(ops.QResize, where=f"rows and columns of {PHASES} patterns at most, of small weights")
def _resize(op: ops.QResize, site: NpuSite) -> None:
    """A filter for all rows and columns that are made alike."""
    rows, columns = (
        _alike(site, site.constant(f"first_{side}s"), site.constant(f"{side}_weights"))
        for side in ("row", "column")
    )
    distance = reach(site.type("x").dtype, op.input_zero_point)
    weights = (site.constant("row_weights"), site.constant("column_weights"))
    if max(largest_resized(*weights, distance)) >= 2 ** (site.config.accumulator_bits - 1):
        raise site.refuse(f"sums up beyond the {site.config.accumulator_bits} bits of the lanes")
    ones = np.ones(site.channels, np.int64)
    most = _SHARES * site.config.largest_weight
    for row in rows:
        for column in columns:
            kernel = np.outer(row.weights, column.weights)
            if np.abs(kernel).max() > most:
                raise site.refuse(
                    f"weighs by {np.abs(kernel).max()}; the NPU takes {most} at most, as the sum "
                    f"of {_SHARES} weights"
                )
            filters = np.tile(kernel, (site.channels, 1, 1))[..., None]
            site.add(
                site.filter(
                    kernel=kernel.shape,
                    strides=(row.step, column.step),
                    pads=(-row.first, -column.first),
                    weights=filters,
                    bias=folded_bias(filters, 0 * ones, op.input_zero_point),
                    multiplier=op.multiplier * ones,
                    shift=op.shift * ones,
                    region=Region(0, 0, row.count, column.count),
                    grid=Grid(row.place, column.place, row.apart, column.apart),
                    **requantizing(op),
                )
            )


@dataclass(frozen=True)
class _Alike:
    """Rows, or columns, of a resized image that neighbours make by the same weights.

    Parameters
    ----------
    place, apart, count : int
        The first of them, from one to the next, and how many.
    first, step : int
        The first neighbour's place in the source; from one to the next.
    weights : int64 [taps]
    """

    place: int
    apart: int
    count: int
    first: int
    step: int
    weights: np.ndarray


def _alike(site: NpuSite, first: np.ndarray, weights: np.ndarray) -> list[_Alike]:
    """All rows or columns in the fewest sets found."""
    neighbours = []
    for start, own in zip(first.tolist(), weights.astype(np.int64), strict=True):
        used = np.flatnonzero(own) if own.any() else np.array([0])
        neighbours.append((start + int(used[0]), own[used[0] : used[-1] + 1]))
    choices = [
        [each for phase in range(apart) for each in _runs(neighbours, phase, apart)]
        for apart in range(1, min(PHASES, len(neighbours)) + 1)
    ]
    fewest = min(choices, key=len)
    if len(fewest) > PHASES:
        raise site.refuse(
            f"makes rows or columns by {len(fewest)} patterns of weights; the NPU takes {PHASES} "
            "at most"
        )
    return fewest


def _runs(neighbours: Sequence[tuple[int, np.ndarray]], phase: int, apart: int) -> Iterator[_Alike]:
    """Every ``apart``-th from ``phase`` on, cut where weights or steps change."""
    run: _Alike | None = None
    for place in range(phase, len(neighbours), apart):
        first, weights = neighbours[place]
        if run is not None:
            step = first - run.first - (run.count - 1) * run.step
            # several taps slide, and no further than fetches of one row say
            moves = step in (range(1, _FARTHEST + 1) if len(weights) > 1 else range(_FARTHEST + 1))
            in_step = moves and (run.count == 1 or step == run.step)
            if in_step and np.array_equal(weights, run.weights):
                run = replace(run, count=run.count + 1, step=step)
                continue
            yield run
        run = _Alike(place, apart, 1, first, 1, weights)
    if run is not None:
        yield run
