"""What would fit an FPGA: configurations that were synthesized, and the models that each holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgeinfer.hdl.boards.board import Fpga

__all__ = ["Measured", "measured", "nearest"]

_PLACEABLE = 0.85
"""The share of an FPGA's lookup tables beyond which nextpnr takes hours, or gives up."""

_FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Measured:
    """A configuration as ``benchmarks/npu_resources.py`` found it.

    Parameters
    ----------
    config : str
        As ``configuration`` takes it.
    macs : int
    lookup_tables, flip_flops, multipliers, memories : float
        With a serial line and 8 KiB for host memory.
    models : tuple of str
        Of MLPerf Tiny, those whose inference runs without host memory.
    """

    config: str
    macs: int
    lookup_tables: float
    flip_flops: float
    multipliers: float
    memories: float
    models: tuple[str, ...]

    def fits(self, fpga: Fpga) -> bool:
        """Whether ``fpga`` has all that it takes, and room to place it."""
        return (
            self.lookup_tables <= _PLACEABLE * fpga.lookup_tables
            and self.flip_flops <= fpga.flip_flops
            and self.multipliers <= fpga.multipliers
            and self.memories <= fpga.memories
        )


@cache
def measured() -> Mapping[str, tuple[Measured, ...]]:
    """By family."""
    document: dict[str, list[dict[str, Any]]] = json.loads(_FILE.read_text())
    return {
        family: tuple(Measured(**{**each, "models": tuple(each["models"])}) for each in rows)
        for family, rows in document.items()
    }


def nearest(fpga: Fpga) -> str:
    """What to do instead, for a refusal: the largest configuration that fits ``fpga``."""
    rows = measured()[fpga.family]
    fitting = [each for each in rows if each.fits(fpga)]
    if not fitting:
        least = min(rows, key=lambda each: each.lookup_tables)
        return (
            f"no NPU fits it: the smallest that was tried, {least.config}, takes "
            f"{least.lookup_tables / fpga.lookup_tables:.1f} times its lookup tables"
        )
    best = max(fitting, key=lambda each: (each.macs, each.memories))
    holds = f", which holds {', '.join(best.models)}" if best.models else ""
    return f"export the model with the nearest that fits, --config {best.config}{holds}"
