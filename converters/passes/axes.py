"""Turns an operator on a transposed value into the same operator on the value as it was.

With v = Transpose(u, p), axis i of v is axis p[i] of u. ``reindexed`` answers: which operator on
u, and which transpose of its result, equal the operator on v?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch
from typing import TypeAlias

from edgeinfer.graph import operators as ops

__all__ = ["Permutation", "compose", "invert", "is_free", "reindexed"]

Permutation: TypeAlias = tuple[int, ...]
Reindexed = tuple[ops.Operator, Permutation] | None


def invert(p: Permutation) -> Permutation:
    """The permutation that undoes ``p``."""
    return tuple(sorted(range(len(p)), key=p.__getitem__))


def compose(first: Permutation, second: Permutation) -> Permutation:
    """Transpose by ``first``, then by ``second``, in one."""
    return tuple(first[axis] for axis in second)


def is_free(shape: Sequence[int], p: Permutation) -> bool:
    """Whether transposing ``shape`` by ``p`` only moves axes of extent 1: a Reshape does it."""
    long = [axis for axis in p if shape[axis] > 1]
    return long == sorted(long)


@singledispatch
def reindexed(op: ops.Operator, p: Permutation) -> Reindexed:
    """The operator with the axes of the untransposed value, and the transpose that follows it.

    None where there is none. Inputs beside the first are the caller's to transpose.
    """
    raise NotImplementedError(type(op).__name__)


@reindexed.register(ops.FloatOperator)
@reindexed.register(ops.IntegerOperator)
@reindexed.register(ops.NonMaxSuppression)
@reindexed.register(ops.Windowed)
@reindexed.register(ops.Moving)
def _tied_to_its_axes(op: ops.Operator, p: Permutation) -> Reindexed:
    """Which axis is which is a part of its meaning."""
    return None


@reindexed.register(ops.Broadcasting)
@reindexed.register(ops.Elementwise)
def _element_by_element(op: ops.Operator, p: Permutation) -> Reindexed:
    return op, p


@reindexed.register(ops.AlongAxis)
@reindexed.register(ops.Concat)
def _along_axis(op: ops.AlongAxis | ops.Concat, p: Permutation) -> Reindexed:
    return replace(op, axis=p[op.axis]), p


@reindexed.register
def _reducing(op: ops.Reducing, p: Permutation) -> Reindexed:
    moved = replace(op, axes=tuple(sorted(p[a] for a in op.axes)))
    return moved, p if op.keepdims else _without(p, op.axes)


@reindexed.register
def _normalization(op: ops.Normalization, p: Permutation) -> Reindexed:
    return replace(op, axes=tuple(sorted(p[a] for a in op.axes))), p


@reindexed.register
def _arg_max(op: ops.ArgMax, p: Permutation) -> Reindexed:
    moved = replace(op, axis=p[op.axis])
    return moved, p if op.keepdims else _without(p, (op.axis,))


@reindexed.register
def _slice(op: ops.Slice, p: Permutation) -> Reindexed:
    q = invert(p)
    starts, sizes, steps = (
        tuple(values[axis] for axis in q) for values in (op.starts, op.sizes, op.steps)
    )
    return ops.Slice(starts, sizes, steps), p


@reindexed.register
def _pad(op: ops.Pad, p: Permutation) -> Reindexed:
    q = invert(p)
    before, after = (tuple(values[axis] for axis in q) for values in (op.before, op.after))
    return replace(op, before=before, after=after), p


@reindexed.register
def _dense(op: ops.Dense, p: Permutation) -> Reindexed:
    return (op, p) if p[-1] == len(p) - 1 else None


def _without(p: Permutation, dropped: Sequence[int]) -> Permutation:
    """``p`` after the axes ``dropped`` of its result are gone."""
    kept = [axis for i, axis in enumerate(p) if i not in dropped]
    return tuple(sorted(kept).index(axis) for axis in kept)
