"""Which Resize of ONNX makes the given weights: all are imported, and what they become compared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgeinfer.converters import from_onnx
from edgeinfer.graph import operators as ops

__all__ = ["Weights", "resize_attributes"]

Weights = tuple[np.ndarray, np.ndarray]
"""Of each output row, or column, the first of its neighbours, and their weights [n, taps]."""

_OPSET = 18
_CANDIDATES: tuple[dict[str, object], ...] = tuple(
    {"mode": mode, "coordinate_transformation_mode": coordinates, **more}
    for mode, others in (
        ("linear", ({}, {"antialias": 1})),
        ("cubic", ({}, {"cubic_coeff_a": -0.5}, {"exclude_outside": 1}, {"antialias": 1})),
    )
    for more in others
    for coordinates in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
)


def resize_attributes(
    before: Sequence[int], rows: Weights, columns: Weights
) -> dict[str, object] | None:
    """The attributes of the Resize of NCHW that makes [H,W] ``before`` of such weights; None where
    there is none."""
    after = len(rows[0]), len(columns[0])
    for place in range(len(_CANDIDATES)):
        made = _imported(place, tuple(before), after)
        if _is(made.rows, rows) and _is(made.columns, columns):
            return _CANDIDATES[place]
    return None


@lru_cache(maxsize=256)
def _imported(place: int, before: tuple[int, ...], after: tuple[int, ...]) -> ops.Resize:
    """What a candidate becomes in a Graph."""
    sizes = numpy_helper.from_array(np.array([1, 1, *after], np.int64), "sizes")
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **_CANDIDATES[place])
    info = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, *shape])
        for name, shape in (("x", before), ("y", after))
    )
    x, y = info
    model = helper.make_model(
        helper.make_graph([node], "resize", [x], [y], [sizes]),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )
    return next(n.op for n in from_onnx(model).nodes if isinstance(n.op, ops.Resize))


def _is(stated: Sequence[tuple[int, Sequence[float]]], given: Weights) -> bool:
    """Whether integer weights are ``stated`` ones, rounded."""
    first, weights = given
    whole = weights.sum(1).max()
    if [start for start, _ in stated] != first.tolist() or whole <= 0:
        return False
    reals = np.array([row for _, row in stated])
    return reals.shape == weights.shape and bool((np.abs(reals * whole - weights) <= 1).all())
