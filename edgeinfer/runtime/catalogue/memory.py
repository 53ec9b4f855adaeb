"""The bytes that constants take as kernels read them, before any is packed."""

from __future__ import annotations

import math

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.graph.site import Site

__all__ = ["packed_bytes"]

# channels of a vector and of a block, to which they are rounded up or repeated, at most
_LANES, _BLOCK = 16, 64
# the two tables of an addition of int8
_TABLE_BYTES = 2 * 4 * 256


def packed_bytes(graph: Graph) -> int:
    """At most the bytes of the constants as kernels read them, by their shapes alone."""
    sizes: dict[tuple[object, ...], int] = {}
    for node in graph.nodes:
        site = Site(node, graph)
        if isinstance(node.op, ops.QConv | ops.QDense):
            group = node.op.group if isinstance(node.op, ops.QConv) else 1
            outputs, taps = site.shape("weights")[0], site.shape("weights")[1:]
            # 3x3 layers are packed in another form where they have no strides
            strides = node.op.strides if isinstance(node.op, ops.QConv) else ()
            sizes[node.input("weights"), group, strides] = _weights_at_most(outputs, taps, group)
            # a stage of 32 bits four times for each channel of a whole vector, which a depthwise
            # layer may repeat until they fill a block, for each plane of its weights
            sizes[(node.name,)] = 32 * (max(outputs, _BLOCK) + group * _LANES)
        elif isinstance(node.op, ops.QNormalization):
            sizes[(node.name,)] = _repeated_at_most(node.op, site)
        else:
            constants = [name for name in node.operands if name in graph.constants]
            sizes.update(((name,), graph.types[name].nbytes) for name in constants)
            # the tables of an addition, or a few index lists
            listed = isinstance(node.op, ops.ResizeNearest | ops.Gather)
            sizes[(node.name,)] = _TABLE_BYTES + (8 * site.inputs[-1].elements if listed else 0)
    return sum(sizes.values())


def _repeated_at_most(op: ops.QNormalization, site: Site) -> int:
    """Bytes of the multipliers and biases, repeated to fill a run of neighbours."""
    x = site.shape("x")
    run, long = 1, [axis for axis, extent in enumerate(x) if extent > 1]
    for axis in reversed(long):
        if (axis in op.axes) != (long[-1] in op.axes):
            break
        run *= x[axis]
    numbers = site.shape("multiplier")[0]
    if numbers > 1 and op.inner % run:
        numbers = max(run, numbers * op.inner)
    return (4 + 8) * numbers


def _weights_at_most(outputs: int, taps: tuple[int, ...], group: int) -> int:
    """Bytes of a layer's weights in the largest form that kernels have for it."""
    channels = outputs + group * _LANES
    rows, columns = (taps[0], math.prod(taps[1:])) if len(taps) == 3 else (1, math.prod(taps))
    # two planes of int16, taps padded to 8, or those of each row to 4; two for each of two phases,
    # or int16 for each of four, the rows padded to 4
    plain = 4 * channels * (rows * columns + 8)
    in_rows = 4 * channels * rows * (columns + 4)
    in_lines = 8 * (channels + _BLOCK) * (rows + 3) * columns if group == outputs else 0
    return max(plain, in_rows, in_lines)
