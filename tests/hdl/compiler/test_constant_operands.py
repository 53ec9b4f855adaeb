"""Constants that are no weights, as position embeddings are: host memory holds them whole."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import preset
from edgeinfer.meaning import reference
from tests import npu_graphs
from tests.authored import SCALE, Author
from tests.hdl.compiler.compiled import assert_whole, golden_values
from tests.refusals import refused

NAMES = ["4x4", "8x16", "8x8-16"]


def author_of(name: str, *shape: int) -> Author:
    return Author(*shape, dtype=f"int{preset(name).width}")


def constant(author: Author, *shape: int) -> str:
    half = 1 << (7 if author.dtype == "int8" else 15)
    array = author.rng.integers(-half, half, shape).astype(author.dtype)
    name = f"constant {len(author.builder.constants)}"
    return author.builder.constant(name, array, SCALE)


@pytest.mark.parametrize("small", [False, True], ids=["preset", "small"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 9, 20), (9, 20), (9, 1), (1, 9, 1), (20,), ()])
@pytest.mark.parametrize("first", [False, True])
def test_a_sum_with_a_constant_of_any_shape(name, small, shape, first):
    author = author_of(name, 1, 9, 20)
    operands = author.dense("x", 20), constant(author, *shape)
    graph = author.graph(author.add(*(operands[::-1] if first else operands)))
    assert_whole(graph, npu_graphs.configuration(name, small=small))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("first", [False, True])
def test_a_pixel_goes_to_all_of_a_constant(name, first):
    author = author_of(name, 1, 1, 1, 12)
    operands = "x", constant(author, 1, 5, 7, 12)
    product = ops.QMul(**author.requantizing, multiplier=1 << 30, shift=37)
    graph = author.graph(author.node(product, *(operands[::-1] if first else operands)))
    assert_whole(graph, preset(name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_constant_is_joined_on_either_side(name, axis):
    author = author_of(name, 1, 4, 5, 20)
    extents = [1, 4, 5, 20]
    extents[axis] = 3
    sides = [constant(author, *extents) for _ in range(2)]
    joined = author.node(ops.Concat(axis), sides[0], author.conv("x", 20, 1), sides[1])
    assert_whole(author.graph(author.conv(joined, 8, 1)), preset(name))


def embedded(name: str) -> Graph:
    """A class token before 6 others, and a place's embedding to each."""
    author = author_of(name, 1, 6, 20)
    tokens = author.node(ops.Concat(1), constant(author, 1, 1, 20), author.dense("x", 20))
    return author.graph(author.dense(author.add(tokens, constant(author, 1, 7, 20)), 8))


@pytest.mark.parametrize("name", NAMES)
def test_tokens_get_a_class_and_places(name):
    assert_whole(embedded(name), preset(name))


def test_a_run_reads_constants_and_nothing_writes_them():
    program = compile(embedded("8x16"), "8x16").program
    reads = [each for each in program.infer if isinstance(each, isa.ReadHost)]
    assert len(reads) == 2
    assert all(each.host < len(program.image) for each in reads)
    assert not any(isinstance(each, isa.WriteHost) for each in program.infer)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_int8_looks_up_tables_of_256_entries_on_an_npu_of_16_bits(dtype):
    author = Author(1, 5, 20)
    info = np.iinfo(dtype)
    table = author.rng.integers(info.min, info.max + 1, 256).astype(dtype)
    values = author.dense("x", 20)
    name = author.builder.constant("table", table)
    looked_up = author.builder.add(
        ops.Lookup(), values, name, output="y", node="y", dtype=dtype, quantization=SCALE
    )
    assert_whole(author.graph(looked_up), preset("8x8-16"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_made_of_constants_alone_is_the_cpu_s(name):
    author = author_of(name, 1, 4, 5, 20)
    made = author.conv(constant(author, 1, 4, 5, 20), 20, 1)
    graph = author.graph(author.add(author.conv("x", 20, 1), made))
    message = (
        "the NPU cannot run QConv 'n0': has no operand but constants, so it gives the same in "
        "every run. edgeinfer hdl simulate --host-ops leaves these to the CPU"
    )
    with refused(message, UnsupportedError):
        compile(graph, preset(name))
    compiled = compile(graph, preset(name), host_ops=True)
    feed = {"x": author.rng.integers(-99, 99, (1, 4, 5, 20)).astype(author.dtype)}
    values = dict(feed)
    reference.execute(graph, feed, observe=values.__setitem__)
    found = {}
    for program in compiled.programs:
        found |= golden_values(program, values)
    (output,) = graph.outputs
    np.testing.assert_array_equal(found[output], values[output])
