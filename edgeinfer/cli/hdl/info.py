"""``edgeinfer hdl info``: what a configuration of the NPU consists of."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.hdl.options import config_option
from edgeinfer.cli.options import FILE

__all__ = ["info"]


@command(example="edgeinfer hdl info --config 8x16")
@click.argument("model", metavar="[MODEL.eqm]", type=FILE, required=False)
@config_option
@click.option(
    "--operators", is_flag=True, help="Show what runs on it, what the host does, and why."
)
def info(model: Path | None, config: str, operators: bool) -> Report:
    """Show the memories, multipliers and blocks of an NPU.

    With --operators instead which operators run on it, or which nodes of MODEL.eqm.
    """
    if operators:
        from edgeinfer.cli.hdl.sides import of_model, of_operators

        return of_operators() if model is None else of_model(model, config)
    if model is not None:
        raise click.UsageError("MODEL.eqm is for --operators alone")
    from edgeinfer.hdl.config import configuration
    from edgeinfer.hdl.summary import (
        block_diagram,
        memories,
        multipliers,
        multipliers_18x18,
    )

    chosen = configuration(config)
    held = memories(chosen)
    total = sum(m.bits for m in held) // 8
    products = multipliers(chosen)
    return Report(
        {
            "config": chosen.text,
            **dataclasses.asdict(chosen),
            "macs_per_cycle": chosen.macs,
            "memories": [dataclasses.asdict(m) for m in held],
            "memory_bytes": total,
            "multipliers": products,
            "multipliers_18x18": multipliers_18x18(chosen),
        },
        [
            screen.table(
                ("memory", "parts x depth x bits", "bytes"),
                [(m.name, m.organization, f"{m.bits // 8:,}") for m in held]
                + [("together", "", f"{total:,}")],
            ),
            "",
            *screen.pairs(
                [
                    ("MACs a cycle", f"{chosen.macs}"),
                    *((f"multipliers, {name}", text) for name, text in products.items()),
                    ("on an FPGA", f"{multipliers_18x18(chosen)} of 18 x 18 bits"),
                    ("element", f"{chosen.width} bits"),
                    ("word", f"{chosen.columns} elements"),
                    ("lanes", f"{chosen.lanes}, a word in {chosen.steps} cycles"),
                ]
            ),
            "",
            *block_diagram(chosen).splitlines(),
        ],
    )
