"""A configuration into numbers and a block diagram, for readers."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.hdl.config import BANKS, NpuConfig

__all__ = ["MemorySize", "block_diagram", "memories", "multipliers", "multipliers_18x18"]


@dataclass(frozen=True)
class MemorySize:
    """A memory of the NPU.

    Parameters
    ----------
    name : str
    organization : str
        Parts, depth and width, as ``4 x 1280 x 128``.
    bits : int
    """

    name: str
    organization: str
    bits: int


def memories(config: NpuConfig) -> list[MemorySize]:
    """Every memory of an NPU, registers left out."""
    word = config.columns * config.width
    sums = config.columns * config.accumulator_bits
    record = config.lanes * 8 * config.parameter_bytes
    parts = [
        ("buffer", BANKS, config.buffer_words // BANKS, word),
        ("weights", config.weight_port, config.weight_tiles * config.weight_reads, word),
        ("parameters", 1, config.parameter_rows, record),
        ("accumulators", 2, config.accumulator_depth, sums),
    ]
    if config.tables:
        entry = (256, 8) if config.width == 8 else (512, 32)
        parts.append(("table", config.lanes, *entry))
    return [
        MemorySize(name, f"{count} x {depth} x {width}", count * depth * width)
        for name, count, depth, width in parts
    ]


def multipliers(config: NpuConfig) -> dict[str, str]:
    """How many multipliers of which widths the blocks have."""
    found = {
        "array": f"{config.macs} of {config.width} x {config.width} bits",
        "lanes": f"{config.lanes} of {config.accumulator_bits} x 32 bits",
    }
    if config.reductions:
        found["reductions"] = "1 of 34 x 34 bits"
    return found


def multipliers_18x18(config: NpuConfig) -> int:
    """Multipliers of 18 x 18 bits, as FPGAs have them.

    A cell takes one, a lane three, or five where the accumulators have 40 bits, and reductions
    take four.
    """
    lane = 3 if config.accumulator_bits == 32 else 5
    return config.macs + config.lanes * lane + 4 * config.reductions


def block_diagram(config: NpuConfig) -> str:
    """The blocks of an NPU and what flows between them in a cycle; 76 columns wide."""
    held = {m.name: m.bits / 8192 for m in memories(config)}
    port = config.weight_port * config.word_bytes
    pace = "a word a cycle" if config.steps == 1 else f"a word in {config.steps} cycles"
    return _DRAWING.format(
        bus=f"{config.bus_bytes} bytes a cycle",
        weights=f"weights, {held['weights']:.0f} KiB",
        array=f"array, {config.rows} x {config.columns} cells",
        buffer=f"buffer, {held['buffer']:.0f} KiB",
        sums=f"sums, 2 x {config.accumulator_depth} words",
        lanes=f"{config.lanes} lanes",
        pace=pace,
        parameters=f"parameters, {held['parameters']:.0f} KiB",
        port=f"{port} bytes",
    )


_DRAWING = """\
 host memory (AXI4, {bus})            host (AXI4-Lite)
   |                                             |
   |      +------------------------+      +------------------------+
   |----->|{parameters:^24}|      |       sequencer        |
   |      +------------------------+      +------------------------+
   |          | bias, multiplier
   |          v
   |      +------------------------+      +------------------------+
   |      |{lanes:^24}|<-----|{sums:^24}|
   |      |{pace:^24}|      +------------------------+
   |      +------------------------+                  ^
   |          | results  ^ second operand             |
   |          v          |                            |
   |      +------------------------+      +------------------------+
   |<---->|{buffer:^24}|----->|{array:^24}|
   |      +------------------------+      +------------------------+
   |                                                  ^
   |      +------------------------+                  |
   |----->|{weights:^24}|------------------+
          +------------------------+   {port} a cycle
"""
