"""The weights of a resize into integers: fractions of that denominator which rounds them least.

Most scales are ratios of small integers, and the weights then fractions of one small denominator:
4 where an image doubles, 3 where it triples. These are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from edgeinfer.arithmetic.fixedpoint import multiplier_bits
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import operators as ops
from edgeinfer.quant.schemes import Width

__all__ = ["IntegerResize", "integer_resize"]

# accumulators of int8 have 32 bits; beside those of int16, a multiplier of 20 still fits 64
_LIMIT: dict[Width, int] = {"int8": 2**31, "int16": 2**42}
# int8 reaches as far as this from its zero point, whatever that is
_REACH: dict[Width, int] = {"int8": 255, "int16": 32768}
# weights are int16, and a denominator is searched for among so many
_MOST = 2**13
# a denominator is as good as another if it rounds this much worse
_AS_GOOD, _FLOAT_ERROR = 1.25, 1e-7

_Side: TypeAlias = tuple[tuple[int, tuple[float, ...]], ...]


@dataclass(frozen=True)
class IntegerSide:
    """Rows or columns: ``first`` int32 [n], ``weights`` int16 [n, taps] of a ``denominator``."""

    first: np.ndarray
    weights: np.ndarray
    denominator: int


@dataclass(frozen=True)
class IntegerResize:
    """The constants of a QResize, and how many bits its multiplier may have."""

    rows: IntegerSide
    columns: IntegerSide
    bits: int


@lru_cache(maxsize=64)
def integer_resize(op: ops.Resize, dtype: Width) -> IntegerResize:
    """The integers for ``op`` on x of ``dtype``.

    The weights of each row, and of each column, add up to what the real ones do: a constant image
    stays constant.

    Raises
    ------
    QuantizationError
        So many weights make a sum that rounding could leave the accumulator.
    """
    reaches = [max(1.0, max(sum(map(abs, each)) for _, each in side)) for side in _sides(op)]
    room = _LIMIT[dtype] / _REACH[dtype] / math.prod(reaches)
    sides = []
    for side in _sides(op):
        # each weight may round up by 1
        limit = min(math.isqrt(int(room)) - len(side[0][1]), _MOST)
        if limit < 2:
            raise QuantizationError(
                f"{len(side[0][1])} rows or columns a sum leave the accumulator no room; resize in "
                "two steps"
            )
        sides.append(_integer_side(side, limit))
    reach = math.prod(int(np.abs(side.weights.astype(np.int64)).sum(1).max()) for side in sides)
    return IntegerResize(sides[0], sides[1], multiplier_bits(reach * _REACH[dtype]))


def _sides(op: ops.Resize) -> tuple[_Side, _Side]:
    return op.rows, op.columns


def _integer_side(side: _Side, limit: int) -> IntegerSide:
    weights = np.array([each for _, each in side], np.float64)
    kinds = np.unique(weights, axis=0)
    errors = np.array([_rounding_error(kinds, d) for d in range(1, limit + 1)])
    best = 1 + int(np.argmax(errors <= errors.min() * _AS_GOOD + _FLOAT_ERROR))
    first = np.array([first for first, _ in side], np.int32)
    return IntegerSide(first, _fractions(weights, best).astype(np.int16), best)


def _rounding_error(weights: np.ndarray, denominator: int) -> float:
    scaled = weights * denominator
    return float(np.abs(scaled - np.rint(scaled)).max()) / denominator


def _fractions(weights: np.ndarray, denominator: int) -> np.ndarray:
    """Numerators, rounded up where that is nearest, as many as make the sum right."""
    scaled = weights * denominator
    lower = np.floor(scaled)
    missing = np.rint(scaled.sum(1)) - lower.sum(1)
    order = np.argsort(lower - scaled, axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    return np.asarray(lower + (rank < missing[:, None]))
