"""Arm's TOSA reference model computes what edgeinfer's integer operators say, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.arithmetic import fixedpoint, pointwise
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.reference import evaluate
from tests.oracles.layers import Layer, activation_type, random_integers, random_layer
from tests.oracles.tosa_graph import Graph

ROUNDINGS = ["single", "double"]


def assert_equal(tosa: Graph, expected: list[np.ndarray], at_least: int) -> None:
    """The model's results are ``expected``, of which there are enough to mean something."""
    found = tosa.run()
    for got, want in zip(found, expected, strict=True):
        assert np.array_equal(got, want)
    assert sum(want.size for want in expected) >= at_least


def outputs(op: ops.Operator, *arrays: np.ndarray) -> np.ndarray:
    (y,) = evaluate(op, *arrays)
    return y


def zero_points(tosa: Graph, dtype: str, *values: int) -> list[str]:
    return [tosa.zero_point(value, dtype) for value in values]


def requantized(tosa: Graph, acc: str, layer: Layer) -> None:
    """RESCALE and CLAMP after the accumulator of ``layer``."""
    op = layer.op
    y = tosa.rescale(
        acc,
        "int32",
        "int8",
        layer.q.multiplier,
        layer.q.shift,
        output_zero_point=op.output_zero_point,
        rounding=op.rounding,
    )
    tosa.result(tosa.clamp(y, "int8", op.lo, op.hi))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_rescale_of_accumulators_rounds_as_tosa(tosa, rounding):
    rng = np.random.default_rng(1)
    expected = []
    for _ in range(30):
        shift = rng.integers(2, 63, 17)
        multiplier = rng.integers(2**30, 2**31, 17)
        reach = np.minimum(2.0 ** (shift - 1), 2.0**31).astype(np.int64)
        acc = rng.integers(-reach, reach, (500, 17)).astype(np.int32)
        zero_point = int(rng.integers(-128, 128))
        x = tosa.input(acc)
        tosa.result(
            tosa.rescale(
                x,
                "int32",
                "int8",
                multiplier,
                shift,
                output_zero_point=zero_point,
                rounding=rounding,
            )
        )
        expected.append(
            fixedpoint.requantize(acc, multiplier, shift, zero_point, -128, 127, rounding)
        )
    assert_equal(tosa, expected, 250_000)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_rescale_halves_round_as_tosa(tosa, rounding):
    expected = []
    for shift in range(30, 63):
        # with a power of two as multiplier, every odd multiple of 2^(S-31) is a tie
        step = 1 << max(shift - 31, 0)
        acc = np.clip(np.arange(-2000, 2000, dtype=np.int64) * step, -(2**31), 2**31 - 1)
        acc = np.concatenate([acc, acc + 1, acc - 1]).clip(-(2**31), 2**31 - 1).astype(np.int32)
        multiplier, shifts = np.array([2**30]), np.array([shift])
        tosa.result(
            tosa.rescale(tosa.input(acc), "int32", "int16", multiplier, shifts, rounding=rounding)
        )
        expected.append(fixedpoint.requantize(acc, 2**30, shift, 0, -32768, 32767, rounding))
    assert_equal(tosa, expected, 300_000)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_a_rescale_of_activations_is_tosas(tosa, dtype, rounding):
    rng = np.random.default_rng(2)
    info = np.iinfo(dtype)
    q = np.arange(info.min, info.max + 1).astype(dtype)
    expected = []
    for _ in range(200 if dtype == "int8" else 4):
        a, b = activation_type(rng, q.shape, dtype), activation_type(rng, q.shape, dtype)
        multiplier, shift = fixedpoint.multiplier_and_shift(
            a.quantization.step / b.quantization.step
        )
        lo, hi = sorted(rng.integers(info.min, info.max + 1, 2).tolist())
        op = ops.Rescale(
            output_zero_point=b.quantization.zero_point,
            lo=lo,
            hi=hi,
            rounding=rounding,
            input_zero_point=a.quantization.zero_point,
            multiplier=multiplier,
            shift=shift,
        )
        y = tosa.rescale(
            tosa.input(q),
            dtype,
            dtype,
            [multiplier],
            [shift],
            input_zero_point=op.input_zero_point,
            output_zero_point=op.output_zero_point,
            rounding=rounding,
        )
        tosa.result(tosa.clamp(y, dtype, lo, hi))
        expected.append(outputs(op, q))
    assert_equal(tosa, expected, 50_000)


