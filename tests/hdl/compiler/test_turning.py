"""Height, width and channels change places, and channels become heads, on the array."""

from __future__ import annotations

import itertools

import pytest

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import preset
from tests import npu_graphs
from tests.authored import ONE, Author
from tests.hdl.attention import attention
from tests.hdl.compiler.test_deep_sums import checked
from tests.refusals import refused

ORDERS = list(itertools.permutations((1, 2, 3)))
CONFIGS = ["4x4", "8x16", "8x8-16"]


def between(name: str, shape: tuple[int, ...], *operators: ops.Operator) -> Graph:
    """``operators`` where no edge of the model is, so that they are the NPU's."""
    author = Author(*shape, dtype="int16" if name.endswith("-16") else "int8")
    copy = ops.Rescale(**author.requantizing, input_zero_point=0, multiplier=ONE, shift=30)
    value = author.node(copy, "x")
    for op in operators:
        value = author.node(op, value)
    return author.graph(author.node(copy, value))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "shape", [(1, 5, 7, 9), (1, 1, 20, 33), (1, 3, 16, 16), (1, 2, 1, 5), (1, 18, 4, 1)]
)
def test_any_order_of_height_width_and_channels(name, order, shape):
    checked(between(name, shape, ops.Transpose((0, *order))), preset(name))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("shape", [(1, 7, 20), (1, 40, 5)])
def test_a_sequence_and_its_channels(name, shape):
    checked(between(name, shape, ops.Transpose((0, 2, 1))), preset(name))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    ("tokens", "heads", "depth"), [(9, 4, 8), (6, 1, 5), (1, 3, 7), (20, 3, 6)]
)
def test_channels_into_heads_and_back(name, tokens, heads, depth):
    apart = ops.Reshape((1, tokens, heads, depth))
    back = ops.Reshape((1, tokens, heads * depth))
    shape = (1, tokens, heads * depth)
    checked(between(name, shape, apart), preset(name))
    checked(between(name, (1, tokens, heads, depth), back), preset(name))
    checked(between(name, shape, apart, back), preset(name))


@pytest.mark.parametrize("name", [*CONFIGS, "9x16"])
@pytest.mark.parametrize(("tokens", "heads", "depth"), [(10, 2, 8), (17, 3, 12), (33, 2, 16)])
def test_attention_leaves_nothing_to_the_host(name, tokens, heads, depth):
    width = 16 if name.endswith("-16") else 8
    compiled = compile(attention(tokens, heads, depth, width=width), name)
    assert all(program is not None for _, program in compiled.segments)
    checked(attention(tokens, heads, depth, width=width), preset(name))


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_turned_may_come_from_host_memory(order):
    config = preset("8x16").replace(buffer_bytes=4096)
    author = Author(1, 12, 11, 20)
    wide = author.conv("x", 40, 1)
    turned = author.node(ops.Transpose((0, *order)), author.conv(wide, 9, 1))
    program = checked(author.graph(author.conv(turned, 5, 1), wide), config)
    assert any(isinstance(each, isa.WriteHost) for each in program.infer)


def test_a_sum_is_not_fused_into_what_is_turned():
    author = Author(1, 6, 4, 8)
    turned = author.node(ops.Transpose((0, 2, 1, 3)), author.conv("x", 8, 1))
    other = author.node(ops.Transpose((0, 2, 1, 3)), author.conv("x", 8, 1))
    checked(author.graph(author.conv(author.add(turned, other), 8, 1)), preset("8x16"))


@pytest.mark.parametrize("small", [False, True], ids=["preset", "small"])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1, 4, 5, 12), (1, 20, 12)),
        ((1, 20, 12), (1, 4, 5, 12)),
        ((1, 4, 6, 3), (1, 3, 8, 3)),
        ((1, 3, 8, 20), (1, 12, 2, 20)),
    ],
)
def test_pixels_come_into_other_lines(name, before, after, small):
    graph = between(name, before, ops.Reshape(after))
    checked(graph, npu_graphs.configuration(name, small=small))


def test_what_still_moves_otherwise_is_refused():
    graph = between("8x16", (1, 4, 6), ops.Reshape((1, 6, 4)))
    with refused(
        "the NPU cannot run Reshape 'n1': turns (1, 4, 6) into (1, 6, 4), which moves elements. "
        "edgeinfer hdl simulate --host-ops leaves these to the CPU",
        UnsupportedError,
    ):
        compile(graph, "8x16")
    graph = between("8x16", (1, 256, 2, 2), ops.Reshape((1, 512, 2)))
    with refused(
        "the NPU cannot run Reshape 'n1': lays 256 lines of pixels in 1, in more stretches than "
        "255. edgeinfer hdl simulate --host-ops leaves these to the CPU",
        UnsupportedError,
    ):
        compile(graph, "8x16")
