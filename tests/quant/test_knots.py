"""Functions of 16 bits need 513 knots, where they bend and however far their inputs reach."""

import numpy as np
import pytest

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.tables import step_ending_on_a_knot, step_with_bends_on_knots
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.quant import IntegerTypes, Options, choose_types, given_type, lower_to_integers

FUNCTIONS = {
    "HardSwish": ("hard_swish", "x"),
    "HardSwish in primitives": ("div", ("mul", "x", ("clip", ("add", "x", 3.0), 0.0, 6.0)), 6.0),
    "HardSigmoid": ("hard_sigmoid", "x", 1 / 6, 0.5),
    "HardSigmoid of ONNX": ("hard_sigmoid", "x", 0.2, 0.5),
    "SiLU": ("mul", "x", ("sigmoid", "x")),
    "Gelu": ("gelu", "x"),
    "Gelu by tanh": ("gelu_tanh", "x"),
    "LeakyRelu": ("leaky_relu", "x", 0.1),
    "Sigmoid": ("sigmoid", "x"),
    "Tanh": ("tanh", "x"),
    "Mish": ("mish", "x"),
    "Softplus": ("softplus", "x"),
}
# what calibration saw, the last two most of it where functions give nothing
RANGES = [(-2.0, 2.0), (-6.0, 6.0), (-16.0, 16.0), (-30.0, 30.0), (-60.0, 60.0)]
RANGES += [(-8.0, 3.0), (-60.0, 10.0)]

# four steps of the table, and half a step of each rounding that the exact function has too
MOST_STEPS = 4.5


def function_of(expression: pointwise.Expression) -> Graph:
    builder = GraphBuilder()
    x = builder.input("x", TensorType((1, 64)))
    return builder.graph(builder.add(ops.Pointwise(expression), x, output="y"))


def all_inputs(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Every input of a Graph of one value in, as real numbers, and its output."""
    q = np.arange(-32768, 32768).astype(np.int16)
    values = {"x": q}
    for node in graph.nodes:
        taken = [values[n] if n in values else graph.constants[n] for n in node.inputs]
        (values[node.output],) = reference.evaluate(node.op, *taken)
    x, y = (graph.types[name].quantization.step * values[name].astype(float) for name in "xy")
    return x, y


def steps_off(graph: Graph, expression: pointwise.Expression) -> float:
    x, y = all_inputs(graph)
    step = graph.types["y"].quantization.step
    exact = np.clip(pointwise.evaluate(expression, x), -32768 * step, 32767 * step)
    return float(np.abs(y - exact).max() / step)


def largest_table(graph: Graph) -> int:
    return max(array.size for array in graph.constants.values())


@pytest.mark.parametrize("seen", RANGES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_errs_by_no_more_than_a_table_may_with_513_entries(name, seen):
    graph = function_of(FUNCTIONS[name])
    data = np.linspace(*seen, 32 * 64, dtype=np.float32).reshape(32, 1, 64)
    integer = lower_to_integers(graph, choose_types(graph, data, Options(scheme="int16")))
    assert largest_table(integer) == 513
    assert steps_off(integer, FUNCTIONS[name]) <= MOST_STEPS


@pytest.mark.parametrize("name", ["HardSwish", "HardSigmoid", "SiLU", "LeakyRelu"])
def test_scales_that_were_given_are_kept(name):
    graph = function_of(FUNCTIONS[name])
    types = {"x": given_type((1, 64), "int16", 0.001), "y": given_type((1, 64), "int16", 0.0003)}
    integer = lower_to_integers(graph, IntegerTypes(types))
    assert {name: integer.types[name] for name in types} == types
    assert steps_off(integer, FUNCTIONS[name]) <= MOST_STEPS


def test_a_scale_becomes_coarser_until_bends_have_knots():
    def bends(x):
        return np.minimum(np.maximum(x, -3), 3)

    step = step_with_bends_on_knots(bends, 0.001, 0.001)
    assert step == pytest.approx(3 / (128 * 23), rel=1e-6)
    assert step_with_bends_on_knots(bends, step, 0.001) == pytest.approx(step, rel=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.maximum(x, 0),  # 0 has a knot
        np.tanh,
        np.floor,  # bends everywhere
        lambda x: np.minimum(np.maximum(x, -np.pi), np.e),  # no scale serves both
        lambda x: np.minimum(x, 0.01),  # before the first knot
        np.sqrt,
    ],
)
def test_a_scale_stays_where_no_other_serves(function):
    assert step_with_bends_on_knots(function, 0.01, 0.01) == 0.01


def test_an_output_reaches_to_the_first_knot_beyond_what_it_was_to_hold():
    step = step_ending_on_a_knot(np.exp, 0.001, 10 / 32767)
    assert step == pytest.approx(np.exp(0.128 * 18) / 32767)
    assert 10 < step * 32767 < 10 * np.exp(0.128)
    assert step_ending_on_a_knot(np.tanh, 0.001, 1 / 32767) == 1 / 32767


def test_a_bend_and_what_it_feeds_keep_their_shared_scales():
    builder = GraphBuilder()
    x = builder.input("x", TensorType((1, 8)))
    z = builder.input("z", TensorType((1, 8)))
    y = builder.add(ops.Pointwise(("hard_swish", "x")), x, output="y")
    both = builder.add(ops.Concat(1), y, builder.add(ops.Pointwise(("neg", "x")), z), output="both")
    data = np.random.default_rng(0).normal(size=(32, 1, 8)).astype(np.float32)
    graph = builder.graph(both)
    types = choose_types(graph, {"x": 4 * data, "z": data}, Options(scheme="int16")).values
    assert types["y"].quantization == types["both"].quantization
    knots = 3 / types["x"].quantization.step / 128
    assert abs(knots - round(knots)) < 0.01