def random_window(rng, kernel_limit=5):
    """An input extent, kernel, stride, dilation and pads that fill the extent exactly.

    TOSA takes no window that leaves a rest; the rest is padded here.
    """
    size = int(rng.choice([1, 2, 3, 5, 7, 8, 11, 13, 16]))
    kernel = int(rng.integers(1, kernel_limit + 1))
    stride = int(rng.integers(1, 4))
    dilation = int(rng.integers(1, 4))
    reach = (kernel - 1) * dilation + 1
    before, after = int(rng.integers(0, kernel)), int(rng.integers(0, kernel))
    after += max(reach - size - before - after, 0)
    after += -(size + before + after - reach) % stride
    return size, kernel, stride, dilation, before, after


def random_windows(rng):
    """Attributes of a convolution, its input's and kernel's extents and TOSA's attributes."""
    (h, kh, sh, dh, top, bottom), (w, kw, sw, dw, left, right) = (
        random_window(rng) for _ in range(2)
    )
    attributes = {
        "strides": (sh, sw),
        "pads": (top, left, bottom, right),
        "dilations": (dh, dw),
    }
    named = {
        "pad": [top, bottom, left, right],
        "stride": [sh, sw],
        "dilation": [dh, dw],
        "local_bound": False,
    }
    return attributes, (h, w), (kh, kw), named


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_convolutions_are_tosas(tosa, rounding):
    rng = np.random.default_rng(3)
    expected = []
    for i in range(400):
        attributes, extents, kernel, named = random_windows(rng)
        depth, channels = (int(c) for c in rng.choice([1, 2, 3, 5, 8, 17], 2))
        layer = random_layer(
            rng,
            (int(rng.integers(1, 4)), *extents, depth),
            (channels, *kernel, depth),
            activation=(0, 1, 3)[i % 3],
            rounding=rounding,
            **attributes,
        )
        expected.append(outputs(layer.op, *layer.operands))
        acc = tosa.apply(
            "CONV2D",
            [
                tosa.input(layer.x),
                tosa.constant(layer.q.weights),
                tosa.constant(layer.q.bias),
                *zero_points(tosa, "int8", layer.op.input_zero_point, 0),
            ],
            expected[-1].shape,
            "int32",
            acc_type="INT32",
            **named,
        )
        requantized(tosa, acc, layer)
    assert_equal(tosa, expected, 30_000)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_depthwise_convolutions_are_tosas(tosa, rounding):
    rng = np.random.default_rng(4)
    expected = []
    for i in range(400):
        attributes, extents, kernel, named = random_windows(rng)
        depth = int(rng.choice([1, 2, 3, 5, 8, 17]))
        channels = depth * int(rng.integers(1, 4))
        layer = random_layer(
            rng,
            (int(rng.integers(1, 4)), *extents, depth),
            (channels, *kernel, 1),
            activation=(0, 1, 3)[i % 3],
            rounding=rounding,
            group=depth,
            **attributes,
        )
        expected.append(outputs(layer.op, *layer.operands))
        # O = C M, O H W 1 -> H W C M
        weights = layer.q.weights.reshape(depth, -1, *kernel).transpose(2, 3, 0, 1)
        acc = tosa.apply(
            "DEPTHWISE_CONV2D",
            [
                tosa.input(layer.x),
                tosa.constant(np.ascontiguousarray(weights)),
                tosa.constant(layer.q.bias),
                *zero_points(tosa, "int8", layer.op.input_zero_point, 0),
            ],
            expected[-1].shape,
            "int32",
            acc_type="INT32",
            **named,
        )
        requantized(tosa, acc, layer)
    assert_equal(tosa, expected, 30_000)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_dense_layers_are_tosas_matmul_add_and_rescale(tosa, rounding):
    rng = np.random.default_rng(5)
    expected = []
    for i in range(100):
        rows, depth, channels = (int(n) for n in rng.choice([1, 2, 7, 16, 31, 64], 3))
        layer = random_layer(
            rng,
            (1, rows, depth),
            (channels, depth),
            activation=(0, 1, 3)[i % 3],
            rounding=rounding,
        )
        expected.append(outputs(layer.op, *layer.operands))
        product = tosa.apply(
            "MATMUL",
            [
                tosa.input(layer.x),
                tosa.constant(np.ascontiguousarray(layer.q.weights.T)[None]),
                *zero_points(tosa, "int8", layer.op.input_zero_point, 0),
            ],
            (1, rows, channels),
            "int32",
        )
        acc = tosa.apply(
            "ADD",
            [product, tosa.constant(layer.q.bias.reshape(1, 1, -1))],
            (1, rows, channels),
            "int32",
        )
        requantized(tosa, acc, layer)
    assert_equal(tosa, expected, 20_000)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_products_of_two_activations_are_tosas_matmul_and_rescale(tosa, rounding):
    rng = np.random.default_rng(15)
    expected = []
    for _ in range(100):
        batch, rows, depth, columns = (int(n) for n in rng.choice([1, 2, 7, 16, 31, 64], 4))
        a, b = (
            random_integers(rng, s, "int8") for s in ((batch, rows, depth), (batch, depth, columns))
        )
        za, zb, zy = (int(z) for z in rng.integers(-128, 128, 3))
        multiplier, shift = fixedpoint.multiplier_and_shift(rng.uniform(0.2, 2) / depth / 100)
        lo, hi = sorted(int(q) for q in rng.integers(-128, 128, 2))
        op = ops.QMatMul(
            output_zero_point=zy,
            lo=lo,
            hi=hi,
            rounding=rounding,
            a_zero_point=za,
            b_zero_point=zb,
            multiplier=multiplier,
            shift=shift,
        )
        expected.append(outputs(op, a, b))
        product = tosa.apply(
            "MATMUL",
            [tosa.input(a), tosa.input(b), *zero_points(tosa, "int8", za, zb)],
            expected[-1].shape,
            "int32",
        )
        y = tosa.rescale(
            product,
            "int32",
            "int8",
            [multiplier],
            [shift],
            output_zero_point=zy,
            rounding=rounding,
        )
        tosa.result(tosa.clamp(y, "int8", lo, hi))
    assert_equal(tosa, expected, 200_000)


