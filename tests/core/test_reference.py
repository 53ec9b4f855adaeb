"""The NumPy reference computes what the contract says, element by element, in exact integers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.arithmetic import accumulators, fixedpoint
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import output_shapes
from edgeinfer.meaning.reference import evaluate
from tests.core import scalar_contract

DTYPES = ("int8", "int16")
seeds = st.integers(0, 2**32 - 1)
extents = st.sampled_from([1, 2, 3, 5, 7])
few = settings(deadline=None, max_examples=60)


class Numbers:
    """Random integers of one activation width, and the attributes that fit them."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.info = np.iinfo(dtype)

    def activation(self, *shape: int) -> np.ndarray:
        return self.rng.integers(self.info.min, self.info.max, shape, self.dtype, endpoint=True)

    def zero_point(self) -> int:
        return int(self.rng.integers(-128, 128)) if self.dtype == "int8" else 0

    def stage(self) -> dict:
        lo, hi = [(self.info.min, self.info.max), (-90, 101)][self.rng.integers(2)]
        rounding = ["single", "double"][self.rng.integers(2)] if self.dtype == "int8" else "single"
        return {
            "output_zero_point": self.zero_point(), "lo": lo, "hi": hi, "rounding": rounding
        }  # fmt: skip

    def ratio(self, reach: int = 1) -> tuple[int, int]:
        real = float(2.0 ** self.rng.uniform(-6, 1)) / reach
        return fixedpoint.multiplier_and_shift(real, 31 if self.dtype == "int8" else 24)

    def ratios(self, count: int, reach: int = 1) -> tuple[np.ndarray, np.ndarray]:
        pairs = np.array([self.ratio(reach) for _ in range(count)])
        return pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int8)

    def scaled(self) -> dict:
        multiplier, shift = self.ratio()
        return {"multiplier": multiplier, "shift": shift}


def shape_of(op: ops.Operator, *arrays: np.ndarray) -> tuple[int, ...]:
    (shape,) = output_shapes(op, *(a.shape for a in arrays))
    return shape


def assert_equal(found: tuple[np.ndarray, ...], expected: np.ndarray) -> None:
    (y,) = found
    assert y.shape == expected.shape
    assert y.dtype.kind == "i"
    np.testing.assert_array_equal(y, expected)


def layer_constants(n: Numbers, channels: int, *taps: int) -> list[np.ndarray]:
    weights = n.rng.integers(-127, 128, (channels, *taps)).astype(np.int8)
    wide = n.dtype == "int16"
    bias = n.rng.integers(-3000, 3000, channels) * (1 << 20 if wide else 1)
    reach = 100 * weights[0].size * (256 if wide else 1)
    return [weights, bias.astype(np.int64 if wide else np.int32), *n.ratios(channels, reach // 100)]


@st.composite
def windows(draw, x: tuple[int, int]):
    """Attributes of a window that fits ``x`` rows and columns with its pads."""
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(2))
    dilations = tuple(draw(st.integers(1, 2)) for _ in range(2))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    before = [draw(st.integers(0, r - 1)) for r in reach]
    after = [draw(st.integers(0, r - 1)) for r in reach]
    for a in (0, 1):
        after[a] = max(after[a], reach[a] - x[a] - before[a])
    strides = tuple(draw(st.integers(1, 3)) for _ in range(2))
    return kernel, {"strides": strides, "pads": (*before, *after), "dilations": dilations}


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    seed=seeds,
    data=st.data(),
    h=extents,
    w=extents,
    group=st.integers(1, 3),
    depth=st.integers(1, 3),
    per_group=st.integers(1, 3),
)
@few
def test_qconv(dtype, seed, data, h, w, group, depth, per_group):
    n = Numbers(seed, dtype)
    kernel, window = data.draw(windows((h, w)))
    x = n.activation(2, h, w, group * depth)
    op = ops.QConv(**n.stage(), **window, input_zero_point=n.zero_point(), group=group)
    constants = layer_constants(n, group * per_group, *kernel, depth)
    shape = shape_of(op, x, *constants)
    assert_equal(evaluate(op, x, *constants), scalar_contract.conv(op, x, *constants, shape))


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=seeds, depth=extents, channels=extents, rows=st.sampled_from([(), (1,), (3,), (2, 3)]))
@few
def test_qdense(dtype, seed, depth, channels, rows):
    n = Numbers(seed, dtype)
    op = ops.QDense(**n.stage(), input_zero_point=n.zero_point())
    x, constants = n.activation(*rows, depth), layer_constants(n, channels, depth)
    assert_equal(evaluate(op, x, *constants), scalar_contract.dense(op, x, *constants))


PAIRS = [((3, 5), (3, 5)), ((1, 5, 2), (1,)), ((), (2, 3)), ((2, 1, 3), (7, 1)), ((), ())]


