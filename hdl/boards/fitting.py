"""What fits an FPGA, and what would: configurations that were synthesized, with their models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgeinfer.errors import UnsupportedError
from edgeinfer.hdl.boards.families import FAMILIES, bitstreams
from edgeinfer.hdl.boards.family import Fpga
from edgeinfer.hdl.boards.synthesis import Resources
from edgeinfer.hdl.config import NpuConfig

__all__ = [
    "MeasuredNpu",
    "check_fit",
    "check_memories_fit",
    "check_multipliers_fit",
    "measured",
    "memory_beside",
]

_FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class MeasuredNpu:
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
            self.lookup_tables <= bitstreams(fpga).placeable * fpga.lookup_tables
            and self.flip_flops <= fpga.flip_flops
            and self.multipliers <= fpga.multipliers
            and self.memories <= fpga.memories
        )


@cache
def measured() -> Mapping[str, tuple[MeasuredNpu, ...]]:
    """By family."""
    document: dict[str, list[dict[str, Any]]] = json.loads(_FILE.read_text())
    return {
        family: tuple(MeasuredNpu(**{**each, "models": tuple(each["models"])}) for each in rows)
        for family, rows in document.items()
    }


def check_fit(fpga: Fpga, config: NpuConfig, resources: Resources) -> None:
    """Refuse what does not fit.

    Raises
    ------
    UnsupportedError
        The message says what is too much, what would fit, and what that holds.
    """
    over = [
        f"{name} ({used:,.0f} of {available:,})"
        for name, used, available in resources.beside(fpga)
        if used > available
    ]
    if over:
        raise _does_not_fit(fpga, config, ", ".join(over))


def check_multipliers_fit(fpga: Fpga, config: NpuConfig) -> None:
    """Refuse, before anything is generated, an NPU that multiplies more than the FPGA can.

    Raises
    ------
    UnsupportedError
        As ``check_fit``.
    """
    needed = FAMILIES[fpga.family].needed_multipliers(config)
    if needed > fpga.multipliers:
        raise _does_not_fit(fpga, config, f"multipliers ({needed:,.0f} of {fpga.multipliers})")


def check_memories_fit(fpga: Fpga, config: NpuConfig, host_bytes: int) -> None:
    """Refuse, before anything is generated, an NPU with more memory than the FPGA has in blocks.

    Parameters
    ----------
    fpga : Fpga
    config : NpuConfig
    host_bytes : int
        Of block memory for the host's.

    Raises
    ------
    UnsupportedError
        As ``check_fit``.
    """
    if host_bytes > memory_beside(fpga, config):
        raise _does_not_fit(
            fpga,
            config,
            f"block memories (buffer, weights and {host_bytes:,} bytes for the host's memory take "
            f"{config.buffer_bytes + config.weight_bytes + host_bytes:,} of "
            f"{_memory_bytes(fpga):,} bytes)",
        )


def memory_beside(fpga: Fpga, config: NpuConfig) -> int:
    """Bytes that buffer and weights leave of the block memory of ``fpga``; negative if too few."""
    return _memory_bytes(fpga) - config.buffer_bytes - config.weight_bytes


def _memory_bytes(fpga: Fpga) -> int:
    return fpga.memories * bitstreams(fpga).block_bytes


def _does_not_fit(fpga: Fpga, config: NpuConfig, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"{config.name} does not fit {fpga.name}: too many {what}; {_nearest(fpga)}"
    )


def _nearest(fpga: Fpga) -> str:
    """What to do instead, for a refusal: the largest configuration that fits ``fpga``."""
    rows = measured()[fpga.family]
    fitting = [each for each in rows if each.fits(fpga)]
    # every board's FPGA holds one of them
    best = max(fitting, key=lambda each: (each.macs, each.memories))
    holds = f", which holds {', '.join(best.models)}" if best.models else ""
    return f"export the model with the nearest that fits, --config {best.config}{holds}"
