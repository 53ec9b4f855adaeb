"""A model that another tool has quantized becomes integer as it states, without data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from edgeinfer import quantize
from edgeinfer.cli.commands import edgeinfer
from edgeinfer.converters import from_onnx
from edgeinfer.errors import InputError, ModelError, QuantizationError, UnsupportedError
from edgeinfer.files.model_file import read
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import as_stated, states_integers
from edgeinfer.quant import quantize as make_integer
from edgeinfer.runtime.session import Session
from tests.converters.onnx_agreement import model, node
from tests.refusals import refused

SHAPE = (1, 3, 12, 12)
SAMPLES = np.random.default_rng(5).normal(size=(24, *SHAPE[1:])).astype("f4")

pytestmark = pytest.mark.filterwarnings("ignore::edgeinfer.errors.EdgeInferWarning")


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("f4") / np.sqrt(np.prod(shape[1:]))


@cache
def network() -> onnx.ModelProto:
    """Convolutions of all kinds, a sum, a concatenation, pools, a dense layer and shares."""
    return model(
        [
            node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1], strides=[2, 2]),
            node("Relu", ["c0"], ["r0"]),
            node("Conv", ["r0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], group=8),
            node("Clip", ["c1", "zero", "six"], ["r1"]),
            node("Add", ["r0", "r1"], ["s"]),
            node("MaxPool", ["s"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Sigmoid", ["m"], ["g"]),
            node("Mul", ["m", "g"], ["h"]),
            node("Concat", ["m", "h"], ["k"], axis=1),
            node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]),
            node("GlobalAveragePool", ["t"], ["a"]),
            node("Flatten", ["a"], ["f"]),
            node("Gemm", ["f", "w2", "b2"], ["z"], transB=1),
            node("Softmax", ["z"], ["y"], axis=1),
        ],
        SHAPE,
        {
            "w0": floats(0, 8, 3, 3, 3),
            "b0": floats(1, 8),
            "w1": 2 * floats(2, 8, 1, 3, 3),
            "b1": floats(3, 8),
            "w2": 3 * floats(4, 5, 16),
            "b2": floats(5, 5),
            "zero": np.float32(0),
            "six": np.float32(6),
        },
    )


class Reader(CalibrationDataReader):
    def __init__(self) -> None:
        self._runs: Iterator[np.ndarray] = iter(SAMPLES)

    def get_next(self) -> dict[str, np.ndarray] | None:
        x = next(self._runs, None)
        return None if x is None else {"x": x[None]}


KINDS = {
    "uint8": (QuantType.QUInt8, QuantType.QInt8, True),
    "int8": (QuantType.QInt8, QuantType.QInt8, True),
    "one scale a tensor": (QuantType.QUInt8, QuantType.QInt8, False),
    "int16": (QuantType.QInt16, QuantType.QInt8, True),
    "int16 weights": (QuantType.QInt16, QuantType.QInt16, False),
}
EIGHT = ("uint8", "int8", "one scale a tensor")
OPERATORS = {f"{kind} operators": KINDS[kind] for kind in ("uint8", "int8")}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What onnxruntime's quantizer makes of ``network``."""
    folder = tmp_path_factory.mktemp("quantized")
    onnx.save(network(), folder / "float.onnx")
    made = {}
    for kind, (activations, weights, per_channel) in (KINDS | OPERATORS).items():
        made[kind] = folder / f"{kind}.onnx"
        quantize_static(
            folder / "float.onnx",
            made[kind],
            Reader(),
            quant_format=QuantFormat.QOperator if kind in OPERATORS else QuantFormat.QDQ,
            activation_type=activations,
            weight_type=weights,
            per_channel=per_channel,
            extra_options={"ActivationSymmetric": kind.startswith("int16")},
        )
    return made


def peer(source: Path | bytes, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of onnxruntime, which computes what stands in the file, without fusions."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        source if isinstance(source, bytes) else str(source), options
    )
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))


