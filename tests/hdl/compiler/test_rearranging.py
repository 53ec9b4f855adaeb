"""What only moves elements, or has constants, runs on the array: channels, maxima, shuffles."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.config import preset
from tests.authored import REQUANTIZING, SCALE, Author
from tests.hdl.compiler.compiled import assert_whole

ONE = 1 << 30
ADD = {
    "left_shift": 20,
    "a_multiplier": ONE,
    "a_shift": 31,
    "b_multiplier": ONE,
    "b_shift": 31,
    "multiplier": ONE,
    "shift": 49,
}


def shuffle(author: Author, x: str, groups: int) -> str:
    """As exporters write it: channels into groups, exchanged, and back."""
    _, height, width, channels = author.builder.shape(x)
    apart = ops.Reshape((1, height, width, groups, channels // groups))
    turned = author.node(ops.Transpose((0, 1, 2, 4, 3)), author.node(apart, x))
    return author.node(ops.Reshape((1, height, width, channels)), turned)


def global_maximum(author: Author) -> list[str]:
    return [author.node(ops.ReduceMax((1, 2)), author.conv("x", 20, 1))]


def shuffled(author: Author) -> list[str]:
    return [author.conv(shuffle(author, author.conv("x", 24, 1), 3), 8, 3, group=4)]


def channels_backwards(author: Author) -> list[str]:
    wide = author.conv("x", 20, 1)
    part = ops.Slice(starts=(0, 1, 0, 18), sizes=(1, 4, 3, 7), steps=(1, 1, 2, -2))
    return [author.node(part, wide)]


def gathered(author: Author) -> list[str]:
    indices = author.builder.constant("indices", np.array([7, -1, 0, 0, 3]))
    return [author.node(ops.Gather(3), author.conv("x", 12, 1), indices)]


def lines_and_pixels(author: Author) -> list[str]:
    """Backwards, and as indices say."""
    x = author.conv("x", 20, 1)
    rows = author.builder.constant("rows", np.array([5, 0, 1, -1, 3]))
    back = ops.Slice(starts=(0, 5, 4, 3), sizes=(1, 3, 5, 9), steps=(1, -2, -1, 1))
    return [author.node(back, x), author.node(ops.Gather(1), x, rows)]


def joined(author: Author) -> list[str]:
    """One operand has its channels apart, as it was joined along them; one is an input."""
    a, b = author.conv("x", 5, 1), author.conv("x", 3, 1)
    apart = author.node(ops.Concat(3), a, b)
    lines = author.node(ops.Concat(1), apart, "x", author.conv("x", 8, 1))
    pixels = author.node(ops.Concat(2), author.conv("x", 8, 1), apart)
    return [author.conv(lines, 4, 3), author.conv(pixels, 4, 3), apart]


def constants(author: Author) -> list[str]:
    """A scalar added, a constant a channel multiplied, on either side."""
    draw = author.rng.integers
    scalar = author.builder.constant("scalar", draw(-100, 100, ()).astype("int8"), SCALE)
    each = author.builder.constant("each", draw(-128, 128, (20,)).astype("int8"), SCALE)
    mul = ops.QMul(**REQUANTIZING, multiplier=ONE, shift=36)
    first = author.node(ops.QAdd(**REQUANTIZING, **ADD), author.conv("x", 20, 1), scalar)
    product = author.node(mul, each, first)
    return [author.node(ops.QSub(**REQUANTIZING, **ADD), scalar, product)]


def depth_to_space(author: Author, mode: str = "DCR") -> list[str]:
    """Channels that fill words, and some that do not."""
    return [
        author.node(ops.DepthToSpace(block, mode), author.conv("x", channels, 1))
        for block, channels in ((2, 64), (2, 12), (3, 45))
    ]


def depth_to_space_by_columns(author: Author) -> list[str]:
    return depth_to_space(author, "CRD")


def space_to_depth(author: Author) -> list[str]:
    even = author.node(ops.Slice((0, 0, 0, 0), (1, 6, 4, 8), (1, 1, 1, 1)), "x")
    return [author.node(ops.SpaceToDepth(2), author.conv(even, 5, 1))]


def resized(author: Author) -> list[str]:
    """Twice and thrice as large, by one and a half, smaller, in another order, all of one pixel."""
    x = author.conv("x", 20, 1)
    pixel = author.node(ops.ReduceMax((1, 2)), x)
    places = [
        (x, np.arange(12) // 2, np.arange(15) // 3),
        (x, np.arange(9) * 2 // 3, np.arange(3) * 2),
        (x, np.arange(6 * 11) // 11, np.arange(5)),
        (x, (5, 0, 3, 1), (4, 4)),
        (pixel, np.zeros(7, int), np.zeros(12, int)),
    ]
    return [
        author.conv(author.node(ops.ResizeNearest(tuple(map(int, r)), tuple(map(int, c))), v), 4, 1)
        for v, r, c in places
    ]


def rows_by_turns(author: Author) -> list[str]:
    return [author.node(ops.ResizeNearest((1, 0, 1, 0, 3, 3, 3, 3), tuple(range(5))), "x")]


def expanded(author: Author) -> list[str]:
    pixel = author.node(ops.ReduceMax((1, 2)), author.conv("x", 20, 1))
    return [
        author.node(ops.Expand((1, 6, 5, 20)), pixel),
        author.node(ops.Expand((1, 6, 5, 7)), author.conv("x", 1, 1)),
    ]


def tiled(author: Author) -> list[str]:
    x = author.conv("x", 5, 1)
    return [author.node(ops.Tile((1, 2, 3, 1)), x), author.node(ops.Tile((1, 1, 2, 2)), x)]


@pytest.mark.parametrize("small", [{}, {"buffer_bytes": 512}], ids=["preset", "in bands"])
@pytest.mark.parametrize("name", ["4x4", "8x16", "9x16"])
@pytest.mark.parametrize(
    "build",
    [
        global_maximum,
        shuffled,
        channels_backwards,
        gathered,
        lines_and_pixels,
        joined,
        constants,
        depth_to_space,
        depth_to_space_by_columns,
        space_to_depth,
        resized,
        rows_by_turns,
        expanded,
        tiled,
    ],
)
def test_it_runs_whole_with_the_values_of_the_reference(build, name, small):
    author = Author(1, 6, 5, 8)
    graph: Graph = author.graph(*build(author))
    assert_whole(graph, preset(name).replace(**small))


@pytest.mark.parametrize(("axis", "sizes"), [(3, (4, 1, 15)), (1, (2, 4)), (2, (1, 1, 3))])
def test_parts_of_a_split_run_whole(axis, sizes):
    author = Author(1, 6, 5, 8)
    parts = author.builder.add_several(
        ops.Split(axis, sizes), author.conv("x", 20, 1), node="split"
    )
    assert_whole(author.graph(*parts), preset("8x16"))


@pytest.mark.parametrize("name", ["4x4", "8x16"])
def test_steps_of_a_sequence_apart_and_together_again_run_whole(name):
    author = Author(1, 5, 8)
    every_other = ops.Slice(starts=(0, 0, 0), sizes=(1, 3, 8), steps=(1, 2, 1))
    few = author.node(every_other, author.dense("x", 8))
    steps = author.builder.add_several(ops.Split(1, (1, 1, 1)), few, node="steps")
    rows = [author.node(ops.Reshape((1, 8)), step) for step in steps]
    made = [author.node(ops.Reshape((1, 1, 8)), author.dense(row, 8)) for row in rows]
    together = author.node(ops.Concat(1), *made)
    backwards = author.node(ops.Slice((0, 2, 0), (1, 3, 8), (1, -1, 1)), together)
    last = author.node(ops.Slice((0, 2, 0), (1, 1, 8), (1, 1, 1)), together)
    graph = author.graph(author.dense(backwards, 5), author.dense(last, 5))
    assert_whole(graph, preset(name))
