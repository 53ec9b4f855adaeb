"""One inference for the test bench: host memory before it, and its outputs after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.hdl.export.model_map import ModelMap
from edgeinfer.runtime.session import Session

__all__ = ["Vectors", "inference", "random_sample"]


@dataclass(frozen=True)
class Vectors:
    """Words of the bus, as ``$readmemh`` reads them.

    Parameters
    ----------
    memory : bytes
        Host memory with the inputs in their places.
    checks : tuple of (int, bytes, bytes)
        A word's number, what it must be, and the bits that matter.
    """

    memory: bytes
    checks: tuple[tuple[int, bytes, bytes], ...]

    @classmethod
    def of(cls, model: ModelMap, values: Mapping[str, np.ndarray]) -> Vectors:
        """The inference with ``values`` of the Graph: the NPU's inputs and its outputs."""
        program = model.program
        memory = bytearray(model.memory.content)
        for binding in program.inputs:
            image = binding.image(values[binding.name], program.config)
            memory[binding.host : binding.host + len(image)] = image
        size = program.config.bus_bytes
        after = np.frombuffer(memory, np.uint8).copy()
        matters = np.zeros_like(after)
        for binding in program.outputs:
            expected = binding.image(values[binding.name], program.config)
            # all bits of its elements, none between them
            mask = binding.image(np.full(binding.shape, -1), program.config)
            part = slice(binding.host, binding.host + len(expected))
            matters[part] |= np.frombuffer(mask, np.uint8)
            np.copyto(
                after[part],
                np.frombuffer(expected, np.uint8),
                where=np.frombuffer(mask, np.uint8) != 0,
            )
        after, matters = after.reshape(-1, size), matters.reshape(-1, size)
        checks = tuple(
            (int(word), after[word].tobytes(), matters[word].tobytes())
            for word in np.flatnonzero(matters.any(1))
        )
        return cls(bytes(memory), checks)


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
    names = [*graph.inputs, *(node.outputs[0] for node in graph.nodes)]
    return {name: session.value(name) for name in names}
