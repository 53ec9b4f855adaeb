"""Which Resize of ONNX makes the given weights: all are imported, and what they become compared.

For what writes a Graph in another format: it has the weights, and the format has names for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgeinfer.converters import from_onnx
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["resize_attributes"]

# of each output row, or column, the first of its neighbours, and their weights [n, taps]
_Weights: TypeAlias = tuple[np.ndarray, np.ndarray]

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


def resize_attributes(node: Node, graph: Graph) -> dict[str, object] | None:
    """The attributes of the Resize of NCHW that has the weights of the QResize ``node``; None where
    there is none."""
    first_rows, row_weights, first_columns, column_weights = (
        graph.constants[name] for name in node.inputs[1:]
    )
    before, after = graph.types[node.input("x")].shape[1:3], (len(first_rows), len(first_columns))
    apart = []
    for place in range(len(_CANDIDATES)):
        made = _imported(place, before, after)
        rows = _apart(made.rows, (first_rows, row_weights))
        columns = _apart(made.columns, (first_columns, column_weights))
        apart.append(max(rows, columns))
    # of few weights in all, several candidates' round to nearly the same
    nearest = int(np.argmin(apart))
    return _CANDIDATES[nearest] if apart[nearest] <= 1 else None


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


def _apart(stated: Sequence[tuple[int, Sequence[float]]], given: _Weights) -> float:
    """By how much integer weights are others than ``stated`` ones; infinite for other places."""
    first, weights = given
    whole = weights.sum(1).max()
    if [start for start, _ in stated] != first.tolist() or whole <= 0:
        return np.inf
    reals = np.array([row for _, row in stated])
    return float(np.abs(reals * whole - weights).max()) if reals.shape == weights.shape else np.inf
