"""``edgeinfer hdl info``: what a configuration of the NPU consists of."""

from __future__ import annotations

import dataclasses

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.hdl.options import config_option

__all__ = ["info"]


@command(example="edgeinfer hdl info --config 8x16")
@config_option
def info(config: str) -> Report:
    """Show the memories, multipliers and blocks of an NPU."""
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
            screen.pairs(
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
            block_diagram(chosen),
        ],
    )
