"""Layers that the compiler must cut or place in ways that random graphs seldom ask for."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.meaning import reference
from tests.authored import REQUANTIZING, Author
from tests.hdl.compiler.compiled import golden_values


def check(graph: Graph, config: NpuConfig) -> None:
    """The golden simulator's values are the reference's."""
    rng = np.random.default_rng(1)
    inputs = {"x": rng.integers(-128, 128, graph.types["x"].shape).astype(np.int8)}
    values = dict(inputs)
    reference.execute(graph, inputs, observe=values.__setitem__)
    program = compile(graph, config).program
    got = golden_values(program, inputs)
    assert set(got) >= set(graph.outputs)
    for name in got:
        np.testing.assert_array_equal(got[name], values[name], err_msg=name)


SMALL = preset("8x16").replace(buffer_bytes=4096)


def test_groups_of_unequal_kernels_share_the_bands_of_a_streamed_tensor():
    author = Author(1, 11, 16, 17)
    grouped = author.conv("x", 34, 1, group=17)
    check(author.graph(author.conv(grouped, 3, 1)), SMALL)


def test_parts_of_an_average_that_divide_by_fewer_share_the_bands_of_a_streamed_tensor():
    author = Author(1, 13, 16, 32)
    op = ops.QAveragePool(
        **REQUANTIZING,
        input_zero_point=-5,
        kernel=(3, 3),
        strides=(1, 1),
        pads=(1, 1, 1, 1),
        count_include_pad=False,
    )
    divisors = np.arange(1, 10)
    multiplier = np.floor((1 << 30) / divisors).astype("int32")
    multipliers = author.builder.constant("m", multiplier)
    shifts = author.builder.constant("s", np.full(9, 30, "int8"))
    pooled = author.node(op, "x", multipliers, shifts)
    check(author.graph(author.conv(pooled, 8, 1)), SMALL)


@pytest.mark.parametrize("dilation", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("name", ["4x4", "8x16", "16x16"])
def test_dilated_depthwise_filters_never_meet_a_bank_twice(name, dilation):
    author = Author(1, 20, 9, 6)
    check(author.graph(author.conv("x", 6, 3, group=6, dilations=(dilation, 1))), preset(name))


@pytest.mark.parametrize("kernel", [1, 2, 4, 7, 9, 11])
@pytest.mark.parametrize("group", [1, 3, 6])
def test_kernels_of_all_sizes(kernel, group):
    author = Author(1, 13, 12, 6)
    pads = (kernel // 2, kernel // 2, (kernel - 1) // 2, (kernel - 1) // 2)
    same = author.conv("x", 12, kernel, group=group, pads=pads)
    check(author.graph(author.conv(same, 5, kernel, strides=(2, 3), pads=pads)), preset("8x8"))


def test_flattened_values_are_joined_and_read_again():
    author = Author(1, 3, 2, 5)
    flat = author.node(ops.Reshape((1, 30)), author.conv("x", 5, 1))
    other = author.node(ops.Reshape((1, 18)), author.conv("x", 3, 1))
    joined = author.node(ops.Concat(axis=1), flat, other, flat)
    rescaled = author.node(
        ops.Rescale(**REQUANTIZING, input_zero_point=1, multiplier=1 << 30, shift=30), other
    )
    check(author.graph(joined, rescaled), preset("4x4"))


def test_tensors_of_many_lines_move_in_parts():
    author = Author(1, 5000, 1, 3)
    check(author.graph(author.conv("x", 3, 3, pads=(1, 1, 1, 1))), preset("8x8"))


def test_a_value_that_nothing_reads_is_not_computed():
    author = Author(1, 3, 3, 4)
    author.node(ops.Transpose((0, 2, 1, 3)), author.conv("x", 7, 1))
    compiled = compile(author.graph(author.conv("x", 2, 1)), "4x4", host_ops=True)
    assert [len(graph.nodes) for graph, _ in compiled.segments] == [1]


def test_a_second_operand_of_one_pixel_may_be_made_long_before():
    author = Author(1, 40, 40, 4)
    pixel = author.node(
        ops.QReduceSum(**REQUANTIZING, axes=(1, 2), input_zero_point=0, multiplier=1, shift=20),
        "x",
    )
    wide = author.conv("x", 4, 3, pads=(1, 1, 1, 1))
    product = ops.QMul(**REQUANTIZING, a_zero_point=0, b_zero_point=1, multiplier=1 << 30, shift=37)
    check(author.graph(author.node(product, wide, pixel)), preset("4x4").replace(buffer_bytes=8192))


def test_weights_that_layers_share_lie_in_the_npu_once():
    """As those of a recurrent layer's steps do; what they are multiplied with is not the same."""
    author = Author(1, 32)
    weights = author.constant(-128, 128, (32, 32), "int8")
    parameters = author.parameters(32, 40)
    op = ops.QDense(**REQUANTIZING, input_zero_point=0)
    x = "x"
    for _ in range(5):
        x = author.node(op, x, weights, *parameters)
    graph = author.graph(x)
    check(graph, preset("8x16"))
    program = compile(graph, "8x16").program
    assert program.weight_tiles == 32 * 32 // (8 * 16)
    assert len(program.image) < 2 * 32 * 32
