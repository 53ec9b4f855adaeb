"""What every operator is on the NPU: the rule that makes layers of it, or why there is none.

``rule`` registers what runs, ``_refused`` what does not; ``takes`` says of a class which it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from edgeinfer.arithmetic.accumulators import folded_bias
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.site import Site
from edgeinfer.hdl.compiler.layers import IDENTITY, Grid, Layer, Lowered, Region, Second, geometry
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Mode, Operation

__all__ = ["NpuSite", "Taken", "lower", "takes"]

_PHASES = 32
"""Layers, a side, of an operator whose result they make by turns."""

_FLATTENED = 1024
"""Elements that a kernel of ones and zeros, which has their square, still lays side by side."""


@dataclass(frozen=True)
class NpuSite(Site):
    """A node, and what its lowering for the NPU may look at and add to.

    Parameters
    ----------
    config : NpuConfig
    lowered : Lowered
    """

    config: NpuConfig
    lowered: Lowered

    def geometry(self, role: str) -> tuple[int, int, int]:
        """Height, width and channels of the input in ``role``."""
        return geometry(self.shape(role))

    @property
    def source(self) -> str:
        """The first value that it takes."""
        return self.node.inputs[0]

    @property
    def source_geometry(self) -> tuple[int, int, int]:
        """Height, width and channels of that value."""
        return geometry(self.inputs[0].shape)

    @property
    def output_geometry(self) -> tuple[int, int, int]:
        """Height, width and channels of the value that it gives."""
        return geometry(self.output.shape)

    @property
    def channels(self) -> int:
        """Of the first value that it takes."""
        return self.source_geometry[2]

    def add(self, layer: Layer) -> None:
        """One more layer."""
        self.lowered.layers.append(layer)

    def refuse(self, why: str) -> UnsupportedError:
        """What says that the NPU cannot run the node."""
        return UnsupportedError(why, node=self.node.name, operator=self.operator)

    def filter(self, **changes: object) -> Layer:
        """A depthwise 1x1 filter of 1 that passes its source on, but for ``changes``.

        Unless they say otherwise, the source is the first value that the node takes.
        """
        source = str(changes.get("source", self.source))
        c = geometry(self.graph.types[source].shape)[2]
        lo, hi = _bounds(self.outputs[0])
        ones = np.ones(c, np.int64)
        layer = Layer(
            node=self.node,
            mode=Mode.DEPTHWISE,
            source=source,
            output=self.node.outputs[0],
            kernel=(1, 1),
            weights=ones.reshape(c, 1, 1, 1),
            group=c,
            bias=0 * ones,
            multiplier=IDENTITY[0] * ones,
            shift=IDENTITY[1] * ones,
            zero_point=0,
            lo=lo,
            hi=hi,
        )
        return replace(layer, **changes)  # type: ignore[arg-type]


def _bounds(kind: TensorType) -> tuple[int, int]:
    """The least and the greatest integer of a value."""
    limits = np.iinfo(kind.dtype)
    return int(limits.min), int(limits.max)


@dataclass(frozen=True)
class Taken:
    """What the NPU does with the operators of a class.

    Parameters
    ----------
    runs : bool
    why : str
        Where it runs, what it asks of them, if anything; else why it does not.
    """

    runs: bool
    why: str


@singledispatch
def lower(op: ops.Operator, site: NpuSite) -> None:
    """Add the layers that ``op`` is at ``site``.

    Raises
    ------
    UnsupportedError
        The NPU cannot run it.
    """
    raise site.refuse("has no NPU lowering")


_Rule: TypeAlias = Callable[[Any, NpuSite], None]

_TAKEN: dict[_Rule, Taken] = {}


def takes(kind: type[ops.Operator]) -> Taken:
    """What the NPU does with operators of ``kind``."""
    return _TAKEN.get(lower.dispatch(kind), Taken(False, "has no NPU lowering"))


def _rule(*kinds: type[ops.Operator], where: str = "") -> Callable[[_Rule], _Rule]:
    """Register the rule of ``kinds``, which runs them ``where`` that holds."""

    def register(function: _Rule) -> _Rule:
        for kind in kinds:
            lower.register(kind, function)
        _TAKEN[function] = Taken(True, where)
        return function

    return register


def _refused(why: str, *kinds: type[ops.Operator]) -> None:
    """Register that ``kinds`` do not run, for the reason ``why``."""

    def refuse(op: ops.Operator, site: NpuSite) -> None:
        raise site.refuse(why)

    for kind in kinds:
        lower.register(kind, refuse)
    _TAKEN[refuse] = Taken(False, why)


_refused("computes in floats; the NPU runs integer Graphs", ops.FloatOperator)
_refused("moves elements in a way that the NPU has no layer for", ops.Moving)
_refused(
    "moves elements between pixels and channels; the host does so at inputs and outputs alone",
    ops.Transpose,
)
_refused("has a factor of its own for negative numbers; the lanes have one for all", ops.QPRelu)
_refused("divides by a sum; the host does so at outputs alone", ops.QSoftmax)
_refused("looks for a place; the host does so at outputs alone", ops.ArgMax)
_refused("takes the least of elements; the array has a greatest alone", ops.ReduceMin)
_refused("compares two values; the lanes add and multiply alone", ops.Maximum, ops.Minimum)


def _requantizing(op: ops.Requantizing) -> dict[str, object]:
    return {
        "zero_point": op.output_zero_point,
        "lo": op.lo,
        "hi": op.hi,
        "double": op.rounding == "double",
    }


@_rule(ops.QConv)
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
            **_requantizing(op),  # type: ignore[arg-type]
        )
    )


@_rule(ops.QDense)
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
            **_requantizing(op),  # type: ignore[arg-type]
        )
    )


@_rule(
    ops.QAdd,
    ops.QMul,
    where="of values of one shape, or with one pixel, a number or a constant a channel",
)
def _arithmetic(op: ops.QAdd | ops.QMul, site: NpuSite) -> None:
    a, b = site.node.operands
    if site.type("a").dtype != site.type("b").dtype:
        raise site.refuse("takes int8 beside int16; the lanes take operands of one width")
    shapes = [_operand_geometry(site, role) for role in ("a", "b")]
    whole = site.output_geometry
    swapped = shapes[0] != whole or site.is_constant("a")
    if swapped:
        a, b, shapes = b, a, shapes[::-1]
    if shapes[0] != whole or shapes[1] not in (whole, (1, 1, whole[2])):
        raise site.refuse("broadcasts other than one pixel to all are not there")
    if b in site.graph.constants:
        b = _constant_pixel(site, np.broadcast_to(site.graph.constants[b].ravel(), whole[2]))
    operation = Operation.MULTIPLY
    if isinstance(op, ops.QAdd):
        operation = Operation.SUBTRACT if isinstance(op, ops.QSub) else Operation.ADD
    if operation is Operation.SUBTRACT and swapped:
        operation = Operation.SUBTRACT_FROM
    second = Second(b, None, operation, op, swapped)
    lo, hi = _bounds(site.graph.types[a])
    site.add(site.filter(source=a, second=second, lo=lo, hi=hi, double=op.rounding == "double"))


def _operand_geometry(site: NpuSite, role: str) -> tuple[int, int, int]:
    """Height, width and channels of an operand; a constant's are one pixel of the result."""
    shape = site.shape(role)
    if not site.is_constant(role):
        return geometry(shape)
    channels = site.output_geometry[2]
    if math.prod(shape) not in (1, channels) or (math.prod(shape) > 1 and shape[-1] != channels):
        raise site.refuse("has a constant operand that is neither a number nor one a channel")
    return 1, 1, channels