def stated_by(path: Path) -> tuple[onnx.ModelProto, dict[str, tuple[float, int, str]]]:
    """The model; and scale, zero point and type of each value by its name before the pair."""
    proto = onnx.load(path)
    arrays = {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}
    stated = {}
    for each in proto.graph.node:
        if each.op_type == "QuantizeLinear":
            scale, zero_point = (arrays[name] for name in each.input[1:])
            name = each.input[0].removesuffix("_QuantizeLinear_Input")
            stated[name] = float(scale), int(zero_point), str(zero_point.dtype)
    return proto, stated


def integer(source: object) -> Graph:
    return as_stated(from_onnx(source))


@pytest.mark.parametrize("kind", KINDS)
def test_types_and_weights_are_those_of_the_file(files, kind):
    proto, stated = stated_by(files[kind])
    made = integer(files[kind])
    moved = {"uint8": 128, "int8": 0, "int16": 0}
    for name in ("x", "r0", "r1", "s", "z"):
        scale, zero_point, dtype = stated[name]
        t = made.types[name]
        assert t.dtype == ("int16" if dtype == "int16" else "int8")
        assert t.quantization.step == scale
        assert t.quantization.zero_point == zero_point - moved[dtype]
    arrays = {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}
    (dense,) = (n for n in made.nodes if isinstance(n.op, ops.QDense))
    assert np.array_equal(made.constants[dense.input("weights")], arrays["w2_quantized"])
    bias = made.constants[dense.input("bias")]
    # integers of more than 24 bits are floats on their way
    np.testing.assert_allclose(bias, arrays["b2_quantized"], rtol=2.0**-23)


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_what_onnxruntime_computes(files, kind):
    proto, stated = stated_by(files[kind])
    made = integer(files[kind])
    names = [name for name in stated if name in made.types and name != "x"]
    assert {"r0", "r1", "s", "m", "h", "k", "z", "y"} <= set(names)
    proto.graph.output.extend(
        helper.make_tensor_value_info(f"{name}_DequantizeLinear_Output", TensorProto.FLOAT, None)
        for name in names
        if name != "y"
    )
    session = Session(made.with_outputs(tuple(names)))
    differing = total = 0
    for x in SAMPLES:
        expected = peer(proto.SerializeToString(), {"x": x[None]})
        found = session.run({"x": x[None]})
        for name in names:
            y = expected["y" if name == "y" else f"{name}_DequantizeLinear_Output"]
            assert found[name].size == y.size
            steps = np.sort(found[name].ravel()) - np.sort(y.ravel())
            steps = np.abs(steps) / made.types[name].quantization.step
            assert steps.max() < (1.01 if kind in EIGHT else 2.01), name
            differing, total = differing + int((steps > 0.5).sum()), total + steps.size
    # float32, which onnxruntime computes with, has errors of a share of a step of 16 bits
    assert differing <= total // (1000 if kind in EIGHT else 50)


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16"])
def test_the_float_graph_rounds_as_the_file_does(files, kind):
    graph = from_onnx(files[kind])
    assert states_integers(graph)
    for x in SAMPLES[:6]:
        expected = peer(files[kind], {"x": x[None]})["y"]
        np.testing.assert_allclose(execute(graph, {"x": x[None]})["y"], expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_operators_on_integers_are_those_between_pairs(files, dtype):
    left = {n.op_type for n in onnx.load(files[f"{dtype} operators"]).graph.node}
    assert {"QLinearConv", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearSigmoid"} <= left
    assert {"QGemm", "QLinearGlobalAveragePool", "MaxPool", "Transpose", "Flatten"} <= left
    a, b = (integer(files[kind]) for kind in (f"{dtype} operators", dtype))
    session, other = Session(a), Session(b)
    for x in SAMPLES:
        found, expected = (each.run({"x": x[None]}) for each in (session, other))
        # a softmax of integers has scores in steps, one of a pair has them in floats
        assert np.abs(found - expected).max() <= 2 * a.types["y"].quantization.step


def pair(x: str, y: str, *, scale: str = "s", zero_point: str = "z") -> list[onnx.NodeProto]:
    return [
        node("QuantizeLinear", [x, scale, zero_point], [f"{y}/q"]),
        node("DequantizeLinear", [f"{y}/q", scale, zero_point], [y]),
    ]


SCALES = {"s": np.float32(0.05), "z": np.uint8(120)}


def runs_of(proto: onnx.ModelProto, steps: float, *, count: int = 8, **feeds: object) -> None:
    """Its integers are onnxruntime's, to within so many steps of 0.05."""
    session = Session(integer(proto))
    rng = np.random.default_rng(0)
    for _ in range(count):
        feed = feeds or {"x": rng.normal(size=(1, 4, 6, 5)).astype("f4") * 2}
        expected = peer(proto.SerializeToString(), feed)["y"]
        assert np.abs(session.run(feed) - expected.astype("f4")).max() <= 0.0501 * steps


def test_what_moves_integers_between_the_two_moves_floats():
    moving = [
        node("QuantizeLinear", ["x", "s", "z"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 3, 1]),
        node("Reshape", ["b", "shape"], ["c"]),
        node("Concat", ["c", "c"], ["d"], axis=1),
        node("DequantizeLinear", ["d", "s", "z"], ["y"]),
    ]
    runs_of(model(moving, constants={**SCALES, "shape": np.array([1, 120], np.int64)}), 0)


def test_weights_that_a_training_rounds_are_integers_too():
    w = floats(0, 6, 4, 3, 3)
    proto = model(
        [
            *pair("x", "a"),
            node("QuantizeLinear", ["w", "ws", "wz"], ["w/q"], axis=0),
            node("DequantizeLinear", ["w/q", "ws", "wz"], ["wd"], axis=0),
            node("Conv", ["a", "wd"], ["c"]),
            *pair("c", "y"),
        ],
        constants={
            **SCALES,
            "w": w,
            "ws": np.abs(w).reshape(6, -1).max(1) / 100,
            "wz": np.zeros(6, np.int8),
        },
        opset=19,
    )
    weights = integer(proto)
    (layer,) = (n for n in weights.nodes if isinstance(n.op, ops.QConv))
    assert (
        np.abs(weights.constants[layer.input("weights")]).reshape(6, -1).max(1).tolist()
        == [100] * 6
    )
    runs_of(proto, 1)


def test_a_pair_for_each_reader_is_one_type():
    twice = [
        *pair("x", "a"),
        *pair("x", "b"),
        node("Sigmoid", ["b"], ["c"]),
        *pair("c", "d"),
        node("Add", ["a", "d"], ["e"]),
        *pair("e", "y"),
    ]
    made = integer(model(twice, constants=SCALES))
    assert [type(n.op) for n in made.nodes] == [ops.Lookup, ops.QAdd]


def test_what_is_quantized_in_two_ways_is_rescaled():
    nodes = [
        *pair("x", "a"),
        *pair("x", "b", scale="t"),
        node("Add", ["a", "b"], ["c"]),
        *pair("c", "y"),
    ]
    runs_of(model(nodes, constants={**SCALES, "t": np.float32(0.1)}), 2)


@pytest.mark.parametrize("zero_point", [["z"], []])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_integers_that_come_in_and_go_out_are_numbers(dtype, zero_point):
    proto = model(
        [
            node("DequantizeLinear", ["x", "s", *zero_point], ["a"]),
            node("Relu", ["a"], ["b"]),
            node("QuantizeLinear", ["b", "s", "z"], ["y"]),
        ],
        constants={**SCALES, "z": dtype(30)},
    )
    proto.graph.input[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(
        np.dtype(dtype)
    )
    x = np.random.default_rng(1).integers(-128, 128, (1, 4, 6, 5)).astype(np.int8).view(dtype)
    expected = peer(proto.SerializeToString(), {"x": x})["y"]
    assert expected.dtype == dtype
    assert np.array_equal(Session(integer(proto)).run(x.astype("f4")), expected)


# ---- scales that each run computes


def test_a_model_whose_scales_each_run_computes_is_calibrated(tmp_path):
    onnx.save(network(), tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx", per_channel=True)
    left = {n.op_type for n in onnx.load(tmp_path / "dynamic.onnx").graph.node}
    assert {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"} <= left
    graph = from_onnx(tmp_path / "dynamic.onnx")
    made = Session(make_integer(graph, SAMPLES))
    assert states_integers(graph)
    for x in SAMPLES[:8]:
        expected = peer(tmp_path / "dynamic.onnx", {"x": x[None]})["y"]
        # each run's own scales are other ones
        assert np.abs(execute(graph, {"x": x[None]})["y"] - expected).max() < 0.01
        assert np.abs(made.run(x) - expected).max() < 0.02


def test_sums_of_integers_at_a_stated_scale():
    # beyond 64 onnxruntime's products saturate on processors without VNNI
    w = np.random.default_rng(3).integers(-64, 65, (5, 7)).astype(np.int8)
    proto = model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("MatMulInteger", ["q", "w", "z"], ["i"]),
            node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            node("Mul", ["f", "t"], ["m"]),
            *pair("m", "y"),
        ],
        constants={**SCALES, "w": w, "t": np.float32(0.05 * 0.004)},
    )
    assert [type(n.op) for n in integer(proto).nodes] == [ops.QDense]
    runs_of(proto, 1)


def test_sums_of_integers_are_dequantized_without_rounding():
    w = np.random.default_rng(3).integers(-64, 65, (5, 7)).astype(np.int8)
    proto = model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("MatMulInteger", ["q", "w", "z"], ["i"]),
            node("DequantizeLinear", ["i", "t"], ["m"]),
            *pair("m", "y"),
        ],
        constants={**SCALES, "w": w, "t": np.float32(0.05 * 0.004)},
    )
    runs_of(proto, 1)


@pytest.mark.parametrize("zero_point", [0, 121])
def test_another_zero_point_is_taken_away(zero_point):
    proto = model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("MatMulInteger", ["q", "w", "other"], ["i"], name="sums"),
            node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
        ],
        constants={**SCALES, "w": np.ones((5, 7), np.int8), "other": np.uint8(zero_point)},
    )
    with refused(
        "1 node cannot be imported: MatMulInteger (ai.onnx opset 17) at 'sums': its input 0 has "
        "zero point 120, and it takes another away; the model can be cut before with outputs=['q']",
        UnsupportedError,
    ):
        from_onnx(proto)


