"""An NPU on a board, at the other end of a serial line, that runs a model."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.hdl import isa
from edgeinfer.hdl.boards.link import Link, LinkError
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.compiler.host_image import inference_memory
from edgeinfer.hdl.config import NpuConfig, configuration
from edgeinfer.hdl.gateware.registers import COUNTERS, REGISTERS, Status
from edgeinfer.hdl.gateware.sequencer import Fault
from edgeinfer.hdl.mismatch import Mismatch
from edgeinfer.runtime.session import Arrays, Session

__all__ = ["BoardNpu", "Description"]

_PROGRAM_BYTES = 64
"""For a transfer and its HALT, at the end of the memory."""

_SECONDS = 60
"""In which a run must end."""


@dataclass(frozen=True)
class Description:
    """What a board says of itself.

    Parameters
    ----------
    config : NpuConfig
    memory_bytes : int
        Of the block memory that stands for the host's.
    hertz : int
        The NPU's clock.
    """

    config: NpuConfig
    memory_bytes: int
    hertz: int

    @classmethod
    def of(cls, text: str) -> Description:
        """What ``text`` says.

        Raises
        ------
        LinkError
            It is no NPU's.
        """
        found = re.fullmatch(r"([^;]+);memory_bytes=(\d{1,9});hertz=(\d{1,10})", text)
        try:
            if found and 0 < int(found[3]) < 1 << 32:
                return cls(configuration(found[1]), int(found[2]), int(found[3]))
        except InputError:
            pass
        raise LinkError(f"the board says that it is {text!r}, which is no NPU of this version's")


class BoardNpu:
    """A model on a board.

    The board's memory is small. Constants, inputs and outputs pass through it in pieces, each with
    a program of its own, and lie in the NPU's memories while the inference runs.

    Parameters
    ----------
    link : Link
    graph : Graph
        An integer Graph with a batch of 1.

    Raises
    ------
    LinkError
        The line or the board fails.
    UnsupportedError
        The model does not run on the board's NPU, or needs more of the board's memory.
    """

    def __init__(self, link: Link, graph: Graph) -> None:
        self._link = link
        self.description = Description.of(link.describe())
        config = self.description.config
        compiled = compile(graph, config)
        self._program = compiled.program
        self._graph, self._cpu = graph, Session(graph, keep_values=True)
        self._parts = [
            (part, None if program else Session(part, keep_values=True))
            for part, program in compiled.segments
        ]
        self._values: dict[str, np.ndarray] = {}
        self.cycles = 0
        self._resident, self._infer = inference_memory(self._program)
        if len(self._resident) > self.description.memory_bytes:
            raise UnsupportedError(
                f"an inference takes {len(self._resident):,} bytes of host memory, and the board "
                f"has {self.description.memory_bytes:,}; build a configuration with more "
                "weight_bytes and buffer_bytes, or one with more --memory"
            )
        self._move(self._program.setup, bytearray(self._program.image))

    def run(self, x: Arrays) -> dict[str, np.ndarray]:
        """The raw outputs by name for one input, as ``Session.run`` takes it.

        What the NPU does not run before and after its program, such as a transposition of the
        input, is run here. ``cycles`` are then those of the inference.

        Raises
        ------
        InputError
            ``x`` does not fit.
        LinkError
            The line or the board fails.
        """
        expected = self._cpu.run(x)
        outputs = expected if isinstance(expected, dict) else {self._graph.outputs[0]: expected}
        if any(y.shape != self._graph.types[name].shape for name, y in outputs.items()):
            raise InputError("the board takes one sample at a time")
        values = {name: self._cpu.value(name) for name in self._graph.inputs}
        for part, session in self._parts:
            if session is None:
                values |= self._infer_on_board(values)
            else:
                session.run({name: values[name] for name in part.inputs})
                made = (name for node in part.nodes for name in node.outputs)
                values |= {name: session.value(name) for name in made}
        self._values = {name: values[name] for name in self._graph.outputs}
        return self._values

    def mismatches(self) -> list[Mismatch]:
        """The outputs of the last run that are not the CPU's."""
        found = (Mismatch.of(n, self._cpu.value(n), got) for n, got in self._values.items())
        return [each for each in found if each is not None]

    def _infer_on_board(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        program = self._program
        host = bytearray(program.host_bytes)
        for binding in program.inputs:
            packed = binding.image(values[binding.name], program.config)
            host[binding.host : binding.host + len(packed)] = packed
        self._move(program.load, host)
        self._link.write_memory(0, self._resident)
        self.cycles = self._execute(self._infer.offset, self._infer.length)
        self._move(program.store, host)
        word = program.config.word_bytes
        outputs = {}
        for binding in program.outputs:
            size = binding.view.tensor.words * word
            raw = np.frombuffer(host[binding.host : binding.host + size], np.uint8)
            words = raw.view(f"<i{program.config.element_bytes}")
            outputs[binding.name] = binding.values(words.reshape(-1, program.config.columns))
        return outputs

    def _move(self, instructions: Iterable[isa.Instruction], host: bytearray) -> None:
        """Carry out transfers between ``host`` and the NPU's memories through the board's."""
        page = self.description.memory_bytes - _PROGRAM_BYTES
        for each, at, size in _pieces(instructions, self._program.config, page):
            if isinstance(each, isa.ReadHost):
                self._link.write_memory(0, bytes(host[at : at + size]))
            content = isa.to_bytes([each, isa.Halt()])
            self._link.write_memory(page, content)
            self._execute(page, 2)
            if isinstance(each, isa.WriteHost):
                host[at : at + size] = self._link.read_memory(0, size)

    def _execute(self, offset: int, length: int) -> int:
        """Run a program; its cycles."""
        link = self._link
        for name, value in (
            ("BASE", 0),
            ("BASE_HIGH", 0),
            ("PROGRAM", offset),
            ("LENGTH", length),
            ("WATCHDOG", self.description.hertz),
            ("CONTROL", 1),
        ):
            link.write_register(REGISTERS[name], value)
        end = time.monotonic() + _SECONDS
        while not (status := Status.of(link.read_register(REGISTERS["STATUS"]))).done:
            if time.monotonic() > end:
                raise LinkError(f"the NPU is still busy after {_SECONDS} s")
        if status.fault:
            where = link.read_register(REGISTERS["FAULT_AT"])
            raise LinkError(
                f"the NPU stopped at instruction {where}: {Fault.described(status.fault)}"
            )
        cycles = link.read_register(COUNTERS)
        if not cycles:
            raise LinkError("the board says that a program took no cycles: it is not what it says")
        return cycles


def _pieces(
    instructions: Iterable[isa.Instruction], config: NpuConfig, page: int
) -> Iterator[tuple[isa.ReadHost | isa.WriteHost, int, int]]:
    """Transfers that fit a page: each from or to its beginning, and what of the host's memory.

    Every piece is a program of its own, so that there is nothing for a SYNC to wait for.
    """
    for each in instructions:
        if not isinstance(each, isa.ReadHost | isa.WriteHost):
            continue
        word = config.word_bytes
        if isinstance(each, isa.ReadHost):
            word = isa.host_word_bytes(each.memory, config)
        most = page // word
        for line in range(each.lines):
            for first in range(0, each.words, most):
                words = min(most, each.words - first)
                piece = dataclasses.replace(
                    each,
                    host=0,
                    address=each.address + line * each.step + first,
                    lines=1,
                    words=words,
                    host_step=0,
                    step=0,
                )
                yield piece, each.host + line * each.host_step + first * word, words * word
