"""An integer Graph into layers: convolutions, depthwise filters and maxima, whatever they were.

The array knows three things to do (``isa.Mode``). Here every operator becomes one of them, with the
numbers it needs; where its values lie, and how it is cut into tiles, comes later.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from itertools import pairwise

import numpy as np

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Mode, Operation

__all__ = ["Layer", "Lowered", "Region", "Second", "geometry", "lower_graph", "refusals"]

_IDENTITY = (1 << 30, 30)
"""Multiplier and shift under which R1 gives back every accumulator."""


_FLATTENED = 1024
"""Elements that a kernel of ones and zeros, which has their square, still lays side by side."""


@dataclass(frozen=True)
class Second:
    """What the lanes do with a second operand.

    Parameters
    ----------
    value : str
        The operand.
    intermediate : str or None
        The value that the first operand is, where the Graph has it.
    operation : Operation
    op : QAdd, QSub or QMul
        Its numbers.
    swapped : bool
        The accumulators hold the Graph's second operand.
    """

    value: str
    intermediate: str | None
    operation: Operation
    op: ops.QAdd | ops.QMul
    swapped: bool


@dataclass(frozen=True)
class Region:
    """Output rows and columns, first and one past the last."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, eq=False)
class Layer:
    """One job of the array and the lanes.

    Parameters
    ----------
    node : Node
        The node that it computes, for messages.
    mode : Mode
    source, output : str
        The values that it reads and writes.
    kernel, strides, dilations : pair of int
        Rows and columns.
    pads : pair of int
        Above and left of the tensor; negative where its beginning is left out.
    pad : int
        The integer that padding reads as.
    weights : int64 [O, kh, kw, I / group]
        Depthwise and maximum: [C, kh, kw, 1].
    group : int
    bias, multiplier, shift : int64 [O]
        The bias holds what the source's zero point adds.
    zero_point, lo, hi : int
    double : bool
        R2 instead of R1.
    region : Region or None
        The part of the output that this layer makes; None for all.
    second : Second or None
    table : array or None
        What the result is looked up in.
    """

    node: Node
    mode: Mode
    source: str
    output: str
    kernel: tuple[int, int]
    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    zero_point: int
    lo: int
    hi: int
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    pad: int = 0
    group: int = 1
    double: bool = False
    region: Region | None = None
    second: Second | None = None
    table: np.ndarray | None = None


@dataclass
class Lowered:
    """A Graph's layers, and which values are others in another guise.

    Parameters
    ----------
    layers : list of Layer
        In order.
    aliases : dict of str to str
        A value with the same elements in the same order as another.
    concats : dict of str to tuple of str
        A value that is its operands side by side in the channels.
    """

    layers: list[Layer] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    concats: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass
class _Site:
    """What lowering one node may look at and add to."""

    graph: Graph
    node: Node
    config: NpuConfig
    lowered: Lowered

    def shape(self, index: int) -> tuple[int, ...]:
        return self.graph.types[self.node.inputs[index]].shape

    @property
    def output(self) -> str:
        return self.node.outputs[0]

    def constant(self, index: int) -> np.ndarray:
        return self.graph.constants[self.node.inputs[index]]

    def geometry(self, name: str) -> tuple[int, int, int]:
        return geometry(self.graph.types[name].shape)

    def channels(self) -> int:
        return self.geometry(self.node.inputs[0])[2]

    def bounds(self, name: str) -> tuple[int, int]:
        limits = np.iinfo(self.graph.types[name].dtype)
        return int(limits.min), int(limits.max)

    def add(self, layer: Layer) -> None:
        self.lowered.layers.append(layer)

    def refuse(self, why: str) -> UnsupportedError:
        return UnsupportedError(why, node=self.node.name, operator=type(self.node.op).__name__)

    def filter(self, **changes: object) -> Layer:
        """A depthwise 1x1 filter of 1 that passes its source on, but for ``changes``."""
        c = self.channels()
        lo, hi = self.bounds(self.output)
        ones = np.ones(c, np.int64)
        layer = Layer(
            node=self.node,
            mode=Mode.DEPTHWISE,
            source=self.node.inputs[0],
            output=self.output,
            kernel=(1, 1),
            weights=ones.reshape(c, 1, 1, 1),
            group=c,
            bias=0 * ones,
            multiplier=_IDENTITY[0] * ones,
            shift=_IDENTITY[1] * ones,
            zero_point=0,
            lo=lo,
            hi=hi,
        )
        return replace(layer, **changes)  # type: ignore[arg-type]


