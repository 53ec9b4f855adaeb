"""The check of every operator: what its values must be for its meaning, and its sums to fit.

``verification.py`` asks for it once shapes and names are right.
"""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic import accumulators, fixedpoint, pointwise
from edgeinfer.arithmetic.fixedpoint import (
    MAX_ACCUMULATOR_16,
    MAX_NORMALIZED,
    Normalizer,
    root_fraction,
)
from edgeinfer.arithmetic.tables import Integers, function_table
from edgeinfer.errors import ModelError, QuantizationError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.graph import TensorType
from edgeinfer.graph.site import Site

__all__ = ["ACTIVATIONS", "check"]

ACTIVATIONS = ("int8", "int16")
"""The element types of values that have a scale."""

# files of 0.1.0 have an exp with another last bit on another processor, so a number next to a half
# may round elsewhere
_TABLE_STEPS = 1


@singledispatch
def check(op: ops.Operator, site: Site) -> None:
    """Element types, attributes and accumulators of one node.

    Raises
    ------
    ModelError
        What is wrong, with the node and the operator.
    """
    raise NotImplementedError(type(op).__name__)


@check.register
def _float_operator(op: ops.FloatOperator, site: Site) -> None:
    for t in (*site.inputs, *site.outputs):
        site.require(t.dtype == "float32", f"takes and gives float32, not {t.dtype}")


# ---- operators of either kind ----------------------------------------------------------------


@check.register
def _selecting(op: ops.Selecting, site: Site) -> None:
    for t in site.inputs:
        _same_kind(site, t)


def _same_kind(site: Site, t: TensorType) -> None:
    """The outputs' elements mean what those of type ``t`` do."""
    for output in site.outputs:
        site.require(t.dtype == output.dtype, f"turns {t.dtype} into {output.dtype}")
        same = t.quantization == output.quantization
        site.require(same, "gives another quantization than it takes")
    site.require(
        t.quantization is None or t.quantization.axis is None,
        "takes values with one scale, not one a channel",
    )


@check.register
def _max_pool(op: ops.MaxPool, site: Site) -> None:
    _selecting(op, site)
    dtype = site.type("x").dtype
    site.require(dtype in ("float32", *ACTIVATIONS), f"takes no {dtype}")


@check.register
def _pad(op: ops.Pad, site: Site) -> None:
    _selecting(op, site)
    dtype, value = site.output.dtype, op.value
    if dtype == "float32":
        fits = type(value) is float
    else:
        site.require(dtype != "bool", "takes no bool")
        fits = type(value) is int and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    site.require(fits or op.mode != "constant", f"pads {dtype} with {value!r}")


@check.register(ops.Gather)
@check.register(ops.GatherElements)
def _gather(op: ops.Gather | ops.GatherElements, site: Site) -> None:
    data, indices = site.type("data"), site.type("indices")
    site.require(indices.dtype == "int64", f"takes int64 indices, not {indices.dtype}")
    _same_kind(site, data)
    if site.is_constant("indices"):
        known = site.constant("indices")
        extent = data.shape[op.axis]
        low, high = int(known.min()), int(known.max())
        least = op.least(extent) if isinstance(op, ops.Gather) else -extent
        site.require(
            least <= low and high < extent, f"indices {low} to {high} leave an axis of {extent}"
        )


@check.register(ops.ArgMax)
@check.register(ops.TopIndices)
def _arg_max(op: ops.ArgMax | ops.TopIndices, site: Site) -> None:
    output = site.output
    site.require(
        output.dtype == "int64" and output.quantization is None,
        f"gives int64 that nothing scales, not {output}",
    )
    if isinstance(op, ops.TopIndices):
        dtype = site.type("x").dtype
        site.require(dtype in ("float32", *ACTIVATIONS), f"takes no {dtype}")


@check.register
def _non_max_suppression(op: ops.NonMaxSuppression, site: Site) -> None:
    output, boxes, scores = site.output, site.type("boxes"), site.type("scores")
    site.require(
        output.dtype == "int64" and output.quantization is None,
        f"gives int64 that nothing scales, not {output}",
    )
    kinds = (boxes.dtype, scores.dtype)
    site.require(
        kinds in (("float32", "float32"), ("int16", "int8"), ("int16", "int16")),
        f"takes floats, or boxes of int16 and scores of int8 or int16, not {' and '.join(kinds)}",
    )
    of_kind = float if scores.dtype == "float32" else int
    site.require(type(op.above) is of_kind, f"compares {scores.dtype} with {op.above!r}")
    site.require(op.overlap <= fixedpoint.WHOLE, f"an overlap of {op.overlap} is more than all")


