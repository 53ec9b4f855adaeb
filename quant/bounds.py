"""What the bounds of functions say of ranges: at outputs nothing within them is ever cut, and
truth values are 0 and 1.

The scores of a detector may have been 0.4 at most in calibration, and 0.8 is what it is there to
find. So what a Sigmoid gives to an output without a layer between has the Sigmoid's bounds as
range, whatever was seen. Before a layer it has the range that was seen, whose steps are finer;
there the headroom of 16 bits ends at the bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.graph import ABSENT, Graph, Node
from edgeinfer.graph import operators as ops

__all__ = [
    "Range",
    "Ranges",
    "bounded_groups",
    "bounded_outputs",
    "function_bounds",
    "hull",
    "magnitude",
    "near_outputs",
    "truth_values",
]

Range: TypeAlias = tuple[float, float]

# by value, or by the representative of a group that shares its quantization
Ranges: TypeAlias = dict[str, Range]

_TESTS = ("equal", "greater", "greater_equal", "is_infinite", "is_nan")
_BOUNDED = {
    **dict.fromkeys(("sigmoid", "hard_sigmoid", *_TESTS), (0.0, 1.0)),
    "tanh": (-1.0, 1.0),
}


def hull(a: Range, b: Range) -> Range:
    """The range that holds both."""
    return min(a[0], b[0]), max(a[1], b[1])


def magnitude(range_: Range) -> float:
    """The largest magnitude in it."""
    return max(-range_[0], range_[1])


def function_bounds(op: ops.Operator) -> Range | None:
    """The bounds that the function of ``op`` has, whatever it is given."""
    if isinstance(op, ops.Softmax):
        return 0.0, 1.0
    return _expression_bounds(op.expression) if isinstance(op, ops.Pointwise) else None


def _expression_bounds(expression: pointwise.Expression) -> Range | None:
    return _BOUNDED.get(expression[0]) if isinstance(expression, tuple) else None


def _state_bounds(node: Node) -> Range | None:
    """The bounds of every h that a recurrent layer gives."""
    op = node.op
    if isinstance(op, ops.RNN):
        return _expression_bounds(op.hidden)
    if isinstance(op, ops.LSTM | ops.GRU) and _expression_bounds(op.gate) == (0.0, 1.0):
        # a share of a function's value, or a mean of such values and what there was at first
        if isinstance(op, ops.LSTM):
            return _expression_bounds(op.hidden)
        return _expression_bounds(op.candidate) if node.input("initial") == ABSENT else None
    return None


def near_outputs(graph: Graph) -> set[str]:
    """The outputs and states, and the values that they are made from without a layer between."""
    producers = graph.producers()
    found: set[str] = set()
    pending = list(graph.results)
    while pending:
        name = pending.pop()
        if name in found or name in graph.constants:
            continue
        found.add(name)
        node = producers.get(name)
        if node is not None and isinstance(
            node.op,
            ops.Selecting
            | ops.Elementwise
            | ops.Broadcasting
            | ops.Softmax
            | ops.LogSoftmax
            | ops.Resize,
        ):
            pending += node.operands
    return found


def truth_values(graph: Graph) -> set[str]:
    """The values that are 0 or 1 whatever the inputs are: tests, and what logic makes of them."""
    found = {
        name
        for name, array in graph.constants.items()
        if array.dtype == np.float32 and np.isin(array, (0, 1)).all()
    }
    for node in graph.nodes:
        of_truths = all(name in found for name in node.operands)
        match node.op:
            case ops.Pointwise(expression):
                numbers = np.array([0.0, 1.0])
                kept = np.isin(pointwise.evaluate(expression, numbers), numbers).all()
                is_truth = _is_test(expression) or (of_truths and kept)
            case ops.Exceeds():
                is_truth = True
            case ops.Mul():
                is_truth = of_truths
            case ops.Selecting():
                is_truth = of_truths and not isinstance(node.op, ops.Pad)
            case _:
                is_truth = False
        if is_truth:
            found.update(node.outputs)
    return found - set(graph.constants)


def _is_test(expression: Expression) -> bool:
    """Whether a function gives 0 or 1 whatever it is given."""
    match expression:
        case (name, *_) if name in _TESTS:
            return True
        case ("sub", 1.0, inner) | ("abs", inner):
            return _is_test(inner)
        case ("mul" | "max" | "min", a, b):
            return _is_test(a) and _is_test(b)
    return False


def bounded_outputs(graph: Graph, groups: Mapping[str, str]) -> Ranges:
    """The bounds of the functions near outputs, by the representative of their group."""
    near = {groups[name] for name in near_outputs(graph) if name in groups}
    found: Ranges = {}
    for node in graph.nodes:
        bounds = function_bounds(node.op)
        if bounds is not None and groups[node.output] in near:
            root = groups[node.output]
            found[root] = hull(found.get(root, bounds), bounds)
    return found


def bounded_groups(graph: Graph, groups: Mapping[str, str]) -> Ranges:
    """The bounds of each group that nothing but bounded functions gives, by its representative."""
    found: Ranges = {}
    unbounded = {groups[name] for name in graph.sources if name in groups}
    for node in graph.nodes:
        for name in node.outputs:
            if name not in groups:
                continue
            root, bounds = groups[name], function_bounds(node.op)
            if isinstance(node.op, ops.Recurrent):
                is_h = name == node.outputs[0] or isinstance(node.op, ops.GRU)
                bounds = _state_bounds(node) if is_h else None
            if bounds is not None:
                found[root] = hull(found.get(root, bounds), bounds)
            elif not all(groups.get(name, root) == root for name in node.operands):
                unbounded.add(root)
    return {root: bounds for root, bounds in found.items() if root not in unbounded}
