"""Quantization is reproducible, streams its data, and refuses what it cannot do in one line."""

import numpy as np
import pytest

from edgeinfer.errors import InputError, QuantizationError, UnsupportedError
from edgeinfer.files.model_file import to_bytes
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant import OBSERVERS, SCHEMES, compare, quantize, refusals
from tests.refusals import refused

RNG = np.random.default_rng(1)
SAMPLES = RNG.normal(size=(24, 1, 5)).astype(np.float32)


def graph_of(*layers: tuple[str, ops.Operator], extent: int = 5) -> Graph:
    """``x`` [1, extent] through operators that keep its shape, one after the other."""
    types = {"x": TensorType((1, extent))}
    nodes, last = [], "x"
    for name, op in layers:
        nodes.append(Node(name, op, (last,), (name,)))
        types[name] = TensorType((1, extent))
        last = name
    return Graph("layers", tuple(nodes), types, ("x",), (last,), {}, free_batch=True)


TANH = graph_of(("tanh", ops.Pointwise(("tanh", "x"))), ("softmax", ops.Softmax(1)))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("observer", ["auto", *OBSERVERS])
def test_the_same_data_gives_the_same_bytes_however_it_is_handed_over(scheme, observer):
    ways = [SAMPLES, SAMPLES[:, 0], {"x": SAMPLES[:, 0]}, list(SAMPLES), iter(SAMPLES)]
    ways += [list(SAMPLES[:, 0])]  # each without the axis of a batch
    made = {to_bytes(quantize(TANH, way, scheme=scheme, observer=observer)) for way in ways}
    assert len(made) == 1


def test_samples_are_drawn_by_their_seed():
    def made(seed):
        return to_bytes(quantize(TANH, SAMPLES, samples=3, seed=seed, observer="minmax"))

    assert made(1) == made(1) != made(2)


def test_of_a_stream_no_more_is_taken_than_asked_for():
    taken = []

    def stream():
        for x in SAMPLES:
            taken.append(x)
            yield x

    quantize(TANH, stream(), samples=5)
    assert len(taken) <= 6


def test_progress_counts_every_sample_and_every_search():
    seen: dict[str, list[tuple[int, int | None]]] = {}
    quantize(
        TANH,
        SAMPLES,
        progress=lambda stage, done, total: seen.setdefault(stage, []).append((done, total)),
    )
    assert seen["calibrating"] == [(i, 24) for i in range(1, 25)]
    total = seen["searching"][0][1]
    assert seen["searching"] == [(i, total) for i in range(1, total + 1)]


def test_compare_puts_the_worst_layer_first():
    layers = compare(TANH, quantize(TANH, SAMPLES), SAMPLES)
    assert [e.value for e in layers if e.is_output] == ["softmax"]
    assert [e.sqnr_db for e in layers] == sorted(e.sqnr_db for e in layers)
    assert all(e.sqnr_db > 20 for e in layers)


def test_an_unknown_scheme_is_refused():
    with refused("scheme must be one of int8, int16x8, int16, auto, not 'int4'", InputError):
        quantize(TANH, SAMPLES, scheme="int4")


def test_an_unknown_observer_is_refused():
    with refused(
        "observer must be one of auto, entropy, minmax, mse, percentile, not 'best'",
        InputError,
    ):
        quantize(TANH, SAMPLES, observer="best")


def test_an_unknown_rounding_is_refused():
    with refused("rounding must be one of single, double, not 'triple'", InputError):
        quantize(TANH, SAMPLES, rounding="triple")


def test_double_rounding_of_sixteen_bits_is_refused():
    with refused("rounding 'double' is for int8 only, in every layer", InputError):
        quantize(TANH, SAMPLES, scheme="int16", rounding="double")


def test_no_data_is_refused():
    with refused("the data holds no samples", InputError):
        quantize(TANH, [])
    with refused("samples are arrays, or arrays by name, not NoneType", InputError):
        quantize(TANH, None)


def test_what_is_no_graph_is_refused():
    with refused(
        "quantize takes a Graph, not str: edgeinfer.converters.from_onnx makes one of a model, "
        "and edgeinfer.quantize takes its path",
        InputError,
    ):
        quantize("model.onnx", SAMPLES)


def test_an_integer_graph_is_not_quantized_again():
    with refused("graph 'layers' is integer already; quantize takes the float one", InputError):
        quantize(quantize(TANH, SAMPLES), SAMPLES)


def test_data_that_is_not_finite_is_refused():
    broken = SAMPLES.copy()
    for number in (np.nan, np.inf):
        broken[3, 0, 2] = number
        with refused("the data for input 'x' holds a value that is not finite", InputError):
            quantize(TANH, broken)


def test_a_value_that_overflows_names_its_sample():
    graph = graph_of(("exp", ops.Pointwise(("exp", "x"))))
    data = SAMPLES.copy()
    data[7:20] = 1000
    with refused(
        "value 'exp' is not finite on calibration sample 7; "
        "the float model overflows or divides by zero there",
        QuantizationError,
    ):
        quantize(graph, data)


def test_operators_without_an_integer_meaning_are_named_before_any_work(monkeypatch):
    monkeypatch.setattr(refusals, "is_supported", lambda op: not isinstance(op, ops.LRN))
    lrn = ops.LRN(3, 1e-4, 0.75, 1.0)
    twice = (("a", lrn), ("b", lrn))
    with refused(
        "2 of 2 operators cannot be made integer yet: LRN 'a', 'b'; replace them in the model",
        UnsupportedError,
    ):
        quantize(graph_of(*twice), [])
    with refused(
        "2 of 3 operators cannot be made integer yet: LRN 'a', 'b'; "
        "replace them in the model, or cut it before them with outputs=['r']",
        UnsupportedError,
    ):
        quantize(graph_of(("r", ops.Pointwise(("relu", "x"))), *twice), [])


def test_data_of_another_shape_is_refused():
    with refused("input 'x' has shape [1, 5], but the data has shape [24, 1, 4]", InputError):
        quantize(TANH, SAMPLES[:, :, :4])


def test_data_under_another_name_is_refused():
    with refused("the data is for 'y', but the model's inputs are 'x'", InputError):
        quantize(TANH, {"y": SAMPLES})