# ---- a part of a model


def partly() -> onnx.ModelProto:
    return model(
        [
            *pair("x", "a"),
            node("Conv", ["a", "w"], ["c"]),
            *pair("c", "d"),
            node("Conv", ["d", "v"], ["e"]),
            node("Tanh", ["e"], ["y"]),
        ],
        constants={**SCALES, "w": floats(0, 4, 4, 1, 1), "v": floats(1, 4, 4, 1, 1)},
    )


def test_a_part_that_is_not_quantized_is_named():
    with refused(
        "the model is quantized already, but 2 of its values are not: 'e', 'y'; quantize it with "
        "calibration data, which these are then calibrated on",
        InputError,
    ):
        integer(partly())


def test_a_part_that_is_not_quantized_is_calibrated():
    data = np.random.default_rng(2).normal(size=(20, 4, 6, 5)).astype("f4")
    made = quantize(partly().SerializeToString(), data)
    assert made.provenance["scheme"] == "as stated"
    assert made.types["x"].quantization.step == np.float32(0.05)
    (x,) = data[:1, None]
    expected = peer(partly().SerializeToString(), {"x": x})["y"]
    assert np.abs(Session(made).run(x) - expected).max() < 0.03


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "auto", "goal": None}, None),
        ({"stream": 1}, "stream is for float models, and this one is quantized already"),
    ],
)
def test_what_asks_for_other_types_is_refused(options, message):
    if message is None:
        from edgeinfer.quant import Goal

        options = {"scheme": "auto", "goal": Goal(min_sqnr=20.0)}
        message = "scheme 'auto' is for float models, and this one is quantized already"
    with refused(message, InputError):
        quantize(partly().SerializeToString(), np.ones((2, 4, 6, 5), "f4"), **options)