def test_sums_of_16_bit_products_of_activations_are_tosas(tosa):
    """TOSA's INT48 accumulators, requantized as EI-1 says, are what QMatMul gives."""
    rng = np.random.default_rng(16)
    products = []
    for _ in range(30):
        batch, rows, depth, columns = (int(n) for n in rng.choice([1, 2, 7, 31, 300], 4))
        a, b = (
            random_integers(rng, s, "int16")
            for s in ((batch, rows, depth), (batch, depth, columns))
        )
        bits = fixedpoint.multiplier_bits(depth * 2**30)
        multiplier, shift = fixedpoint.multiplier_and_shift(2**-15 / np.sqrt(depth), bits)
        op = ops.QMatMul(lo=-32768, hi=32767, multiplier=multiplier, shift=shift)
        expected = outputs(op, a, b)
        products.append((op, expected))
        zeros = zero_points(tosa, "int16", 0, 0)
        operands = [tosa.input(a), tosa.input(b), *zeros]
        tosa.result(tosa.apply("MATMUL", operands, expected.shape, "int64"))
    for acc, (op, expected) in zip(tosa.run(), products, strict=True):
        y = fixedpoint.requantize(acc, op.multiplier, op.shift, 0, op.lo, op.hi)
        assert np.array_equal(y, expected)


def test_sums_of_16_bit_convolutions_are_tosas(tosa):
    """TOSA's INT48 accumulators, requantized as EI-1 says, are what QConv gives.

    Its RESCALE of INT48 has a 16-bit multiplier, which EI-1 does not copy.
    """
    rng = np.random.default_rng(6)
    layers = []
    for _ in range(60):
        attributes, extents, kernel, named = random_windows(rng)
        depth, channels = (int(c) for c in rng.choice([1, 3, 17, 64], 2))
        layer = random_layer(
            rng, (1, *extents, depth), (channels, *kernel, depth), dtype="int16", **attributes
        )
        expected = outputs(layer.op, *layer.operands)
        layers.append((layer, expected))
        acc = tosa.apply(
            "CONV2D",
            [
                tosa.input(layer.x),
                tosa.constant(layer.q.weights),
                tosa.constant(layer.q.bias),
                tosa.zero_point(0, "int16"),
                tosa.zero_point(0, "int8"),
            ],
            expected.shape,
            "int64",
            acc_type="INT48",
            **named,
        )
        tosa.result(acc)
    for acc, (layer, expected) in zip(tosa.run(), layers, strict=True):
        op, q = layer.op, layer.q
        y = fixedpoint.requantize(acc, q.multiplier, q.shift, 0, op.lo, op.hi)
        assert np.array_equal(y, expected)


