"""Turns operators on ``[T, 1, C]`` into the same on ``[1, T, C]``, as recorded sequences lie."""

from __future__ import annotations

from dataclasses import replace

from edgeinfer.converters.passes.axes import Permutation, invert, reindexed
from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["batch_first"]

Shape = tuple[int, ...]

# all of their inputs are broadcast, or joined
_NARY = (ops.Broadcasting, ops.PRelu, ops.Normalization, ops.Concat)
_PREFIXED = (
    ops.Pointwise,
    ops.FakeQuantize,
    ops.Broadcasting,
    ops.Dense,
    ops.MatMul,
    ops.Normalization,
    ops.Softmax,
    ops.LogSoftmax,
)
_UNARY = (
    ops.Pointwise,
    ops.FakeQuantize,
    ops.Dense,
    ops.Softmax,
    ops.LogSoftmax,
    ops.Reducing,
    ops.Slice,
)

_FEW = (2, 3)
"""Axes of a value that may get one more."""


@looks_for(ops.Transpose | ops.Reshape)
def batch_first(graph: Graph) -> Graph:
    """f(x) = Reshape(f'(Reshape(x))), f' with an axis of extent 1 before all others.

    Of a Graph whose inputs hold one sample each, so that no axis but a first one of extent 1 is the
    batch's. PyTorch's attention puts the sequence first, and gives its output's Dense all tokens of
    all samples, ``[T N, C]``: these get the axis, from the Transpose or Reshape on that made such a
    value. Reshapes cost nothing and meet each other, so that none is left inside of a network.
    """
    if any(graph.types[name].shape[:1] != (1,) for name in graph.inputs):
        return graph
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        begins = isinstance(node.op, ops.Transpose) and not rewriter.is_result(node.output)
        follows = begins or any(_was_turned(rewriter, name) for name in node.inputs)
        if not follows or not (_moved(rewriter, node) or _prefixed(rewriter, node)):
            rewriter.copy(node)
    return rewriter.finish()


def _was_turned(rewriter: Rewriter, value: str) -> bool:
    producer = rewriter.producer(rewriter.current(value))
    return producer is not None and isinstance(producer.op, ops.Reshape | ops.Transpose)


def _moved(rewriter: Rewriter, node: Node) -> bool:
    """Write ``node`` with an axis of extent 1 moved to the front, where there is one."""
    if isinstance(node.op, ops.Transpose):
        return _turned(rewriter, node)
    if not isinstance(node.op, (*_NARY, *_UNARY, ops.MatMul)):
        return False
    unary = isinstance(node.op, _UNARY)
    shape = rewriter.shape(node.inputs[0] if unary else node.output)
    p = _order(shape)
    if p is None:
        return False
    moved: tuple[ops.Operator, Permutation] | None
    if isinstance(node.op, ops.MatMul):
        # its last two axes are a matrix's
        moved = (node.op, p) if p[-2:] == (len(p) - 2, len(p) - 1) else None
    else:
        moved = reindexed(node.op, p)
    if moved is None:
        return False
    others = node.inputs[1:] if unary else ()
    taken = node.inputs[:1] if unary else node.inputs
    inputs = [*(_seen(rewriter, node, name, _reordered(rewriter, name, p)) for name in taken)]
    _emit(rewriter, node, moved[0], (*inputs, *others))
    return True


def _turned(rewriter: Rewriter, node: Node) -> bool:
    """Write a Transpose that moves the first axis as one that leaves it where it is."""
    assert isinstance(node.op, ops.Transpose)
    (x,), permutation = node.inputs, node.op.permutation
    shape = rewriter.shape(x)
    if shape[0] == 1 and permutation[0] == 0:
        return False
    p = tuple(range(len(shape))) if shape[0] == 1 else _order(shape)
    if p is not None:
        order = (0, *(p[axis] for axis in permutation if p[axis] != 0))
        x = _seen(rewriter, node, x, _reordered(rewriter, x, p))
    elif len(shape) in _FEW:
        order = (0, *(axis + 1 for axis in permutation))
        x = _seen(rewriter, node, x, (1, *shape))
    else:
        return False
    _emit(rewriter, node, ops.Transpose(order), (x,))
    return True


def _prefixed(rewriter: Rewriter, node: Node) -> bool:
    """Write ``node`` with one axis more before all others, where no axis has extent 1."""
    op: ops.Operator = node.op
    if not isinstance(op, _PREFIXED):
        return False
    shape = rewriter.shape(node.output)
    rank = len(shape)
    if rank not in _FEW or shape[0] == 1 or _order(shape) is not None:
        return False
    if isinstance(op, ops.Softmax | ops.LogSoftmax):
        op = replace(op, axis=op.axis + 1)
    elif isinstance(op, ops.Normalization):
        op = replace(op, axes=tuple(axis + 1 for axis in op.axes))
    inputs = [
        _seen(rewriter, node, name, (1, *rewriter.shape(name)))
        if len(rewriter.shape(name)) == rank and not (i and isinstance(op, ops.Dense))
        else rewriter.current(name)
        for i, name in enumerate(node.inputs)
    ]
    _emit(rewriter, node, op, inputs)
    return True


def _order(shape: Shape) -> Permutation | None:
    """Where each axis comes if one of extent 1, but the last, moves to the front."""
    if not shape or shape[0] == 1 or 1 not in shape[:-1]:
        return None
    place = shape.index(1)
    return tuple(0 if i == place else i + (i < place) for i in range(len(shape)))


def _reordered(rewriter: Rewriter, value: str, p: Permutation) -> Shape:
    """The shape of ``value``, broadcast to as many axes as ``p`` has, in its order."""
    shape = rewriter.shape(value)
    padded = (1,) * (len(p) - len(shape)) + shape
    return tuple(padded[axis] for axis in invert(p))


def _seen(rewriter: Rewriter, node: Node, value: str, shape: Shape) -> str:
    """``value`` as ``shape``, which has the same elements in the same order."""
    value = rewriter.current(value)
    if value in rewriter.constants:
        return rewriter.constant(value, rewriter.constants[value].reshape(shape))
    if rewriter.shape(value) == shape:
        return value
    seen = rewriter.distinct(f"{value}@batched")
    return rewriter.write(node, ops.Reshape(shape), (value,), seen)


def _emit(
    rewriter: Rewriter, node: Node, op: ops.Operator, inputs: tuple[str, ...] | list[str]
) -> None:
    shape = rewriter.shape(node.output)
    result = rewriter.write(node, op, inputs, rewriter.distinct(f"{node.output}@batched"))
    rewriter.write(node, ops.Reshape(shape), (result,), node.output)