def _constant_pixel(site: NpuSite, values: np.ndarray) -> str:
    """A value of one pixel that a layer makes of its biases: it multiplies by zeros."""
    name = f"constant of {site.node.output}"
    site.lowered.made[name] = (1, 1, len(values))
    source = site.graph.inputs[0]
    count = len(values)
    limits = np.iinfo(values.dtype)
    layer = Layer(
        node=site.node,
        mode=Mode.DENSE,
        source=source,
        output=name,
        kernel=(1, 1),
        weights=np.zeros((count, 1, 1, geometry(site.graph.types[source].shape)[2]), np.int64),
        bias=values.astype(np.int64),
        multiplier=np.full(count, IDENTITY[0]),
        shift=np.full(count, IDENTITY[1]),
        zero_point=0,
        lo=int(limits.min),
        hi=int(limits.max),
    )
    site.lowered.prologue.append(layer)
    return name


@_rule(ops.Rescale)
def _rescale(op: ops.Rescale, site: NpuSite) -> None:
    ones = np.ones(site.channels, np.int64)
    site.add(
        site.filter(
            bias=-op.input_zero_point * ones,
            multiplier=op.multiplier * ones,
            shift=op.shift * ones,
            **_requantizing(op),
        )
    )


@_rule(ops.QAveragePool, where="not where pads that count meet those of ceil_mode")
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
                    **_requantizing(op),
                )
            )


