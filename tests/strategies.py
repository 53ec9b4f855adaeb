"""Hypothesis strategies that draw integer Graphs, legal by construction, and inputs for them.

Structure is drawn, so that a failure shrinks to a small graph; the numbers inside constants come
from a drawn seed, so that drawing is quick.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from edgeinfer.arithmetic import accumulators, fixedpoint
from edgeinfer.arithmetic.tables import function_table
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Graph, GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import window_extent

SCHEMES = ("int8", "int16x8", "int16", "mixed")
EXTENTS = (1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 17)
SCALES = (0.0078125, 0.02, 0.05, 0.11)
MAX_ELEMENTS = 6000


class Builder:
    """A Graph that grows by one operator at a time."""

    def __init__(self, draw: st.DrawFn, scheme: str) -> None:
        self.draw = draw
        self.scheme = scheme
        self.choose_width()
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.builder = GraphBuilder("drawn")
        self.types, self.nodes = self.builder.types, self.builder.nodes
        self.inputs: list[str] = []

    def choose_width(self) -> None:
        """What requantizing operators give from now on; in a mixture, drawn anew each time."""
        widths = {"int8": ("int8",), "mixed": ("int8", "int16")}.get(self.scheme, ("int16",))
        self.dtype = self.one_of(*widths)
        self.info = np.iinfo(self.dtype)

    # -- numbers --------------------------------------------------------------------------------

    def one_of(self, *choices):
        return self.draw(st.sampled_from(choices))

    def quantization(self) -> Quantization:
        zero_point = self.draw(st.integers(-128, 127)) if self.dtype == "int8" else 0
        return Quantization.per_tensor(self.one_of(*SCALES), zero_point)

    def zero_point(self, name: str) -> int:
        return self.types[name].quantization.zero_point

    def stage(self, q: Quantization, *inputs: str) -> dict:
        """What ends a requantizing operator: sometimes a fused clamp, either rounding."""
        whole = (self.info.min, self.info.max)
        lo, hi = self.one_of(whole, whole, (q.zero_point, self.info.max), (-100, 90))
        narrow = all(self.types[name].dtype == "int8" for name in inputs)
        rounding = self.one_of("single", "double") if narrow else "single"
        return {
            "output_zero_point": q.zero_point, "lo": lo, "hi": hi, "rounding": rounding
        }  # fmt: skip

    def ratio(self, bound: int) -> tuple[int, int]:
        """M and S that bring accumulators of up to ``bound`` to about the output's range."""
        real = self.info.max / max(bound, 1) * float(self.rng.uniform(0.5, 6))
        return fixedpoint.multiplier_and_shift(min(real, 1e8), 31 if bound < 2**31 else 24)

    def ratios(self, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pairs = np.array([self.ratio(int(b)) for b in bounds])
        return pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int8)

    # -- growing --------------------------------------------------------------------------------

    def values(self, suits: Callable[[TensorType], bool] = lambda t: True) -> list[str]:
        computed = [*self.inputs, *(name for n in self.nodes for name in n.outputs)]
        activations = [v for v in computed if self.types[v].dtype in ("int8", "int16")]
        return [v for v in activations if suits(self.types[v])]

    def pick(self, suits: Callable[[TensorType], bool] = lambda t: True) -> str | None:
        found = self.values(suits)
        # the newest value most often, so that graphs grow long; others make branches
        return self.draw(st.sampled_from([found[-1], *reversed(found)])) if found else None

    def constant(self, array: np.ndarray, q: Quantization | None = None) -> str:
        return self.builder.constant(f"c{len(self.builder.constants)}", np.asarray(array), q)

    def integers(self, shape: tuple[int, ...], dtype: str | None = None) -> np.ndarray:
        info = np.iinfo(dtype or self.dtype)
        return self.rng.integers(info.min, info.max + 1, shape).astype(info.dtype)

    def input(self, shape: tuple[int, ...]) -> str:
        kind = TensorType(shape, self.dtype, self.quantization())
        self.inputs.append(self.builder.input(f"x{len(self.inputs)}", kind))
        return self.inputs[-1]

    def add(self, op, *inputs, q=None, dtype=None) -> None:
        dtype = dtype or (None if q is None else self.dtype)
        kinds = self.builder.output_types(op, inputs, dtype, q)
        if sum(kind.elements for kind in kinds) > MAX_ELEMENTS:
            return
        count = len(self.nodes)
        outputs = [f"v{count}.{i}" for i in range(len(kinds))]
        self.builder.add_several(
            op, *inputs, outputs=outputs, node=f"n{count}", dtype=dtype, quantization=q
        )

    def graph(self, free_batch: bool) -> Graph:
        """All that grew; what nothing takes is an output, and now and then something else too."""
        taken = {name for node in self.nodes for name in node.inputs}
        computed = [name for node in self.nodes for name in node.outputs]
        also = self.one_of(None, *computed)
        outputs = [v for v in computed if v not in taken or v == also]
        return self.builder.graph(*outputs, free_batch=free_batch)


