"""Sums and maxima over any of height, width and channels, whatever becomes of the axes."""

from __future__ import annotations

import itertools

import pytest

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler import compile
from tests import npu_graphs
from tests.authored import ONE, Author
from tests.hdl.compiler.compiled import assert_whole
from tests.refusals import refused

NAMES = ["4x4", "8x16", "8x8-16"]
OF_IMAGES = [axes for n in (1, 2, 3) for axes in itertools.combinations((1, 2, 3), n)]
OF_SEQUENCES = [((1,), False), ((1,), True), ((2,), False), ((2,), True), ((1, 2), True)]


def summed(author: Author, axes: tuple[int, ...], *, keepdims: bool = True) -> ops.QReduceSum:
    return ops.QReduceSum(
        **author.requantizing,
        axes=axes,
        keepdims=keepdims,
        input_zero_point=2 if author.dtype == "int8" else 0,
        multiplier=ONE,
        shift=34,
    )


def greatest(author: Author, axes: tuple[int, ...], *, keepdims: bool = True) -> ops.ReduceMax:
    return ops.ReduceMax(axes, keepdims)


def author_of(name: str, *shape: int) -> Author:
    return Author(*shape, dtype="int16" if name.endswith("-16") else "int8")


@pytest.mark.parametrize("small", [False, True], ids=["preset", "small"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axes", OF_IMAGES)
@pytest.mark.parametrize("operator", [summed, greatest])
def test_of_an_image(name, axes, operator, small):
    author = author_of(name, 1, 5, 6, 20)
    value = author.node(operator(author, axes), author.conv("x", 20, 1))
    channels = author.builder.shape(value)[-1]
    graph = author.graph(author.conv(value, channels, 1))
    assert_whole(graph, npu_graphs.configuration(name, small=small))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("axes", "keepdims"), OF_SEQUENCES)
@pytest.mark.parametrize("operator", [summed, greatest])
def test_of_a_sequence(name, axes, keepdims, operator):
    author = author_of(name, 1, 9, 20)
    value = author.node(operator(author, axes, keepdims=keepdims), author.dense("x", 20))
    assert_whole(author.graph(author.dense(value, 8)), npu_graphs.configuration(name, small=False))


@pytest.mark.parametrize("operator", [summed, greatest])
def test_lines_become_pixels(operator):
    author = author_of("8x16", 1, 5, 6, 20)
    value = author.node(operator(author, (2,), keepdims=False), author.conv("x", 20, 1))
    assert_whole(
        author.graph(author.dense(value, 8)), npu_graphs.configuration("8x16", small=False)
    )


def test_what_would_move_pixels_into_channels_is_refused():
    author = author_of("8x16", 1, 5, 6, 20)
    value = author.node(summed(author, (3,), keepdims=False), author.conv("x", 20, 1))
    graph = author.graph(author.dense(value, 8))
    with refused(
        "the NPU cannot run QReduceSum 'n1': turns (1, 5, 6, 20) into (1, 5, 6), which moves "
        "elements. edgeinfer hdl simulate --host-ops leaves these to the CPU",
        UnsupportedError,
    ):
        compile(graph, "8x16")
