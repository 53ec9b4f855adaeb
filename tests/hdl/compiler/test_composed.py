"""PRelu and resizing by weights run whole: as layers that together give the operator's bits."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import preset
from tests.authored import Author
from tests.hdl.compiler.compiled import assert_whole
from tests.refusals import refused

ONE = 1 << 30


def prelu(author: Author, x: str, factors: np.ndarray, **changes: object) -> str:
    """Factors in units of 2^-30."""
    fields = {**author.requantizing, "input_zero_point": 0, "multiplier": ONE, "shift": 30}
    shift = np.full(len(factors), 30, np.int8)
    constants = [author.builder.constant(n, c) for n, c in (("f", factors), ("s", shift))]
    return author.node(ops.QPRelu(**fields | changes), x, *constants)


def factors(author: Author, signs: tuple[int, ...], count: int = 21) -> np.ndarray:
    drawn = author.rng.integers(0, ONE, count) * author.rng.choice(signs, count)
    return drawn.astype(np.int32)


@pytest.mark.parametrize(
    ("signs", "rounding"),
    [((1,), "single"), ((1,), "double"), ((-1,), "single"), ((0, 1, -1), "single")],
)
@pytest.mark.parametrize(
    ("zero_point", "bounds"),
    [
        (-7, {"output_zero_point": 5}),
        (-128, {"output_zero_point": -128}),
        (127, {"output_zero_point": 100, "lo": -20, "hi": 50}),
        (3, {"output_zero_point": -50, "lo": -20}),
    ],
    ids=["within", "at the least", "above the bounds", "below the bounds"],
)
@pytest.mark.parametrize("config", ["4x4", "8x16"])
def test_a_prelu_of_int8(signs, rounding, zero_point, bounds, config):
    author = Author(1, 3, 4, 8)
    x = author.conv("x", 21, 1)
    changes = {"input_zero_point": zero_point, "rounding": rounding, **bounds}
    y = prelu(author, x, factors(author, signs), shift=31, multiplier=ONE + 12_345, **changes)
    assert_whole(author.graph(author.conv(y, 4, 3)), preset(config))


@pytest.mark.parametrize("signs", [(1,), (-1,), (1, -1)])
def test_a_prelu_of_int16(signs):
    author = Author(1, 3, 4, 8, dtype="int16")
    y = prelu(author, author.conv("x", 21, 1), factors(author, signs) >> 8, shift=22, multiplier=1)
    assert_whole(author.graph(author.conv(y, 4, 3)), preset("8x8-16"))


def test_a_prelu_between_a_convolution_and_a_sum_keeps_its_own_factors():
    """The sum takes the convolution's result and the PRelu's, whose own sum is not another's."""
    author = Author(1, 3, 4, 8)
    x = author.conv("x", 21, 1)
    graph = author.graph(author.add(x, prelu(author, x, factors(author, (1, -1)))))
    assert_whole(graph, preset("8x16"))


def linear(taken: int, given: int, *, aligned: bool) -> tuple[np.ndarray, np.ndarray]:
    """First neighbours and weights of a linear resize, as the quantizer has them."""
    places = []
    for i in range(given):
        place = (Fraction(2 * i + 1, 2 * given)) * taken - Fraction(1, 2)
        if aligned:
            place = Fraction(i * (taken - 1), given - 1)
        places.append(min(max(place, Fraction(0)), Fraction(taken - 1)))
    first = [min(int(place), taken - 2) for place in places]
    shares = [place - start for place, start in zip(places, first, strict=True)]
    whole = int(np.lcm.reduce([share.denominator for share in shares]))
    weights = [(int(whole * (1 - share)), int(whole * share)) for share in shares]
    return np.array(first, np.int32), np.array(weights, np.int16)


def resize(author: Author, x: str, *sides: tuple[np.ndarray, np.ndarray]) -> str:
    names = []
    for first, weights in sides:
        number = len(author.builder.constants)
        names.append(author.builder.constant(f"first{number}", first))
        names.append(author.builder.constant(f"weights{number}", weights))
    shift = 28 + int(np.log2(np.prod([np.abs(weights[0]).sum() for _, weights in sides])))
    zero = -5 if author.dtype == "int8" else 0
    fields = {**author.requantizing, "input_zero_point": zero, "multiplier": 300_000_000}
    return author.node(ops.QResize(**fields, shift=shift), x, *names)


RESIZES = {
    "twice": (linear(6, 12, aligned=False), linear(5, 10, aligned=False)),
    "thrice and to five fourths": (linear(6, 18, aligned=False), linear(4, 5, aligned=False)),
    "sums of weights": (linear(6, 96, aligned=False), linear(5, 10, aligned=False)),
    "corner to corner": (linear(6, 11, aligned=True), linear(5, 9, aligned=True)),
    "smaller": (linear(6, 3, aligned=False), linear(5, 2, aligned=False)),
    "cubic": (
        (np.array([0, 0, 1, 2, 2], np.int32), np.array([[-3, 10, 4, -1]] * 5, np.int16)),
        linear(5, 5, aligned=False),
    ),
}


@pytest.mark.parametrize("small", [{}, {"buffer_bytes": 1024}], ids=["preset", "in bands"])
@pytest.mark.parametrize("config", ["4x4", "8x16", "8x8-16"])
@pytest.mark.parametrize("name", RESIZES)
def test_a_resize_by_weights(name, config, small):
    author = Author(1, 6, 5, 8, dtype="int16" if config == "8x8-16" else "int8")
    y = resize(author, author.conv("x", 12, 1), *RESIZES[name])
    assert_whole(author.graph(author.conv(y, 4, 1)), preset(config).replace(**small))


LEFT_TO_HOST = ". edgeinfer hdl simulate --host-ops leaves these to the CPU"


def test_weights_that_the_array_cannot_hold_are_refused():
    author = Author(1, 4, 4, 8)
    graph = author.graph(
        resize(author, author.conv("x", 8, 1), *[linear(4, 64, aligned=False)] * 2)
    )
    message = (
        "the NPU cannot run QResize 'n1': weighs by 1024; the NPU takes 1016 at most, as the sum "
        "of 8 weights" + LEFT_TO_HOST
    )
    with refused(message, UnsupportedError):
        compile(graph, "8x16")


def test_rows_that_each_have_weights_of_their_own_are_refused():
    author = Author(1, 40, 4, 8)
    sides = linear(40, 79, aligned=True), linear(4, 4, aligned=True)
    weights = sides[0][1].copy()
    weights[:, 0] = np.arange(79) % 53 + 1
    graph = author.graph(resize(author, author.conv("x", 8, 1), (sides[0][0], weights), sides[1]))
    message = (
        "the NPU cannot run QResize 'n1': makes rows or columns by 79 patterns of weights; the NPU "
        "takes 32 at most" + LEFT_TO_HOST
    )
    with refused(message, UnsupportedError):
        compile(graph, "8x16")


@pytest.mark.parametrize(
    ("count", "changes", "why"),
    [
        (60, {}, "has factors that differ from pixel to pixel; the lanes have one a channel"),
        (
            5,
            {"rounding": "double"},
            "rounds twice with a factor below 0, where signs are the weights'",
        ),
    ],
)
def test_factors_that_the_lanes_do_not_have_are_refused(count, changes, why):
    author = Author(1, 3, 4, 8)
    y = prelu(author, author.conv("x", 5, 1), factors(author, (-1,), count), **changes)
    message = f"the NPU cannot run QPRelu 'n1': {why}" + LEFT_TO_HOST
    with refused(message, UnsupportedError):
        compile(author.graph(y), "8x16")