def _spatial(t: TensorType) -> bool:
    return len(t.shape) == 4


def _window(b: Builder, x: tuple[int, ...], dilated: bool = True) -> dict | None:
    """Kernel, strides, pads and dilations that fit ``x``."""
    kernel, strides, dilations, pads = [], [], [], []
    for axis in (1, 2):
        k, d = b.one_of(1, 2, 3, 5, 11), b.one_of(1, 1, 2, 3, 4) if dilated else 1
        before = b.draw(st.integers(0, min(k - 1, 2)))
        after = b.draw(st.integers(0, min(k - 1, 2)))
        s = b.one_of(1, 2, 3)
        if window_extent(x[axis], k, s, d, before, after) == 0:
            k, d, before, after = 1, 1, 0, 0
        kernel.append(k)
        strides.append(s)
        dilations.append(d)
        pads.append((before, after))
    (top, bottom), (left, right) = pads
    return {
        "kernel": tuple(kernel),
        "strides": tuple(strides),
        "dilations": tuple(dilations),
        "pads": (top, left, bottom, right),
    }


def _layer_constants(b: Builder, weights_shape: tuple[int, ...], x: str) -> list[str]:
    """Weights, bias, multiplier and shift whose accumulators are proven."""
    outputs, taps, reach = weights_shape[0], math.prod(weights_shape[1:]), _reach(b, x)
    narrow = b.types[x].dtype == "int8"
    wide_weights = b.scheme == "int16" or (b.scheme == "mixed" and not narrow and b.one_of(0, 1))
    if wide_weights:
        # accumulators in 64 bits, product by product or in blocks, or proven to fit 32
        limit = b.one_of(1 << 37, 1 << 37, 1 << 30) // (reach * taps)
        largest = max(1, min(limit, b.one_of(32767, 2000)))
    else:
        largest = 127
    dtype = "int16" if wide_weights else "int8"
    weights = b.rng.integers(-largest, largest + 1, weights_shape).astype(dtype)
    magnitude = np.abs(weights.reshape(outputs, -1).astype(np.int64)).sum(1) * reach
    weights[0] = 0 if b.one_of(False, False, True) else weights[0]
    bias = b.rng.integers(-(magnitude // 4) - 9, magnitude // 4 + 10)
    multiplier, shift = b.ratios(magnitude + np.abs(bias))
    arrays = (weights, bias.astype("int32" if narrow else "int64"), multiplier, shift)
    return [b.constant(array) for array in arrays]


def _reach(b: Builder, name: str) -> int:
    z, info = b.zero_point(name), np.iinfo(b.types[name].dtype)
    return max(info.max - z, z - info.min)


def conv(b: Builder) -> None:
    if (x := b.pick(_spatial)) is None:
        return
    shape, channels = b.types[x].shape, b.types[x].shape[3]
    window = _window(b, shape)
    kernel = window.pop("kernel")
    group = b.one_of(*(g for g in (1, 1, 2, 3, channels, channels) if channels % g == 0))
    outputs = group * (1 if group == channels and b.one_of(True, False) else b.one_of(1, 2, 3, 5))
    if group == 1:
        outputs = b.one_of(1, 3, 4, 5, 8, 17, 64)
    constants = _layer_constants(b, (outputs, *kernel, channels // group), x)
    q = b.quantization()
    op = ops.QConv(input_zero_point=b.zero_point(x), group=group, **window, **b.stage(q, x))
    b.add(op, x, *constants, q=q)


def dense(b: Builder) -> None:
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is None:
        return
    outputs, depth = b.one_of(1, 3, 4, 10, 33, 70), b.types[x].shape[-1]
    constants = _layer_constants(b, (outputs, depth), x)
    q = b.quantization()
    b.add(ops.QDense(input_zero_point=b.zero_point(x), **b.stage(q, x)), x, *constants, q=q)


def _partner(b: Builder, a: str) -> str:
    """A value or a constant that broadcasts with ``a``."""
    shape = b.types[a].shape
    same = b.values(lambda t: t.shape == shape)
    if b.one_of(True, True, False):
        return b.draw(st.sampled_from(same))
    cut = b.draw(st.integers(0, len(shape)))
    drawn = tuple(b.one_of(1, n) for n in shape[cut:])
    return b.constant(b.integers(drawn), b.quantization())


def _ordered(b: Builder, a: str, other: str) -> tuple[str, str]:
    return b.one_of((a, other), (other, a))


def add_or_sub(b: Builder) -> None:
    if (a := b.pick()) is None:
        return
    left, right = _ordered(b, a, _partner(b, a))
    q = b.quantization()
    scales = [b.types[name].quantization.step for name in (left, right)]
    bits = 8 if all(b.types[name].dtype == "int8" for name in (left, right)) else 16
    p = fixedpoint.add_parameters(*scales, q.step, bits=bits)
    op = b.one_of(ops.QAdd, ops.QSub)(
        a_zero_point=b.zero_point(left),
        b_zero_point=b.zero_point(right),
        **p,
        **b.stage(q, left, right),
    )
    b.add(op, left, right, q=q)


def mul(b: Builder) -> None:
    if (a := b.pick()) is None:
        return
    left, right = _ordered(b, a, _partner(b, a))
    q = b.quantization()
    ratio = b.ratio(_reach(b, left) * _reach(b, right))
    _add_of_two(b, ops.QMul, left, right, ratio, q)


def _add_of_two(
    b: Builder,
    kind: type[ops.QMul | ops.QDiv | ops.QMatMul],
    left: str,
    right: str,
    ratio: tuple[int, int],
    q: Quantization,
    **stage,
) -> None:
    """The operator of ``kind``, whose result is multiplied by ``ratio``, M and S."""
    op = kind(
        a_zero_point=b.zero_point(left),
        b_zero_point=b.zero_point(right),
        multiplier=ratio[0],
        shift=ratio[1],
        **b.stage(q, left, right) | stage,
    )
    b.add(op, left, right, q=q)


def div(b: Builder) -> None:
    if (a := b.pick()) is None:
        return
    left, right = _ordered(b, a, _partner(b, a))
    q = b.quantization()
    real = b.info.max / _reach(b, left) * float(b.rng.choice([0.01, 1, 50, 3000]))
    ratio = fixedpoint.multiplier_and_shift(real, most=fixedpoint.MAX_QUOTIENT_SHIFT)
    _add_of_two(b, ops.QDiv, left, right, ratio, q, rounding="single")


def mat_mul(b: Builder) -> None:
    """A product of two values, or of one and a constant, on either side and broadcast."""
    if (a := b.pick(lambda t: len(t.shape) >= 2)) is None:
        return
    shape = b.types[a].shape
    depth, columns = shape[-1], b.one_of(1, 3, 16, 21)
    batch = b.one_of((), (1,) * len(shape[:-2]), shape[:-2])
    constant = b.constant(b.integers((*batch, depth, columns)), b.quantization())
    fitting = b.values(lambda t: t.shape[:-2] == shape[:-2] and t.shape[-2:-1] == (depth,))
    left, right = a, b.draw(st.sampled_from([constant, *fitting]))
    if right == constant and b.one_of(False, True):
        depth = shape[-2]
        left, right = b.constant(b.integers((*batch, columns, depth)), b.quantization()), a
    q = b.quantization()
    largest = depth * _reach(b, left) * _reach(b, right)
    real = b.info.max / largest * float(b.rng.uniform(0.5, 6)) * math.sqrt(depth)
    ratio = fixedpoint.multiplier_and_shift(real, fixedpoint.multiplier_bits(largest))
    _add_of_two(b, ops.QMatMul, left, right, ratio, q)


def extreme(b: Builder) -> None:
    if (a := b.pick()) is None:
        return
    kind = b.types[a]
    others = b.values(lambda t: t == kind)
    constant = b.constant(b.integers(kind.shape[-1:], kind.dtype), kind.quantization)
    other = b.draw(st.sampled_from([constant, *others]))
    b.add(b.one_of(ops.Maximum, ops.Minimum)(), *_ordered(b, a, other))


def rescale(b: Builder) -> None:
    if (x := b.pick()) is None:
        return
    q = b.quantization()
    multiplier, shift = b.ratio(_reach(b, x))
    op = ops.Rescale(
        input_zero_point=b.zero_point(x), multiplier=multiplier, shift=shift, **b.stage(q, x)
    )
    b.add(op, x, q=q)


def prelu(b: Builder) -> None:
    if (x := b.pick()) is None:
        return
    shape = b.types[x].shape
    slopes = math.prod(shape[b.draw(st.integers(0, len(shape))) :])
    multiplier, shift = b.ratios(np.full(slopes, _reach(b, x)))
    signs = b.rng.choice([-1, 1], slopes).astype(np.int32)
    q = b.quantization()
    m, s = b.ratio(_reach(b, x))
    op = ops.QPRelu(input_zero_point=b.zero_point(x), multiplier=m, shift=s, **b.stage(q, x))
    b.add(op, x, b.constant(multiplier * signs), b.constant(shift), q=q)


# beside random tables, those of functions, which say so
EXPRESSIONS = (("sigmoid", "x"), ("mul", "x", ("tanh", "x")), ("log", ("abs", "x")))


def lookup(b: Builder) -> None:
    if (x := b.pick()) is None:
        return
    wide = (65536, 513) if b.dtype == "int16" else (65536,)
    entries = 256 if b.types[x].dtype == "int8" else b.one_of(*wide)
    table = b.integers((entries,))
    if entries == 513:
        # slopes must fit int16
        table = (table // 2).astype(b.dtype)
    op, q = ops.Lookup(), b.quantization()
    expression = b.one_of(None, *EXPRESSIONS)
    if expression is not None:
        known, given = b.types[x].quantization, b.types[x].dtype
        domain = b.one_of(None, (-2.0, 3.0))
        integers = (known.step, known.zero_point, given), (q.step, q.zero_point, b.dtype)
        with contextlib.suppress(QuantizationError):  # too steep
            table = function_table(expression, domain, *integers, entries)
            op = ops.Lookup(expression, domain)
    b.add(op, x, b.constant(table), q=q)


def max_pool(b: Builder) -> None:
    if (x := b.pick(_spatial)) is not None:
        b.add(ops.MaxPool(**_window(b, b.types[x].shape)), x)


def average_pool(b: Builder) -> None:
    if (x := b.pick(_spatial)) is None:
        return
    shape = b.types[x].shape
    window = _window(b, shape, dilated=False)
    window.pop("dilations")
    kernel, strides, (top, left, bottom, right) = (
        window[key] for key in ("kernel", "strides", "pads")
    )
    ceil = []
    for axis, before, after in ((0, top, bottom), (1, left, right)):
        span = shape[1 + axis] + before + after - kernel[axis]
        missing = -span % strides[axis]
        start = (span + missing) // strides[axis] * strides[axis] - before
        ceil.append(missing if b.one_of(True, False) and start < shape[1 + axis] else 0)
    q = b.quantization()
    counts = np.arange(1, math.prod(kernel) + 1)
    multiplier, shift = b.ratios(counts * _reach(b, x))
    op = ops.QAveragePool(
        **window,
        ceil_pads=tuple(ceil),
        count_include_pad=b.one_of(True, False),
        input_zero_point=b.zero_point(x),
        pad_value=b.one_of(b.zero_point(x), 0),
        **b.stage(q, x),
    )
    b.add(op, x, b.constant(multiplier), b.constant(shift), q=q)


def _axes(b: Builder, rank: int) -> tuple[int, ...]:
    return tuple(sorted(b.draw(st.sets(st.integers(0, rank - 1), max_size=rank))))


def reduce_sum(b: Builder) -> None:
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is None:
        return
    shape = b.types[x].shape
    axes = _axes(b, len(shape))
    q = b.quantization()
    multiplier, shift = b.ratio(math.prod(shape[a] for a in axes) * _reach(b, x))
    op = ops.QReduceSum(
        axes=axes,
        keepdims=b.one_of(True, False),
        input_zero_point=b.zero_point(x),
        multiplier=multiplier,
        shift=shift,
        **b.stage(q, x),
    )
    b.add(op, x, q=q)


def reduce_l2(b: Builder) -> None:
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is None:
        return
    shape = b.types[x].shape
    axes = _axes(b, len(shape))
    fraction = fixedpoint.root_fraction(math.prod(shape[a] for a in axes), _reach(b, x))
    q = b.quantization()
    multiplier, shift = b.ratio(2**30)
    op = ops.QReduceL2(
        axes=axes,
        keepdims=b.one_of(True, False),
        input_zero_point=b.zero_point(x),
        fraction=fraction - b.one_of(0, 0, 2),
        multiplier=multiplier,
        shift=shift,
        **b.stage(q, x),
    )
    b.add(op, x, q=q)


def reduce_extreme(b: Builder) -> None:
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is not None:
        cls = b.one_of(ops.ReduceMax, ops.ReduceMin)
        b.add(cls(_axes(b, len(b.types[x].shape)), b.one_of(True, False)), x)


def argmax(b: Builder) -> None:
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is not None:
        axis = b.draw(st.integers(0, len(b.types[x].shape) - 1))
        op = ops.ArgMax(axis, b.one_of(True, False), b.one_of(True, False))
        b.add(op, x)


def top_elements(b: Builder) -> None:
    """The largest or smallest along an axis, and elements of another value at their places."""
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is None:
        return
    shape = b.types[x].shape
    axis = b.draw(st.integers(0, len(shape) - 1))
    count = b.draw(st.integers(1, shape[axis]))
    b.add(ops.TopIndices(axis, count, b.one_of(True, False)), x)
    indices = b.nodes[-1].output
    others = b.values(lambda t: t.shape == shape)
    b.add(ops.GatherElements(axis), b.draw(st.sampled_from([x, *others])), indices)


def non_max_suppression(b: Builder) -> None:
    """Boxes of a value or near each other, by scores of a value or constant."""
    x = b.pick(lambda t: t.dtype == "int16" and math.prod(t.shape) % 4 == 0)
    if x is not None and b.one_of(True, False):
        count = math.prod(b.types[x].shape) // 4
        b.add(ops.Reshape((1, count, 4)), x)
        boxes = b.nodes[-1].output
    else:
        count, reach = b.one_of(1, 7), b.one_of(9, 32767)
        near = b.rng.integers(-reach - 1, reach + 1, (1, count, 4)).astype(np.int16)
        boxes = b.constant(near, Quantization.per_tensor(0.5))
    scores = b.pick(lambda t: math.prod(t.shape) % count == 0)
    if scores is None:
        return
    b.add(ops.Reshape((1, math.prod(b.types[scores].shape) // count, count)), scores)
    overlap, above = b.rng.integers(0, fixedpoint.WHOLE + 1), b.one_of(-32769, -1, 20)
    most = b.draw(st.integers(1, count))
    op = ops.NonMaxSuppression(most, int(overlap), above, b.one_of(True, False))
    b.add(op, boxes, b.nodes[-1].output)


def gather_elements(b: Builder) -> None:
    """By constant indices, which end before the data do."""
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is None:
        return
    shape = b.types[x].shape
    axis = b.draw(st.integers(0, len(shape) - 1))
    taken = [b.one_of(1, n) for n in shape]
    indices = b.rng.integers(-shape[axis], shape[axis], taken)
    b.add(ops.GatherElements(axis), x, b.constant(indices))


def gather_computed(b: Builder) -> None:
    """Rows of a constant or a value, by indices that the run computes."""
    indices = [n.outputs[0] for n in b.nodes if b.types[n.outputs[0]].dtype == "int64"]
    if not indices:
        return
    chosen = b.draw(st.sampled_from(indices))
    producer = next(n for n in b.nodes if n.outputs[0] == chosen)
    if not isinstance(producer.op, ops.ArgMax):
        return
    extent = b.types[producer.inputs[0]].shape[producer.op.axis]
    data = b.constant(b.integers((extent, b.one_of(1, 3))), b.quantization())
    b.add(ops.Gather(0), data, chosen)


def index_arithmetic(b: Builder) -> None:
    """A function of indices that the run computes, and of others or constants."""
    indices = [n.outputs[0] for n in b.nodes if b.types[n.outputs[0]].dtype == "int64"]
    if not indices:
        return
    function = b.one_of("add", "sub", "mul", "div", "mod", "max", "min", "equal", "greater")
    first = b.draw(st.sampled_from(indices))
    others = [name for name in indices if b.types[name].shape == b.types[first].shape]
    if function not in ("div", "mod") and b.one_of(True, False):
        second = b.draw(st.sampled_from(others))
    else:
        least = 1 if function in ("div", "mod") else -4
        far = b.one_of(5, 2**62)
        shape = b.one_of((), b.types[first].shape)
        second = b.constant(np.asarray(b.rng.integers(least, far, shape), np.int64))
    b.add(ops.IndexArithmetic(function), first, second)


def gather(b: Builder) -> None:
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is None:
        return
    shape = b.types[x].shape
    axis = b.draw(st.integers(0, len(shape) - 1))
    count = b.one_of((), (1,), (2, 2), (5,))
    indices = b.rng.integers(-shape[axis], shape[axis], count)
    b.add(ops.Gather(axis), x, b.constant(np.asarray(indices, np.int64)))


def softmax(b: Builder) -> None:
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is None:
        return
    axis = b.draw(st.integers(0, len(b.types[x].shape) - 1))
    step, dtype = b.types[x].quantization.step, b.types[x].dtype
    if dtype == "int8":
        table, q = fixedpoint.exponential_table_8(step), Quantization.per_tensor(1 / 256, -128)
    else:
        step /= 100
        table, q = fixedpoint.exponential_table_16(step), Quantization.per_tensor(1 / 32768)
    b.add(ops.QSoftmax(axis), x, b.constant(table), q=q, dtype=dtype)


def normalization(b: Builder) -> None:
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is None:
        return
    shape, dtype, zero_point = b.types[x].shape, b.types[x].dtype, b.zero_point(x)
    axes = b.one_of(_axes(b, len(shape)), (len(shape) - 1,))
    count = math.prod(shape[a] for a in axes)
    measure = b.one_of("variance", "squares", "magnitudes")
    reach = accumulators.normalized_reach(measure, dtype, zero_point)
    # next to nothing, about as much as the integers' measure, and far more
    share = b.one_of(0.0, 0.0, 1e-30, 1e-3, 1.0, 1e12) * count * reach**2
    normalizer = fixedpoint.Normalizer(
        measure, count, zero_point, *fixedpoint.epsilon_and_exponent(share), b.one_of(False, True)
    )
    most = normalizer.largest_fraction(reach)
    first, behind = sorted(b.draw(st.integers(0, len(shape))) for _ in range(2))
    behind = b.one_of(behind, len(shape))
    channels = math.prod(shape[first:behind])
    factors = b.rng.uniform(-2, 2, channels) * b.info.max / 2.0**28
    offsets = b.rng.uniform(-1, 1, channels) * b.info.max
    multiplier, bias, shift = fixedpoint.affine_parameters(factors, offsets)
    q = b.quantization()
    op = ops.QNormalization(
        axes=axes,
        measure=measure,
        input_zero_point=zero_point,
        epsilon=normalizer.epsilon,
        exponent=normalizer.exponent,
        is_least=normalizer.is_least,
        fraction=most - b.one_of(0, 0, 3),
        inner=math.prod(shape[behind:]),
        shift=shift,
        **b.stage(q, x) | {"rounding": "single"},
    )
    b.add(op, x, b.constant(multiplier), b.constant(bias), q=q)


def concat(b: Builder) -> None:
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is None:
        return
    kind = b.types[x]
    shape = kind.shape
    axis = b.draw(st.integers(0, len(shape) - 1))

    def joins(t: TensorType) -> bool:
        same = (t.dtype, t.quantization) == (kind.dtype, kind.quantization)
        fits = len(t.shape) == len(shape) and same
        return fits and all(a == axis or t.shape[a] == n for a, n in enumerate(shape))

    others = b.draw(st.lists(st.sampled_from(b.values(joins)), max_size=3))
    b.add(ops.Concat(axis), x, *others)


def slice_(b: Builder) -> None:
    if (x := b.pick()) is None:
        return
    starts, sizes, steps = [], [], []
    for n in b.types[x].shape:
        step = b.one_of(1, 1, 2, 3, -1, -2)
        start = b.draw(st.integers(0, n - 1))
        room = (n - 1 - start) // step if step > 0 else start // -step
        starts.append(start)
        sizes.append(b.draw(st.integers(1, room + 1)))
        steps.append(step)
    b.add(ops.Slice(tuple(starts), tuple(sizes), tuple(steps)), x)


def split(b: Builder) -> None:
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is None:
        return
    axis = b.draw(st.integers(0, len(b.types[x].shape) - 1))
    sizes, left = [], b.types[x].shape[axis]
    while left:
        sizes.append(b.draw(st.integers(1, left)))
        left -= sizes[-1]
    b.add(ops.Split(axis, tuple(sizes)), x)


def pad(b: Builder) -> None:
    if (x := b.pick(lambda t: len(t.shape) >= 1)) is None:
        return
    mode = b.one_of("constant", "reflect", "edge")
    pads = []
    for n in b.types[x].shape:
        most = min(n - 1, 2) if mode == "reflect" else 2
        pads.append((b.draw(st.integers(0, most)), b.draw(st.integers(0, most))))
    before, after = zip(*pads, strict=True)
    b.add(ops.Pad(before, after, mode, b.zero_point(x)), x)


def reshape(b: Builder) -> None:
    if (x := b.pick()) is None:
        return
    elements = b.types[x].elements
    shape, left = [], elements
    for factor in b.draw(st.lists(st.sampled_from([1, 2, 3, 4, 5]), max_size=3)):
        if left % factor == 0:
            shape.append(factor)
            left //= factor
    b.add(ops.Reshape((*shape, left)), x)


def to_spatial(b: Builder) -> None:
    """Any value as an NHWC one, so that windows stay possible."""
    if (x := b.pick()) is None:
        return
    elements = b.types[x].elements
    height = b.one_of(*(n for n in (1, 2, 3, 5, 7) if elements % n == 0))
    channels = b.one_of(*(n for n in (1, 2, 3, 4, 8) if elements // height % n == 0))
    b.add(ops.Reshape((1, height, elements // height // channels, channels)), x)


def transpose(b: Builder) -> None:
    if (x := b.pick()) is not None:
        axes = list(range(len(b.types[x].shape)))
        b.add(ops.Transpose(tuple(b.draw(st.permutations(axes)))), x)


def tile_or_expand(b: Builder) -> None:
    if (x := b.pick()) is None:
        return
    shape = b.types[x].shape
    if b.one_of(True, False):
        b.add(ops.Tile(tuple(b.one_of(1, 1, 2, 3) for _ in shape)), x)
    elif len(shape) < 6:
        stretched = tuple(n if n > 1 else b.one_of(1, 3) for n in shape)
        b.add(ops.Expand((*b.one_of((), (2,)), *stretched)), x)


def depth_and_space(b: Builder) -> None:
    def divides(t: TensorType) -> bool:
        return _spatial(t) and t.shape[3] % 4 == 0

    if b.one_of(True, False):
        if (x := b.pick(divides)) is not None:
            b.add(ops.DepthToSpace(2, b.one_of("DCR", "CRD")), x)
    elif (
        x := b.pick(lambda t: _spatial(t) and t.shape[1] % 2 == 0 and t.shape[2] % 2 == 0)
    ) is not None:
        b.add(ops.SpaceToDepth(2), x)


def resize(b: Builder) -> None:
    if (x := b.pick(_spatial)) is None:
        return
    _, height, width, _ = b.types[x].shape
    rows = b.draw(st.lists(st.integers(0, height - 1), min_size=1, max_size=2 * height))
    columns = tuple(np.arange(2 * width) // 2) if b.one_of(True, False) else range(width)
    b.add(ops.ResizeNearest(tuple(rows), tuple(map(int, columns))), x)


def resize_by_weights(b: Builder) -> None:
    """Weights of any sign, which need not add up to anything; or those of a doubled image."""
    if (x := b.pick(_spatial)) is None:
        return
    shape, constants, sums = b.types[x].shape, [], [_reach(b, x)]
    for extent in shape[1:3]:
        taps, count = b.one_of(*(t for t in (1, 2, 2, 4, 7) if t <= extent)), b.one_of(1, 3, 8, 17)
        largest = b.one_of(4, 300)
        weights = b.rng.integers(-largest, largest + 1, (count, taps)).astype(np.int16)
        if taps == 2 and b.one_of(True, False):
            weights[:] = [[1, 3], [3, 1], [0, 4]][count % 3]
        first = b.rng.integers(0, extent - taps + 1, count).astype(np.int32)
        constants += [b.constant(first), b.constant(weights)]
        sums.append(max(1, int(np.abs(weights.astype(np.int64)).sum(1).max())))
    limit = 1 << (31 if b.types[x].dtype == "int8" else 62)
    if math.prod(sums) >= limit:
        return
    q = b.quantization()
    multiplier, shift = b.ratio(math.prod(sums))
    if b.one_of(True, False):  # a shift alone
        multiplier = 1 << multiplier.bit_length() - 1
    op = ops.QResize(
        input_zero_point=b.zero_point(x), multiplier=multiplier, shift=shift, **b.stage(q, x)
    )
    b.add(op, x, *constants, q=q)


GROWTHS = (
    conv,
    conv,
    conv,
    dense,
    add_or_sub,
    add_or_sub,
    mul,
    div,
    mat_mul,
    extreme,
    rescale,
    prelu,
    lookup,
    max_pool,
    average_pool,
    reduce_sum,
    reduce_l2,
    reduce_extreme,
    argmax,
    index_arithmetic,
    index_arithmetic,
    gather_computed,
    gather,
    gather_elements,
    top_elements,
    non_max_suppression,
    softmax,
    normalization,
    concat,
    slice_,
    split,
    pad,
    reshape,
    to_spatial,
    transpose,
    tile_or_expand,
    depth_and_space,
    resize,
    resize_by_weights,
)


@st.composite
def integer_graphs(
    draw: st.DrawFn,
    schemes: tuple[str, ...] = SCHEMES,
    growths: tuple[Callable[[Builder], None], ...] = GROWTHS,
    max_nodes: int = 8,
    batches: tuple[int, ...] = (1, 1, 1, 2, 3),
    vectors: bool = True,
) -> Graph:
    """Legal integer Graphs of up to ``max_nodes`` operators, with branches.

    With ``vectors`` a second input may have one axis only.
    """
    b = Builder(draw, draw(st.sampled_from(schemes)))
    shape = [draw(st.sampled_from(batches))]
    shape += [draw(st.sampled_from(EXTENTS)) for _ in range(3)]
    if math.prod(shape) > MAX_ELEMENTS:
        shape[1] = 1
    b.input(tuple(shape))
    if draw(st.booleans()):
        whole = not vectors or draw(st.booleans())
        b.input(tuple(shape) if whole else (draw(st.sampled_from(EXTENTS)),))
    for growth in draw(st.lists(st.sampled_from(growths), min_size=1, max_size=max_nodes)):
        b.choose_width()
        growth(b)
    if not b.nodes:
        rescale(b)
    return b.graph(free_batch=False)


@st.composite
def graphs_with_inputs(draw: st.DrawFn, **options) -> tuple[Graph, dict[str, np.ndarray]]:
    """A Graph and raw integers for it."""
    graph = draw(integer_graphs(**options))
    return graph, random_inputs(graph, draw(st.integers(0, 2**32 - 1)))


def random_inputs(graph: Graph, seed: int, slices: int = 1) -> dict[str, np.ndarray]:
    """Raw integers over each input's whole range, ``slices`` batches of them."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name in graph.inputs:
        kind = graph.types[name]
        info = np.iinfo(kind.dtype)
        shape = (slices * kind.shape[0], *kind.shape[1:])
        arrays[name] = rng.integers(info.min, info.max + 1, shape).astype(kind.dtype)
    return arrays
