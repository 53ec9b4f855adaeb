"""Functions that are steep near 0 lose what the input's rounding loses there, and no more: int16
is never worse than int8, however many magnitudes the data has."""

import numpy as np
import pytest

from edgeinfer.arithmetic import pointwise
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.accuracy.sqnr import sqnr_db

FUNCTIONS = {
    "Log": ("log", "x"),
    "Log of a sum": ("log", ("add", "x", 1e-6)),
    "Log of a bound": ("log", ("max", "x", 1e-10)),
    "Sqrt": ("sqrt", "x"),
    "Reciprocal": ("reciprocal", "x"),
    "Reciprocal of Sqrt": ("reciprocal", ("sqrt", "x")),
    "Pow 0.3": ("pow", "x", 0.3),
    "Pow -0.5": ("pow", "x", -0.5),
    "Pow 2": ("pow", "x", 2.0),
}
# an interpolated table's steps, and the rounding of its result
MOST_STEPS = 4.5


def function(name: str) -> Graph:
    b = GraphBuilder()
    x = b.input("x", TensorType((1, 64)))
    return b.graph(b.add(ops.Pointwise(FUNCTIONS[name]), x, output="y"))


def magnitudes(decades: int, seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (10 ** rng.uniform(1 - decades, 1, (count, 1, 64))).astype(np.float32)


@pytest.mark.parametrize("decades", [1, 3, 6, 9])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_16_bits_are_no_worse_than_8(name, decades):
    kept: dict[str, list[float]] = {"int8": [], "int16": []}
    for seed in range(3):
        data, test = magnitudes(decades, seed, 32), magnitudes(decades, seed + 100, 16)
        expected = pointwise.evaluate(FUNCTIONS[name], test.astype(np.float64))
        for scheme, ratios in kept.items():
            session = Session(quantize(function(name), data, scheme=scheme))
            ratios.append(sqnr_db(expected, np.stack([session.run(x) for x in test])))
    # what rounds to 0 in either is worth what 0 is given: a tenth more or less, draw by draw
    assert np.mean(kept["int16"]) >= np.mean(kept["int8"]) - 0.1


@pytest.mark.parametrize("scheme", ["int8", "int16"])
@pytest.mark.parametrize("decades", [1, 3, 6, 9])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_result_is_that_of_a_number_that_rounds_as_its_own_does(name, decades, scheme):
    data = magnitudes(decades, 7, 32)
    made = quantize(function(name), data, scheme=scheme, observer="minmax")
    session = Session(made)
    (x_step, x_zero), (y_step, y_zero) = (
        (made.types[v].quantization.step, made.types[v].quantization.zero_point) for v in "xy"
    )
    info = np.iinfo(made.types["x"].dtype)
    x = data.astype(np.float64)
    q = np.clip(np.rint(x / x_step) + x_zero, info.min, info.max) - x_zero
    ends = [np.clip((q + half) * x_step, x.min(), x.max()) for half in (-0.5, 0.5)]
    ends = np.stack([pointwise.evaluate(FUNCTIONS[name], end) for end in (*ends, x)])
    held = ((np.array([info.min, info.max]) - y_zero) * y_step).tolist()
    y = np.stack([session.run(run) for run in data])
    assert (y >= np.clip(ends.min(0), *held) - MOST_STEPS * y_step).all()
    assert (y <= np.clip(ends.max(0), *held) + MOST_STEPS * y_step).all()