def geometry(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels as which a shape with a batch of 1 lies in the buffer."""
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    return 1, math.prod(shape[1:-1]), shape[-1]


def refusals(graph: Graph, config: NpuConfig) -> dict[str, UnsupportedError]:
    """Why nodes of ``graph`` cannot run on an NPU of ``config``, by their outputs."""
    found = {}
    for node in graph.nodes:
        try:
            _lower_node(_Site(graph, node, config, Lowered()))
        except UnsupportedError as error:
            found[node.outputs[0]] = error
    return found


def lower_graph(graph: Graph, config: NpuConfig) -> Lowered:
    """The layers of ``graph``, additions fused into the convolutions before them.

    Raises
    ------
    UnsupportedError
        A node cannot run on the NPU.
    """
    lowered = Lowered()
    for node in graph.nodes:
        _lower_node(_Site(graph, node, config, lowered))
    lowered.layers = _fused(graph, lowered)
    return lowered


def _lower_node(site: _Site) -> None:
    bits = 8 * site.config.element_bytes
    for name in (*site.node.inputs, *site.node.outputs):
        if name in site.graph.constants:
            continue
        kind = site.graph.types[name]
        if kind.dtype not in ("int8", "int16"):
            raise site.refuse(f"has a tensor of {kind.dtype}; the array takes int8 and int16")
        if np.dtype(kind.dtype).itemsize * 8 > bits:
            raise site.refuse(
                f"has a tensor of {kind.dtype}, but the elements of {site.config.name} have "
                f"{bits} bits; take a 16-bit configuration such as 8x8-16, or quantize to int8"
            )
        if kind.shape and kind.shape[0] != 1:
            raise site.refuse(f"has a batch of {kind.shape[0]}; the NPU takes 1")
        if len(kind.shape) not in (2, 3, 4):
            raise site.refuse(f"has a tensor of {len(kind.shape)} axes; the NPU takes 2 to 4")
    done = len(site.lowered.layers)
    _lower(site.node.op, site)
    for layer in site.lowered.layers[done:]:
        _check_fields(site, layer)


def _check_fields(site: _Site, layer: Layer) -> None:
    """Refuse a kernel that the fields of the instructions cannot say."""
    source, kernel = isa.fields(isa.SetSource), isa.fields(isa.SetKernel)
    taps = min(site.config.rows, kernel["taps"].high) if layer.mode is Mode.DEPTHWISE else 1
    across = kernel["emit"].high if layer.mode is Mode.DEPTHWISE else source["stride"].high
    for what, value, most in (
        ("a kernel of {} rows", layer.kernel[0], kernel["lines"].high),
        ("a kernel of {} columns", layer.kernel[1], taps * kernel["runs"].high),
        ("a stride of {} rows", layer.strides[0], source["stride"].high),
        ("a stride of {} columns", layer.strides[1], across),
        ("a dilation of {} rows", layer.dilations[0], source["dilation"].high),
    ):
        if value > most:
            raise site.refuse(f"has {what.format(value)}; the NPU takes {most} at most")


@singledispatch
def _lower(op: ops.Operator, site: _Site) -> None:
    raise site.refuse("has no NPU lowering")


def _requantizing(op: ops.Requantizing) -> dict[str, object]:
    return {
        "zero_point": op.output_zero_point,
        "lo": op.lo,
        "hi": op.hi,
        "double": op.rounding == "double",
    }


@_lower.register
def _(op: ops.QConv, site: _Site) -> None:
    weights = site.constant(1).astype(np.int64)
    out = len(weights)
    depthwise = op.group == site.channels() == out and out > 1 and op.dilations[1] == 1
    site.add(
        Layer(
            node=site.node,
            mode=Mode.DEPTHWISE if depthwise else Mode.DENSE,
            source=site.node.inputs[0],
            output=site.output,
            kernel=(weights.shape[1], weights.shape[2]),
            strides=op.strides,
            dilations=op.dilations,
            pads=(op.pads[0], op.pads[1]),
            pad=op.input_zero_point,
            weights=weights,
            group=op.group,
            bias=_raw_bias(op.input_zero_point, weights, site.constant(2)),
            multiplier=site.constant(3).astype(np.int64),
            shift=site.constant(4).astype(np.int64),
            **_requantizing(op),  # type: ignore[arg-type]
        )
    )


def _raw_bias(zero_point: int, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The bias for sums over q instead of q - zero_point."""
    return bias.astype(np.int64) - zero_point * weights.reshape(len(weights), -1).sum(1)


@_lower.register
def _(op: ops.QDense, site: _Site) -> None:
    weights = site.constant(1).astype(np.int64)
    site.add(
        Layer(
            node=site.node,
            mode=Mode.DENSE,
            source=site.node.inputs[0],
            output=site.output,
            kernel=(1, 1),
            pad=op.input_zero_point,
            weights=weights.reshape(len(weights), 1, 1, -1),
            bias=_raw_bias(op.input_zero_point, weights, site.constant(2)),
            multiplier=site.constant(3).astype(np.int64),
            shift=site.constant(4).astype(np.int64),
            **_requantizing(op),  # type: ignore[arg-type]
        )
    )


@_lower.register(ops.QAdd)
@_lower.register(ops.QMul)
def _(op: ops.QAdd | ops.QMul, site: _Site) -> None:
    a, b = site.node.inputs
    for name in (a, b):
        if name in site.graph.constants:
            raise site.refuse("has a constant operand")
    kinds = {site.graph.types[name].dtype for name in (a, b)}
    if len(kinds) > 1:
        raise site.refuse("takes int8 beside int16; the lanes take operands of one width")
    shapes = [site.geometry(name) for name in (a, b)]
    whole = site.geometry(site.output)
    swapped = shapes[0] != whole
    if swapped:
        a, b, shapes = b, a, shapes[::-1]
    if shapes[0] != whole or shapes[1] not in (whole, (1, 1, whole[2])):
        raise site.refuse("broadcasts other than one pixel to all are not there")
    operation = Operation.MULTIPLY
    if isinstance(op, ops.QAdd):
        operation = Operation.SUBTRACT if isinstance(op, ops.QSub) else Operation.ADD
    if operation is Operation.SUBTRACT and swapped:
        operation = Operation.SUBTRACT_FROM
    second = Second(b, None, operation, op, swapped)
    lo, hi = site.bounds(a)
    site.add(site.filter(source=a, second=second, lo=lo, hi=hi, double=op.rounding == "double"))


@_lower.register
def _(op: ops.Rescale, site: _Site) -> None:
    ones = np.ones(site.channels(), np.int64)
    site.add(
        site.filter(
            bias=-op.input_zero_point * ones,
            multiplier=op.multiplier * ones,
            shift=op.shift * ones,
            **_requantizing(op),
        )
    )


@_lower.register
def _(op: ops.QAveragePool, site: _Site) -> None:
    multiplier, shift = site.constant(1), site.constant(2)
    height, width, _ = site.geometry(site.output)
    extent = site.geometry(site.node.inputs[0])
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
    ones = np.ones(site.channels(), np.int64)
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
                    bias=_raw_bias(op.input_zero_point, weights, 0 * ones),
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


@_lower.register
def _(op: ops.QReduceSum, site: _Site) -> None:
    shape = site.shape(0)
    spatial = tuple(range(1, len(shape) - 1))
    if tuple(sorted(a % len(shape) for a in op.axes)) != spatial:
        raise site.refuse("sums other axes than all spatial ones")
    height, width, c = site.geometry(site.node.inputs[0])
    ones = np.ones(c, np.int64)
    weights = np.ones((c, height, width, 1), np.int64)
    site.add(
        site.filter(
            kernel=(height, width),
            weights=weights,
            bias=_raw_bias(op.input_zero_point, weights, 0 * ones),
            multiplier=op.multiplier * ones,
            shift=op.shift * ones,
            **_requantizing(op),
        )
    )


@_lower.register
def _(op: ops.MaxPool, site: _Site) -> None:
    c = site.channels()
    site.add(
        site.filter(
            mode=Mode.MAXIMUM,
            kernel=op.kernel,
            strides=op.strides,
            dilations=op.dilations,
            pads=(op.pads[0], op.pads[1]),
            pad=site.bounds(site.output)[0],
            weights=np.ones((c, *op.kernel, 1), np.int64),
        )
    )


@_lower.register
def _(op: ops.Lookup, site: _Site) -> None:
    table = site.constant(1)
    if not site.config.tables:
        raise site.refuse(f"{site.config.name} was configured without tables")
    entries = {8: 256, 16: 513}[site.config.width]
    if table.size != entries:
        raise site.refuse(
            f"a table of {table.size} entries does not fit the lanes' table of {entries}"
        )
    if site.graph.types[site.node.inputs[0]].dtype != f"int{site.config.width}":
        raise site.refuse("an int8 table does not fit a 16-bit configuration")
    site.add(site.filter(table=table.astype(np.int64).ravel()))


@_lower.register
def _(op: ops.Concat, site: _Site) -> None:
    axes = len(site.shape(0))
    if op.axis % axes != axes - 1:
        raise site.refuse("joins along another axis than the channels")
    if any(name in site.graph.constants for name in site.node.inputs):
        raise site.refuse("has a constant operand")
    site.lowered.concats[site.output] = tuple(site.node.inputs)


@_lower.register
def _(op: ops.Reshape, site: _Site) -> None:
    source = site.node.inputs[0]
    before, after = site.geometry(source), site.geometry(site.output)
    count = math.prod(before)
    if after not in (before, (1, 1, count)):
        raise site.refuse(f"turns {site.shape(0)} into {op.shape}, which moves elements")
    if after == before or _read_densely(site.graph, site.output):
        site.lowered.aliases[site.output] = source
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
            multiplier=np.full(count, _IDENTITY[0]),
            shift=np.full(count, _IDENTITY[1]),
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


@_lower.register
def _(op: ops.Slice, site: _Site) -> None:
    shape = site.shape(0)
    if len(shape) != 4 or op.starts[3] or op.sizes[3] != shape[3] or min(op.steps) < 1:
        raise site.refuse("takes other slices than of height and width, forwards")
    site.add(
        site.filter(
            strides=(op.steps[1], op.steps[2]),
            pads=(-op.starts[1], -op.starts[2]),
        )
    )


@_lower.register
def _(op: ops.Pad, site: _Site) -> None:
    shape = site.shape(0)
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
            multiplier=np.full(out, _IDENTITY[0]),
            shift=np.full(out, _IDENTITY[1]),
        )
    )


