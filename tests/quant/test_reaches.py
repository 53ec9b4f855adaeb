"""What is still to come may reach beyond calibration: 16 bits hold what is likely to, by the runs'
reaches, and outputs in 8 bits what few numbers did not show."""

import numpy as np
import pytest

from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import choose_types, quantize
from edgeinfer.quant.observers import Histogram
from edgeinfer.quant.options import Options
from edgeinfer.quant.reaches import Reaches, growth, of_two_tails
from edgeinfer.runtime.session import Session
from tests.accuracy.sqnr import sqnr_db


def reaches(logarithms: np.ndarray) -> Reaches:
    found = Reaches()
    for reach in np.exp(logarithms):
        found.add(np.array([0.0, -reach, reach / 2], np.float32))
    return found


def test_one_run_in_ten_thousand_is_likely_to_reach_farther():
    logarithms = np.random.default_rng(0).normal(1.0, 0.4, 4000)
    assert reaches(logarithms).likely == pytest.approx(np.exp(1.0 + 3.7 * 0.4), rel=0.05)


def test_runs_that_reach_equally_far_are_followed_by_such():
    assert reaches(np.full(20, 0.7)).likely == pytest.approx(np.exp(0.7))


def test_runs_of_which_some_are_far_smaller_than_the_others_say_nothing_beyond_these():
    logarithms = np.zeros(40)
    logarithms[:10] = -5.0
    logarithms[10:20] = 0.01
    assert reaches(logarithms).likely < 1.1


def test_few_runs_and_runs_of_zeros_say_nothing():
    assert reaches(np.zeros(7)).likely == 0.0
    found = Reaches()
    for _ in range(20):
        found.add(np.zeros(3, np.float32))
    assert found.likely == 0.0


def layer(outputs: int, *, relu: bool = False) -> Graph:
    b = GraphBuilder("layer")
    rng = np.random.default_rng(3)
    w = b.constant("w", rng.normal(size=(outputs, 16)).astype("f4"))
    bias = b.constant("bias", np.zeros(outputs, "f4"))
    lo = 0.0 if relu else -np.inf
    return b.graph(b.add(ops.Dense(lo=lo), b.input("x", TensorType((1, 16))), w, bias, output="y"))


def runs(seed: int, count: int, deviation: float = 0.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(0, deviation, count))
    return [(s * rng.normal(size=(1, 16))).astype("f4") for s in sizes]


def kept_db(graph: Graph, calibration, test, scheme: str) -> float:
    session = Session(quantize(graph, calibration, scheme=scheme))
    expected = np.stack([execute(graph, {"x": x})["y"] for x in test])
    return sqnr_db(expected, np.stack([session.run(x) for x in test]))


def product() -> Graph:
    b = GraphBuilder("product")
    x, z = b.input("x", TensorType((1, 4, 16))), b.input("z", TensorType((1, 16, 8)))
    return b.graph(b.add(ops.ReduceMean((1,)), b.add(ops.MatMul(), x, z), output="y"))


def test_16_bits_hold_what_products_of_two_values_let_expect():
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, z = (rng.uniform(-1, 1, (432, *shape)) for shape in ((1, 4, 16), (1, 16, 8)))
        data = {
            "x": (x * 2).astype("f4"),
            "z": (z * rng.uniform(0, 1, (432, 1, 1, 1))).astype("f4"),
        }
        graph = product()
        session = Session(quantize(graph, {n: a[:32] for n, a in data.items()}, scheme="int16"))
        runs_ = [{n: a[i] for n, a in data.items()} for i in range(32, 432)]
        expected = np.stack([execute(graph, run)["y"] for run in runs_])
        found.append(sqnr_db(expected, np.stack([session.run(run) for run in runs_])))
    assert np.median(found) > 70


def test_16_bits_hold_what_a_function_grows_to():
    b = GraphBuilder("square")
    x = b.input("x", TensorType((1, 16)))
    graph = b.graph(b.add(ops.Pointwise(("mul", "x", "x")), x, output="y"))
    data = list(np.random.default_rng(5).uniform(-1, 1, (32, 1, 16)).astype("f4"))
    types = choose_types(graph, data, Options("int16")).values
    reach = types["x"].quantization.step * 32767
    assert types["y"].quantization.step * 32767 == pytest.approx(reach**2, rel=0.01)


