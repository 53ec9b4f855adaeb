"""The mixtures that were measured: the Pareto front, and the one that a goal asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from edgeinfer.errors import InputError
from edgeinfer.quant.choose_types import Choice
from edgeinfer.quant.goals import Goal
from edgeinfer.quant.mixtures.quality import Quality
from edgeinfer.quant.rounding.choice import Rounded
from edgeinfer.quant.search import MAX_RUNS

__all__ = ["Mixture", "Point", "by_latency"]


@dataclass(frozen=True)
class Point:
    """One mixture of widths, as ``quantize`` makes it of ``scheme`` and ``overrides``.

    Parameters
    ----------
    scheme, overrides
        The options of ``quantize`` that make it.
    wide : int
        How many of the groups that may have either width have 16 bits.
    latency : float
        How many times int8's, by the model of ``costs.py``; where the goal has a clock, how many
        times the least of all, by that.
    memory : int
        Bytes of constants, and the most of values alive at once, together.
    quality : Quality
        How good it is.
    time : float, or None
        Of a run, where the goal asks for it: by its clock, or the least on this machine in
        microseconds.
    choice : Choice
        Its types.
    rounded : Rounded
        Its weights.
    """

    scheme: str
    overrides: Mapping[str, str]
    wide: int
    latency: float
    memory: int
    quality: Quality
    time: float | None
    choice: Choice = field(repr=False, compare=False)
    rounded: Rounded = field(repr=False, compare=False)

    def meets(self, goal: Goal) -> bool:
        """Whether it is what ``goal`` allows, as far as it shows by itself."""
        if goal.max_drop is not None:
            return self.quality.drop <= goal.max_drop
        if goal.min_sqnr is not None:
            return self.quality.sqnr_db >= goal.min_sqnr
        if goal.max_latency is not None:
            return self.time is not None and self.time <= goal.max_latency
        return goal.max_bytes is not None and self.memory <= goal.max_bytes

    def beats(self, other: Point) -> bool:
        """Whether it is better than ``other`` in something, and worse in nothing."""
        mine, theirs = self._losses(), other._losses()
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))

    def _losses(self) -> tuple[float, ...]:
        times = (self.latency, self.time or 0.0)
        return (*times, self.memory, -self.quality.sqnr_db, self.quality.drop)


@dataclass(frozen=True)
class Mixture:
    """What was measured, and what was chosen of it.

    Parameters
    ----------
    points : tuple of Point
        All, by latency.
    goal : Goal
        What was asked for.
    free : int
        How many groups may have either width.
    left_out : tuple of str
        Why the target of the goal's clock cannot run the others, for each one.
    """

    points: tuple[Point, ...]
    goal: Goal
    free: int
    left_out: tuple[str, ...] = ()

    @property
    def front(self) -> tuple[Point, ...]:
        """Those that none beats, by latency."""
        return tuple(p for p in self.points if not any(other.beats(p) for other in self.points))

    @property
    def chosen(self) -> Point:
        """The cheapest that meets a goal of accuracy; the most accurate within a limit.

        Raises
        ------
        InputError
            None meets it; the message says what could be had.
        """
        met = [p for p, drop in self._likely() if p.meets(self.goal) and self._allows(drop)]
        if not met:
            raise InputError(self._refusal())
        if self.goal.is_limit:
            return min(met, key=_by_quality)
        return min(met, key=_by_cost)

    @property
    def notes(self) -> list[str]:
        """What a user should know of the choice."""
        allowed, samples = self.goal.max_drop, self.chosen.quality.all_samples
        if not allowed or allowed * samples >= 1:
            return []
        needed = math.ceil(1 / allowed)
        # calibration keeps no more runs, however many it is given
        advice = f"; give {needed} or more"
        if needed > MAX_RUNS:
            advice = (
                f", and no more than {MAX_RUNS} runs judge mixtures; evaluate the result on "
                f"{needed} others or more"
            )
        what = f"{samples} samples cannot show that {100 * allowed:.3g} % change their class"
        return [what + advice]

    def _likely(self) -> list[tuple[Point, float]]:
        """Each with the share of samples that is likely to have another class.

        The share falls as decibels rise. Where the few samples say otherwise, that is their luck,
        and neighbours have their mean: the least squares of shares that do not rise, by pooling
        adjacent violators (Ayer et al. 1955).
        """
        blocks: list[list[float]] = []
        ordered = sorted(self.points, key=lambda p: p.quality.sqnr_db)
        for point in ordered:
            blocks.append([point.quality.drop])
            while len(blocks) > 1 and fmean(blocks[-2]) < fmean(blocks[-1]):
                blocks[-2:] = [blocks[-2] + blocks[-1]]
        means = [fmean(block) for block in blocks for _ in block]
        return list(zip(ordered, means, strict=True))

    def _allows(self, drop: float) -> bool:
        return self.goal.max_drop is None or drop <= self.goal.max_drop + 1e-9

    def _refusal(self) -> str:
        asked = f"no mixture of 8 and 16 bits has {self.goal}"
        if self.goal.max_drop is not None:
            likely = [(max(drop, p.quality.drop), p.latency, p) for p, drop in self._likely()]
            share, _, best = min(likely, key=lambda each: each[:2])
            what = f"{100 * share:.3g} % with another class"
        elif self.goal.min_sqnr is not None:
            best = max(self.points, key=lambda p: (p.quality.sqnr_db, -p.latency))
            what = f"{best.quality.sqnr_db:.1f} dB"
        elif self.goal.max_latency is not None:
            best = min(self.points, key=_time)
            what = self.goal.counted(_time(best))
        else:
            best = min(self.points, key=lambda p: (p.memory, p.latency))
            what = f"{best.memory:,} bytes"
        found = f"{asked}; the best, {self.named(best)}, has {what}"
        if self.left_out and self.goal.clock is not None:
            found += f"; {len(self.left_out)} more do not run on {self.goal.clock.where}"
        return found

    def short(self, point: Point) -> str:
        """A mixture's name: its scheme, or how many groups have 16 bits."""
        if not 0 < point.wide < self.free:
            return point.scheme
        weights = ", weights too" if point.scheme == "int16" else ""
        return f"{point.wide} of {self.free}{weights}"

    def named(self, point: Point) -> str:
        """The same in a sentence."""
        if not 0 < point.wide < self.free:
            return point.scheme
        weights = ", weights behind them too" if point.scheme == "int16" else ""
        return f"with {point.wide} of {self.free} values in 16 bits{weights}"


def _time(point: Point) -> float:
    assert point.time is not None
    return point.time


def _by_cost(point: Point) -> tuple[float, ...]:
    return point.latency, point.memory, -point.quality.sqnr_db, point.quality.drop


def _by_quality(point: Point) -> tuple[float, ...]:
    times = point.time or 0.0, point.latency
    return point.quality.drop, -point.quality.sqnr_db, *times, point.memory


def by_latency(points: Sequence[Point]) -> tuple[Point, ...]:
    """In the order of a front."""
    return tuple(sorted(points, key=_by_cost))
