"""A range is what a value's integers must tell apart: not "never", not one spoilt sample, not 0."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeinfer.converters import from_onnx
from edgeinfer.meaning.float_executor import Executor
from edgeinfer.quant import Options, choose_types, quantize
from edgeinfer.quant.never import FarNumbers, near_and_far
from edgeinfer.quant.observers import Histogram
from edgeinfer.runtime.session import Session
from tests.accuracy.sqnr import sqnr_db

LEAST_SQNR_DB = {"int8": 26.0, "int16x8": 38.0, "int16": 65.0}
LOWEST = float(np.finfo(np.float32).min)
NEVER = [-10000.0, -65504.0, -1e9, LOWEST, -np.inf]
node = helper.make_node


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model(nodes, inputs, constants, output="y", opset=17) -> onnx.ModelProto:
    constants = {name: np.asarray(array) for name, array in constants.items()}
    graph = helper.make_graph(
        nodes,
        "ranges",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_empty_tensor_value_info(output)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def kept_db(made: onnx.ModelProto, calibration, test, scheme: str) -> float:
    """The SQNR of the quantized model on ``test`` against onnxruntime."""
    peer = onnxruntime.InferenceSession(made.SerializeToString())
    session = Session(quantize(from_onnx(made), calibration, scheme=scheme))
    expected = np.stack([peer.run(None, feed)[0] for feed in test])
    return sqnr_db(expected, np.stack([session.run(feed) for feed in test]))


def feeds(seed: int, count: int, **shapes: tuple[int, ...]) -> list[dict[str, np.ndarray]]:
    return [
        {n: floats(1000 * seed + 10 * i + j, *s) for j, (n, s) in enumerate(shapes.items())}
        for i in range(count)
    ]


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("never", NEVER)
def test_a_pad_that_never_wins_takes_no_step(never, scheme):
    made = model(
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Pad", ["c", "pads", "never"], ["p"]),
            node("MaxPool", ["p"], ["m"], kernel_shape=[4, 3], strides=[2, 1]),
            node("Conv", ["m", "v"], ["y"]),
        ],
        {"x": [1, 3, 9, 9]},
        {
            "w": floats(1, 4, 3, 3, 3),
            "v": floats(2, 5, 4, 1, 1),
            "pads": np.array([0, 0, 2, 1, 0, 0, 2, 1]),
            "never": np.float32(never),
        },
    )
    data = feeds(1, 40, x=(1, 3, 9, 9))
    assert kept_db(made, data[:30], data[30:], scheme) > LEAST_SQNR_DB[scheme]


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("never", NEVER)
def test_a_constant_mask_before_a_softmax_leaves_the_scores_their_steps(never, scheme):
    mask = np.zeros((1, 4, 6), np.float32)
    mask[..., 4:] = never
    made = model(
        [
            node("MatMul", ["x", "w"], ["s"]),
            node("Add", ["s", "mask"], ["a"]),
            node("Softmax", ["a"], ["y"], axis=2),
        ],
        {"x": [1, 4, 8]},
        {"w": floats(3, 8, 6), "mask": mask},
    )
    data = feeds(2, 40, x=(1, 4, 8))
    assert kept_db(made, data[:30], data[30:], scheme) > LEAST_SQNR_DB[scheme]


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("never", [-1000.0, -128.0])
def test_a_pad_beyond_all_others_takes_no_step_however_near_it_lies(never, layout, scheme):
    behind = [node("MaxPool", ["p"], ["y"], kernel_shape=[4, 3], strides=[2, 1])]
    if layout == "nhwc":
        behind = [
            node("Transpose", ["p"], ["t"], perm=[0, 2, 3, 1]),
            node("ReduceMax", ["t"], ["y"], axes=[1, 2]),
        ]
    made = model(
        [node("Conv", ["x", "w"], ["c"]), node("Pad", ["c", "pads", "never"], ["p"]), *behind],
        {"x": [1, 3, 9, 9]},
        {
            "w": floats(1, 4, 3, 3, 3),
            "pads": np.array([0, 0, 2, 1, 0, 0, 2, 1]),
            "never": np.float32(never),
        },
    )
    data = feeds(1, 40, x=(1, 3, 9, 9))
    assert kept_db(made, data[:30], data[30:], scheme) > LEAST_SQNR_DB[scheme]


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("high", [0.0, -LOWEST])
def test_the_largest_numbers_stay_finite(high, scheme):
    made = model([node("Neg", ["x"], ["y"])], {"x": [1, 2]}, {})
    data = np.full((16, 1, 2), LOWEST, np.float32)
    data[::2, :, 0] = high
    session = Session(quantize(from_onnx(made), list(data), scheme=scheme))
    y = np.stack([session.run(x) for x in data])
    np.testing.assert_allclose(y, -data, rtol=0.02, atol=1e36)


def test_a_pad_that_wins_somewhere_is_a_number_like_others():
    made = model(
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Pad", ["c", "pads", "low"], ["p"]),
            node("MaxPool", ["p"], ["y"], kernel_shape=[2, 2]),
        ],
        {"x": [1, 3, 9, 9]},
        {
            "w": floats(1, 4, 3, 3, 3),
            "pads": np.array([0, 0, 2, 2, 0, 0, 2, 2]),
            "low": np.float32(-5),
        },
    )
    data = feeds(1, 40, x=(1, 3, 9, 9))
    y = Session(quantize(from_onnx(made), data)).run(data[0])
    np.testing.assert_allclose(y[..., 0, 0], -5, atol=0.2)


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("function", ["Relu", "Sigmoid", "Elu", "HardSwish", "Gelu", "Mish"])
def test_a_pad_before_a_function_that_settles_there_takes_no_step(function, scheme):
    made = model(
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Pad", ["c", "pads", "never"], ["p"]),
            node(function, ["p"], ["f"]),
            node("Conv", ["f", "v"], ["y"]),
        ],
        {"x": [1, 3, 9, 9]},
        {
            "w": floats(1, 4, 3, 3, 3) * np.float32(0.3),
            "v": floats(2, 5, 4, 3, 3),
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
            "never": np.float32(LOWEST),
        },
        opset=22,
    )
    data = feeds(1, 40, x=(1, 3, 9, 9))
    assert kept_db(made, data[:30], data[30:], scheme) > LEAST_SQNR_DB[scheme]


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("never", [-65504.0, LOWEST])
def test_a_pad_before_a_function_that_keeps_the_order_takes_no_step(never, scheme):
    made = model(
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Pad", ["c", "pads", "never"], ["p"]),
            node("LeakyRelu", ["p"], ["f"], alpha=0.1),
            node("MaxPool", ["f"], ["y"], kernel_shape=[3, 3]),
        ],
        {"x": [1, 3, 9, 9]},
        {
            "w": floats(1, 4, 3, 3, 3),
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
            "never": np.float32(never),
        },
    )
    data = feeds(1, 40, x=(1, 3, 9, 9))
    assert kept_db(made, data[:30], data[30:], scheme) > LEAST_SQNR_DB[scheme] - 1


def test_thousands_of_masked_scores_add_nothing_to_a_softmax():
    mask = np.zeros((1, 1, 4096), np.float32)
    mask[..., 6:] = -1e9
    made = model(
        [
            node("MatMul", ["x", "w"], ["s"]),
            node("Add", ["s", "mask"], ["a"]),
            node("Softmax", ["a"], ["y"], axis=2),
        ],
        {"x": [1, 4, 8]},
        {"w": floats(3, 8, 4096) * np.float32(0.03), "mask": mask},
    )
    data = feeds(2, 40, x=(1, 4, 8))
    assert kept_db(made, data[:30], data[30:], "int8") > LEAST_SQNR_DB["int8"]


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("never", [-10000.0, -1e9])
def test_a_mask_that_a_run_computes_leaves_the_scores_their_steps(never, scheme):
    made = model(
        [
            node("MatMul", ["x", "w"], ["s"]),
            node("Sub", ["one", "mask"], ["hidden"]),
            node("Mul", ["hidden", "never"], ["n"]),
            node("Add", ["s", "n"], ["a"]),
            node("Softmax", ["a"], ["y"], axis=1),
        ],
        {"x": [1, 8], "mask": [1, 6]},
        {"w": floats(4, 8, 6), "one": np.float32(1), "never": np.float32(never)},
    )
    data = feeds(3, 40, x=(1, 8), mask=(1, 6))
    for feed in data:
        feed["mask"] = (feed["mask"] > -1).astype(np.float32)
    assert kept_db(made, data[:30], data[30:], scheme) > LEAST_SQNR_DB[scheme]


def test_an_outlier_that_a_reader_asks_for_keeps_its_distance():
    made = model(
        [node("Conv", ["x", "w"], ["y"])], {"x": [1, 1, 4, 4]}, {"w": floats(5, 2, 1, 1, 1)}
    )
    data = feeds(4, 30, x=(1, 1, 4, 4))
    for feed in data:
        feed["x"][0, 0, 0, 0] = -1000
    assert kept_db(made, data, data, "int8") > 40


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("join", ["Add", "Mul", "Concat"])
def test_a_layer_that_is_dead_in_calibration_stops_nothing(join, scheme):
    attributes = {"axis": 1} if join == "Concat" else {}
    made = model(
        [
            node("Conv", ["x", "w", "b"], ["c"]),
            node("Relu", ["c"], ["dead"]),
            node("Conv", ["dead", "u", "d"], ["after"]),
            node("Conv", ["x", "v"], ["alive"]),
            node(join, ["after", "alive"], ["y"], **attributes),
        ],
        {"x": [1, 3, 6, 6]},
        {
            "w": floats(6, 4, 3, 3, 3) * np.float32(0.01),
            "b": np.full(4, -5, np.float32),
            "u": floats(7, 4, 4, 1, 1),
            "d": floats(8, 4),
            "v": floats(9, 4, 3, 3, 3),
        },
    )
    data = feeds(5, 40, x=(1, 3, 6, 6))
    assert kept_db(made, data[:30], data[30:], scheme) > LEAST_SQNR_DB[scheme]


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("magnitude", [1e-30, 1e-21, 1e-6, 1e18])
def test_only_the_ratio_of_magnitudes_counts(magnitude, scheme):
    made = model(
        [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])],
        {"x": [1, 3, 6, 6]},
        {"w": floats(10, 4, 3, 3, 3)},
    )
    data = [{"x": feed["x"] * np.float32(magnitude)} for feed in feeds(6, 40, x=(1, 3, 6, 6))]
    assert kept_db(made, data[:30], data[30:], scheme) > LEAST_SQNR_DB[scheme]


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
def test_a_pad_behind_a_softmax_keeps_its_value(scheme):
    made = model(
        [node("Softmax", ["x"], ["s"], axis=1), node("Pad", ["s", "pads", "fill"], ["y"])],
        {"x": [1, 5]},
        {"pads": np.array([0, 1, 0, 2]), "fill": np.float32(-1)},
    )
    data = feeds(7, 40, x=(1, 5))
    integer = quantize(from_onnx(made), data, scheme=scheme)
    y = Session(integer).run(data[0])
    step = integer.types["y"].quantization.step
    assert np.abs(y[0, [0, 6, 7]] + 1).max() <= step / 2


@pytest.mark.parametrize("kind", ["Max", "Min", "Clip"])
def test_an_infinite_bound_is_none(kind):
    bounds = {
        "Max": [-np.inf, -np.inf, 0.5, -np.inf],
        "Min": [np.inf, 0.25, np.inf, np.inf],
        "Clip": [-np.inf],
    }[kind]
    bound = np.array(bounds, np.float32).reshape((-1, 1, 1) if len(bounds) > 1 else ())
    more = {"top": np.float32(np.inf)} if kind == "Clip" else {}
    made = model(
        [node("Conv", ["x", "w"], ["c"]), node(kind, ["c", "bound", *more], ["y"])],
        {"x": [1, 3, 6, 6]},
        {"w": floats(11, 4, 3, 3, 3), "bound": bound, **more},
    )
    data = feeds(8, 40, x=(1, 3, 6, 6))
    assert kept_db(made, data[:30], data[30:], "int8") > LEAST_SQNR_DB["int8"]


def test_a_logarithm_in_sixteen_bits_is_no_worse_than_in_eight():
    made = model([node("Abs", ["x"], ["a"]), node("Log", ["a"], ["y"])], {"x": [1, 64]}, {})
    data = [{"x": feed["x"] * 4} for feed in feeds(9, 40, x=(1, 64))]
    narrow, wide = (kept_db(made, data[:30], data[30:], s) for s in ("int8", "int16"))
    assert wide > narrow


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("spoilt", ["one sample times 10", "one value times 1000"])
def test_one_spoilt_sample_of_a_hundred_decides_no_range(spoilt, scheme):
    made = model(
        [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])],
        {"x": [1, 3, 6, 6]},
        {"w": floats(12, 4, 3, 3, 3)},
    )
    data = feeds(10, 120, x=(1, 3, 6, 6))
    bad = {"x": data[37]["x"].copy()}
    if spoilt == "one sample times 10":
        bad["x"] *= 10
    else:
        bad["x"][0, 1, 2, 3] = 700
    calibration = [*data[:37], bad, *data[38:100]]
    assert kept_db(made, calibration, data[100:], scheme) > LEAST_SQNR_DB[scheme]


def test_few_samples_leave_sixteen_bits_more_headroom():
    made = model(
        [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])],
        {"x": [1, 3, 6, 6]},
        {"w": floats(13, 4, 3, 3, 3)},
    )
    data = feeds(11, 300, x=(1, 3, 6, 6))
    for few in (2, 4, 8):
        assert kept_db(made, data[:few], data[100:], "int16") > 65


def as_divided(arrays: list[np.ndarray]) -> tuple[Histogram, frozenset[int]]:
    """The histogram of runs whose far numbers were kept apart until the end."""
    near, far = Histogram(), FarNumbers()
    for array in arrays:
        rest, beyond = near_and_far(array, frozenset({-1, 1}))
        near.add(rest)
        if beyond.size:
            far.add(beyond, is_held_back=False)
    signs = far.settle(near, Histogram())
    return near, signs


def test_what_is_far_in_its_own_run_alone_is_no_never():
    runs = [floats(i, 4) * 5 for i in range(200)]
    assert any(near_and_far(run, frozenset({-1, 1}))[1].size for run in runs)
    together = Histogram()
    together.add(np.concatenate(runs))
    divided, signs = as_divided(runs)
    assert signs == frozenset()
    np.testing.assert_array_equal(divided.counts, together.counts)
    assert (divided.low, divided.high) == (together.low, together.high)


def test_what_is_far_beyond_all_runs_stays_apart_beside_what_is_not():
    runs = [floats(i, 4) * 5 for i in range(200)]
    hidden = [np.append(run, np.float32([-1e9, -np.inf])) for run in runs]
    (divided, signs), (without, _) = as_divided(hidden), as_divided(runs)
    assert signs == frozenset({-1})
    np.testing.assert_array_equal(divided.counts, without.counts)


def gated(behind: str) -> onnx.ModelProto:
    """A Sigmoid that nothing in calibration opens, before a layer or before the output."""
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Sigmoid", ["c"], ["gate"]),
        node("Mul", ["gate", "z"], ["m" if behind == "layer" else "y"]),
    ]
    constants = {"w": floats(14, 4, 3, 1, 1) * np.float32(0.05)}
    if behind == "layer":
        nodes.append(node("Conv", ["m", "v"], ["y"]))
        constants["v"] = floats(15, 4, 4, 1, 1)
    return model(nodes, {"x": [1, 3, 6, 6], "z": [1, 4, 6, 6]}, constants)


@pytest.mark.parametrize("scheme", ["int8", "int16"])
def test_a_bounded_function_near_an_output_has_its_bounds_and_before_a_layer_what_was_seen(scheme):
    data = feeds(16, 40, x=(1, 3, 6, 6), z=(1, 4, 6, 6))
    open_, inner = (
        choose_types(from_onnx(gated(behind)), data, Options(scheme=scheme, observer="minmax"))
        for behind in ("output", "layer")
    )
    steps = 255 if scheme == "int8" else 32767
    at_output = open_.values["gate"].quantization.step * steps
    before_layer = inner.values["gate"].quantization.step * steps
    seen = inner.domains["gate"][1]
    assert 1.5 * seen < 1
    assert at_output == pytest.approx(1, rel=1e-4)
    assert before_layer == pytest.approx(seen if scheme == "int8" else 1.5 * seen, rel=1e-4)


def test_the_headroom_of_a_bounded_function_ends_at_its_bounds():
    data = feeds(17, 40, x=(1, 3, 6, 6), z=(1, 4, 6, 6))
    for feed in data:
        feed["x"] *= 3
    types = choose_types(from_onnx(gated("layer")), data, Options(scheme="int16"))
    assert 1 / 1.5 < types.domains["gate"][1] < 1
    assert types.values["gate"].quantization.step * 32767 == pytest.approx(1, rel=1e-4)


def test_what_a_bounded_function_shares_its_scale_with_keeps_its_headroom():
    made = model(
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Sigmoid", ["c"], ["gate"]),
            node("Conv", ["x", "u"], ["d"]),
            node("Concat", ["gate", "d"], ["m"], axis=1),
            node("Conv", ["m", "v"], ["y"]),
        ],
        {"x": [1, 3, 6, 6]},
        {
            "w": floats(18, 4, 3, 1, 1),
            "u": floats(19, 4, 3, 1, 1) * np.float32(0.1),
            "v": floats(20, 4, 8, 1, 1),
        },
    )
    types = choose_types(from_onnx(made), feeds(18, 40, x=(1, 3, 6, 6)), Options(scheme="int16"))
    low, high = types.domains["m"]
    assert types.values["d"].quantization == types.values["m"].quantization
    assert types.values["d"].quantization.step * 32767 >= 1.4999 * max(-low, high)


def test_a_value_of_few_elements_reaches_farther_than_was_seen():
    made = model(
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Relu", ["c"], ["r"]),
            node("GlobalAveragePool", ["r"], ["m"]),
            node("Flatten", ["m"], ["f"]),
            node("Gemm", ["f", "v"], ["s"], transB=1),
            node("Relu", ["s"], ["h"]),
            node("Gemm", ["h", "u"], ["z"], transB=1),
            node("Softmax", ["z"], ["y"]),
        ],
        {"x": [1, 3, 40, 40]},
        {"w": floats(1, 8, 3, 3, 3), "v": floats(2, 16, 8), "u": floats(3, 200, 16)},
    )
    graph, data = from_onnx(made), feeds(12, 20, x=(1, 3, 40, 40))
    integer = quantize(graph, data, rounding_weights="nearest", observer="minmax")
    hidden = next(n.output for n in graph.nodes if graph.types[n.output].shape == (1, 16))
    seen = {name: [np.inf, -np.inf] for name in ("x@nhwc", "r", hidden, "z")}
    for feed in data:
        Executor(graph).run(
            feed, observe=lambda name, array: seen.get(name, []).extend((array.min(), array.max()))
        )
    times = {name: integer.types[name].range[1] / max(found[2:]) for name, found in seen.items()}
    assert 1.02 < times.pop(hidden) < 1.5
    # of many elements one may be clipped, and of what a Softmax takes the largest
    assert times == pytest.approx({"x@nhwc": 1, "r": 1, "z": 1}, rel=0.01)
    assert integer.types[hidden].range[0] == 0


def test_a_mean_reaches_no_farther_than_what_it_is_of():
    made = model([node("GlobalAveragePool", ["x"], ["y"])], {"x": [1, 4, 30, 30]}, {})
    data = [{"x": np.full((1, 4, 30, 30), i / 20, np.float32)} for i in range(1, 21)]
    integer = quantize(from_onnx(made), data, observer="minmax")
    # of four numbers elsewhere 1.6, and more
    assert integer.types["y"].range == pytest.approx(integer.types["x"].range, rel=0.01)
    assert integer.types["x"].range[1] < 1.3