def _fused(graph: Graph, lowered: Lowered) -> list[Layer]:
    """Additions and products become the second operands of the layers that make one of theirs."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.outputs)
    layers: list[Layer] = []
    made: dict[str, int] = {}
    for layer in lowered.layers:
        host = _host(graph, layer, layers, made, uses, lowered)
        if host is None:
            made[layer.output] = -1 if layer.output in made else len(layers)
            layers.append(layer)
            continue
        index, second = host
        layers[index] = replace(layers[index], output=layer.output, second=second)
        made[layer.output] = index
    return layers


def _host(
    graph: Graph,
    layer: Layer,
    layers: list[Layer],
    made: Mapping[str, int],
    uses: Mapping[str, int],
    lowered: Lowered,
) -> tuple[int, Second] | None:
    """The layer that can do what ``layer`` does after its own result, if there is one.

    It makes one operand, which nothing else reads, and the other operand is made before it.
    """
    if layer.second is None or layer.kernel != (1, 1) or layer.source == layer.second.value:
        return None
    choices = [(layer.source, layer.second.value, layer.second)]
    turned = _turned(layer.second, layer.source)
    if turned is not None:
        choices.append((layer.second.value, layer.source, turned))

    def latest(name: str) -> int:
        """The last layer that makes a part of ``name``; -1 for inputs."""
        while name in lowered.aliases:
            name = lowered.aliases[name]
        if name in lowered.concats:
            return max(latest(part) for part in lowered.concats[name])
        return max((i for i, each in enumerate(layers) if each.output == name), default=-1)

    for own, other, second in choices:
        index = made.get(own, -1)
        if index < 0 or uses[own] != 1 or latest(other) >= index:
            continue
        host = layers[index]
        if geometry(graph.types[own].shape) != geometry(graph.types[layer.output].shape):
            continue
        if host.second is None and host.table is None and host.double == layer.double:
            return index, replace(second, value=other, intermediate=own)
    return None


def _turned(second: Second, source: str) -> Second | None:
    """The same with the operands exchanged."""
    swaps: dict[Operation, Operation] = {
        Operation.ADD: Operation.ADD,
        Operation.MULTIPLY: Operation.MULTIPLY,
        Operation.SUBTRACT: Operation.SUBTRACT_FROM,
        Operation.SUBTRACT_FROM: Operation.SUBTRACT,
    }
    return replace(
        second, value=source, operation=swaps[second.operation], swapped=not second.swapped
    )
