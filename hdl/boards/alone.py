"""An NPU and its serial line without a board's pins and clock, synthesized to be counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from amaranth.back import rtlil

from edgeinfer.hdl.boards.design import LEAST_CYCLES_PER_BIT, LEAST_MEMORY
from edgeinfer.hdl.boards.family import TOP
from edgeinfer.hdl.boards.synthesis import Resources, check_multipliers, synthesize
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.names import plain_rtlil
from edgeinfer.hdl.gateware.serial_npu import SerialNpu

__all__ = ["synthesize_alone"]


def synthesize_alone(
    config: NpuConfig,
    family: str,
    folder: Path,
    *,
    progress: Callable[[int], None] = lambda passes: None,
) -> Resources:
    """Make a netlist of an NPU behind a serial line with the least memory, and without pins.

    Raises
    ------
    MissingExtraError
        pyosys is not installed.
    ToolError
        Yosys has failed, or the netlist has other multipliers than ``config``.
    """
    alone = SerialNpu(config, LEAST_MEMORY, LEAST_CYCLES_PER_BIT, b"")
    text = rtlil.convert(alone, name=TOP, emit_src=False)
    (folder / f"{TOP}.il").write_text(plain_rtlil(text))
    found = synthesize(family, TOP, f"{TOP}.il", folder, progress=progress)
    check_multipliers(family, config, found)
    return found
