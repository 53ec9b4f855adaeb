"""``edgeinfer hdl explore``: which NPU to build for a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeinfer.cli import screen
from edgeinfer.cli.cluster import dask_option, pool_at
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.hdl.options import Megahertz
from edgeinfer.cli.models import open_integer_model
from edgeinfer.cli.options import FILE, SVG
from edgeinfer.printable import one_line

if TYPE_CHECKING:
    from edgeinfer.hdl.explore import Estimate

__all__ = ["explore"]

_SHOWN = 12


@command(example="edgeinfer hdl explore digits.eqm --dsp 156 --bram 400 --largest 16")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@click.option("--dsp", metavar="N", type=click.IntRange(1), help="Multipliers of 18 x 18 bits.")
@click.option("--bram", metavar="KIB", type=click.IntRange(1), help="On-chip memory.")
@click.option(
    "--clock",
    metavar="MHZ",
    type=Megahertz(0, 100_000, min_open=True),
    default=100.0,
    show_default=True,
    help="For inferences a second.",
)
@click.option(
    "--largest",
    metavar="COLUMNS",
    type=click.IntRange(4, 256),
    default=256,
    show_default=True,
    help="Of the arrays that are tried.",
)
@click.option("--pareto", metavar="FILE.svg", type=SVG, help="Draw cycles over multipliers.")
@click.option("--roofline", metavar="FILE.svg", type=SVG, help="Draw the best NPU's layers.")
@dask_option("Try NPUs")
def explore(
    model: Path,
    dsp: int | None,
    bram: int | None,
    clock: float,
    largest: int,
    pareto: Path | None,
    roofline: Path | None,
    dask: str | None,
) -> Report:
    """Find the NPU for MODEL.eqm and a budget.

    What the model takes is predicted for NPUs of all sizes, by the compiler's model of cycles, and
    the best that fits is named. edgeinfer hdl simulate measures one of them.
    """
    from edgeinfer.files.atomic_write import atomic_write, check_distinct, check_writable
    from edgeinfer.hdl.explore import Budget
    from edgeinfer.hdl.explore import explore as explored
    from edgeinfer.hdl.explore.pictures import front_svg, front_text, roofline_svg
    from edgeinfer.pools import Processes

    check_distinct(pareto, roofline)
    for path in (pareto, roofline):
        if path is not None:
            check_writable(path, model)
    graph = open_integer_model(model)
    budget = Budget(dsp, None if bram is None else 1024 * bram)
    alone = Processes(os.cpu_count() or 1)
    with pool_at(dask, alone) as pool, screen.progress() as done:
        found = explored(
            graph,
            budget,
            largest=largest,
            pool=pool,
            progress=lambda count, total: done("exploring", count, total),
        )
    best, front = found.best, found.front
    name = one_line(model.name)
    written = []
    if pareto is not None:
        atomic_write(pareto, front_svg(found, f"{name}: which NPU").encode())
        written.append(pareto)
    if roofline is not None:
        atomic_write(roofline, roofline_svg(best, f"{name} on {best.config.name}").encode())
        written.append(roofline)
    shown = front[:_SHOWN]
    hidden = len(front) - len(shown)
    return Report(
        {
            "model": str(model),
            "tried": len(found.estimates),
            "affordable": len(found.affordable),
            "best": _described(best, clock),
            "front": [_described(each, clock) for each in front],
        },
        [
            *front_text(found, 78).splitlines(),
            "",
            screen.table(
                ("array", "lanes", "cycles", "busy", "DSPs", "memory", "traffic", "a second"),
                [_row(each, clock, best) for each in shown],
                left=1,
            ),
            "",
            *screen.pairs(
                [
                    (
                        "tried",
                        f"{len(found.estimates)}, {len(found.affordable)} of them affordable",
                    ),
                    *(
                        [("not shown", f"{hidden} more that none beats, slower and smaller")]
                        if hidden
                        else []
                    ),
                ]
            ),
            "",
            f"best: --config {best.config.text}",
            *([""] if written else []),
            *(f"wrote {path}" for path in written),
        ],
    )


def _row(each: Estimate, clock: float, best: Estimate) -> tuple[str, ...]:
    return (
        each.config.name + (" *" if each is best else ""),
        f"{each.config.lanes}",
        f"{each.cycles:,}",
        f"{each.utilization:.0%}",
        f"{each.multipliers:,}",
        f"{each.memory_bytes / 1024:,.0f} KiB",
        f"{each.traffic / 1024:,.0f} KiB",
        f"{each.rate(clock):,.0f}",
    )


def _described(each: Estimate, clock: float) -> dict[str, Any]:
    return {
        "config": each.config.text,
        "array": each.config.name,
        "lanes": each.config.lanes,
        "buffer_bytes": each.config.buffer_bytes,
        "weight_bytes": each.config.weight_bytes,
        "parameter_rows": each.config.parameter_rows,
        "cycles": each.cycles,
        "utilization": each.utilization,
        "multipliers": each.multipliers,
        "memory_bytes": each.memory_bytes,
        "traffic_bytes": each.traffic,
        "inferences_per_second": each.rate(clock),
    }