# ---- refusals


def test_a_scale_that_is_not_the_one_it_was_rounded_by():
    proto = model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"], name="round"),
            node("DequantizeLinear", ["q", "t", "z"], ["y"], name="back"),
        ],
        constants={**SCALES, "t": np.float32(0.1)},
    )
    with refused(
        "1 node cannot be imported: DequantizeLinear (ai.onnx opset 17) at 'back': takes 'q' for "
        "uint8 at scale 0.1 and zero point 120, but it is uint8 at scale 0.05 and zero point 120; "
        "the model can be cut before with outputs=['q']",
        UnsupportedError,
    ):
        from_onnx(proto)


def test_integers_of_two_scales_in_one_value():
    proto = model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["a"]),
            node("QuantizeLinear", ["x", "t", "z"], ["b"]),
            node("Concat", ["a", "b"], ["c"], axis=1, name="join"),
            node("DequantizeLinear", ["c", "s", "z"], ["y"]),
        ],
        constants={**SCALES, "t": np.float32(0.1)},
    )
    with refused(
        "1 node cannot be imported: Concat (ai.onnx opset 17) at 'join': moves integers of "
        "different scales into one value, such as 'a' and 'b'; the model can be cut before with "
        "outputs=['a', 'b']",
        UnsupportedError,
    ):
        from_onnx(proto)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_a_scale_that_is_none(scale):
    proto = model(pair("x", "y"), constants={**SCALES, "s": np.float32(scale)})
    with refused(
        f"QuantizeLinear 'y/q': its scale must be above 0 and finite, not {scale:g}", ModelError
    ):
        from_onnx(proto)