def _bands(counts: np.ndarray) -> list[range]:
    """Stretches of equal counts."""
    edges = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), len(counts)]
    return [range(a, b) for a, b in pairwise(edges)]


@_rule(ops.QReduceSum, where="over all of height and width")
def _reduce_sum(op: ops.QReduceSum, site: NpuSite) -> None:
    shape = site.shape("x")
    spatial = tuple(range(1, len(shape) - 1))
    if tuple(sorted(a % len(shape) for a in op.axes)) != spatial:
        raise site.refuse("sums other axes than all spatial ones")
    height, width, c = site.source_geometry
    ones = np.ones(c, np.int64)
    weights = np.ones((c, height, width, 1), np.int64)
    site.add(
        site.filter(
            kernel=(height, width),
            weights=weights,
            bias=folded_bias(weights, 0 * ones, op.input_zero_point),
            multiplier=op.multiplier * ones,
            shift=op.shift * ones,
            **_requantizing(op),
        )
    )


@_rule(ops.MaxPool)
def _max_pool(op: ops.MaxPool, site: NpuSite) -> None:
    c = site.channels
    site.add(
        site.filter(
            mode=Mode.MAXIMUM,
            kernel=op.kernel,
            strides=op.strides,
            dilations=op.dilations,
            pads=(op.pads[0], op.pads[1]),
            pad=_bounds(site.output)[0],
            weights=np.ones((c, *op.kernel, 1), np.int64),
        )
    )


@_rule(ops.ReduceMax, where="over all of height and width")
def _reduce_max(op: ops.ReduceMax, site: NpuSite) -> None:
    shape = site.shape("x")
    spatial = tuple(range(1, len(shape) - 1))
    if tuple(sorted(a % len(shape) for a in op.axes)) != spatial:
        raise site.refuse("takes the maximum over other axes than all spatial ones")
    height, width, c = site.source_geometry
    weights = np.ones((c, height, width, 1), np.int64)
    site.add(site.filter(mode=Mode.MAXIMUM, kernel=(height, width), weights=weights))


@_rule(ops.Lookup, where="tables of 256 entries, or of 513 on NPUs of 16 bits")
def _lookup(op: ops.Lookup, site: NpuSite) -> None:
    table = site.constant("table")
    if not site.config.tables:
        raise site.refuse(f"{site.config.name} was configured without tables")
    entries = {8: 256, 16: 513}[site.config.width]
    if table.size != entries:
        raise site.refuse(
            f"a table of {table.size} entries does not fit the lanes' table of {entries}"
        )
    if site.type("x").dtype != f"int{site.config.width}":
        raise site.refuse("an int8 table does not fit a 16-bit configuration")
    site.add(site.filter(table=table.astype(np.int64).ravel()))


@_rule(ops.Concat, where="along the channels")
def _concat(op: ops.Concat, site: NpuSite) -> None:
    axes = len(site.output.shape)
    if op.axis % axes != axes - 1:
        raise site.refuse("joins along another axis than the channels")
    if any(name in site.graph.constants for name in site.node.operands):
        raise site.refuse("has a constant operand")
    site.lowered.concats[site.node.output] = site.node.operands


@_rule(ops.Reshape, where="where no element changes its place, or into a vector")
def _reshape(op: ops.Reshape, site: NpuSite) -> None:
    before, after = site.source_geometry, site.output_geometry
    count = math.prod(before)
    if after not in (before, (1, 1, count)):
        raise site.refuse(f"turns {site.shape('x')} into {op.shape}, which moves elements")
    if after == before or _read_densely(site.graph, site.node.output):
        site.lowered.aliases[site.node.output] = site.source
        return
    if count > _FLATTENED:
        raise site.refuse(
            f"flattens {count} elements for another reader than a Dense; "
            f"the NPU does it for {_FLATTENED} at most"
        )
    site.add(
        site.filter(
            mode=Mode.DENSE,
            kernel=before[:2],
            weights=np.eye(count, dtype=np.int64).reshape(count, *before),
            group=1,
            bias=np.zeros(count, np.int64),
            multiplier=np.full(count, IDENTITY[0]),
            shift=np.full(count, IDENTITY[1]),
        )
    )


