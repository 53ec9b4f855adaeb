"""A keyword transformer runs on the NPU with nothing on the host but its input's Transpose."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler import sides
from edgeinfer.hdl.config import configuration
from edgeinfer.hdl.simulation.simulation import Simulation
from edgeinfer.quant import quantize
from tests import strategies
from tests.hdl.compiler.compiled import assert_whole
from tests.keyword_transformers import keyword_transformer

OVERRIDES = {"softmax_*": "int8"}
"""Shares have 16 bits in every scheme, unless a caller says otherwise."""

WAYS = {
    "int8": ("8x8-16,reductions=1", "int8", {}, 208_660),
    "int16x8": ("8x8-16,reductions=1", "int16x8", {}, 200_525),
    "int8 on an array of 8 bits": ("8x16,reductions=1", "int8", OVERRIDES, 138_550),
}
"""Configuration, scheme, overrides, and cycles."""


def quantized(scheme: str, overrides: dict[str, str]) -> Graph:
    graph = from_onnx(keyword_transformer())
    shape = graph.types["x"].shape
    samples = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    return quantize(graph, list(samples), scheme=scheme, overrides=overrides)


@pytest.mark.parametrize("way", WAYS)
def test_every_value_is_the_references(way):
    name, scheme, overrides, _ = WAYS[way]
    graph, config = quantized(scheme, overrides), configuration(name)
    on_host = [side for side in sides(graph, config) if not side.on_npu]
    assert [(type(side.node.op), side.at_edge) for side in on_host] == [(ops.Transpose, True)]
    assert_whole(graph, config)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_simulated_every_value_is_the_references_in_the_cycles_foreseen(way):
    name, scheme, overrides, cycles = WAYS[way]
    graph = quantized(scheme, overrides)
    with Simulation(graph, configuration(name)) as npu:
        npu.run(strategies.random_inputs(graph, 0))
        assert npu.mismatches() == []
        report = npu.report()
    assert report.cycles == cycles
    assert abs(report.predicted - report.cycles) <= 0.01 * report.cycles
