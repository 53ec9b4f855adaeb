"""What is no layer gives the reference's bits on every instruction set, around each vector."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.arithmetic.accumulators import normalized_reach
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.graph import GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime.catalogue.proofs import short_product
from edgeinfer.runtime.session import Session
from tests.example_counts import examples
from tests.runtime.runtime_graphs import UNIT, chain

COMMON = settings(
    deadline=None,
    max_examples=examples(50),
    suppress_health_check=[HealthCheck.too_slow],
)

# on both sides of every vector, and of blocks of them
LENGTHS = st.sampled_from(
    [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 200, 1100]
)
EXTENTS = st.integers(1, 9)
ZERO_POINTS = st.integers(-128, 127)
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def requantizations(draw, least=2):
    """The attributes that end an operator: common ratios, or any that the contract takes."""
    lo, hi = sorted(draw(st.tuples(ZERO_POINTS, ZERO_POINTS)))
    clamp = draw(st.sampled_from([(-128, 127), (lo, hi)]))
    first, last = draw(st.sampled_from([(max(least, 34), 42), (least, 62)]))
    return {
        "multiplier": draw(st.integers(2**30, 2**31 - 1)),
        "shift": draw(st.integers(first, last)),
        "output_zero_point": draw(ZERO_POINTS),
        "lo": clamp[0],
        "hi": clamp[1],
        "rounding": draw(st.sampled_from(["single", "single", "double"])),
    }


def check(graph, isa, seed):
    rng = np.random.default_rng(seed)
    feeds = {}
    for name in graph.inputs:
        kind = graph.types[name]
        limits = np.iinfo(kind.dtype)
        q = rng.integers(limits.min, limits.max + 1, kind.shape).astype(kind.dtype)
        feeds[name] = np.where(rng.random(kind.shape) < 0.1, limits.min, q).astype(kind.dtype)
    found = Session(graph, isa=isa).run(feeds)
    (expected,) = reference.execute(graph, feeds).values()
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(length=LENGTHS, seed=SEEDS)
def test_a_table_of_8_bits_is_the_references(isa, length, seed):
    table = np.random.default_rng(seed).integers(-128, 128, 256).astype(np.int8)
    check(chain((1, length), (ops.Lookup(), table)), isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
def test_every_entry_of_a_table_is_found(isa):
    table = np.random.default_rng(0).permutation(np.arange(-128, 128)).astype(np.int8)
    graph = chain((1, 256), (ops.Lookup(), table))
    x = np.arange(-128, 128).astype(np.int8)[None]
    np.testing.assert_array_equal(Session(graph, isa=isa).run(x), table[None], strict=True)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(length=LENGTHS, entries=st.sampled_from([513, 513, 65536]), seed=SEEDS)
def test_a_table_of_16_bits_is_the_references(isa, length, entries, seed):
    # neighbouring knots differ by what fits 16 bits, as verified ones do
    limit = 2**14 if entries == 513 else 2**15
    table = np.random.default_rng(seed).integers(-limit, limit, entries).astype(np.int16)
    check(chain((1, length), (ops.Lookup(), table), dtype="int16"), isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
def test_every_x_finds_its_knots(isa):
    knots = np.random.default_rng(0).integers(-(2**14), 2**14, 513).astype(np.int16)
    graph = chain((1, 65536), (ops.Lookup(), knots), dtype="int16")
    x = np.arange(-32768, 32768).astype(np.int16)[None]
    expected = fixedpoint.interpolate_16(knots, x).astype(np.int16)
    np.testing.assert_array_equal(Session(graph, isa=isa).run(x), expected, strict=True)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(length=LENGTHS, attributes=requantizations(), zero_point=ZERO_POINTS, seed=SEEDS)
def test_a_rescale_is_the_references(isa, length, attributes, zero_point, seed):
    op = ops.Rescale(**attributes, input_zero_point=zero_point)
    check(chain((1, length), (op,)), isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(
    slopes=st.sampled_from([1, 1, 3, 16, 65]),
    attributes=requantizations(),
    zero_point=ZERO_POINTS,
    seed=SEEDS,
)
def test_a_prelu_is_the_references(isa, slopes, attributes, zero_point, seed):
    rng = np.random.default_rng(seed)
    multiplier = rng.integers(-(2**31) + 1, 2**31, slopes).astype(np.int32)
    shift = rng.integers(2, 63, slopes).astype(np.int8)
    op = ops.QPRelu(**(attributes | {"rounding": "single"}), input_zero_point=zero_point)
    check(chain((1, 5, slopes), (op, multiplier, shift)), isa, seed)


@st.composite
def pairs(draw, op):
    """``op`` of equal shapes, with one number a channel, one alone, or a column, either way."""
    height, width, channels = draw(EXTENTS), draw(EXTENTS), draw(LENGTHS)
    whole = (1, height, width, channels)
    part = draw(st.sampled_from([whole, (1, 1, 1, channels), (1, 1, 1, 1), (1, height, width, 1)]))
    builder = GraphBuilder()
    values = [
        builder.input(name, TensorType(shape, "int8", UNIT))
        for name, shape in zip("ab", draw(st.permutations([whole, part])), strict=True)
    ]
    return builder.graph(builder.add(draw(op), *values))


@st.composite
def products(draw):
    zero_points = {"a_zero_point": draw(ZERO_POINTS), "b_zero_point": draw(ZERO_POINTS)}
    return ops.QMul(**draw(requantizations()), **zero_points)


@st.composite
def sums(draw):
    scales = [draw(st.floats(0.001, 0.5)) for _ in range(2)]
    lo, hi = sorted(draw(st.tuples(ZERO_POINTS, ZERO_POINTS)))
    return draw(st.sampled_from([ops.QAdd, ops.QSub]))(
        **fixedpoint.add_parameters(*scales, draw(st.floats(0.01, 0.8)), bits=8),
        a_zero_point=draw(ZERO_POINTS),
        b_zero_point=draw(ZERO_POINTS),
        output_zero_point=draw(ZERO_POINTS),
        lo=lo,
        hi=hi,
    )


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(graph=pairs(sums()), seed=SEEDS)
def test_a_sum_is_the_references(isa, graph, seed):
    check(graph, isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(graph=pairs(products()), seed=SEEDS)
def test_a_product_is_the_references(isa, graph, seed):
    check(graph, isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@example(  # int16 whose sum passes 31 bits
    shape=(2, 9, 9, 1100),
    axes=(0, 1, 2, 3),
    dtype="int16",
    attributes={
        "multiplier": 2**31 - 1,
        "shift": 47,
        "output_zero_point": 0,
        "lo": -128,
        "hi": 127,
    },
    zero_point=0,
    seed=0,
)
@given(
    shape=st.tuples(st.integers(1, 2), EXTENTS, EXTENTS, LENGTHS),
    axes=st.sampled_from([(1, 2), (1,), (2,), (3,), (0, 1, 2, 3), (2, 3), (1, 3), (0,)]),
    dtype=st.sampled_from(["int8", "int8", "int16"]),
    attributes=requantizations(),
    zero_point=ZERO_POINTS,
    seed=SEEDS,
)
def test_a_sum_over_axes_is_the_references(isa, shape, axes, dtype, attributes, zero_point, seed):
    if dtype == "int16":
        zero_point, attributes = 0, attributes | {"output_zero_point": 0}
        if 2**15 * math.prod(shape[axis] for axis in axes) >= 2**31:
            # the contract takes accumulators as wide only with multipliers of 24 bits
            attributes["multiplier"] >>= 7
    op = ops.QReduceSum(
        **(attributes | {"rounding": "single"}), axes=axes, input_zero_point=zero_point
    )
    check(chain(shape, (op,), dtype=dtype), isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(
    shape=st.tuples(st.integers(1, 2), EXTENTS, EXTENTS, LENGTHS),
    axes=st.sampled_from([(1, 2), (1,), (2,), (3,), (0, 1, 2, 3), (2, 3), (1, 3), (0,)]),
    dtype=st.sampled_from(["int8", "int16", "int32", "int64"]),
    op=st.sampled_from([ops.ReduceMax, ops.ReduceMin]),
    seed=SEEDS,
)
def test_an_extreme_over_axes_is_the_references(isa, shape, axes, dtype, op, seed):
    q = UNIT if dtype in ("int8", "int16") else None
    check(chain(shape, (op(axes=axes),), dtype=dtype, q=q), isa, seed)


def softmax(shape, scale, dtype):
    """A softmax along the middle axis."""
    make, bits = fixedpoint.exponential_table_8, Quantization.per_tensor(1 / 256, -128)
    if dtype == "int16":
        make, bits = fixedpoint.exponential_table_16, Quantization.per_tensor(1 / 32768, 0)
    builder = GraphBuilder()
    x = builder.input("x", TensorType(shape, dtype, Quantization.per_tensor(scale, 0)))
    table = builder.constant("table", make(scale))
    y = builder.add(ops.QSoftmax(axis=1), x, table, quantization=bits)
    return builder.graph(y)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(
    shape=st.tuples(EXTENTS, LENGTHS, st.sampled_from([1, 1, 1, 3])),
    scale=st.floats(1e-4, 0.5),
    dtype=st.sampled_from(["int8", "int16"]),
    seed=SEEDS,
)
def test_a_softmax_is_the_references(isa, shape, scale, dtype, seed):
    check(softmax(shape, scale, dtype), isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
def test_a_softmax_of_more_than_doubles_can_count_is_the_references(isa):
    check(softmax((1, 2**22 + 5, 1), 1e-9, "int16"), isa, 0)


def normalization(shape, axes, measure, dtype, out, channels=1, inner=1, zero_point=0):
    """A normalization whose epsilon is a thousandth of what it is added to, or about that."""
    count = math.prod(shape[axis] for axis in axes)
    reach = normalized_reach(measure, dtype, zero_point)
    epsilon, exponent = fixedpoint.epsilon_and_exponent(count * reach**2 / 1000)
    normalizer = fixedpoint.Normalizer(measure, count, zero_point, epsilon, exponent)
    info, rng = np.iinfo(out), np.random.default_rng(channels)
    factors, offsets = rng.uniform(-1, 1, (2, channels)) * info.max
    multiplier, bias, shift = fixedpoint.affine_parameters(factors * 2.0**-25, offsets)
    op = ops.QNormalization(
        axes=axes, measure=measure, input_zero_point=zero_point, epsilon=epsilon,
        exponent=exponent, fraction=normalizer.largest_fraction(reach), shift=shift,
        inner=inner, lo=int(info.min), hi=int(info.max),
    )  # fmt: skip
    builder = GraphBuilder()
    x = builder.input("x", TensorType(shape, dtype, Quantization.per_tensor(0.1, zero_point)))
    constants = builder.constant("m", multiplier), builder.constant("b", bias)
    y = builder.add(op, x, *constants, dtype=out, quantization=Quantization.per_tensor(0.1, 0))
    return builder.graph(y)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(
    shape=st.tuples(st.integers(1, 2), EXTENTS, EXTENTS, LENGTHS),
    axes=st.sampled_from([(1, 2), (1,), (2,), (3,), (0, 1, 2, 3), (2, 3), (1, 3), (0,), ()]),
    measure=st.sampled_from(["variance", "squares", "magnitudes"]),
    dtypes=st.tuples(*[st.sampled_from(["int8", "int16"])] * 2),
    ends=st.tuples(st.integers(0, 4), st.integers(0, 4) | st.just(4)).map(sorted),
    zero_point=ZERO_POINTS,
    seed=SEEDS,
)
def test_a_normalization_over_axes_is_the_references(
    isa, shape, axes, measure, dtypes, ends, zero_point, seed
):
    first, behind = ends
    channels, inner = math.prod(shape[first:behind]), math.prod(shape[behind:])
    zero_point = zero_point if dtypes[0] == "int8" else 0
    check(normalization(shape, axes, measure, *dtypes, channels, inner, zero_point), isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(
    shape=st.tuples(st.integers(1, 2), EXTENTS, EXTENTS, LENGTHS),
    axes=st.sampled_from([(1, 2), (1,), (3,), (0, 1, 2, 3), (1, 3), (0,), ()]),
    dtype=st.sampled_from(["int8", "int16"]),
    keepdims=st.booleans(),
    seed=SEEDS,
)
def test_a_root_over_axes_is_the_references(isa, shape, axes, dtype, keepdims, seed):
    count = math.prod(shape[axis] for axis in axes)
    reach = normalized_reach("squares", dtype, 0)
    multiplier, out_shift = fixedpoint.multiplier_and_shift(2.0**-21)
    op = ops.QReduceL2(
        axes=axes, keepdims=keepdims, fraction=fixedpoint.root_fraction(count, reach),
        multiplier=multiplier, shift=out_shift,
    )  # fmt: skip
    check(chain(shape, (op,), dtype=dtype), isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
@pytest.mark.parametrize(("dtype", "count"), [("int8", 32769), ("int8", 2**18), ("int16", 2**18)])
@pytest.mark.parametrize("side_by_side", [1, 3])
def test_a_normalization_of_more_than_32_bits_can_count_is_the_references(
    isa, dtype, count, side_by_side
):
    check(normalization((count, side_by_side), (0,), "variance", dtype, "int16"), isa, 0)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(graph=pairs(st.sampled_from([ops.Maximum(), ops.Minimum()])), seed=SEEDS)
def test_an_extreme_is_the_references(isa, graph, seed):
    check(graph, isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(
    shape=st.tuples(EXTENTS, EXTENTS, LENGTHS),
    value=st.integers(-128, 127),
    dtype=st.sampled_from(["int8", "int16"]),
    seed=SEEDS,
)
def test_a_pad_is_the_references(isa, shape, value, dtype, seed):
    op = ops.Pad(before=(0, 1, 0), after=(0, 2, 1), value=value)
    check(chain(shape, (op,), dtype=dtype), isa, seed)


@st.composite
def pools(draw):
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pads = tuple(draw(st.integers(0, k - 1)) for k in kernel * 2)
    shape = (draw(st.integers(1, 2)), *(draw(st.integers(k, 9)) for k in kernel), draw(LENGTHS))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    if draw(st.booleans()):
        dtype = draw(st.sampled_from(["int8", "int16"]))
        return chain(shape, (ops.MaxPool(kernel=kernel, strides=strides, pads=pads),), dtype=dtype)
    factors = [fixedpoint.average_multiplier(n + 1) for n in range(kernel[0] * kernel[1])]
    multiplier, shift = (np.array(column) for column in zip(*factors, strict=True))
    op = ops.QAveragePool(
        kernel=kernel,
        strides=strides,
        pads=pads,
        count_include_pad=draw(st.booleans()),
        input_zero_point=0,
        output_zero_point=0,
        pad_value=draw(ZERO_POINTS),
    )
    return chain(shape, (op, multiplier.astype(np.int32), shift.astype(np.int8)))


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(graph=pools(), seed=SEEDS)
def test_a_pool_is_the_references(isa, graph, seed):
    check(graph, isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(
    shape=st.tuples(st.integers(1, 2), EXTENTS, EXTENTS, LENGTHS),
    permutation=st.permutations(range(4)),
    dtype=st.sampled_from(["int8", "int16"]),
    seed=SEEDS,
)
def test_a_transpose_is_the_references(isa, shape, permutation, dtype, seed):
    check(chain(shape, (ops.Transpose(tuple(permutation)),), dtype=dtype), isa, seed)


# ---- proofs ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(
    attributes=requantizations(),
    zero_points=st.tuples(ZERO_POINTS, ZERO_POINTS),
)
def test_the_short_form_of_a_product_is_equal_for_every_pair(attributes, zero_points):
    op = ops.QMul(**attributes, a_zero_point=zero_points[0], b_zero_point=zero_points[1])
    form = short_product(op, 8)
    if form is None:
        return
    q = np.arange(-128, 128, dtype=np.int64)
    acc = ((q - zero_points[0])[:, None] * (q - zero_points[1])) << form.lead
    assert np.abs(acc).max() < 2**31
    total = ((acc * form.multiplier) >> 32) + form.rounding
    assert np.abs(total).max() < 2**31
    first, second = np.meshgrid(q.astype(np.int8), q.astype(np.int8), indexing="ij")
    (expected,) = reference.evaluate(op, first, second)
    np.testing.assert_array_equal(np.clip(total >> form.shift, op.lo, op.hi), expected)


@pytest.mark.parametrize("ratio", [0.9, 0.25, 0.01, 1e-5])
def test_a_product_of_common_ratios_has_the_short_form(ratio):
    multiplier, shift = fixedpoint.multiplier_and_shift(ratio)
    op = ops.QMul(multiplier=multiplier, shift=shift, a_zero_point=-128, b_zero_point=127)
    assert short_product(op, 8) is not None
