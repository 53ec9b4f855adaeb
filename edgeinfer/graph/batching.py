"""A Graph into the proof that the samples of a batch stay apart, or what stands against it.

Of a value that depends on the samples it is known where they lie (``Rows``). ``follow`` says of
each operator where they lie in what it gives, or that they no longer lie apart there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import singledispatch

from edgeinfer.graph import operators as ops
from edgeinfer.graph.graph import ABSENT, Graph
from edgeinfer.graph.site import Site

__all__ = ["Batch", "Rows", "follow", "obstacle"]


@dataclass(frozen=True)
class Rows:
    """Where the samples of a value lie: along ``axis``, ``inner`` entries of each side by side.

    The axis may hold more than the samples, as after a Reshape from [N, T, C] to [N T, C], where
    ``inner`` is T.
    """

    axis: int
    inner: int = 1


@dataclass(frozen=True)
class Batch:
    """What is known of the values of a Graph so far.

    Parameters
    ----------
    count : int
        How many samples there are. From 2 on it is certain of every axis whether they lie along it.
    rows : dict of str to Rows
        Where they lie in each value that depends on them.
    """

    count: int
    rows: dict[str, Rows] = field(default_factory=dict)

    def of_one(self, site: Site, role: str) -> Rows | None:
        """The rows of the input in ``role``, where it alone depends on the samples."""
        others = (name for name in site.node.operands if name != site.node.input(role))
        return None if any(o in self.rows for o in others) else self.rows.get(site.node.input(role))

    def of_all(self, site: Site) -> Rows | None:
        """The rows of the output, where the inputs are broadcast to it."""
        rank = len(site.output.shape)
        found: Rows | None = None
        for name in site.node.operands:
            if name in self.rows:
                shape = site.graph.types[name].shape
                rows = self.rows[name]
                moved = replace(rows, axis=rows.axis + rank - len(shape))
                if shape[rows.axis] != site.output.shape[moved.axis] or found not in (None, moved):
                    return None
                found = moved
        same = found is not None and all(
            self.serves_all_alike(site.graph, name, rank, found)
            for name in site.node.operands
            if name not in self.rows
        )
        return found if same else None

    def serves_all_alike(self, graph: Graph, name: str, rank: int, rows: Rows) -> bool:
        """Whether ``name``, broadcast to ``rank`` axes, brings each sample the same."""
        shape = graph.types[name].shape
        axis = rows.axis - (rank - len(shape))
        return axis < 0 or shape[axis] == 1 or self.is_alike(graph, name, replace(rows, axis=axis))

    def is_alike(self, graph: Graph, name: str, rows: Rows) -> bool:
        """Whether ``name`` is constant, and has the same for each sample in its ``rows``."""
        shape, array, axis = graph.types[name].shape, graph.constants.get(name), rows.axis
        if array is None or shape[axis] % (self.count * rows.inner):
            return False
        parts = array.reshape(*shape[:axis], -1, self.count, rows.inner, *shape[axis + 1 :])
        return bool((parts == parts.take([0], axis + 1)).all())


def obstacle(graph: Graph, inputs: Iterable[str], count: int) -> str | None:
    """Why ``count`` samples along the first axis of ``inputs`` are no batch; None where they are.

    They are one where each output has a row for each sample along its first axis that depends on
    no other sample.
    """
    batch = Batch(count, {name: Rows(0) for name in inputs})
    for node in graph.nodes:
        if any(name in batch.rows for name in node.operands):
            rows = follow(node.op, Site(node, graph), batch)
            if rows is None:
                return f"{type(node.op).__name__} {node.name!r} mixes what lies along it"
            batch.rows.update(dict.fromkeys(node.outputs, rows))
    for name in graph.outputs:
        if batch.rows.get(name) != Rows(0) or graph.types[name].shape[0] != count:
            return f"output {name!r} has no row for each sample"
    return None


@singledispatch
def follow(op: ops.Operator, site: Site, batch: Batch) -> Rows | None:
    """Where the samples lie in what ``op`` gives; None where they may no longer be apart."""
    raise NotImplementedError(type(op).__name__)


@follow.register(ops.Broadcasting)
@follow.register(ops.Elementwise)
@follow.register(ops.Expand)
def _element_by_element(op: ops.Operator, site: Site, batch: Batch) -> Rows | None:
    return batch.of_all(site)


@follow.register(ops.Lookup)
@follow.register(ops.Tile)
def _of_x(op: ops.Operator, site: Site, batch: Batch) -> Rows | None:
    return batch.of_one(site, "x")


@follow.register(ops.DepthToSpace)
@follow.register(ops.QPRelu)
@follow.register(ops.QResize)
@follow.register(ops.Resize)
@follow.register(ops.ResizeNearest)
@follow.register(ops.SpaceToDepth)
@follow.register(ops.Windowed)
def _along_first_axis(op: ops.Operator, site: Site, batch: Batch) -> Rows | None:
    rows = batch.of_one(site, "x")
    return rows if rows is not None and rows.axis == 0 else None


@follow.register(ops.Exceeds)
@follow.register(ops.LRN)
@follow.register(ops.Weighted)
def _along_last_axis(op: ops.Operator, site: Site, batch: Batch) -> Rows | None:
    rows = batch.of_one(site, "x")
    return rows if rows is not None and rows.axis < len(site.shape("x")) - 1 else None


follow.register(ops.Conv, _along_first_axis)
follow.register(ops.ConvTranspose, _along_first_axis)
follow.register(ops.QConv, _along_first_axis)


@follow.register
def _normalization(op: ops.Normalization, site: Site, batch: Batch) -> Rows | None:
    return _without(batch.of_all(site), op.axes, keepdims=True)


@follow.register
def _q_normalization(op: ops.QNormalization, site: Site, batch: Batch) -> Rows | None:
    rows = _without(batch.of_one(site, "x"), op.axes, keepdims=True)
    if rows is None:
        return None
    # what has multipliers of its own must lie behind the samples
    cycle = site.shape("multiplier")[0] * op.inner
    return rows if math.prod(site.shape("x")[rows.axis + 1 :]) % cycle == 0 else None


@follow.register
def _recurrent(op: ops.Recurrent, site: Site, batch: Batch) -> Rows | None:
    rows = batch.rows.get(site.node.input("x"))
    if rows is None or rows.axis != 0:
        return None
    for role, name in zip(op.takes, site.node.inputs, strict=False):
        has_row_a_sample = role.name in ("x", *op.firsts)
        if name in batch.rows:
            follows = has_row_a_sample and batch.rows[name] == rows
        else:
            follows = (
                not has_row_a_sample or name == ABSENT or batch.is_alike(site.graph, name, rows)
            )
        if not follows:
            return None
    return rows


@follow.register(ops.MatMul)
@follow.register(ops.QMatMul)
def _mat_mul(op: ops.MatMul | ops.QMatMul, site: Site, batch: Batch) -> Rows | None:
    a, b = batch.rows.get(site.node.input("a")), batch.rows.get(site.node.input("b"))
    rank = len(site.output.shape)
    if a is not None and b is not None:
        rows = batch.of_all(site)
        return rows if rows is not None and rows.axis < rank - 2 else None
    # the rows of a and the columns of b become those of the result
    role, rows, summed = ("a", a, -1) if a is not None else ("b", b, -2)
    own = len(site.shape(role))
    if rows is None or rows.axis == own + summed:
        return None
    moved = replace(rows, axis=rows.axis + rank - own)
    if site.shape(role)[rows.axis] != site.output.shape[moved.axis]:
        return None
    other = site.node.input("b" if role == "a" else "a")
    is_matrix_a_sample = moved.axis < rank - 2 and not batch.serves_all_alike(
        site.graph, other, rank, moved
    )
    return None if is_matrix_a_sample else moved


@follow.register
def _reducing(op: ops.Reducing, site: Site, batch: Batch) -> Rows | None:
    return _without(batch.of_one(site, "x"), op.axes, op.keepdims)


@follow.register
def _along_axis(op: ops.AlongAxis, site: Site, batch: Batch) -> Rows | None:
    return _without(batch.of_one(site, "x"), (op.axis,), keepdims=True)


@follow.register
def _arg_max(op: ops.ArgMax, site: Site, batch: Batch) -> Rows | None:
    return _without(batch.of_one(site, "x"), (op.axis,), op.keepdims)


@follow.register
def _non_max_suppression(op: ops.NonMaxSuppression, site: Site, batch: Batch) -> Rows | None:
    # what one sample leaves over, the next takes
    return None


def _without(rows: Rows | None, axes: tuple[int, ...], keepdims: bool) -> Rows | None:
    """The rows where all elements along ``axes`` have been seen together."""
    if rows is None or rows.axis in axes:
        return None
    gone = 0 if keepdims else sum(axis < rows.axis for axis in axes)
    return replace(rows, axis=rows.axis - gone)


# ---- what moves elements -----------------------------------------------------------------------


@follow.register
def _moving(op: ops.Moving, site: Site, batch: Batch) -> Rows | None:
    """Of an operator that has no rule of its own it is not known where it moves the samples."""
    return None


@follow.register
def _concat(op: ops.Concat, site: Site, batch: Batch) -> Rows | None:
    # beside the axis that they are joined along, all parts have the shape of the whole
    rows = batch.of_all(site)
    return rows if rows is not None and rows.axis != op.axis else None


@follow.register
def _split(op: ops.Split, site: Site, batch: Batch) -> Rows | None:
    return _without(batch.of_one(site, "x"), (op.axis,), keepdims=True)


@follow.register
def _slice(op: ops.Slice, site: Site, batch: Batch) -> Rows | None:
    shape = site.shape("x")
    whole = [
        (start, size, step) == (0, n, 1)
        for start, size, step, n in zip(op.starts, op.sizes, op.steps, shape, strict=True)
    ]
    rows = batch.of_one(site, "x")
    return rows if rows is not None and whole[rows.axis] else None


@follow.register
def _pad(op: ops.Pad, site: Site, batch: Batch) -> Rows | None:
    rows = batch.of_one(site, "x")
    if rows is None or op.before[rows.axis] or op.after[rows.axis]:
        return None
    return rows


@follow.register
def _reshape(op: ops.Reshape, site: Site, batch: Batch) -> Rows | None:
    rows = batch.of_one(site, "x")
    if rows is None:
        return None
    # entries of one sample side by side, in the order of all elements
    inner = rows.inner * math.prod(site.shape("x")[rows.axis + 1 :])
    for axis, extent in enumerate(op.shape):
        below = math.prod(op.shape[axis + 1 :])
        if inner % below == 0 and below * extent % (inner * batch.count) == 0:
            return Rows(axis, inner // below)
    return None


@follow.register
def _transpose(op: ops.Transpose, site: Site, batch: Batch) -> Rows | None:
    rows = batch.of_one(site, "x")
    return None if rows is None else replace(rows, axis=op.permutation.index(rows.axis))


@follow.register
def _gather_elements(op: ops.GatherElements, site: Site, batch: Batch) -> Rows | None:
    rows = batch.rows.get(site.node.input("data"))
    found = batch.rows.get(site.node.input("indices"), rows)
    if rows is None or found != rows or rows.axis == op.axis:
        return None
    whole = site.shape("data")[rows.axis] == site.output.shape[rows.axis]
    return rows if whole and not site.is_constant("indices") else None


@follow.register
def _gather(op: ops.Gather, site: Site, batch: Batch) -> Rows | None:
    added = len(site.shape("indices"))
    if (rows := batch.of_one(site, "data")) is not None:
        moved = rows.axis + (added - 1 if rows.axis > op.axis else 0)
        return None if rows.axis == op.axis else replace(rows, axis=moved)
    rows = batch.of_one(site, "indices")
    return None if rows is None else replace(rows, axis=op.axis + rows.axis)