@pytest.mark.parametrize("kind", [ops.QAdd, ops.QSub])
@pytest.mark.parametrize(
    "dtype, rounding", [("int8", "single"), ("int8", "double"), ("int16", "single")]
)
def test_sums_are_three_rescales_and_an_add(tosa, kind, dtype, rounding):
    rng = np.random.default_rng(7)
    info = np.iinfo(dtype)
    expected = []
    shapes = [((1, 7, 5, 13), (1, 7, 5, 13)), ((3, 1, 11), (3, 17, 11)), ((256, 1), (1, 256))]
    for i in range(60):
        a_shape, b_shape = shapes[i % 3]
        a_type, b_type, y_type = (activation_type(rng, (1,), dtype) for _ in range(3))
        a, b = random_integers(rng, a_shape, dtype), random_integers(rng, b_shape, dtype)
        scales = [t.quantization.step for t in (a_type, b_type, y_type)]
        p = fixedpoint.add_parameters(*scales, bits=info.bits)
        lo, hi = sorted(rng.integers(info.min, info.max + 1, 2).tolist())
        op = kind(
            output_zero_point=y_type.quantization.zero_point,
            lo=lo,
            hi=hi,
            rounding=rounding,
            a_zero_point=a_type.quantization.zero_point,
            b_zero_point=b_type.quantization.zero_point,
            **p,
        )
        expected.append(outputs(op, a, b))
        scaled = []
        for x, zero_point, m, s in (
            (a, op.a_zero_point, op.a_multiplier, op.a_shift),
            (b, op.b_zero_point, op.b_multiplier, op.b_shift),
        ):
            wide = tosa.rescale(
                tosa.input(x), dtype, "int32", [2**30], [30], input_zero_point=zero_point
            )
            shift = tosa.constant(np.full((1,) * x.ndim, op.left_shift, np.int32))
            wide = tosa.apply("LOGICAL_LEFT_SHIFT", [wide, shift], x.shape, "int32")
            scaled.append(tosa.rescale(wide, "int32", "int32", [m], [s], rounding=rounding))
        name = "SUB" if kind is ops.QSub else "ADD"
        y = tosa.apply(name, scaled, expected[-1].shape, "int32")
        y = tosa.rescale(
            y,
            "int32",
            dtype,
            [op.multiplier],
            [op.shift],
            output_zero_point=op.output_zero_point,
            rounding=rounding,
        )
        tosa.result(tosa.clamp(y, dtype, lo, hi))
    assert_equal(tosa, expected, 30_000)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_products_are_a_mul_and_a_rescale(tosa, rounding):
    rng = np.random.default_rng(8)
    expected = []
    for _ in range(60):
        a_type, b_type, y_type = (activation_type(rng, (1,)) for _ in range(3))
        a, b = random_integers(rng, (1, 7, 131), "int8"), random_integers(rng, (1, 7, 131), "int8")
        scales = [t.quantization.step for t in (a_type, b_type, y_type)]
        multiplier, shift = fixedpoint.multiplier_and_shift(scales[0] * scales[1] / scales[2])
        op = ops.QMul(
            output_zero_point=y_type.quantization.zero_point,
            rounding=rounding,
            a_zero_point=a_type.quantization.zero_point,
            b_zero_point=b_type.quantization.zero_point,
            multiplier=multiplier,
            shift=shift,
        )
        expected.append(outputs(op, a, b))
        wide = [
            tosa.rescale(tosa.input(x), "int8", "int32", [2**30], [30], input_zero_point=zero_point)
            for x, zero_point in ((a, op.a_zero_point), (b, op.b_zero_point))
        ]
        wide.append(tosa.zero_point(0, "int8"))
        y = tosa.apply("MUL", wide, a.shape, "int32")
        tosa.result(
            tosa.rescale(
                y,
                "int32",
                "int8",
                [multiplier],
                [shift],
                output_zero_point=op.output_zero_point,
                rounding=rounding,
            )
        )
    assert_equal(tosa, expected, 50_000)


