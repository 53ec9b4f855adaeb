"""A product of two values: one passes through the array, the other lies in it as weights do."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Quantization
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import preset
from tests.authored import SCALE, Author
from tests.hdl.compiler.test_deep_sums import TINY, checked
from tests.hdl.products import product
from tests.refusals import refused

ZERO_POINTS = [(0, 0), (-128, 0), (3, -7), (0, -128), (127, -128)]
"""The negative of -128 is no int8: it is the sum of two."""

SHAPES = [
    ((1, 10, 16), (1, 16, 16)),
    ((1, 2, 37, 20), (1, 2, 20, 33)),
    ((1, 4, 70, 9), (1, 4, 9, 5)),
    ((1, 3, 5, 12), (1, 12, 21)),
    ((1, 7, 12), (1, 3, 12, 4)),
    ((1, 13), (1, 13, 6)),
]


@pytest.mark.parametrize("name", ["4x4", "8x16", "9x16"])
@pytest.mark.parametrize(("a", "b"), SHAPES)
@pytest.mark.parametrize("zero_points", ZERO_POINTS)
def test_any_zero_points_in_any_number_of_heads(name, a, b, zero_points):
    checked(product(a, b, zero_points), preset(name))


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_values_of_16_bits(a, b):
    checked(product(a, b, width=16), preset("8x8-16"))


@pytest.mark.parametrize("name", ["4x4", "8x8", "8x16", "9x16"])
@pytest.mark.parametrize("zero_points", ZERO_POINTS)
def test_factors_pass_through_a_small_weight_memory(name, zero_points):
    config = TINY[name]
    most = config.weight_bytes // config.tile_bytes * config.rows
    checked(product((1, 2, 40, most), (1, 2, most, 21), zero_points), config)


def test_the_heads_share_the_multiplications():
    records = compile(product((1, 5, 6, 7), (1, 5, 7, 8)), "8x16").program.layers
    assert [record.macs for record in records] == [6 * 7 * 8] * 5


@pytest.mark.parametrize("zero_points", ZERO_POINTS)
def test_the_first_factor_and_the_result_may_lie_in_host_memory(zero_points):
    config = preset("8x16").replace(buffer_bytes=4096)
    program = checked(product((1, 6, 40, 20), (1, 20, 30), zero_points), config)
    assert any(
        isinstance(each, isa.ReadHost) and each.memory is isa.Memory.BUFFER
        for each in program.infer
    )


def test_a_factor_that_a_concatenation_made_has_its_rows_and_columns_side_by_side():
    author = Author(1, 1, 13, 5)
    left = author.node(ops.Concat(3), author.conv("x", 7, 1), author.conv("x", 6, 1))
    right = author.node(ops.Concat(3), author.conv("x", 4, 1), author.conv("x", 3, 1))
    op = ops.QMatMul(**author.requantizing, multiplier=1 << 22, shift=34)
    checked(author.graph(author.node(op, left, right)), preset("8x16"))


@pytest.mark.parametrize("zero_point", [0, 5])
def test_a_constant_second_factor(zero_point):
    author = Author(1, 3, 9, 20)
    for shape in ((20, 11), (3, 20, 11), (1, 1, 20, 11)):
        matrix = author.builder.constant(
            f"m{len(shape)}",
            author.rng.integers(-120, 120, shape).astype("int8"),
            Quantization.per_tensor(0.0625, zero_point),
        )
        op = ops.QMatMul(
            **author.requantizing, b_zero_point=zero_point, multiplier=1 << 22, shift=34
        )
        made = author.node(op, "x", matrix)
        checked(author.graph(made), preset("8x16"))


@pytest.mark.parametrize("shape", [(2, 9), (3, 2, 9), (1, 1, 2, 9)])
def test_a_constant_first_factor(shape):
    author = Author(1, 3, 9, 20)
    array = author.rng.integers(-128, 128, shape).astype("int8")
    left = author.builder.constant("left", array, SCALE)
    op = ops.QMatMul(**author.requantizing, a_zero_point=4, multiplier=1 << 22, shift=34)
    checked(author.graph(author.node(op, left, "x")), preset("8x16"))


def test_what_the_array_cannot_hold():
    author = Author(1, 3, 9, 20)
    wide = author.builder.constant(
        "wide", np.full((20, 2), -128, np.int8), Quantization.per_tensor(0.0625, 1)
    )
    op = ops.QMatMul(**author.requantizing, b_zero_point=1, multiplier=1 << 22, shift=34)
    graph = author.graph(author.node(op, "x", wide))
    with refused(
        "the NPU cannot run QMatMul 'n0': has a constant whose differences from its zero point do "
        "not fit int8. edgeinfer hdl simulate --host-ops leaves these to the CPU",
        UnsupportedError,
    ):
        compile(graph, "8x16")
    with refused(
        "the NPU cannot run QMatMul 'n0': sums up to 1098437885952; the accumulators have 40 "
        "bits. edgeinfer hdl simulate --host-ops leaves these to the CPU",
        UnsupportedError,
    ):
        compile(product((1, 2, 1023), (1, 1023, 2), width=16), "8x8-16")
    with refused(
        "one row of a layer takes 2912 bytes of the buffer, 8x16 has 2048. Take a larger "
        "configuration",
        UnsupportedError,
    ):
        compile(product((1, 2, 160), (1, 160, 16)), preset("8x16").replace(buffer_bytes=2048))
