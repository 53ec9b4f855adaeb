"""Softmax and normalization over channels run on NPUs with reductions; others say why not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import DType, Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import configuration
from edgeinfer.hdl.export.known_answers import known_graphs
from edgeinfer.hdl.simulation.simulation import Simulation
from edgeinfer.meaning import reference
from tests import strategies
from tests.authored import ONE, Author
from tests.hdl.attention import attention
from tests.hdl.compiler.compiled import golden_values


def probabilities(author: Author, x: str, axis: int) -> str:
    table = fixedpoint.exponential_table_8(0.05)
    if author.dtype == "int16":
        table = fixedpoint.exponential_table_16(2e-4)
    name = author.builder.constant(f"exponentials of {x}", table)
    return author.node(ops.QSoftmax(axis), x, name)


def normalized(author: Author, x: str, axes: tuple[int, ...]) -> str:
    channels = author.builder.shape(x)[-1]
    most = 127 if author.dtype == "int8" else 32767
    normalizer = fixedpoint.Normalizer("variance", channels, 0, *fixedpoint.epsilon_and_exponent(9))
    fraction = normalizer.largest_fraction(2 * most + 1)
    factors, offsets, shift = fixedpoint.affine_parameters(
        author.rng.uniform(0.2, 0.4, channels) * most * 2.0**-fraction,
        author.rng.uniform(-0.1, 0.1, channels) * most,
    )
    op = ops.QNormalization(
        axes=axes,
        epsilon=normalizer.epsilon,
        exponent=normalizer.exponent,
        fraction=fraction,
        shift=shift,
        **author.requantizing,
    )
    b = author.builder
    count = len(b.constants)
    return author.node(
        op,
        x,
        b.constant(f"factors {count}", factors),
        b.constant(f"offsets {count}", offsets),
    )


def total(author: Author, a: str, b: str) -> str:
    if author.dtype == "int8":
        return author.add(a, b)
    one = {"a_multiplier": ONE, "a_shift": 31, "b_multiplier": ONE, "b_shift": 31}
    op = ops.QAdd(**author.requantizing, **one, left_shift=15, multiplier=ONE, shift=44)
    return author.node(op, a, b)


def block(dtype: DType = "int8", height: int = 2, channels: int = 24) -> Graph:
    """Residual sums, normalized, with layers between them; at last the probabilities of classes."""
    author = Author(1, height, 5, channels, dtype=dtype)
    value = "x"
    for _ in range(2):
        value = normalized(author, total(author, value, author.dense(value, channels)), (3,))
        inner = author.dense(author.dense(value, 2 * channels), channels)
        value = normalized(author, total(author, value, inner), (3,))
    return author.graph(probabilities(author, author.dense(value, 12), 3))


CONFIGS = {"8x16": "int8", "4x4,parameter_rows=384": "int8", "8x8-16": "int16"}


def check(graph: Graph, config: str) -> None:
    inputs = strategies.random_inputs(graph, 0)
    values: dict[str, np.ndarray] = {}
    reference.execute(graph, inputs, observe=values.__setitem__)
    compiled = compile(graph, f"{config},reductions=1")
    for name, got in golden_values(compiled.program, inputs).items():
        np.testing.assert_array_equal(got, values[name], err_msg=name)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_transformer_s_block_behind_attention_runs_whole(config):
    graph = block(CONFIGS[config])
    compiled = compile(graph, f"{config},reductions=1")
    assert len(compiled.segments) == 1
    check(graph, config)


def attending(config: str, tokens: int, heads: int, depth: int) -> Graph:
    width = configuration(config).width
    return attention(tokens, heads, depth, width=width, softmax=probabilities)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("sizes", [(9, 2, 8), (17, 3, 12)])
def test_attention_with_its_softmax_leaves_nothing_to_the_host(config, sizes):
    graph = attending(config, *sizes)
    compiled = compile(graph, f"{config},reductions=1")
    assert all(program is not None for _, program in compiled.segments)
    check(graph, config)


@pytest.mark.parametrize("config", CONFIGS)
def test_tensors_that_do_not_fit_come_in_bands_of_whole_pixels(config):
    small = f"{config},buffer_bytes={configuration(config).word_bytes * 160}"
    graph = block(CONFIGS[config], height=8)
    compiled = compile(graph, f"{small},reductions=1")
    tensors = {watch.binding.view.tensor.spilled for watch in compiled.program.watches}
    assert True in tensors
    check(graph, small)


@pytest.mark.parametrize("config", ["8x16", "4x4", "8x8-16"])
def test_the_known_answers_hold_them(config):
    sizes = configuration(f"{config},reductions=1")
    graphs = {graph.name: graph for graph in known_graphs(sizes)}
    program = compile(graphs["reductions"], sizes).program
    kinds = {each.kind for each in program.infer if isinstance(each, isa.Reduce)}
    assert kinds == set(isa.Reduction)
    check(graphs["reductions"], config)
    assert "reductions" not in {graph.name for graph in known_graphs(configuration(config))}


@pytest.mark.slow
@pytest.mark.parametrize("config", ["8x16", "8x8-16"])
@pytest.mark.parametrize("attends", [False, True], ids=["block", "attention"])
def test_the_hardware_gives_every_value_in_the_cycles_foreseen(config, attends):
    graph = attending(config, 9, 2, 8) if attends else block(CONFIGS[config])
    with Simulation(graph, f"{config},reductions=1") as npu:
        npu.run(strategies.random_inputs(graph, 0))
        assert npu.mismatches() == []
        report = npu.report()
    assert abs(report.predicted - report.cycles) <= 0.01 * report.cycles


def refusal(graph: Graph, config: str) -> str:
    with pytest.raises(UnsupportedError) as refused:
        compile(graph, config)
    return str(refused.value)


def between(make) -> Graph:
    """``make`` of a value, with a layer on either side."""
    author = Author(1, 4, 4, 8)
    return author.graph(author.conv(make(author, author.conv("x", 8, 1)), 8, 1))


CPU = ". edgeinfer hdl simulate --host-ops leaves these to the CPU"


def test_without_the_unit_they_are_refused():
    graph = between(lambda author, x: normalized(author, x, (3,)))
    assert refusal(graph, "8x8") == (
        "the NPU cannot run QNormalization 'n1': divides by a root; take a configuration with "
        f"reductions=1{CPU}"
    )


def test_other_axes_are_refused():
    graph = between(lambda author, x: probabilities(author, x, 1))
    assert refusal(graph, "8x16,reductions=1") == (
        f"the NPU cannot run QSoftmax 'n1': divides by a sum over other axes than the channels{CPU}"
    )


def test_exponentials_that_the_parameters_have_no_room_for_are_refused():
    graph = between(lambda author, x: probabilities(author, x, 3))
    assert refusal(graph, "4x4,parameter_rows=100,reductions=1") == (
        "the NPU cannot run QSoftmax 'n1': takes 130 rows of parameters, 4x4 has 100; take more "
        f"parameter_rows{CPU}"
    )


def test_an_epsilon_beyond_the_instruction_is_refused():
    graph = between(lambda author, x: normalized(author, x, (3,)))
    nodes = [
        replace(node, op=replace(node.op, exponent=200))
        if isinstance(node.op, ops.QNormalization)
        else node
        for node in graph.nodes
    ]
    assert refusal(graph.with_nodes(nodes), "8x16,reductions=1") == (
        "the NPU cannot run QNormalization 'n1': asks for more than an instruction can say "
        f"(SET_NORMALIZATION: exponent must be between -128 and 127, not 200){CPU}"
    )