def random_pool(rng):
    """Attributes of a pool, an input shape, and TOSA's attributes."""
    (h, kh, sh, _, top, bottom), (w, kw, sw, _, left, right) = (
        random_pool_axis(rng) for _ in range(2)
    )
    attributes = {"kernel": (kh, kw), "strides": (sh, sw), "pads": (top, left, bottom, right)}
    named = {"kernel": [kh, kw], "stride": [sh, sw], "pad": [top, bottom, left, right]}
    return attributes, (int(rng.integers(1, 3)), h, w, int(rng.choice([1, 3, 8, 17]))), named


def random_pool_axis(rng):
    while True:
        size, kernel, stride, _, before, after = found = random_window(rng, 7)
        rest = (size + before + after - kernel) % stride
        if max(before, after) < kernel <= size + before + after and rest == 0:
            return found


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_average_pools_are_tosas(tosa, dtype):
    rng = np.random.default_rng(9)
    expected = []
    for i in range(400):
        attributes, shape, named = random_pool(rng)
        zero_point = int(rng.integers(-128, 128)) if dtype == "int8" and i % 2 else 0
        x = random_integers(rng, shape, dtype)
        info = np.iinfo(dtype)
        op = ops.QAveragePool(
            output_zero_point=zero_point,
            lo=info.min,
            hi=info.max,
            input_zero_point=zero_point,
            **attributes,
        )
        pairs = [fixedpoint.average_multiplier(n + 1) for n in range(np.prod(op.kernel))]
        multiplier, shift = np.array(pairs).T
        expected.append(outputs(op, x, multiplier.astype(np.int32), shift.astype(np.int8)))
        y = tosa.apply(
            "AVG_POOL2D",
            [tosa.input(x), *zero_points(tosa, dtype, zero_point, zero_point)],
            expected[-1].shape,
            dtype,
            acc_type="INT32",
            **named,
        )
        tosa.result(y)
    assert_equal(tosa, expected, 50_000)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_max_pools_are_tosas(tosa, dtype):
    rng = np.random.default_rng(10)
    expected = []
    for _ in range(400):
        attributes, shape, named = random_pool(rng)
        x = random_integers(rng, shape, dtype)
        expected.append(outputs(ops.MaxPool(**attributes), x))
        tosa.result(tosa.apply("MAX_POOL2D", [tosa.input(x)], expected[-1].shape, dtype, **named))
    assert_equal(tosa, expected, 50_000)


def test_tables_of_8_bits_are_tosas(tosa):
    rng = np.random.default_rng(11)
    q = np.arange(-128, 128).astype(np.int8)
    expected = []
    for _ in range(200):
        entries = random_integers(rng, (256,), "int8")
        expected.append(outputs(ops.Lookup(), q, entries))
        tosa.result(tosa.apply("TABLE", [tosa.input(q), tosa.constant(entries)], q.shape, "int8"))
    assert_equal(tosa, expected, 50_000)


def test_tables_of_16_bits_are_tosas_and_a_rescale(tosa):
    """TOSA's TABLE keeps 7 fractional bits; a RESCALE by 2^-7 is EI-1's rounding of them."""
    q = np.arange(-32768, 32768).astype(np.int16)
    expected = []
    for expression in (
        ("sigmoid", "x"),
        ("tanh", "x"),
        ("gelu", "x"),
        ("hard_swish", "x"),
        ("mul", "x", 0.7),
    ):
        for scale in (2.0**-12, 3e-4):
            knots = fixedpoint.interpolation_table_16(
                lambda x, e=expression: pointwise.evaluate(e, x), scale, 16 / 32768
            )
            expected.append(outputs(ops.Lookup(), q, knots))
            fine = tosa.apply("TABLE", [tosa.input(q), tosa.constant(knots)], q.shape, "int32")
            tosa.result(tosa.rescale(fine, "int32", "int16", [2**30], [37]))
    assert_equal(tosa, expected, 600_000)
