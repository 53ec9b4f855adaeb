"""What the test bench runs: programs in host memory, and what each must leave there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler import Binding, Program, compile
from edgeinfer.hdl.compiler.host_image import HostImage
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.export.known_answers import KnownProgram, known_graphs, known_programs
from edgeinfer.hdl.export.model_map import ModelMap
from edgeinfer.hdl.export.observed import Observed
from edgeinfer.runtime.session import Session

__all__ = ["ProgramRun", "Vectors", "inference", "random_sample"]

_DONE = 2
_PAGE = 4096
"""Where an image begins, and what the NPU may read ahead of its program's end."""


@dataclass(frozen=True)
class ProgramRun:
    """One program, from START until the NPU is at rest.

    Parameters
    ----------
    name : str
    base : int
        Where its image begins in the test bench's memory, in bytes.
    offset, length : int
        Of the program in its image, in bytes; instructions.
    status : int
        What STATUS must read as.
    stalls : bool
        Host memory holds its channels back at random.
    first, end : int
        Its checks.
    """

    name: str
    base: int
    offset: int
    length: int
    status: int
    stalls: bool
    first: int
    end: int


@dataclass(frozen=True)
class Vectors:
    """Words of the bus, as ``$readmemh`` reads them.

    Parameters
    ----------
    memory : bytes
        Host memory with all images, inputs in their places.
    runs : tuple of ProgramRun
    words : int64 [checks]
        The number of a word that a run must leave behind.
    values, masks : uint8 [checks, bus_bytes]
        What it must be, and the bits that matter.
    """

    memory: bytes
    runs: tuple[ProgramRun, ...]
    words: np.ndarray
    values: np.ndarray
    masks: np.ndarray

    @classmethod
    def of(cls, model: ModelMap, values: Mapping[str, np.ndarray]) -> Vectors:
        """An inference of ``model`` with ``values`` of the Graph, and the blocks' known answers.

        A block whose model takes more memory than the configuration has is left out.
        """
        config = model.program.config
        made = _Maker(config)
        made.inference("the model", model.program, model.memory, values)
        for graph in known_graphs(config):
            try:
                program = compile(graph, config).program
            except UnsupportedError:
                continue
            memory = HostImage.of(program, "setup", "run")
            made.inference(graph.name, program, memory, inference(graph, random_sample(graph)))
        for known in known_programs(config):
            made.known_program(known)
        return made.vectors()

    @property
    def blocks(self) -> tuple[str, ...]:
        """What is run, in order, each once."""
        return tuple(dict.fromkeys(run.name for run in self.runs))


class _Maker:
    """Vectors in the making, image by image."""

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        self._memory = bytearray()
        self._runs: list[ProgramRun] = []
        self._checks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._count = 0

    def vectors(self) -> Vectors:
        """All that was made."""
        words, values, masks = (np.concatenate(each) for each in zip(*self._checks, strict=True))
        return Vectors(bytes(self._memory), tuple(self._runs), words, values, masks)

    def inference(
        self, name: str, program: Program, memory: HostImage, values: Mapping[str, np.ndarray]
    ) -> None:
        """``program`` as it is, with and without stalls, and again with all of its values shown."""
        observed = Observed.of(program, memory.size)
        image = bytearray(memory.content).ljust(observed.end, b"\0")
        for binding in program.inputs:
            content = binding.image(values[binding.name], self.config)
            image[binding.host : binding.host + len(content)] = content
        base = len(self._memory)
        self._add(image + isa.to_bytes(observed.instructions))
        setup, run = memory.sections["setup"], memory.sections["run"]
        outputs = self._expect(base, image, program.outputs, values)
        shown = self._expect(base, image, observed.values, values)
        for stalls in (False, True):
            self._run(name, base, setup.offset, setup.length, stalls=stalls)
            self._run(name, base, run.offset, run.length, stalls=stalls, checks=outputs)
        self._run(name, base, observed.end, len(observed.instructions), stalls=True, checks=shown)

    def known_program(self, known: KnownProgram) -> None:
        """A program that is not compiled, with and without stalls."""
        base, bus = len(self._memory), self.config.bus_bytes
        self._add(known.before + known.code)
        before, after = (
            np.frombuffer(each, np.uint8).reshape(-1, bus) for each in (known.before, known.after)
        )
        (changed,) = np.nonzero((before != after).any(1))
        checks = None
        if len(changed):
            everything = np.full((len(changed), bus), 0xFF, np.uint8)
            checks = self._check(base // bus + changed, after[changed], everything)
        for stalls in (False, True):
            length = len(known.code) // isa.INSTRUCTION_BYTES
            self._run(
                known.name,
                base,
                len(known.before),
                length,
                status=known.status,
                stalls=stalls,
                checks=checks,
            )

    def _add(self, image: bytes | bytearray) -> None:
        self._memory += image
        self._memory += bytes(_PAGE + -len(image) % _PAGE)

    def _run(
        self,
        name: str,
        base: int,
        offset: int,
        length: int,
        *,
        stalls: bool,
        status: int = _DONE,
        checks: tuple[int, int] | None = None,
    ) -> None:
        first, end = checks or (0, 0)
        self._runs.append(ProgramRun(name, base, offset, length, status, stalls, first, end))

    def _expect(
        self,
        base: int,
        image: bytearray,
        bindings: tuple[Binding, ...],
        values: Mapping[str, np.ndarray],
    ) -> tuple[int, int]:
        """That each binding has its value, all bits of its elements and none between them."""
        size = self.config.bus_bytes
        after = np.frombuffer(image, np.uint8).copy()
        matters = np.zeros_like(after)
        for binding in bindings:
            expected = binding.image(values[binding.name], self.config)
            mask = binding.image(np.full(binding.shape, -1), self.config)
            part = slice(binding.host, binding.host + len(expected))
            matters[part] |= np.frombuffer(mask, np.uint8)
            np.copyto(
                after[part],
                np.frombuffer(expected, np.uint8),
                where=np.frombuffer(mask, np.uint8) != 0,
            )
        after, matters = after.reshape(-1, size), matters.reshape(-1, size)
        (words,) = np.nonzero(matters.any(1))
        return self._check(base // size + words, after[words], matters[words])

    def _check(self, words: np.ndarray, values: np.ndarray, masks: np.ndarray) -> tuple[int, int]:
        first, self._count = self._count, self._count + len(words)
        self._checks.append((words, values, masks))
        return first, self._count


def random_sample(graph: Graph) -> dict[str, np.ndarray]:
    """Integers over the whole range of each input, the same in every export."""
    rng = np.random.default_rng(0)
    return {
        name: rng.integers(
            np.iinfo(graph.types[name].dtype).min,
            np.iinfo(graph.types[name].dtype).max + 1,
            graph.types[name].shape,
        ).astype(graph.types[name].dtype)
        for name in graph.inputs
    }


def inference(graph: Graph, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The raw integers of every value of ``graph`` for one sample, floats or raw integers.

    Raises
    ------
    InputError
        ``sample`` does not fit.
    """
    session = Session(graph, keep_values=True)
    session.run(dict(sample))
    names = [*graph.inputs, *(name for node in graph.nodes for name in node.outputs)]
    return {name: session.value(name) for name in names}