@pytest.mark.parametrize(("kind", "sign"), [(ops.QAdd, 1), (ops.QSub, -1)])
@pytest.mark.parametrize("dtypes", [("int8", "int16"), ("int16", "int8")])
@given(seed=seeds)
@settings(deadline=None, max_examples=15)
def test_sums_and_products_of_two_widths(dtypes, kind, sign, seed):
    a, b = (Numbers(seed + i, dtype) for i, dtype in enumerate(dtypes))
    scales = [float(s) for s in 2.0 ** a.rng.uniform(-8, 0, 3)]
    zero_points = {"a_zero_point": a.zero_point(), "b_zero_point": b.zero_point()}
    stage = {**a.stage(), "rounding": "single"}
    x, y = a.activation(3, 5), b.activation(5)
    op = kind(**stage, **zero_points, **fixedpoint.add_parameters(*scales, bits=16))
    assert_equal(evaluate(op, x, y), scalar_contract.add(op, x, y, sign))
    multiplier, shift = a.ratio(a.info.max)
    op = ops.QMul(**stage, **zero_points, multiplier=multiplier, shift=shift)
    assert_equal(evaluate(op, x, y), scalar_contract.mul(op, x, y))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", PAIRS)
@pytest.mark.parametrize(("kind", "sign"), [(ops.QAdd, 1), (ops.QSub, -1)])
@given(seed=seeds)
@settings(deadline=None, max_examples=15)
def test_qadd_and_qsub(dtype, shapes, kind, sign, seed):
    n = Numbers(seed, dtype)
    scales = [float(s) for s in 2.0 ** n.rng.uniform(-8, 0, 3)]
    p = fixedpoint.add_parameters(*scales, bits=8 * np.dtype(dtype).itemsize)
    op = kind(
        **n.stage(),
        a_zero_point=n.zero_point(),
        b_zero_point=n.zero_point(),
        **p,
    )
    a, b = (n.activation(*shape) for shape in shapes)
    assert_equal(evaluate(op, a, b), scalar_contract.add(op, a, b, sign))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", PAIRS)
@given(seed=seeds)
@settings(deadline=None, max_examples=15)
def test_qmul(dtype, shapes, seed):
    n = Numbers(seed, dtype)
    multiplier, shift = n.ratio(n.info.max)
    op = ops.QMul(
        **n.stage(),
        a_zero_point=n.zero_point(),
        b_zero_point=n.zero_point(),
        multiplier=multiplier,
        shift=shift,
    )
    a, b = (n.activation(*shape) for shape in shapes)
    assert_equal(evaluate(op, a, b), scalar_contract.mul(op, a, b))


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=seeds, shape=st.lists(extents, max_size=3))
@few
def test_rescale(dtype, seed, shape):
    n = Numbers(seed, dtype)
    op = ops.Rescale(**n.stage(), input_zero_point=n.zero_point(), **n.scaled())
    x = n.activation(*shape)
    assert_equal(evaluate(op, x), scalar_contract.rescale(op, x))


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=seeds, shape=st.lists(extents, max_size=3), data=st.data())
@few
def test_qprelu_with_slopes_of_either_sign(dtype, seed, shape, data):
    n = Numbers(seed, dtype)
    first = data.draw(st.integers(0, len(shape)))
    slopes = int(np.prod(shape[first:], dtype=int))
    multiplier, shift = n.ratios(slopes)
    multiplier *= n.rng.choice([-1, 1], slopes).astype(np.int32)
    op = ops.QPRelu(**n.stage(), input_zero_point=n.zero_point(), **n.scaled())
    x = n.activation(*shape)
    assert_equal(
        evaluate(op, x, multiplier, shift), scalar_contract.prelu(op, x, multiplier, shift)
    )


@st.composite
def pools(draw, x: tuple[int, int]):
    """Attributes of an average pool over ``x`` rows and columns, with ONNX's ceil_mode or not."""
    kernel, strides, before, after, ceil = [], [], [], [], []
    for extent in x:
        kernel.append(draw(st.integers(1, min(3, extent))))
        strides.append(draw(st.integers(1, 3)))
        before.append(draw(st.integers(0, kernel[-1] - 1)))
        after.append(draw(st.integers(0, kernel[-1] - 1)))
        span = extent + before[-1] + after[-1] - kernel[-1]
        missing = -span % strides[-1]
        begins_inside = span + missing - before[-1] < extent
        ceil.append(missing if begins_inside and draw(st.booleans()) else 0)
    return {
        "kernel": tuple(kernel),
        "strides": tuple(strides),
        "pads": (*before, *after),
        "ceil_pads": tuple(ceil),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=seeds, data=st.data(), h=extents, w=extents, include=st.booleans())
