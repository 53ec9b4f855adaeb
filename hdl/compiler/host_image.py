"""Where a program's parts lie in host memory, and what stands there before the first run."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.program import Program

__all__ = ["HostImage", "Section", "inference_memory"]

_ALIGNMENT = 64
_SPARE = 4096
"""Bytes behind all: instructions are fetched ahead."""


@dataclass(frozen=True)
class Section:
    """One of a Program's lists of instructions: what PROGRAM and LENGTH are set to.

    Parameters
    ----------
    offset : int
        Bytes from the base address.
    length : int
        Instructions.
    """

    offset: int
    length: int


def inference_memory(program: Program) -> tuple[bytes, Section]:
    """Host memory while ``infer`` runs, and where its instructions are: they alone where all else
    is on the chip.
    """
    if program.streams:
        memory = HostImage.of(program, "infer")
        return memory.content, memory.sections["infer"]
    return isa.to_bytes(program.infer), Section(0, len(program.infer))


@dataclass(frozen=True)
class HostImage:
    """The constants first, then inputs, outputs and what does not stay on the chip, then programs.

    Parameters
    ----------
    content : bytes
        From the base address on, zeros where inputs and outputs will be.
    sections : dict of str to Section
    size : int
        Bytes that the NPU may touch.
    """

    content: bytes
    sections: dict[str, Section]
    size: int

    @classmethod
    def of(cls, program: Program, *names: str) -> HostImage:
        """Host memory with the sections ``names`` of ``program``."""
        content = bytearray(program.image).ljust(program.host_bytes, b"\0")
        sections = {}
        for name in names:
            content += bytes(-len(content) % _ALIGNMENT)
            instructions = getattr(program, name)
            sections[name] = Section(len(content), len(instructions))
            content += isa.to_bytes(instructions)
        size = len(content) + _SPARE
        return cls(bytes(content), sections, size + -size % _SPARE)