@check.register
def _index_arithmetic(op: ops.IndexArithmetic, site: Site) -> None:
    for t in (*site.inputs, site.output):
        site.require(
            t.dtype == "int64" and t.quantization is None,
            f"takes and gives int64 that nothing scales, not {t}",
        )
    if op.function in ("div", "mod"):
        site.require(
            site.is_constant("b") and bool((site.constant("b") >= 1).all()),
            "divides by constants of 1 and more",
        )


# ---- integer operators -----------------------------------------------------------------------


def _activation(site: Site, t: TensorType, what: str, zero_point: int) -> int:
    """The largest ``|q - zero_point|`` of an activation of type ``t``."""
    site.require(t.dtype in ACTIVATIONS, f"{what} must be int8 or int16, not {t.dtype}")
    info = np.iinfo(t.dtype)
    site.require(
        info.min <= zero_point <= info.max and (t.dtype == "int8" or zero_point == 0),
        f"{what} of type {t.dtype} cannot have zero point {zero_point}",
    )
    return accumulators.reach(t.dtype, zero_point)


def _requantizes(op: ops.Requantizing, site: Site) -> None:
    output = site.output
    _activation(site, output, "the output", op.output_zero_point)
    info = np.iinfo(output.dtype)
    site.require(
        info.min <= op.lo <= op.hi <= info.max,
        f"the clamp {op.lo} to {op.hi} does not fit {output.dtype}",
    )
    site.require(
        op.rounding == "single" or all(t.dtype != "int16" for t in _activations(site)),
        "rounding 'double' is for int8 inputs",
    )


def _bounded(site: Site, accumulator: np.ndarray | int, multiplier: np.ndarray | int) -> None:
    """Each accumulator below 2^31; of int16 and with a 24-bit multiplier, below 2^38."""
    accumulator, multiplier = np.atleast_1d(accumulator), np.atleast_1d(multiplier)
    wide = (multiplier < 2**24) & any(t.dtype == "int16" for t in _activations(site))
    limit = np.where(wide, MAX_ACCUMULATOR_16, 2**31)
    over = np.flatnonzero(accumulator >= limit)
    if over.size:
        worst, bits = accumulator[over[0]], int(limit[over[0]]).bit_length() - 1
        site.require(False, f"an accumulator of up to {worst} is not below 2^{bits}")


def _activations(site: Site) -> list[TensorType]:
    """What it takes that is no constant of a layer."""
    roles = [role.name for role in site.node.op.takes if role.name in ("x", "a", "b")]
    return [site.type(role) for role in roles]


