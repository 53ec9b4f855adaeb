"""Functions of float64 on arrays of any float type, and polynomials."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["of_floats", "polynomial"]

# few enough for a second-level cache, and many enough for the cost of a call of NumPy's
_BLOCK = 2**14

_Function = Callable[..., np.ndarray]


def of_floats(function: _Function) -> _Function:
    """``function`` of float64 arrays, block by block, for arrays and numbers of any float type."""

    @functools.wraps(function)
    def applied(*given: np.ndarray | float) -> np.ndarray:
        arrays = np.broadcast_arrays(*given)
        flat = [x.reshape(-1) for x in arrays]
        kind = np.result_type(*given)
        y = np.empty(flat[0].shape, kind if kind.kind == "f" else np.float64)
        with np.errstate(all="ignore"):
            for start in range(0, y.size, _BLOCK):
                block = slice(start, start + _BLOCK)
                y[block] = function(*(x[block].astype(np.float64) for x in flat))
        return y.reshape(arrays[0].shape)[()]

    return applied


def polynomial(x: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """That of ``coefficients``, the constant first, at ``x``."""
    y = x * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        y += c
        y *= x
    y += coefficients[0]
    return y
