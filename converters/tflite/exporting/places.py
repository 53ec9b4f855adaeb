"""What moves elements, or makes pictures larger and smaller, in TensorFlow Lite."""

from __future__ import annotations

import numpy as np

from edgeinfer.converters.resizes import resize_attributes
from edgeinfer.converters.tflite.exporting.graph_writer import GraphWriter
from edgeinfer.converters.tflite.exporting.rules import clamps, requantize, write_node
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops

__all__: list[str] = []

_NONE = 0  # activation

_COMPUTED = "a run computes its indices, of which integer operators there know nothing"

# by ONNX's coordinates, the options of TensorFlow Lite's that mean them
_COORDINATES = {
    "half_pixel": {"HalfPixelCenters": 1, "AlignCorners": 0},
    "pytorch_half_pixel": {"HalfPixelCenters": 1, "AlignCorners": 0},
    "align_corners": {"HalfPixelCenters": 0, "AlignCorners": 1},
    "asymmetric": {"HalfPixelCenters": 0, "AlignCorners": 0},
}


@write_node.register
def _reshape(op: ops.Reshape, node: Node, to: GraphWriter) -> None:
    shape = list(to.type(node.output).shape)
    if to.graph.free_batch and shape:
        shape[0] = -1
    numbers = to.numbers(shape, "shape")
    to.write("RESHAPE", [to.place(node.inputs[0]), numbers], [to.place(node.output)])


@write_node.register
def _transpose(op: ops.Transpose, node: Node, to: GraphWriter) -> None:
    order = to.numbers(op.permutation, "permutation")
    to.write("TRANSPOSE", [to.place(node.inputs[0]), order], [to.place(node.output)])


@write_node.register
def _concat(op: ops.Concat, node: Node, to: GraphWriter) -> None:
    places = [to.place(value) for value in node.inputs]
    to.write(
        "CONCATENATION",
        places,
        [to.place(node.output)],
        Axis=op.axis,
        FusedActivationFunction=_NONE,
    )


@write_node.register
def _split(op: ops.Split, node: Node, to: GraphWriter) -> None:
    sizes = to.numbers(op.sizes, "sizes")
    axis = to.constant(np.array(op.axis, np.int32), "axis")
    inputs = [to.place(node.inputs[0]), sizes, axis]
    to.write("SPLIT_V", inputs, [to.place(v) for v in node.outputs], NumSplits=len(op.sizes))


@write_node.register
def _slice(op: ops.Slice, node: Node, to: GraphWriter) -> None:
    x = to.place(node.inputs[0])
    if all(step == 1 for step in op.steps):
        numbers = [to.numbers(op.starts, "starts"), to.numbers(op.sizes, "sizes")]
        to.write("SLICE", [x, *numbers], [to.place(node.output)])
        return
    starts, steps = np.array(op.starts), np.array(op.steps)
    ends = starts + np.array(op.sizes) * steps
    # before the first element nothing ends
    open_ends = sum(1 << axis for axis, end in enumerate(ends) if end < 0)
    chosen = {"starts": starts, "ends": np.maximum(ends, 0), "steps": steps}
    to.write(
        "STRIDED_SLICE",
        [x, *(to.numbers(array.tolist(), part) for part, array in chosen.items())],
        [to.place(node.output)],
        EndMask=open_ends,
    )


@write_node.register
def _pad(op: ops.Pad, node: Node, to: GraphWriter) -> None:
    around = np.array([op.before, op.after], np.int32).T
    inputs = [to.place(node.inputs[0]), to.constant(np.ascontiguousarray(around), "pads")]
    outputs = [to.place(node.output)]
    if op.mode == "reflect":
        to.write("MIRROR_PAD", inputs, outputs, Mode=0)
        return
    if op.mode != "constant":
        raise UnsupportedError(f"its mode {op.mode!r} is none of TensorFlow Lite's")
    inputs.append(to.integer(to.type(node.output), int(op.value), "fill"))
    to.write("PADV2", inputs, outputs)


@write_node.register
def _tile(op: ops.Tile, node: Node, to: GraphWriter) -> None:
    repeats = to.numbers(op.repeats, "repeats")
    to.write("TILE", [to.place(node.inputs[0]), repeats], [to.place(node.output)])


@write_node.register
def _gather(op: ops.Gather, node: Node, to: GraphWriter) -> None:
    data, indices = node.inputs
    extent, known = to.type(data).shape[op.axis], to.graph.constants.get(indices)
    if known is not None:
        from_start = np.where(known < 0, known + extent, known).astype(np.int32)
        chosen = to.constant(from_start, "indices")
    elif indices in to.graph.inputs:
        chosen = _within(indices, extent, to)
    else:
        raise UnsupportedError(_COMPUTED)
    to.write("GATHER", [to.place(data), chosen], [to.place(node.output)], Axis=op.axis, BatchDims=0)


