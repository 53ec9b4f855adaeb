"""An input has 16 bits in int8 where 8 would make three tenths of much noise, and nowhere else."""

import warnings

import numpy as np
import pytest

from edgeinfer.errors import EdgeInferWarning
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.accuracy.sqnr import sqnr_db

FEATURES = 16
NOTE = (
    "input 'x' has 16 bits: its rounding to 8 would make three tenths of the noise at the outputs "
    "or more; to have 8, give overrides={'x': 'int8'}"
)


def perceptron(first: float) -> Graph:
    """Two layers over features of which the first counts ``first`` times as much."""
    rng = np.random.default_rng(1)
    b = GraphBuilder("perceptron")
    x = b.input("x", TensorType((1, FEATURES)))
    weights = rng.normal(size=(24, FEATURES)).astype("f4")
    weights[:, 0] *= first
    b.constant("w", weights)
    b.constant("v", rng.normal(size=(8, 24)).astype("f4"))
    return b.graph(b.add(ops.Dense(), b.add(ops.Dense(lo=0.0), x, "w"), "v", output="y"))


def samples(count: int, seed: int, first: float) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(count, FEATURES)).astype("f4")
    made[:, 0] *= first
    return made[:, None]


def test_an_input_of_which_most_lies_within_few_steps_has_sixteen_bits():
    graph, data = perceptron(0.0), samples(40, 2, 400.0)
    with pytest.warns(EdgeInferWarning) as warned:
        wide = quantize(graph, data)
    assert NOTE in [str(w.message) for w in warned]
    assert {n: wide.types[n].dtype for n in ("x", "y")} == {"x": "int16", "y": "int8"}
    with warnings.catch_warnings(record=True) as warned:
        narrow = quantize(graph, data, overrides={"x": "int8"})
    assert narrow.types["x"].dtype == "int8"
    assert NOTE not in [str(w.message) for w in warned]
    test = samples(50, 3, 400.0)
    expected = np.stack([execute(graph, {"x": x})["y"] for x in test])
    found = [
        sqnr_db(expected, np.stack([Session(each).run(x) for x in test])) for each in (wide, narrow)
    ]
    assert found[0] > found[1] + 25


@pytest.mark.parametrize(
    ("first", "count", "options"),
    [
        pytest.param(1.0, 40, {}, id="features alike"),
        pytest.param(400.0, 12, {}, id="too few runs to judge"),
        pytest.param(400.0, 40, {"observer": "minmax"}, id="a rule asked for"),
        pytest.param(400.0, 40, {"rounding": "double"}, id="rounding for int8 only"),
    ],
)
def test_an_input_keeps_eight_bits(first, count, options):
    integer = quantize(perceptron(float(first == 1)), samples(count, 4, first), **options)
    assert integer.types["x"].dtype == "int8"