@few
def test_qaverage_pool(dtype, seed, data, h, w, include):
    n = Numbers(seed, dtype)
    pool = data.draw(pools((h, w)))
    op = ops.QAveragePool(
        **n.stage(),
        **pool,
        count_include_pad=include,
        input_zero_point=n.zero_point(),
        pad_value=n.zero_point(),
    )
    x = n.activation(2, h, w, 3)
    per_count = n.ratios(op.kernel[0] * op.kernel[1])
    shape = shape_of(op, x, *per_count)
    assert_equal(
        evaluate(op, x, *per_count), scalar_contract.average_pool(op, x, *per_count, shape)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", [(), (0,), (1, 2), (2, 0), (0, 1, 2)])
@given(seed=seeds, keepdims=st.booleans())
@settings(deadline=None, max_examples=15)
def test_qreduce_sum(dtype, axes, seed, keepdims):
    n = Numbers(seed, dtype)
    op = ops.QReduceSum(
        **n.stage(), axes=axes, keepdims=keepdims, input_zero_point=n.zero_point(), **n.scaled()
    )
    x = n.activation(3, 5, 2)
    assert_equal(evaluate(op, x), scalar_contract.reduce_sum(op, x, shape_of(op, x)))


@pytest.mark.parametrize(
    ("dtype", "entries", "out"),
    [("int8", 256, "int8"), ("int8", 256, "int16"), ("int16", 65536, "int8"),
     ("int16", 65536, "int16"), ("int16", 513, "int16")],
)  # fmt: skip
def test_lookup_of_every_integer(dtype, entries, out):
    n = Numbers(entries, dtype)
    x = np.arange(n.info.min, n.info.max + 1).astype(dtype)[:: 1 if dtype == "int8" else 7]
    table = n.rng.integers(*((-99, 99) if out == "int8" else (-16384, 16384)), entries).astype(out)
    assert_equal(evaluate(ops.Lookup(), x, table), scalar_contract.lookup(x, table))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), [((1,), 0), ((7,), 0), ((2, 5, 3), 1), ((1, 2, 1), 2)])
@given(seed=seeds)
@settings(deadline=None, max_examples=15)
def test_qsoftmax(dtype, shape, axis, seed):
    n = Numbers(seed, dtype)
    make = fixedpoint.exponential_table_8 if dtype == "int8" else fixedpoint.exponential_table_16
    table = make(float(2.0 ** n.rng.uniform(-14, 0)))
    x = n.activation(*shape)
    assert_equal(evaluate(ops.QSoftmax(axis), x, table), scalar_contract.softmax(x, table, axis))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("measure", ["variance", "squares", "magnitudes"])
@pytest.mark.parametrize(
    ("shape", "axes", "channels", "inner"),
    [
        ((1,), (0,), 1, 1),
        ((7,), (0,), 7, 1),
        ((2, 5, 3), (1,), 3, 1),
        ((2, 5, 3), (2,), 5, 3),
        ((2, 5, 3), (1,), 2, 15),
        ((3, 4, 2), (2, 1), 1, 1),
        ((2, 3), (), 6, 1),
    ],
)
@given(seed=seeds, share=st.sampled_from([0.0, 1e-40, 0.01, 3.0, 1e30]), is_least=st.booleans())
@settings(deadline=None, max_examples=15)
def test_qnormalization(dtype, measure, shape, axes, channels, inner, seed, share, is_least):
    n = Numbers(seed, dtype)
    zero_point = n.zero_point()
    reach = accumulators.normalized_reach(measure, dtype, zero_point)
    count = math.prod(shape[axis] for axis in axes)
    normalizer = fixedpoint.Normalizer(
        measure, count, zero_point, *fixedpoint.epsilon_and_exponent(share * reach**2), is_least
    )
    factors = n.rng.uniform(-2, 2, channels) * n.info.max / 2.0**28
    offsets = n.rng.uniform(-1, 1, channels) * n.info.max
    multiplier, bias, shift = fixedpoint.affine_parameters(factors, offsets)
    op = ops.QNormalization(
        axes=axes,
        measure=measure,
        input_zero_point=zero_point,
        epsilon=normalizer.epsilon,
        exponent=normalizer.exponent,
        is_least=is_least,
        fraction=normalizer.largest_fraction(reach),
        inner=inner,
        shift=shift,
        **n.stage() | {"rounding": "single"},
    )
    x = n.activation(*shape) // n.rng.choice([1, 64]).astype(dtype)
    expected = scalar_contract.normalization(op, x, multiplier, bias)
    assert_equal(evaluate(op, x, multiplier, bias), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", [(), (0,), (1, 2), (0, 1, 2)])
@given(seed=seeds, keepdims=st.booleans())
@settings(deadline=None, max_examples=15)
def test_qreduce_l2(dtype, axes, seed, keepdims):
    n = Numbers(seed, dtype)
    op = ops.QReduceL2(
        **n.stage(), axes=axes, keepdims=keepdims, input_zero_point=n.zero_point(), fraction=7,
        **n.scaled(),
    )  # fmt: skip
    x = n.activation(3, 5, 2) // n.rng.choice([1, 200]).astype(dtype)
    assert_equal(evaluate(op, x), scalar_contract.reduce_l2(op, x, shape_of(op, x)))
