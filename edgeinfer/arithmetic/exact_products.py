"""Products of float matrices whose sums are exact, so that their order is nobody's concern.

A BLAS adds in another order for each kind of processor, width of vectors and number of threads,
and floats that were rounded on the way differ in their last bits. Here each row becomes integers
times a power of two beforehand, of 26 bits for the root of its sum of squares. Then no sum of
products of two rows, nor any part of it, is beyond 2^53 (Cauchy and Schwarz), float64 holds all of
them, and any order gives the same.

A sum loses about 2^-27 of both norms' product by it, less than float32 sums of a hundred products
do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Rows", "product"]

# of the norm of a row; two such are a bit below what float64 holds, and the rounding needs that
_BITS = 26

# so many numbers at once are rounded and multiplied: what a second-level cache holds
_BLOCK = 2**16


@dataclass(frozen=True)
class Rows:
    """The rows of a matrix as integers.

    Parameters
    ----------
    integers : numpy.ndarray
        [..., n, K] in float64.
    steps : numpy.ndarray
        [..., n, 1], the power of two that each row is to be multiplied by.
    shape : tuple of int
        The shape of the array that they were made from.
    """

    integers: np.ndarray
    steps: np.ndarray
    shape: tuple[int, ...]

    @classmethod
    def of(cls, matrix: np.ndarray, shape: tuple[int, ...] | None = None) -> Rows:
        """Those of ``matrix`` [..., n, K] in float32; what is not finite stays as it is."""
        wide = matrix.astype(np.float64)
        with np.errstate(all="ignore"):
            squares = (wide * wide).sum(-1, keepdims=True)
            exponents = np.where(np.isfinite(squares), (np.frexp(squares)[1] + 1) >> 1, _BITS)
            wide *= np.ldexp(1.0, _BITS - exponents)
            np.rint(wide, out=wide)
        return cls(wide, np.ldexp(1.0, exponents - _BITS), matrix.shape if shape is None else shape)

    def __getitem__(self, rows: slice | int) -> Rows:
        """Some of the rows, or of matrices one."""
        integers = self.integers[rows]
        return Rows(integers, self.steps[rows], integers.shape)


def product(a: np.ndarray, b: Rows) -> np.ndarray:
    """``a`` [..., m, K] times the transpose of ``b`` [..., n, K], each sum rounded once to float32.

    A ``b`` of two axes serves all matrices of ``a``, which may then be a single row too.
    """
    if b.integers.ndim > 2:
        return _times(a, b)
    rows = a.reshape(-1, a.shape[-1])
    y = np.empty((len(rows), len(b.integers)), np.float32)
    count = max(64, _BLOCK // max(1, a.shape[-1]))
    for start in range(0, len(rows), count):
        y[start : start + count] = _times(rows[start : start + count], b)
    return y.reshape(*a.shape[:-1], len(b.integers))


def _times(a: np.ndarray, b: Rows) -> np.ndarray:
    rows = Rows.of(a)
    with np.errstate(all="ignore"):
        exact = rows.integers @ b.integers.swapaxes(-1, -2)
        exact *= rows.steps
        exact *= b.steps.swapaxes(-1, -2)
        return exact.astype(np.float32)
