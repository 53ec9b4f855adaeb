"""Kernels that do not fit a memory at once run in parts whose sums stay in the accumulators."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler import Program, compile
from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.meaning import reference
from tests import strategies
from tests.authored import ONE, REQUANTIZING, Author
from tests.hdl.compiler.compiled import golden_values

TINY = {
    "4x4": preset("4x4").replace(weight_bytes=256, parameter_rows=16),
    "8x8": preset("8x8").replace(weight_bytes=1024, weight_port=8),
    "8x16": preset("8x16").replace(weight_bytes=1024),
    "9x16": preset("9x16").replace(weight_bytes=1152, accumulator_depth=16),
    "8x8-16": preset("8x8-16").replace(weight_bytes=1024),
}
"""The weight memory holds 16, 16, 8, 8 and 8 tiles."""


def checked(graph: Graph, config: NpuConfig) -> Program:
    """The Program of ``graph``, whose values in the golden simulator are the reference's."""
    inputs = strategies.random_inputs(graph, 1)
    values: dict[str, np.ndarray] = {}
    reference.execute(graph, inputs, observe=values.__setitem__)
    program = compile(graph, config).program
    found = golden_values(program, inputs)
    assert set(graph.outputs) <= set(found)
    for name, got in found.items():
        np.testing.assert_array_equal(got, values[name], err_msg=name)
    return program


def parts(program: Program) -> int:
    """CONVOLVEs whose sums others complete."""
    return sum(isinstance(each, isa.Convolve) and not each.last for each in program.infer)


def convolution(width: str, **fields: object) -> Graph:
    author = Author(1, 9, 7, 40, dtype=width)
    same = {"pads": (1, 1, 1, 1), **fields}
    return author.graph(author.conv(author.conv("x", 24, 3, **same), 6, 1))


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(
    "fields",
    [{}, {"strides": (2, 2)}, {"dilations": (2, 2)}, {"pads": (0, 2, 1, 0)}, {"group": 2}],
    ids=["plain", "strided", "dilated", "padded", "grouped"],
)
def test_a_convolution_whose_kernel_the_weight_memory_does_not_hold(name, fields):
    program = checked(
        convolution("int16" if name.endswith("-16") else "int8", **fields), TINY[name]
    )
    assert parts(program)


@pytest.mark.parametrize("name", TINY)
def test_a_dense_layer_of_a_flattened_value(name):
    author = Author(1, 4, 3, 33, dtype="int16" if name.endswith("-16") else "int8")
    flat = author.node(ops.Reshape((1, 396)), author.conv("x", 33, 1))
    assert parts(checked(author.graph(author.dense(flat, 20)), TINY[name]))


def test_a_depthwise_filter_of_many_taps():
    author = Author(1, 15, 15, 5)
    filtered = author.conv("x", 5, 13, group=5, pads=(6, 6, 6, 6))
    assert parts(checked(author.graph(filtered), TINY["8x8"]))


def test_a_sum_that_the_lanes_add_to_another_value():
    author = Author(1, 5, 5, 40)
    deep = author.conv("x", 40, 3, pads=(1, 1, 1, 1))
    assert parts(checked(author.graph(author.add(deep, "x")), TINY["8x16"]))


@pytest.mark.parametrize("name", ["8x8", "8x16"])
def test_what_never_fits_comes_anew_for_each_tile(name):
    config = TINY[name].replace(accumulator_depth=8)
    program = checked(convolution("int8"), config)
    loads = [each.host for each in program.infer if isinstance(each, isa.ReadHost)]
    assert len(set(loads)) < len(loads)


@pytest.mark.parametrize("name", ["4x4", "8x8", "8x16"])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_kernel_whose_lines_the_buffer_does_not_hold(name, kernel):
    config = preset(name).replace(buffer_bytes=1024)
    author = Author(1, 8, 8, 64)
    pads = (kernel // 2,) * 4
    wide = author.conv("x", 48, kernel, pads=pads)
    program = checked(author.graph(author.conv(wide, 8, kernel, strides=(2, 2))), config)
    assert parts(program)


def test_weights_of_parts_that_fit_stay_in_the_weight_memory_for_all_tiles():
    author = Author(1, 8, 8, 32)
    graph = author.graph(author.conv("x", 24, 3, pads=(1, 1, 1, 1)))
    program = checked(graph, preset("8x8").replace(buffer_bytes=512))
    loads = [each for each in program.infer if isinstance(each, isa.ReadHost)]
    assert parts(program)
    assert {each.memory for each in loads} == {isa.Memory.BUFFER}
    assert program.weight_tiles == 3 * 36


def test_a_mean_and_a_maximum_of_more_lines_than_the_buffer_holds():
    author = Author(1, 40, 8, 24)
    mean = ops.QReduceSum(**REQUANTIZING, axes=(1, 2), input_zero_point=0, multiplier=1, shift=20)
    graph = author.graph(author.node(mean, "x"), author.node(ops.ReduceMax((1, 2)), "x"))
    assert parts(checked(graph, preset("8x8").replace(buffer_bytes=1024)))


def test_parts_of_a_mean_have_as_many_kernel_rows_in_a_pass_as_its_lines_allow():
    """All five take a pass each, so that lines may lie as they like; of a part three could not."""
    author = Author(1, 16, 16, 7)
    counts = np.arange(1, 6)
    multiplier = author.builder.constant("m", np.floor(ONE / counts).astype("int32"))
    shift = author.builder.constant("s", np.full(5, 30, "int8"))
    pool = ops.QAveragePool(**REQUANTIZING, kernel=(5, 1), strides=(1, 2), count_include_pad=False)
    pooled = author.node(pool, "x", multiplier, shift)
    kept = author.node(ops.MaxPool((1, 1), kernel=(1, 1)), "x")
    graph = author.graph(author.conv(pooled, 35, 1, group=7, strides=(2, 3)), kept)
    assert parts(checked(graph, preset("8x16").replace(buffer_bytes=1280)))


def test_half_of_the_weight_memory_still_holds_a_kernel_whole():
    author = Author(1, 3, 3, 64)
    assert not parts(checked(author.graph(author.conv("x", 8, 1)), TINY["8x8"]))
