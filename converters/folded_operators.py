"""Operators of ONNX that fold into the same constants on every processor.

onnx's evaluator computes them by NumPy's functions and products, whose last bits depend on the
processor. What it folds stands in the model file, so here they are those of the Graph's own
arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun

from edgeinfer.arithmetic import elementary, pointwise
from edgeinfer.arithmetic.exact_products import Rows, product

__all__ = ["OF_NUMBERS", "SAME_EVERYWHERE"]

OF_NUMBERS = ("Cos", "Erf", "Exp", "Log", "Pow", "Sigmoid", "Sin", "Softplus", "Tanh")
"""Functions that are computed in float64, of many operations each."""

_PI = 3.141592653589793

# elements of which a function has its intermediate results at a time
_AT_ONCE = 2**18


def _operator(name: str, run: Callable[..., np.ndarray]) -> type[OpRun]:
    """What onnx's evaluator calls for ``name``: ``run`` of its inputs and attributes."""

    def _run(self: OpRun, *arrays: np.ndarray, **attributes: Any) -> tuple[np.ndarray, ...]:
        return (np.asarray(run(*arrays, **attributes)),)

    return type(name, (OpRun,), {"op_domain": "", "_run": _run})


def _of_numbers(function: str) -> Callable[..., np.ndarray]:
    """A function of ``pointwise``, in the element type of what it takes."""

    def run(x: np.ndarray) -> np.ndarray:
        return _in_parts(lambda part: pointwise.evaluate((function, "x"), part), x)

    return run


def _power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind in "iu":
        return np.power(a, b).astype(a.dtype)
    return _in_parts(elementary.power, *np.broadcast_arrays(a, b))


def _in_parts(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """``function`` of arrays of one shape, in float64, in the element type of the first."""
    y = np.empty(arrays[0].shape, arrays[0].dtype)
    flat, rows = y.reshape(-1), [a.reshape(-1) for a in arrays]
    for start in range(0, flat.size, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        flat[part] = function(*(row[part].astype(np.float64) for row in rows))
    return y


def _gather_nd(data: np.ndarray, indices: np.ndarray, batch_dims: int = 0) -> np.ndarray:
    """Elements, or arrays of them, of ``data`` by their places along its first axes."""
    ones = (1,) * (indices.ndim - 1 - batch_dims)
    grid: Sequence[np.ndarray] = np.indices(indices.shape[:batch_dims], sparse=True)
    batch = (places.reshape(*places.shape, *ones) for places in grid)
    return np.asarray(data[(*batch, *np.moveaxis(indices, -1, 0))])


def _mat_mul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind in "iu":
        return np.matmul(a, b)
    rows = a[np.newaxis] if a.ndim == 1 else a
    columns = b[:, np.newaxis] if b.ndim == 1 else b
    y = product(rows, Rows.of(columns.swapaxes(-1, -2)))
    y = y[..., 0] if b.ndim == 1 else y
    if a.ndim == 1:
        y = y[..., 0] if b.ndim == 1 else y[..., 0, :]
    return y.astype(a.dtype)


def _window(*shares: float) -> Callable[..., np.ndarray]:
    """A sum of cosines of no, one, two turns over ``size`` places."""

    def run(size: np.ndarray, output_datatype: int = 1, periodic: int = 1) -> np.ndarray:
        count = int(size)
        turn = np.arange(count) * (2 * _PI / max(1, count if periodic else count - 1))
        y = sum(share * elementary.cos(i * turn) for i, share in enumerate(shares))
        return np.asarray(y).astype(onnx.helper.tensor_dtype_to_np_dtype(output_datatype or 1))

    return run


SAME_EVERYWHERE = [
    *(_operator(name, _of_numbers(name.lower())) for name in OF_NUMBERS if name != "Pow"),
    _operator("GatherND", _gather_nd),
    _operator("Pow", _power),
    _operator("MatMul", _mat_mul),
    _operator("HannWindow", _window(0.5, -0.5)),
    _operator("HammingWindow", _window(25 / 46, -21 / 46)),
    _operator("BlackmanWindow", _window(0.42, -0.5, 0.08)),
]
"""Classes for ``ReferenceEvaluator``."""