def _read_densely(graph: Graph, name: str) -> bool:
    """Whether all readers of ``name`` are Dense, so that it may keep its operand's layout."""

    def is_dense(node: Node) -> bool:
        if isinstance(node.op, ops.Reshape):
            output = node.outputs[0]
            kept = geometry(graph.types[output].shape) == geometry(graph.types[name].shape)
            return kept and _read_densely(graph, output)
        return isinstance(node.op, ops.QDense)

    return all(is_dense(node) for node in graph.nodes if name in node.inputs)


@_rule(ops.Slice, where="height and width forwards")
def _slice(op: ops.Slice, site: NpuSite) -> None:
    shape = site.shape("x")
    if len(shape) != 4 or min(op.steps[1:3]) < 1:
        raise site.refuse("takes a slice of height or width backwards, or not of four axes")
    window = {
        "strides": (op.steps[1], op.steps[2]),
        "pads": (-op.starts[1], -op.starts[2]),
    }
    channels = op.starts[3] + op.steps[3] * np.arange(op.sizes[3])
    if np.array_equal(channels, np.arange(shape[3])):
        site.add(site.filter(**window))
    else:
        site.add(_selection(site, channels, **window))


def _selection(site: NpuSite, channels: np.ndarray, **changes: object) -> Layer:
    """The layer that puts ``channels`` of its source side by side, with weights of ones."""
    count, first = len(channels), int(channels.min())
    own = range(first, int(channels.max()) + 1)
    if count > 1 and np.array_equal(channels, own):
        weights, group = np.ones((count, 1, 1, 1), np.int64), count
    else:
        weights, group = np.zeros((count, 1, 1, len(own)), np.int64), 1
        weights[np.arange(count), 0, 0, channels - first] = 1
    return site.filter(
        mode=Mode.DENSE,
        weights=weights,
        group=group,
        channels=own,
        bias=np.zeros(count, np.int64),
        multiplier=np.full(count, IDENTITY[0]),
        shift=np.full(count, IDENTITY[1]),
        **changes,
    )


@_rule(ops.Split, where="along height, width or channels")
def _split(op: ops.Split, site: NpuSite) -> None:
    axes = len(site.shape("x"))
    at = 0
    for name, size in zip(site.node.outputs, op.sizes, strict=True):
        if op.axis == axes - 1:
            layer = _selection(site, np.arange(at, at + size), output=name)
        elif axes == 4 and op.axis in (1, 2):
            pads = (-at, 0) if op.axis == 1 else (0, -at)
            layer = site.filter(pads=pads, output=name)
        else:
            raise site.refuse("splits another axis than height, width or channels")
        site.add(layer)
        at += size


@_rule(ops.Gather, where="channels, by constant indices")
def _gather(op: ops.Gather, site: NpuSite) -> None:
    axes = len(site.shape("data"))
    if not site.is_constant("indices") or op.axis != axes - 1 or site.shape("indices") == ():
        raise site.refuse("gathers other than channels, or by indices that a run computes")
    indices = site.constant("indices")
    if indices.ndim != 1:
        raise site.refuse("gathers by indices of more than one axis")
    site.add(_selection(site, indices % site.shape("data")[-1]))


@_rule(ops.Pad, where="with a constant, either pixels or channels")
def _pad(op: ops.Pad, site: NpuSite) -> None:
    shape = site.shape("x")
    if len(shape) != 4 or op.mode != "constant" or op.before[0] or op.after[0]:
        raise site.refuse("pads other axes than height, width and channels, or not by a constant")
    value, c = int(op.value), shape[3]
    if not op.before[3] and not op.after[3]:
        site.add(site.filter(pads=(op.before[1], op.before[2]), pad=value))
        return
    if any(op.before[1:3]) or any(op.after[1:3]):
        raise site.refuse("pads channels and pixels at once")
    out = op.before[3] + c + op.after[3]
    weights = np.zeros((out, 1, 1, c), np.int64)
    weights[op.before[3] + np.arange(c), 0, 0, np.arange(c)] = 1
    bias = np.where(weights.any((1, 2, 3)), 0, value)
    site.add(
        site.filter(
            mode=Mode.DENSE,
            weights=weights,
            group=1,
            bias=bias,
            multiplier=np.full(out, IDENTITY[0]),
            shift=np.full(out, IDENTITY[1]),
        )
    )


