"""The NPU's rules of what computes: layers, sums and products, pools, tables."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

from edgeinfer.arithmetic.accumulators import folded_bias, reach
from edgeinfer.graph import TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler.layers import (
    UNCHANGED,
    Factor,
    Geometry,
    Grid,
    Layer,
    Region,
    Second,
    geometry,
    identity,
)
from edgeinfer.hdl.compiler.rules.registry import NpuSite, rule
from edgeinfer.hdl.isa import Mode, Operation


def requantizing(op: ops.Requantizing) -> dict[str, object]:
    """What a layer takes of ``op`` as it is."""
    return {
        "zero_point": op.output_zero_point,
        "lo": op.lo,
        "hi": op.hi,
        "double": op.rounding == "double",
    }


@rule(ops.QConv)
def _conv(op: ops.QConv, site: NpuSite) -> None:
    weights = site.constant("weights").astype(np.int64)
    out = len(weights)
    depthwise = op.group == site.channels == out and out > 1 and op.dilations[1] == 1
    site.add(
        Layer(
            node=site.node,
            mode=Mode.DEPTHWISE if depthwise else Mode.DENSE,
            source=site.source,
            output=site.node.output,
            kernel=(weights.shape[1], weights.shape[2]),
            strides=op.strides,
            dilations=op.dilations,
            pads=(op.pads[0], op.pads[1]),
            pad=op.input_zero_point,
            weights=weights,
            group=op.group,
            bias=folded_bias(weights, site.constant("bias"), op.input_zero_point),
            multiplier=site.constant("multiplier").astype(np.int64),
            shift=site.constant("shift").astype(np.int64),
            **requantizing(op),  # type: ignore[arg-type]
        )
    )


@rule(ops.QDense)
def _dense(op: ops.QDense, site: NpuSite) -> None:
    weights = site.constant("weights").astype(np.int64)
    site.add(
        Layer(
            node=site.node,
            mode=Mode.DENSE,
            source=site.source,
            output=site.node.output,
            kernel=(1, 1),
            pad=op.input_zero_point,
            weights=weights.reshape(len(weights), 1, 1, -1),
            bias=folded_bias(weights, site.constant("bias"), op.input_zero_point),
            multiplier=site.constant("multiplier").astype(np.int64),
            shift=site.constant("shift").astype(np.int64),
            **requantizing(op),  # type: ignore[arg-type]
        )
    )


@rule(
    ops.QAdd,
    ops.QMul,
    where="of values of one shape, or with one pixel, or with any constant",
)
def _arithmetic(op: ops.QAdd | ops.QMul, site: NpuSite) -> None:
    if site.type("a").dtype != site.type("b").dtype:
        raise site.refuse("takes int8 beside int16; the lanes take operands of one width")
    shapes = [_operand_geometry(site, role) for role in ("a", "b")]
    whole = site.output_geometry
    swapped = shapes[0] != whole or (site.is_constant("a") and shapes[1] == whole)
    first, other = (1, 0) if swapped else (0, 1)
    if shapes[first] != whole or shapes[other] not in (whole, (1, 1, whole[2])):
        raise site.refuse("broadcasts other than one pixel to all are not there")
    operation = Operation.MULTIPLY
    if isinstance(op, ops.QAdd):
        operation = Operation.SUBTRACT if isinstance(op, ops.QSub) else Operation.ADD
    if operation is Operation.SUBTRACT and swapped:
        operation = Operation.SUBTRACT_FROM
    second = Second(_operand(site, other, shapes[other]), None, operation, op, swapped)
    lo, hi = bounds(site.inputs[first])
    source = _operand(site, first, shapes[first])
    site.add(
        site.filter(source=source, second=second, lo=lo, hi=hi, double=op.rounding == "double")
    )


def _operand_geometry(site: NpuSite, role: str) -> Geometry:
    """Height, width and channels of an operand; a constant has one pixel, or is broadcast whole."""
    shape = site.shape(role)
    if not site.is_constant(role):
        return geometry(shape)
    channels = site.output_geometry[2]
    if math.prod(shape) == 1 or shape[-1] == math.prod(shape) == channels:
        return 1, 1, channels
    return site.output_geometry


def _operand(site: NpuSite, index: int, shape: Geometry) -> str:
    """The operand at ``index`` as a value of ``shape``, which a layer or host memory has."""
    name = site.node.operands[index]
    constant = site.graph.constants.get(name)
    if constant is None:
        return name
    if shape[:2] == (1, 1):
        return _constant_pixel(site, np.broadcast_to(constant.ravel(), shape[2]))
    whole = np.broadcast_to(constant, site.output.shape)
    return site.held(f"operand {index}", whole.reshape(shape))


def _constant_pixel(site: NpuSite, values: np.ndarray) -> str:
    """A value of one pixel that a layer makes of its biases: it multiplies by zeros."""
    name = site.make("constant", (1, 1, len(values)))
    source = site.graph.inputs[0]
    channels = geometry(site.graph.types[source].shape)[2]
    zeros = np.zeros((len(values), 1, 1, channels), np.int64)
    layer = identity(site.node, Mode.DENSE, source, name, zeros, values.dtype)
    layer = replace(layer, bias=values.astype(np.int64))
    site.lowered.prologue.append(layer)
    return name


@rule(ops.QMatMul, where="by a value, or by a constant whose differences from its zero point fit")
def _mat_mul(op: ops.QMatMul, site: NpuSite) -> None:
    a, b = site.node.operands
    shape = site.shape("a")
    height, width, depth = geometry((1,) * (len(site.output.shape) - len(shape)) + shape)
    if site.is_constant("a"):
        a = site.held("operand 0", site.constant("a").reshape(height, width, depth))
    lines, out = math.prod(site.shape("b")[:-2]), site.shape("b")[-1]
    bits = site.config.accumulator_bits
    largest = depth * reach(site.type("a").dtype, op.a_zero_point)
    largest *= reach(site.type("b").dtype, op.b_zero_point)
    if largest >= 1 << (bits - 1):
        raise site.refuse(f"sums up to {largest}; the accumulators have {bits} bits")
    ones = np.ones(out, np.int64)
    for line in range(site.output_geometry[0]):
        layer = site.dense(
            np.broadcast_to(np.int64(0), (out, 1, 1, depth)),
            source=a,
            pads=(-line if height > 1 else 0, 0),
            multiplier=op.multiplier * ones,
            shift=op.shift * ones,
            region=Region(0, 0, 1, site.output_geometry[1]),
            grid=Grid(line),
            **requantizing(op),
        )
        own = line if lines > 1 else 0
        if site.is_constant("b"):
            weights = _matrix(op, site, own)
            layer = replace(
                layer,
                weights=weights,
                bias=folded_bias(weights, 0 * ones, op.a_zero_point),
            )
        else:
            bias = depth * op.a_zero_point * op.b_zero_point * ones
            factor = Factor(b, own, op.b_zero_point, op.a_zero_point)
            layer = replace(layer, bias=bias, factor=factor)
        site.add(layer)


def _matrix(op: ops.QMatMul, site: NpuSite, line: int) -> np.ndarray:
    """The weights [N, 1, 1, K] of one line of a constant second factor."""
    matrix = site.constant("b").astype(np.int64).reshape(-1, *site.shape("b")[-2:])[line]
    weights: np.ndarray = (matrix - op.b_zero_point).T[:, None, None]
    limits = np.iinfo(f"int{site.config.width}")
    if weights.min() < limits.min or weights.max() > limits.max:
        raise site.refuse(
            f"has a constant whose differences from its zero point do not fit {limits.dtype}"
        )
    return weights


@rule(ops.Rescale)
def _rescale(op: ops.Rescale, site: NpuSite) -> None:
    ones = np.ones(site.channels, np.int64)
    site.add(
        site.filter(
            bias=-op.input_zero_point * ones,
            multiplier=op.multiplier * ones,
            shift=op.shift * ones,
            **requantizing(op),
        )
    )


@rule(ops.QAveragePool, where="not where pads that count meet those of ceil_mode")
def _average_pool(op: ops.QAveragePool, site: NpuSite) -> None:
    multiplier, shift = site.constant("multiplier"), site.constant("shift")
    height, width, _ = site.output_geometry
    extent = site.source_geometry
    top, left, bottom, right = op.pads
    if op.count_include_pad:
        low, high = (-top, -left), (extent[0] + bottom, extent[1] + right)
    else:
        low, high = (0, 0), extent[:2]

    def counts(axis: int, outputs: int) -> np.ndarray:
        start = np.arange(outputs) * op.strides[axis] - op.pads[axis]
        inside = np.minimum(start + op.kernel[axis], high[axis]) - np.maximum(start, low[axis])
        return inside

    rows, columns = counts(0, height), counts(1, width)
    ones = np.ones(site.channels, np.int64)
    weights = np.ones((len(ones), *op.kernel, 1), np.int64)
    pad = op.pad_value if op.count_include_pad else op.input_zero_point
    if op.count_include_pad and any(op.ceil_pads):
        raise site.refuse("counts its pads and has ceil_mode's; the array has one padding")
    for band in _bands(rows):
        for stretch in _bands(columns):
            n = int(rows[band.start] * columns[stretch.start])
            site.add(
                site.filter(
                    kernel=op.kernel,
                    strides=op.strides,
                    pads=(top, left),
                    pad=pad,
                    weights=weights,
                    bias=folded_bias(weights, 0 * ones, op.input_zero_point),
                    multiplier=int(multiplier[n - 1]) * ones,
                    shift=int(shift[n - 1]) * ones,
                    region=Region(band.start, stretch.start, band.stop, stretch.stop),
                    **requantizing(op),
                )
            )


def _bands(counts: np.ndarray) -> list[range]:
    """Stretches of equal counts."""
    edges = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), len(counts)]
    return [range(a, b) for a, b in pairwise(edges)]


@rule(ops.MaxPool)
def _max_pool(op: ops.MaxPool, site: NpuSite) -> None:
    c = site.channels
    site.add(
        site.filter(
            mode=Mode.MAXIMUM,
            kernel=op.kernel,
            strides=op.strides,
            dilations=op.dilations,
            pads=(op.pads[0], op.pads[1]),
            pad=bounds(site.output)[0],
            weights=np.ones((c, *op.kernel, 1), np.int64),
        )
    )


@rule(ops.Lookup, where="tables of 256 entries, and on NPUs of 16 bits of 513")
def _lookup(op: ops.Lookup, site: NpuSite) -> None:
    table = site.constant("table")
    if not site.config.tables:
        raise site.refuse(f"{site.config.name} was configured without tables")
    entries = {8: 256, 16: 513}[site.config.width]
    if table.size not in (256, entries):
        raise site.refuse(
            f"a table of {table.size} entries does not fit the lanes' table of {entries}"
        )
    values = table.astype(np.int64).ravel()
    if table.size == entries:
        site.add(site.filter(table=values))
        return
    # 256 x, which meets every other entry: none is ever between two
    lo, hi = -(1 << 15), (1 << 15) - 1
    wide = np.append(values.repeat(2), values[-1])
    shift = np.full(site.channels, UNCHANGED[1] - 8)
    site.add(site.filter(table=wide, shift=shift, lo=lo, hi=hi))


def bounds(kind: TensorType) -> tuple[int, int]:
    """The least and the greatest integer of a value."""
    limits = np.iinfo(kind.dtype)
    return int(limits.min), int(limits.max)