def _multipliers(site: Site, *, signed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    multiplier = site.constant("multiplier", "int32")
    shift = site.constant("shift", "int8")
    least = -(2**31) + 1 if signed else 0
    site.require(multiplier.min() >= least, f"a multiplier must not be {multiplier.min()}")
    site.require(
        shift.min() >= 2 and shift.max() <= 62,
        f"shifts must be between 2 and 62, not {shift.min()} to {shift.max()}",
    )
    return multiplier, shift


@check.register(ops.QConv)
@check.register(ops.QDense)
def _q_conv(op: ops.QConv | ops.QDense, site: Site) -> None:
    _requantizes(op, site)
    x = site.type("x")
    reach = _activation(site, x, "x", op.input_zero_point)
    narrow = x.dtype == "int8"
    weights = site.constant("weights", *(["int8"] if narrow else ["int8", "int16"]))
    bias = site.constant("bias", "int32" if narrow else "int64")
    multiplier, _ = _multipliers(site)
    limit = MAX_ACCUMULATOR_16
    site.require(
        int(bias.min()) > -limit and int(bias.max()) < limit,
        f"a bias must be below {limit} in magnitude",
    )
    _bounded(site, accumulators.largest_sums(weights, bias, reach), multiplier)


@check.register
def _q_add(op: ops.QAdd, site: Site) -> None:
    _requantizes(op, site)
    a, b = site.type("a"), site.type("b")
    _activation(site, a, "a", op.a_zero_point)
    _activation(site, b, "b", op.b_zero_point)
    expected = 15 if "int16" in (a.dtype, b.dtype) else 20
    site.require(
        op.left_shift == expected,
        f"shifts {a.dtype} and {b.dtype} by {expected}, not {op.left_shift}",
    )
    for m, s in ((op.a_multiplier, op.a_shift), (op.b_multiplier, op.b_shift)):
        site.require(2 * m <= 2**s, f"an operand's ratio must be at most 1/2, not {m} * 2^-{s}")


@check.register
def _q_mul(op: ops.QMul, site: Site) -> None:
    _requantizes(op, site)
    a, b = site.type("a"), site.type("b")
    product = _activation(site, a, "a", op.a_zero_point) * _activation(
        site, b, "b", op.b_zero_point
    )
    _bounded(site, product, op.multiplier)


@check.register
def _q_div(op: ops.QDiv, site: Site) -> None:
    _requantizes(op, site)
    for role, zero_point in (("a", op.a_zero_point), ("b", op.b_zero_point)):
        _activation(site, site.type(role), role, zero_point)
    site.require(op.rounding == "single", "rounds once, and so knows no rounding 'double'")
    most = fixedpoint.MAX_QUOTIENT_SHIFT
    site.require(op.shift <= most, f"a quotient's shift must be at most {most}, not {op.shift}")


@check.register
def _q_mat_mul(op: ops.QMatMul, site: Site) -> None:
    _requantizes(op, site)
    a, b = site.type("a"), site.type("b")
    reach = _activation(site, a, "a", op.a_zero_point) * _activation(site, b, "b", op.b_zero_point)
    largest = a.shape[-1] * reach
    bits = fixedpoint.multiplier_bits(largest)
    site.require(
        op.multiplier < 2**bits,
        f"an accumulator of up to {largest} takes a multiplier of {bits} bits, not {op.multiplier}",
    )


@check.register
def _rescale(op: ops.Rescale, site: Site) -> None:
    _requantizes(op, site)
    _activation(site, site.type("x"), "x", op.input_zero_point)


@check.register
def _q_prelu(op: ops.QPRelu, site: Site) -> None:
    _requantizes(op, site)
    _activation(site, site.type("x"), "x", op.input_zero_point)
    _multipliers(site, signed=True)


@check.register
def _q_average_pool(op: ops.QAveragePool, site: Site) -> None:
    _requantizes(op, site)
    x = site.type("x")
    reach = _activation(site, x, "x", op.input_zero_point)
    _activation(site, x, "a pad", op.pad_value)
    multiplier, _ = _multipliers(site)
    _bounded(site, reach * np.arange(1, len(multiplier) + 1), multiplier)


@check.register
def _q_reduce_sum(op: ops.QReduceSum, site: Site) -> None:
    _requantizes(op, site)
    x = site.type("x")
    reach = _activation(site, x, "x", op.input_zero_point)
    count = math.prod(x.shape[a] for a in op.axes)
    _bounded(site, count * reach, op.multiplier)
    if op.mean is not None:
        _verify_mean(op, site, count)


@check.register
def _q_resize(op: ops.QResize, site: Site) -> None:
    _requantizes(op, site)
    x = site.type("x")
    reach = _activation(site, x, "x", op.input_zero_point)
    for what, extent in (("row", x.shape[1]), ("column", x.shape[2])):
        first = site.constant(f"first_{what}s", "int32")
        taps = site.constant(f"{what}_weights", "int16").shape[1]
        low, high = int(first.min()), int(first.max()) + taps - 1
        site.require(
            low >= 0 and high < extent, f"{what}s {low} to {high} leave an axis of {extent}"
        )
    over_rows, over_both = accumulators.largest_resized(
        site.constant("row_weights"), site.constant("column_weights"), reach
    )
    site.require(over_rows < 2**31, f"a sum over rows of up to {over_rows} is not below 2^31")
    if x.dtype == "int8":
        site.require(over_both < 2**31, f"an accumulator of up to {over_both} is not below 2^31")
    else:
        site.require(
            over_both * op.multiplier < 2**62,
            f"an accumulator of up to {over_both} times {op.multiplier} is not below 2^62",
        )


@check.register
def _q_reduce_l2(op: ops.QReduceL2, site: Site) -> None:
    _requantizes(op, site)
    x = site.type("x")
    reach = _activation(site, x, "x", op.input_zero_point)
    count = math.prod(x.shape[a] for a in op.axes)
    site.require(count <= MAX_NORMALIZED, f"sums {count} squares, more than {MAX_NORMALIZED}")
    most = root_fraction(count, reach)
    site.require(op.fraction <= most, f"has {op.fraction} fractional bits, but {most} fit")
    # with fewer, a root is shifted by more than an int64 has
    site.require(op.fraction >= -31, f"has {op.fraction} fractional bits, fewer than -31")


def _verify_mean(op: ops.QReduceSum, site: Site, count: int) -> None:
    """The multiplier is that of a mean, or of a sum: one that the two types' scales give."""
    x, y = _integers(site, site.type("x"), "x"), _integers(site, site.output, "the output")
    expected = x[0] / (y[0] * (count if op.mean else 1))
    found = op.multiplier * 2.0**-op.shift
    # a mean of equal scales has a multiplier of its own, a little too large; what S = 62 cuts off
    # leaves an error of half a unit
    off = abs(found - expected)
    site.require(
        off <= expected * 2.0**-20 + 2.0**-63,
        f"is no {'mean' if op.mean else 'sum'}: multiplies by {found:.6g}, not {expected:.6g}",
    )


@check.register
def _q_normalization(op: ops.QNormalization, site: Site) -> None:
    _requantizes(op, site)
    x = site.type("x")
    _activation(site, x, "x", op.input_zero_point)
    reach = accumulators.normalized_reach(op.measure, x.dtype, op.input_zero_point)
    site.require(op.rounding == "single", "is rounded once, never 'double'")
    site.require(
        op.epsilon == 0 or op.epsilon >= 2**29,
        f"an epsilon is 0, or 2^29 or more, not {op.epsilon}",
    )
    count = math.prod(x.shape[a] for a in op.axes)
    site.require(
        count <= MAX_NORMALIZED, f"normalizes {count} elements together, more than {MAX_NORMALIZED}"
    )
    if op.measure == "magnitudes":
        site.require(count * reach < 2**31, f"a sum of up to {count * reach} is not below 2^31")
    normalizer = Normalizer(
        op.measure, count, op.input_zero_point, op.epsilon, op.exponent, op.is_least, op.fraction
    )
    most = normalizer.largest_fraction(reach)
    site.require(op.fraction <= most, f"has {op.fraction} fractional bits, but {most} fit")
    multiplier, bias = site.constant("multiplier", "int32"), site.constant("bias", "int64")
    site.require(multiplier.min() > -(2**31), f"a multiplier must not be {multiplier.min()}")
    site.require(
        bias.min() >= -(2**61) and bias.max() <= 2**61, "a bias must be at most 2^61 in magnitude"
    )


@check.register
def _lookup(op: ops.Lookup, site: Site) -> None:
    x, output = site.type("x"), site.output
    site.require(output.dtype in ACTIVATIONS, f"gives int8 or int16, not {output.dtype}")
    entries = site.constant("table", output.dtype)
    lengths = {"int8": (256,), "int16": (513, 65536)}
    site.require(
        len(entries) in lengths.get(x.dtype, ()),
        f"a table of {len(entries)} entries does not serve {x.dtype}",
    )
    if len(entries) == 513:
        steps = np.abs(np.diff(entries.astype(np.int64)))
        site.require(
            output.dtype == "int16" and steps.max() < 2**15,
            "an interpolated table is int16, and its slopes fit int16",
        )
    _verify_expression(op, site, entries)


def _verify_expression(op: ops.Lookup, site: Site, entries: np.ndarray) -> None:
    """The table is the one of its expression, made again."""
    if op.expression is None:
        site.require(op.domain is None, "has a domain, but no expression")
        return
    site.require(
        op.domain is None or op.domain[0] <= op.domain[1],
        f"has a domain that ends before it begins: {op.domain}",
    )
    function = pointwise.text(op.expression)
    function = function if len(function) <= 60 else f"{function[:57]}..."
    x, y = _integers(site, site.type("x"), "x"), _integers(site, site.output, "the output")
    try:
        made = function_table(op.expression, op.domain, x, y, len(entries))
    except QuantizationError as error:
        raise ModelError(
            f"{function} has no table: {error}", node=site.node.name, operator=site.operator
        ) from error
    off = int(np.abs(entries.astype(np.int64) - made).max())
    site.require(
        off <= _TABLE_STEPS, f"its table is not that of {function}: it differs by {off} steps"
    )


def _integers(site: Site, t: TensorType, what: str) -> Integers:
    """How an activation of type ``t`` stands for real numbers."""
    q = t.quantization
    site.require(q is not None and q.axis is None, f"{what} needs one scale")
    assert q is not None
    _activation(site, t, what, q.zero_point)
    return q.step, q.zero_point, t.dtype


@check.register
def _q_softmax(op: ops.QSoftmax, site: Site) -> None:
    x, output = site.type("x"), site.output
    site.require(
        x.dtype == output.dtype and x.dtype in ACTIVATIONS,
        f"turns int8 into int8 or int16 into int16, not {x.dtype} into {output.dtype}",
    )
    exponentials = site.constant("table", "int32")
    expected, one = ((256,), 2**23) if x.dtype == "int8" else ((2, 256), 2**30)
    site.require(
        exponentials.shape == expected,
        f"a table of shape {list(exponentials.shape)} does not serve {x.dtype}",
    )
    first = exponentials[..., 0]
    site.require(
        (first == one).all() and exponentials.min() >= 0 and exponentials.max() <= one,
        f"exponentials begin with {one} and lie between 0 and it",
    )
