"""An Einsum is products, sums, diagonals and Transposes, as onnxruntime computes it."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from tests.converters.onnx_agreement import agreement, model, node, operators
from tests.refusals import refused

RNG = np.random.default_rng(31)

EXTENTS = {"b": 2, "h": 3, "q": 4, "k": 5, "d": 6, "e": 7, "i": 4, "j": 4}
ONE = ["bqd->bdq", "bqd->bd", "bqd->", "ii->i", "bii->ib", "ii->", "...qd->...dq", "bqd"]
TWO = [
    "bhqd,bhkd->bhqk",
    "bqhd,bkhd->bhqk",
    "bhqk,bkhd->bqhd",
    "bqd,de->bqe",
    "de,bqd->bqe",
    "bqd,bqd->bqd",
    "bqd,d->bqd",
    "bq,d->bqd",
    "bqd,bke->bqk",
    "...qd,...dk->...qk",
    "bhqd,qkd->bhqk",
    "d,d->",
    "bqd,dk",
]


def operand(letters: str) -> np.ndarray:
    shape = [EXTENTS[c] for c in letters.replace("...", "bh")]
    return RNG.normal(size=shape).astype("f4")


@pytest.mark.parametrize("equation", ONE)
def test_of_one_operand(equation):
    x = operand(equation.partition("->")[0])
    agreement(model([node("Einsum", ["x"], ["y"], equation=equation)], x.shape))


@pytest.mark.parametrize("known", ["", "b", "a"])
@pytest.mark.parametrize("equation", TWO)
def test_of_two_operands(equation, known):
    arrays = dict(zip("ab", map(operand, equation.partition("->")[0].split(",")), strict=True))
    inputs = {name: array.shape for name, array in arrays.items() if name != known}
    constants = {known: arrays[known]} if known else {}
    proto = model(
        [node("Einsum", ["a", "b"], ["y"], equation=equation)], None, constants, inputs=inputs
    )
    agreement(proto)


def test_of_three_operands():
    arrays = dict(zip("abc", map(operand, ("bqd", "de", "bke")), strict=True))
    nodes = [node("Einsum", ["a", "b", "c"], ["y"], equation="bqd,de,bke->bqk")]
    inputs = {name: arrays[name].shape for name in "ac"}
    graph = agreement(model(nodes, None, {"b": arrays["b"]}, inputs=inputs))
    assert {"Dense", "MatMul"} <= set(operators(graph))


@pytest.mark.parametrize(
    "equation, reason",
    [
        ("bq,dk->bk", "equation 'bq,dk->bk' does not fit 1 inputs"),
        ("bqd->bz", "equation 'bqd->bz' asks for axes that are not there, or twice"),
        ("bq->b", "equation 'bq->b' does not fit its inputs"),
        ("ddq->d", "the axes 'd' have 2 and 3 elements"),
    ],
)
def test_an_equation_that_does_not_fit_is_refused(equation, reason):
    with refused(f"Einsum 'y': {reason}"):
        from_onnx(model([node("Einsum", ["x"], ["y"], equation=equation)], (2, 3, 4)))