@_rule(ops.ResizeNearest, where=f"rows and columns in steps that repeat after {_PHASES} at most")
def _resize_nearest(op: ops.ResizeNearest, site: NpuSite) -> None:
    rows, columns = (_phases(site, places) for places in (op.rows, op.columns))
    for top, (line, down, height) in enumerate(rows):
        for left, (pixel, across, width) in enumerate(columns):
            site.add(
                site.filter(
                    strides=(down, across),
                    pads=(-line, -pixel),
                    region=Region(0, 0, height, width),
                    grid=Grid(top, left, len(rows), len(columns)),
                )
            )


def _phases(site: NpuSite, places: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """``places`` as the fewest progressions that take turns: of each its first, step and length."""
    for count in range(1, min(_PHASES, len(places)) + 1):
        each = [np.array(places[phase::count]) for phase in range(count)]
        steps = [np.unique(np.diff(own)) for own in each]
        if all(len(step) < 2 and (step >= 0).all() for step in steps):
            return [
                (int(own[0]), int(step[0]) if len(step) else 0, len(own))
                for own, step in zip(each, steps, strict=True)
            ]
    raise site.refuse(f"takes rows or columns in steps that do not repeat after {_PHASES} or fewer")


@_rule(ops.DepthToSpace)
def _depth_to_space(op: ops.DepthToSpace, site: NpuSite) -> None:
    height, width, channels = site.source_geometry
    block, count = op.block, channels // op.block**2
    by_place = np.arange(channels).reshape(-1, count)
    if op.mode == "CRD":
        by_place = np.arange(channels).reshape(count, -1).T
    for phase, own in enumerate(by_place):
        grid = Grid(phase // block, phase % block, block, block)
        site.add(_selection(site, own, region=Region(0, 0, height, width), grid=grid))


@_rule(ops.SpaceToDepth, where=f"blocks of {_FLATTENED} elements at most")
def _space_to_depth(op: ops.SpaceToDepth, site: NpuSite) -> None:
    count = op.block**2 * site.channels
    if count > _FLATTENED:
        raise site.refuse(f"has blocks of {count} elements; the NPU takes {_FLATTENED} at most")
    site.add(
        site.filter(
            mode=Mode.DENSE,
            kernel=(op.block, op.block),
            strides=(op.block, op.block),
            weights=np.eye(count, dtype=np.int64).reshape(count, op.block, op.block, -1),
            group=1,
            bias=np.zeros(count, np.int64),
            multiplier=np.full(count, IDENTITY[0]),
            shift=np.full(count, IDENTITY[1]),
        )
    )


@_rule(ops.Expand)
def _expand(op: ops.Expand, site: NpuSite) -> None:
    before, after = site.source_geometry, site.output_geometry
    down, across = (int(old == new) for old, new in zip(before[:2], after[:2], strict=True))
    if before[2] == after[2]:
        site.add(site.filter(strides=(down, across)))
    else:
        site.add(_selection(site, np.zeros(after[2], int), strides=(down, across)))


@_rule(ops.Tile, where=f"height and width {_PHASES} times at most")
def _tile(op: ops.Tile, site: NpuSite) -> None:
    height, width, channels = site.source_geometry
    down, across, deep = (
        new // old for old, new in zip(site.source_geometry, site.output_geometry, strict=True)
    )
    if max(down, across) > _PHASES:
        raise site.refuse(f"repeats height or width more than {_PHASES} times")
    for row in range(down):
        for column in range(across):
            place = {
                "region": Region(0, 0, height, width),
                "grid": Grid(row * height, column * width),
            }
            if deep == 1:
                site.add(site.filter(**place))
            else:
                site.add(_selection(site, np.tile(np.arange(channels), deep), **place))
