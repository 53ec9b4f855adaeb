"""TensorFlow Lite Micro computes what the operators say that round twice, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeinfer.arithmetic import fixedpoint, pointwise
from edgeinfer.graph import Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.reference import evaluate
from edgeinfer.quant.weights import quantize_weights
from tests.oracles.layers import (
    ACTIVATIONS,
    Layer,
    activation_type,
    clamp,
    random_integers,
    random_layer,
    same_pads,
)
from tests.oracles.tflm_models import Batch, Model, Tensor

SAME, VALID = 0, 1


def outputs(op: ops.Operator, *arrays: np.ndarray) -> np.ndarray:
    (y,) = evaluate(op, *arrays)
    return y


def assert_equal(tflm: Batch, expected: list[np.ndarray], at_least: int) -> None:
    """The outputs are ``expected``, of which there are enough to mean something."""
    for got, want in zip(tflm.run(), expected, strict=True):
        assert np.array_equal(got, want)
    assert sum(want.size for want in expected) >= at_least


def tensor(t: TensorType, shape: tuple[int, ...]) -> Tensor:
    q = t.quantization
    return Tensor(shape, t.dtype, q.scale, (q.zero_point,))


def layer_model(
    layer: Layer,
    y_shape: tuple[int, ...],
    weights: np.ndarray,
    axis: int,
    operator: str,
    version: int,
    attributes: dict[str, int],
) -> Model:
    """A model of ``layer``, whose ``weights`` have their channels on ``axis``."""
    scales = tuple(layer.q.scale.tolist())
    bias_scales = np.float32(layer.input_type.quantization.step) * layer.q.scale
    zeros = (0,) * len(scales)
    options = "".join(word.capitalize() for word in operator.split("_")) + "Options"
    options = options.replace("Conv2d", "Conv2D")
    return Model(
        operator,
        version,
        options,
        attributes,
        (
            tensor(layer.input_type, layer.x.shape),
            Tensor(weights.shape, "int8", scales, zeros, axis, np.ascontiguousarray(weights)),
            Tensor((len(zeros),), "int32", tuple(bias_scales), zeros, 0, layer.q.bias),
        ),
        tensor(layer.output_type, y_shape),
        (layer.x,),
    )


def random_windows(rng, kernel_limit=5, *, dilated=True):
    """SAME or VALID, then extents, kernel, strides, dilations and (before, after) pads."""
    padding = int(rng.integers(2))
    axes = []
    for _ in range(2):
        kernel, stride = int(rng.integers(1, kernel_limit + 1)), int(rng.integers(1, 4))
        dilation = int(rng.integers(1, 4)) if dilated and stride == 1 else 1
        size = int(rng.choice([1, 2, 3, 5, 7, 8, 11, 13, 16]))
        if padding == VALID:
            size = max(size, (kernel - 1) * dilation + 1)
        axes.append((size, kernel, stride, dilation))
    pads = [same_pads(*axis) if padding == SAME else (0, 0) for axis in axes]
    extents, kernel, strides, dilations = zip(*axes, strict=True)
    return padding, extents, kernel, strides, dilations, tuple(zip(*pads, strict=True))


def window_attributes(padding, strides, activation):
    return {
        "padding": padding,
        "strideH": strides[0],
        "strideW": strides[1],
        "fusedActivationFunction": activation,
    }


@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions_are_tflms(tflm, depthwise):
    rng = np.random.default_rng(21)
    expected = []
    for i in range(400):
        padding, extents, kernel, strides, dilations, pads = random_windows(rng)
        activation = list(ACTIVATIONS)[i % 3]
        depth, channels = (int(c) for c in rng.choice([1, 2, 3, 5, 8, 17], 2))
        multiplier = int(rng.integers(1, 4))
        if depthwise:
            channels = depth * multiplier
        layer = random_layer(
            rng,
            (int(rng.integers(1, 4)), *extents, depth),
            (channels, *kernel, 1 if depthwise else depth),
            activation=activation,
            rounding="double",
            strides=strides,
            dilations=dilations,
            pads=(*pads[0], *pads[1]),
            group=depth if depthwise else 1,
        )
        expected.append(outputs(layer.op, *layer.operands))
        attributes = window_attributes(padding, strides, activation)
        attributes |= {"dilationHFactor": dilations[0], "dilationWFactor": dilations[1]}
        weights, axis, operator = layer.q.weights, 0, "CONV_2D"
        if depthwise:
            attributes["depthMultiplier"] = multiplier
            weights, axis, operator = weights.transpose(3, 1, 2, 0), 3, "DEPTHWISE_CONV_2D"
        tflm.models.append(
            layer_model(layer, expected[-1].shape, weights, axis, operator, 3, attributes)
        )
    assert_equal(tflm, expected, 50_000)


def test_grouped_convolutions_are_tflms(tflm):
    rng = np.random.default_rng(22)
    expected = []
    for _ in range(50):
        group, depth, channels = (int(n) for n in rng.integers(2, 6, 3))
        layer = random_layer(
            rng,
            (1, 11, 7, group * depth),
            (group * channels, 3, 2, depth),
            rounding="double",
            group=group,
        )
        expected.append(outputs(layer.op, *layer.operands))
        attributes = window_attributes(VALID, (1, 1), 0)
        tflm.models.append(
            layer_model(layer, expected[-1].shape, layer.q.weights, 0, "CONV_2D", 3, attributes)
        )
    assert_equal(tflm, expected, 30_000)


def test_dense_layers_are_tflms(tflm):
    rng = np.random.default_rng(23)
    expected = []
    for i, (rows, depth, channels) in enumerate(
        [(1, 1, 1), (1, 640, 128), (7, 31, 13), *[(300, 6, 300)] * 12]
    ):
        activation = list(ACTIVATIONS)[i % 3]
        layer = random_layer(
            rng, (rows, depth), (channels, depth), activation=activation, rounding="double"
        )
        expected.append(outputs(layer.op, *layer.operands))
        attributes = {"fusedActivationFunction": activation}
        tflm.models.append(
            layer_model(
                layer, (rows, channels), layer.q.weights, 0, "FULLY_CONNECTED", 4, attributes
            )
        )
    assert_equal(tflm, expected, 1_000_000)


def test_dense_layers_multiply_their_scales_in_float64(tflm):
    """Biases are chosen at which a product of the scales in float32 would give another integer."""
    rng = np.random.default_rng(24)
    channels = 500
    x_type = TensorType((1, 1), "int8", Quantization.per_tensor(0.0123, 5))
    y_type = TensorType((1, channels), "int8", Quantization.per_tensor(10.0, 0))
    weights = rng.uniform(0.5, 2, (channels, 1)).astype(np.float32)
    q = quantize_weights(weights, None, x_type, y_type, "int8")
    narrow = (np.float32(x_type.quantization.step) * q.scale).astype(np.float64)
    pairs = [fixedpoint.multiplier_and_shift(product / 10.0) for product in narrow]
    ties = (np.arange(-100, 100) + 0.5)[:, None] * 10.0 / narrow
    accumulators = np.rint(ties).astype(np.int64)[None] + np.arange(-1, 2)[:, None, None]
    rounded = [
        fixedpoint.double_round(accumulators, np.array(m), np.array(s))
        for m, s in (zip(*pairs, strict=True), (q.multiplier, q.shift))
    ]
    differs = (rounded[0] != rounded[1]).reshape(-1, channels)
    telling = differs.any(0)
    assert telling.sum() > 100
    bias = accumulators.reshape(-1, channels)[differs.argmax(0), np.arange(channels)]
    op = ops.QDense(input_zero_point=5, rounding="double")
    x = np.full((1, 1), 5, np.int8)
    layer = Layer(op, x, replace(q, bias=bias.astype(np.int32)), x_type, y_type)
    expected = outputs(op, *layer.operands)
    by_float32 = outputs(op, *layer.operands[:3], *(np.array(v) for v in zip(*pairs, strict=True)))
    assert (expected != by_float32)[0, telling].all()
    tflm.models.append(layer_model(layer, (1, channels), q.weights, 0, "FULLY_CONNECTED", 4, {}))
    assert_equal(tflm, [expected], channels)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("kind", [ops.QAdd, ops.QSub])
def test_sums_are_tflms(tflm, kind, dtype):
    rng = np.random.default_rng(24)
    expected = []
    name = "SUB" if kind is ops.QSub else "ADD"
    shapes = [((1, 7, 5, 13), (1, 7, 5, 13)), ((3, 1, 11), (3, 17, 11)), ((256, 1), (1, 256))]
    for i in range(120):
        a_shape, b_shape = shapes[i % 3]
        activation = list(ACTIVATIONS)[i % 3]
        a_type, b_type, y_type = (activation_type(rng, (1,), dtype) for _ in range(3))
        a, b = random_integers(rng, a_shape, dtype), random_integers(rng, b_shape, dtype)
        scales = [t.quantization.step for t in (a_type, b_type, y_type)]
        p = fixedpoint.add_parameters(*scales, bits=np.iinfo(dtype).bits)
        lo, hi = clamp(activation, y_type)
        op = kind(
            output_zero_point=y_type.quantization.zero_point,
            lo=lo,
            hi=hi,
            rounding="double",
            a_zero_point=a_type.quantization.zero_point,
            b_zero_point=b_type.quantization.zero_point,
            **p,
        )
        expected.append(outputs(op, a, b))
        attributes = {"fusedActivationFunction": activation}
        if dtype == "int16":
            attributes["potScaleInt16"] = False
        tflm.models.append(
            Model(
                name,
                2,
                f"{name.capitalize()}Options",
                attributes,
                (tensor(a_type, a_shape), tensor(b_type, b_shape)),
                tensor(y_type, expected[-1].shape),
                (a, b),
            )
        )
    assert_equal(tflm, expected, 60_000)


def test_products_are_tflms(tflm):
    rng = np.random.default_rng(25)
    expected = []
    for i in range(120):
        shape = (1, 7, 131)
        activation = list(ACTIVATIONS)[i % 3]
        a_type, b_type, y_type = (activation_type(rng, (1,)) for _ in range(3))
        a, b = random_integers(rng, shape, "int8"), random_integers(rng, shape, "int8")
        scales = [t.quantization.step for t in (a_type, b_type, y_type)]
        multiplier, shift = fixedpoint.multiplier_and_shift(scales[0] * scales[1] / scales[2])
        lo, hi = clamp(activation, y_type)
        op = ops.QMul(
            output_zero_point=y_type.quantization.zero_point,
            lo=lo,
            hi=hi,
            rounding="double",
            a_zero_point=a_type.quantization.zero_point,
            b_zero_point=b_type.quantization.zero_point,
            multiplier=multiplier,
            shift=shift,
        )
        expected.append(outputs(op, a, b))
        tflm.models.append(
            Model(
                "MUL",
                2,
                "MulOptions",
                {"fusedActivationFunction": activation},
                (tensor(a_type, shape), tensor(b_type, shape)),
                tensor(y_type, shape),
                (a, b),
            )
        )
    assert_equal(tflm, expected, 100_000)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_a_rescale_is_tflms_quantize(tflm, dtype):
    rng = np.random.default_rng(26)
    info = np.iinfo(dtype)
    q = np.arange(info.min, info.max + 1).astype(dtype)
    expected = []
    for _ in range(200 if dtype == "int8" else 8):
        a, b = activation_type(rng, q.shape, dtype), activation_type(rng, q.shape, dtype)
        multiplier, shift = fixedpoint.multiplier_and_shift(
            a.quantization.step / b.quantization.step
        )
        op = ops.Rescale(
            output_zero_point=b.quantization.zero_point,
            lo=info.min,
            hi=info.max,
            rounding="double",
            input_zero_point=a.quantization.zero_point,
            multiplier=multiplier,
            shift=shift,
        )
        expected.append(outputs(op, q))
        tflm.models.append(
            Model("QUANTIZE", 2, None, {}, (tensor(a, q.shape),), tensor(b, q.shape), (q,))
        )
    assert_equal(tflm, expected, 50_000)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("maximum", [False, True])
def test_pools_are_tflms(tflm, maximum, dtype):
    rng = np.random.default_rng(27)
    info = np.iinfo(dtype)
    expected = []
    for _ in range(400):
        padding, extents, kernel, strides, _, pads = random_windows(rng, 7, dilated=False)
        shape = (int(rng.integers(1, 3)), *extents, int(rng.choice([1, 3, 8, 17])))
        t = activation_type(rng, (1,), dtype)
        x = random_integers(rng, shape, dtype)
        windows = {"kernel": kernel, "strides": strides, "pads": (*pads[0], *pads[1])}
        if maximum:
            expected.append(outputs(ops.MaxPool(**windows), x))
        else:
            op = ops.QAveragePool(lo=info.min, hi=info.max, **windows)
            pairs = [fixedpoint.average_multiplier(n + 1) for n in range(np.prod(kernel))]
            multiplier, shift = np.array(pairs).T
            expected.append(outputs(op, x, multiplier.astype(np.int32), shift.astype(np.int8)))
        attributes = window_attributes(padding, strides, 0)
        attributes |= {"filterHeight": kernel[0], "filterWidth": kernel[1]}
        tflm.models.append(
            Model(
                "MAX_POOL_2D" if maximum else "AVERAGE_POOL_2D",
                2,
                "Pool2DOptions",
                attributes,
                (tensor(t, shape),),
                tensor(t, expected[-1].shape),
                (x,),
            )
        )
    assert_equal(tflm, expected, 50_000)


@pytest.mark.parametrize(
    "operator, expression, target",
    [
        ("ELU", ("elu", "x", 1.0), None),
        ("LOGISTIC", ("sigmoid", "x"), (1 / 256, -128)),
        ("TANH", ("tanh", "x"), (1 / 128, 0)),
    ],
)
def test_tables_are_tflms_functions(tflm, operator, expression, target):
    """Equal but where the exact value is so near a half that TFLM's float32 rounds it away."""
    rng = np.random.default_rng(28)
    q = np.arange(-128, 128).astype(np.int8)
    expected, exact = [], []
    for _ in range(200):
        a, b = activation_type(rng, q.shape), activation_type(rng, q.shape)
        if target is not None:
            b = TensorType(q.shape, "int8", Quantization.per_tensor(*target))
        s_in, z_in, s_out = a.quantization.step, a.quantization.zero_point, b.quantization.step

        def function(x):
            return pointwise.evaluate(expression, x)

        z_out = b.quantization.zero_point
        entries = fixedpoint.table(function, s_in, z_in, s_out, z_out, "int8", "int8")
        expected.append(outputs(ops.Lookup(), q, entries))
        exact.append(function(s_in * (q.astype(np.float64) - z_in)) / s_out)
        version = 1 if operator == "ELU" else 2
        tflm.models.append(
            Model(operator, version, None, {}, (tensor(a, q.shape),), tensor(b, q.shape), (q,))
        )
    y = np.array(exact)
    near_half = np.abs(y - np.floor(y) - 0.5) < 2.0**-14
    difference = np.array(tflm.run()) - np.array(expected).astype(int)
    assert not difference[~near_half].any()
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.01