def test_what_a_function_has_no_value_for_is_not_expected():
    b = GraphBuilder("reciprocal")
    x = b.input("x", TensorType((1, 16)))
    graph = b.graph(b.add(ops.Pointwise(("reciprocal", "x")), x, output="y"))
    assert growth(graph.nodes[0].op, seen(0.0, 2.0), 1.5) == 1.0
    assert growth(graph.nodes[0].op, seen(0.5, 2.0), 1.5) == 1.0
    assert growth(ops.Pointwise(("exp", "x")), seen(-1.0, 1.0), 2.0) == pytest.approx(np.e)
    assert growth(ops.Add(), seen(-1.0, 1.0), 2.0) == 1.0


def seen(low: float, high: float) -> Histogram:
    found = Histogram()
    found.add(np.array([low, high], np.float32))
    return found


def test_a_product_of_two_values_has_the_tails_of_both_and_a_gated_one_has_not():
    b = GraphBuilder("products")
    x, z = b.input("x", TensorType((1, 16))), b.input("z", TensorType((1, 16)))
    w = b.constant("w", np.eye(16, dtype="f4"))
    gate = b.add(ops.Pointwise(("sigmoid", "x")), z, output="gate")
    graph = b.graph(
        b.add(ops.Dense(), b.add(ops.Mul(), x, z, output="star"), w, output="of star"),
        b.add(ops.Dense(), b.add(ops.Mul(), x, gate, output="gated"), w, output="of gated"),
    )
    assert of_two_tails(graph) == {"star", "of star"}


def test_16_bits_are_no_coarser_for_runs_that_reach_equally_far():
    x = [np.sign(a) for a in runs(5, 64)]
    types = choose_types(layer(4), x, Options("int16")).values
    assert types["x"].quantization.step == pytest.approx(1.5 / 32767, rel=0.02)


@pytest.mark.parametrize(("outputs", "least_db"), [(1, 32), (2, 27)])
@pytest.mark.parametrize("seed", range(6))
def test_an_output_of_few_numbers_in_8_bits_is_not_clipped(outputs, least_db, seed):
    data = list(np.random.default_rng(seed).uniform(-1, 1, (232, 1, 16)).astype("f4"))
    # with the range that was seen, 18.9 at least of one output and 20.2 of two
    assert kept_db(layer(outputs), data[:32], data[32:], "int8") > least_db


def test_an_output_of_many_numbers_has_the_range_that_was_seen():
    graph, data = layer(2**15), runs(1, 32)
    y = np.concatenate([execute(graph, {"x": x})["y"] for x in data])
    step = choose_types(graph, data, Options(observer="minmax")).values["y"].quantization.step
    assert step == pytest.approx((y.max() - y.min()) / 255, rel=1e-6)


def test_an_output_whose_elements_differ_more_than_its_runs_has_the_range_that_was_seen():
    b = GraphBuilder("offsets")
    w = b.constant("w", 0.01 * np.eye(3, 16, dtype="f4"))
    bias = b.constant("bias", np.array([-9.0, 0.0, 9.0], "f4"))
    graph = b.graph(b.add(ops.Dense(), b.input("x", TensorType((1, 16))), w, bias, output="y"))
    # runs hardly differ
    assert choose_types(graph, runs(1, 6)).values["y"].quantization.step * 255 < 1.05 * 18.2


def test_nothing_is_expected_below_0_of_what_never_was_there():
    types = choose_types(layer(1, relu=True), runs(1, 32)).values
    assert types["y"].quantization.zero_point == -128


def test_a_rule_that_was_asked_for_decides_alone_but_for_outputs():
    graph, x = layer(1), runs(1, 32)
    by_rule, as_seen = (
        choose_types(graph, x, Options(observer=rule)).values for rule in ("mse", "minmax")
    )
    assert by_rule["x"].quantization.step <= (np.max(x) - np.min(x)) / 255
    assert by_rule["y"] == as_seen["y"]
