"""What the scheme ``auto`` measured and chose, as ``quantize`` shows it; its options."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import RenderableType

from edgeinfer.cli import screen
from edgeinfer.cli.options import SVG

if TYPE_CHECKING:
    from edgeinfer.quant.mixtures import Mixture, Point

__all__ = ["described", "goal_options", "shown"]

F = TypeVar("F", bound=Callable[..., Any])


def _share(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Per cent as a share: without the sign nobody knows which of the two it is."""
    if value is None:
        return None
    number, sign, rest = value.partition("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = -1.0
    if not sign or rest or not 0 <= share < 1:
        raise click.BadParameter(f"{value!r} is not of the form 0.5%, from 0% to below 100%")
    return share


def goal_options(function: F) -> F:
    """The four goals of the scheme ``auto``, handed on as ``goals`` by name, ``npu``, which counts
    for them, and ``front``."""

    @functools.wraps(function)
    def bundled(
        *,
        max_drop: float | None,
        min_sqnr: float | None,
        max_latency: float | None,
        max_bytes: int | None,
        **arguments: Any,
    ) -> Any:
        given = {
            "max_drop": max_drop,
            "min_sqnr": min_sqnr,
            "max_latency": max_latency,
            "max_bytes": max_bytes,
        }
        goals = {name: value for name, value in given.items() if value is not None}
        return function(goals=goals, **arguments)

    for option in (
        click.option(
            "--front",
            metavar="FILE.svg",
            type=SVG,
            help="Draw what --scheme auto measured: decibels over latency.",
        ),
        click.option(
            "--npu",
            metavar="CONFIG",
            help="Count latency in the cycles that this NPU, such as 8x8-16, is predicted to take, "
            "--max-latency too, and leave out what it cannot run.",
        ),
        click.option(
            "--max-bytes",
            metavar="N",
            type=click.IntRange(1),
            help="The best within so many bytes of constants and of values alive at once.",
        ),
        click.option(
            "--max-latency",
            metavar="MICROSECONDS",
            type=click.FloatRange(0, min_open=True),
            help="The best that runs in this time here, on one thread, as timed on this machine; "
            "with --npu, in so many cycles.",
        ),
        click.option(
            "--min-sqnr",
            metavar="DB",
            type=float,
            help="The fastest that has so many dB at every output.",
        ),
        click.option(
            "--max-drop",
            metavar="0.5%",
            callback=_share,
            help="The fastest that changes the class of no more samples: --scheme auto has one of "
            "these four goals.",
        ),
    ):
        bundled = option(bundled)
    return bundled  # type: ignore[return-value]


def shown(found: Mixture) -> list[RenderableType]:
    """The front as a table, and why the chosen one was."""
    chosen, front = found.chosen, found.front
    timed, counted = found.goal.is_timed, chosen.quality.all_samples > 0
    headings = ["16 bits", "latency", "memory", "SQNR"]
    headings += ["here" if found.goal.clock is None else found.goal.unit] * timed
    headings += ["other class"] * counted
    beaten = len(found.points) - len(front)
    which = "most accurate" if found.goal.is_limit else "fastest"
    return [
        screen.table(headings, [_row(found, p, timed, counted) for p in front], left=1),
        "",
        f"measured {len(found.points)} mixtures, of which others beat {beaten}; latency is the",
        f"{_latency(found)}; SQNR is the worst output's",
        *_left_out(found),
        "",
        f"chosen: {found.named(chosen)},",
        f"the {which} with {found.goal}; the same by",
        f"--scheme {chosen.scheme}",
        *(f"--override {pattern}={width}" for pattern, width in chosen.overrides.items()),
        "",
    ]


def _latency(found: Mixture) -> str:
    if found.goal.clock is None:
        return "model of kernels', of int8's"
    return f"predicted one on {found.goal.clock.where}, of the least"


def _left_out(found: Mixture) -> list[str]:
    if found.goal.clock is None or not found.left_out:
        return []
    return ["", f"{len(found.left_out)} more do not run on {found.goal.clock.where}"]


def _row(found: Mixture, point: Point, timed: bool, counted: bool) -> list[str]:
    quality = point.quality
    cells = [
        found.short(point) + (" *" if point is found.chosen else ""),
        f"{point.latency:.2f}x",
        screen.kib(point.memory),
        screen.in_decibels(quality.sqnr_db),
    ]
    if timed:
        is_here = found.goal.clock is None
        cells.append(f"{point.time:,.1f} µs" if is_here else f"{point.time:,.0f}")
    if counted:
        cells.append(f"{quality.all_differing} of {quality.all_samples}")
    return cells


def described(found: Mixture) -> dict[str, Any]:
    """The same as JSON."""
    chosen = found.chosen
    return {
        "goal": str(found.goal),
        "npu": None if found.goal.clock is None else found.goal.clock.where,
        "left_out": list(found.left_out),
        "choosable": found.free,
        "chosen": _described(found, chosen),
        "front": [_described(found, point) for point in found.front],
        "measured": [_described(found, point) for point in found.points],
    }


def _described(found: Mixture, point: Point) -> dict[str, Any]:
    quality = point.quality
    return {
        "scheme": point.scheme,
        "overrides": dict(point.overrides),
        "wide": point.wide,
        "latency": point.latency,
        "bytes": point.memory,
        "microseconds": None if found.goal.clock is not None else point.time,
        "cycles": None if found.goal.clock is None else point.time,
        "sqnr_db": quality.sqnr_db,
        "other_class": {
            "held_back": [quality.differing, quality.samples],
            "all": [quality.all_differing, quality.all_samples],
        },
    }