def _within(indices: str, extent: int, to: GraphWriter) -> int:
    """The place of an input's indices, each on the axis: GATHER reads wherever it is told to."""
    chosen = to.place(indices)
    for operator, bound in (("MAXIMUM", 0), ("MINIMUM", extent - 1)):
        bounded = to.between("indices", to.type(indices))
        to.write(operator, [chosen, to.numbers([bound], "bound")], [bounded])
        chosen = bounded
    return chosen


@write_node.register
def _gather_elements(op: ops.GatherElements, node: Node, to: GraphWriter) -> None:
    """Rows of one element each, of all elements in a row."""
    data, indices = node.inputs
    if indices not in to.graph.constants:
        raise UnsupportedError(_COMPUTED)
    x, known = to.type(data), to.graph.constants[indices]
    places = np.indices(known.shape)
    places[op.axis] = np.where(known < 0, known + x.shape[op.axis], known)
    flat = np.asarray(np.ravel_multi_index(tuple(places), x.shape), np.int32)
    row = to.between("row", x, (int(np.prod(x.shape)),))
    to.write("RESHAPE", [to.place(data), to.numbers([-1], "shape")], [row])
    inputs = [row, to.constant(flat, "indices")]
    to.write("GATHER", inputs, [to.place(node.output)], Axis=0, BatchDims=0)


@write_node.register
def _expand(op: ops.Expand, node: Node, to: GraphWriter) -> None:
    shape = to.numbers(op.shape, "shape")
    to.write("BROADCAST_TO", [to.place(node.inputs[0]), shape], [to.place(node.output)])


@write_node.register
def _resize(op: ops.QResize, node: Node, to: GraphWriter) -> None:
    found = resize_attributes(node, to.graph) or {}
    options = _COORDINATES.get(str(found.get("coordinate_transformation_mode")))
    if found.get("mode") != "linear" or "antialias" in found or options is None:
        raise UnsupportedError("no resize of TensorFlow Lite's has its weights")
    x, y = to.type(node.input("x")), to.type(node.output)
    # it has the scale of what it takes
    same = x.quantization == y.quantization and not clamps(op, y)
    resized = to.place(node.output) if same else to.between("resized", x, y.shape)
    size = to.numbers(y.shape[1:3], "size")
    to.write("RESIZE_BILINEAR", [to.place(node.input("x")), size], [resized], **options)
    if not same:
        requantize(op, node.output, resized, to)


@write_node.register
def _nearest(op: ops.ResizeNearest, node: Node, to: GraphWriter) -> None:
    x, y = node.inputs[0], node.output
    sides = tuple(zip((op.rows, op.columns), to.type(x).shape[1:3], strict=True))
    for half in (0, 1):
        if all(list(sources) == _nearest_of(len(sources), n, half) for sources, n in sides):
            size = to.numbers([len(op.rows), len(op.columns)], "size")
            how = {"AlignCorners": 0, "HalfPixelCenters": half}
            to.write("RESIZE_NEAREST_NEIGHBOR", [to.place(x), size], [to.place(y)], **how)
            return
    n, _, width, channels = to.type(x).shape
    between = to.between("rows", to.type(x), (n, len(op.rows), width, channels))
    for axis, sources, given, made in (
        (1, op.rows, to.place(x), between),
        (2, op.columns, between, to.place(y)),
    ):
        indices = to.numbers(sources, "sources")
        to.write("GATHER", [given, indices], [made], Axis=axis, BatchDims=0)


def _nearest_of(after: int, before: int, half: int) -> list[int]:
    """The sources of TensorFlow Lite, in float32 as it computes them."""
    places = np.arange(after, dtype=np.float32) + np.float32(half / 2)
    sources = np.floor(places * np.float32(np.float32(before) / np.float32(after)))
    return np.minimum(sources, before - 1).astype(int).tolist()


@write_node.register(ops.DepthToSpace)
@write_node.register(ops.SpaceToDepth)
def _blocks(op: ops.DepthToSpace | ops.SpaceToDepth, node: Node, to: GraphWriter) -> None:
    if isinstance(op, ops.DepthToSpace) and op.mode != "DCR":
        raise UnsupportedError("channels lie before blocks in it")
    name = "DEPTH_TO_SPACE" if isinstance(op, ops.DepthToSpace) else "SPACE_TO_DEPTH"
    to.write(name, [to.place(node.inputs[0])], [to.place(node.output)], BlockSize=op.block)