def test_scales_by_block():
    proto = model(
        [
            node("DequantizeLinear", ["k", "t"], ["w"], axis=1, block_size=2, name="unpack"),
            node("Conv", ["x", "w"], ["y"]),
        ],
        constants={"k": np.ones((4, 4, 1, 1), np.int8), "t": np.ones((4, 2, 1, 1), "f4")},
        opset=21,
    )
    with refused(
        "1 node cannot be imported: DequantizeLinear (ai.onnx opset 21) at 'unpack': scales by "
        "block are not supported: quantize by tensor, and weights by channel",
        UnsupportedError,
    ):
        from_onnx(proto)


def test_sixteen_bits_that_are_not_symmetric():
    proto = model(pair("x", "y"), constants={"s": np.float32(0.01), "z": np.uint16(7)}, opset=21)
    with refused(
        "FakeQuantize 'y/q': uint16 with zero point 7 cannot be taken; 16 bits are symmetric, with "
        "zero point 32768",
        QuantizationError,
    ):
        integer(proto)


# ---- commands


def test_the_commands_keep_what_the_file_states(files, tmp_path):
    data = tmp_path / "data.npy"
    np.save(data, SAMPLES)
    out, again = tmp_path / "model.eqm", tmp_path / "again.eqm"

    def shown(*arguments: object) -> str:
        done = CliRunner().invoke(edgeinfer, [*map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    said = shown("convert", files["int8"], "-o", out)
    assert "layers in integers, as the model states them" in said
    said = shown("quantize", files["int8"], "--data", data, "-o", again)
    assert "types and weights as the model states them" in said
    assert "please report" not in said
    first, second = read(out), read(again)
    assert first.nodes == second.nodes
    assert first.types == second.types
    x = SAMPLES[:1]
    assert np.array_equal(Session(first).run(x), Session(integer(files["int8"])).run(x))
