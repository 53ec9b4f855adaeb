"""One inference for the test bench: host memory before it, and its outputs after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.hdl.export.model_map import ModelMap
from edgeinfer.session import Session

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
        after, matters = bytearray(memory), bytearray(len(memory))
        for place in model.outputs:
            data = values[place.name].astype(f"<i{place.element_bytes}").tobytes()
            for byte in range(place.element_bytes):
                at = (place.addresses + byte).ravel()
                np.frombuffer(after, np.uint8)[at] = np.frombuffer(data, np.uint8)[
                    byte :: place.element_bytes
                ]
                np.frombuffer(matters, np.uint8)[at] = 0xFF
        size = program.config.bus_bytes
        words = np.flatnonzero(np.frombuffer(matters, np.uint8).reshape(-1, size).any(1))
        checks = tuple(
            (int(w), bytes(after[w * size :][:size]), bytes(matters[w * size :][:size]))
            for w in words
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
