"""Runs Programs in the golden simulator, for tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.hdl.compiler import Program, compile
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Unit
from edgeinfer.meaning import reference
from tests import strategies
from tests.hdl.compiler.races import RaceChecker


def golden_values(program: Program, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every value that ``program`` makes, each when its watch says that it is there.

    Raises
    ------
    ProgramError
        Two units could race.
    """
    config = program.config
    host = bytearray(program.host_bytes)
    host[: len(program.image)] = program.image
    simulator = RaceChecker(config, host)
    simulator.run(program.setup)
    for binding in program.inputs:
        image = binding.image(inputs[binding.name], config)
        host[binding.host : binding.host + len(image)] = image
    values = {}
    waiting = list(program.watches)
    simulator.begin()
    for instruction in program.run:
        simulator.execute(instruction)
        while waiting and waiting[0].count <= simulator.completed[Unit.ACTIVATE]:
            watch = waiting.pop(0)
            tensor = watch.binding.view.tensor
            if tensor.spilled:
                continue
            words = range(tensor.base, tensor.base + tensor.words)
            blank = np.zeros(config.columns, np.int64)
            image = simulator.buffer[words.start : words.stop]
            if watch.intermediate:
                image = np.stack([simulator.intermediates.get(word, blank) for word in words])
            values[watch.binding.name] = watch.binding.values(image)
    for watch in program.watches:
        tensor = watch.binding.view.tensor
        if tensor.spilled and not watch.intermediate:
            values[watch.binding.name] = watch.binding.values(
                words_of(host, tensor.host, tensor.words, config)
            )
    for binding in program.outputs:
        tensor = binding.view.tensor
        image = words_of(host, binding.host, tensor.words, config)
        values[binding.name] = binding.values(image)
    return values


def assert_whole(graph: Graph, config: NpuConfig) -> None:
    """All of ``graph`` runs in one program, and every value is the reference's.

    All but what the host does in any model, as it packs inputs and unpacks outputs.
    """
    inputs = strategies.random_inputs(graph, 0)
    values = dict(inputs)
    reference.execute(graph, inputs, observe=values.__setitem__)
    program = compile(graph, config).program
    found = golden_values(program, values)
    assert {binding.name for binding in program.outputs} <= set(found)
    for value, got in found.items():
        np.testing.assert_array_equal(got, values[value], err_msg=value)


def words_of(host: bytearray, start: int, words: int, config) -> np.ndarray:
    """Words [words, columns] of host memory."""
    count = words * config.columns
    flat = np.frombuffer(host, f"<i{config.element_bytes}", count, start)
    return flat.reshape(words, config.columns)
