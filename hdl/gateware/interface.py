"""What the blocks of the NPU say to each other: instructions, memory ports, units' control."""

from __future__ import annotations

from amaranth.hdl import signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig

__all__ = [
    "ADDRESS_BITS",
    "INSTRUCTION_BITS",
    "AccumulatorPort",
    "BeatWrite",
    "ReadRequest",
    "UnitControl",
    "WordWrite",
    "fields_of",
    "record_layout",
]

INSTRUCTION_BITS = 8 * isa.INSTRUCTION_BYTES
ADDRESS_BITS = 20
"""Of every word address, as in the instructions; memories use the lower bits."""


def fields_of(instruction: type[isa.Instruction]) -> data.StructLayout:
    """The layout of an instruction's fields, the opcode first; counts are stored less one."""
    members: dict[str, object] = {"opcode": unsigned(isa.OPCODE_BITS)}
    for name, field in isa.fields(instruction).items():
        members[name] = (signed if field.signed else unsigned)(field.bits)
    return data.StructLayout(members)


def record_layout(config: NpuConfig) -> data.StructLayout:
    """One channel's record of the parameter memory."""
    return data.StructLayout(
        {
            "bias": signed(config.accumulator_bits),
            "multiplier": unsigned(31),
            "shift": unsigned(6),
            "spare": unsigned(8 * config.parameter_bytes - config.accumulator_bits - 37),
        }
    )


class UnitControl(wiring.Signature):
    """A unit as the sequencer sees it.

    Members
    -------
    command : stream of 128 bits
        The unit's instructions in order, never a SYNC; taken when the unit can begin.
    completed : Out(1)
        High for a cycle for each instruction (or group) that is complete, its last word at the
        latest being written in that cycle: who waits for it begins two cycles later or more.
    busy : Out(1)
        Something is being done or on its way; low when the last effect is being made.
    waiting : Out(1)
        Busy, but without progress in this cycle: for want of weights, of room, of the bus.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "command": In(stream.Signature(INSTRUCTION_BITS)),
                "completed": Out(1),
                "busy": Out(1),
                "waiting": Out(1),
            }
        )


class ReadRequest(wiring.Signature):
    """A read of the buffer that may have to wait: data follow ``READ_LATENCY`` cycles after it.

    Members
    -------
    valid, ready : Out(1), In(1)
        The request and its acceptance, as in a stream.
    address : Out(20)
        The word.
    data : In
        The word that was accepted ``READ_LATENCY`` cycles before.
    """

    def __init__(self, config: NpuConfig) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "address": Out(ADDRESS_BITS),
                "data": In(config.columns * config.width),
            }
        )


class WordWrite(wiring.Signature):
    """A write of a word of ``bits`` that the memory takes at once.

    Members
    -------
    enable : Out(1)
    address : Out(20)
    data : Out(bits)
    """

    def __init__(self, bits: int) -> None:
        super().__init__({"enable": Out(1), "address": Out(ADDRESS_BITS), "data": Out(bits)})


class BeatWrite(wiring.Signature):
    """A write of a word of ``bits`` that may have to wait, as in a stream.

    Members
    -------
    valid, ready : Out(1), In(1)
    address : Out(20)
    data : Out(bits)
    """

    def __init__(self, bits: int) -> None:
        super().__init__(
            {"valid": Out(1), "ready": In(1), "address": Out(ADDRESS_BITS), "data": Out(bits)}
        )


class AccumulatorPort(wiring.Signature):
    """The activate unit's view of the accumulators.

    Members
    -------
    full : In(1)
        The oldest filled half may be read.
    address : Out
        The word of it to read; its sums follow two cycles later.
    data : In
        One signed sum of ``accumulator_bits`` a column.
    release : Out(1)
        High for a cycle: the half has been read; the next filled one takes its place.
    """

    def __init__(self, config: NpuConfig) -> None:
        super().__init__(
            {
                "full": In(1),
                "address": Out(range(config.accumulator_depth)),
                "data": In(data.ArrayLayout(signed(config.accumulator_bits), config.columns)),
                "release": Out(1),
            }
        )
