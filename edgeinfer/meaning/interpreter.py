"""A Graph and its inputs into every value, one node at a time, with NumPy.

What an operator means is the caller's: ``float_executor.py`` and ``reference.py`` tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import numpy as np

from edgeinfer.errors import InputError, ModelError
from edgeinfer.graph import ABSENT, Graph, Node, TensorType
from edgeinfer.graph.lifetimes import last_uses

__all__ = ["Evaluate", "Observer", "execute"]

# an operator and its inputs, None for an absent one, into its outputs
Evaluate = Callable[..., tuple[np.ndarray, ...]]
Observer = Callable[[str, np.ndarray], None]


def execute(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    evaluate: Evaluate,
    *,
    constants: Mapping[str, Any] | None = None,
    state: MutableMapping[str, np.ndarray] | None = None,
    observe: Observer | None = None,
) -> dict[str, np.ndarray]:
    """The outputs of ``graph`` by name.

    Parameters
    ----------
    graph : Graph
        Float or integer.
    inputs : mapping of str to numpy.ndarray
        One array for each of the graph's inputs, of exactly its shape and element type.
    evaluate : callable
        ``evaluate(op, *arrays)`` gives the outputs of an operator. A requantizing one does not know
        the width of its output, so it may give int64, which is narrowed here to the element type
        that the Graph states.
    constants : mapping
        The graph's, each as an array or in another form in which ``evaluate`` takes it.
    state : mutable mapping of str to numpy.ndarray
        What the run before left, by the names of the states' inputs, and then what this one leaves;
        a state that it lacks begins with its first value. None begins all, and leaves nothing.
    observe : callable
        Called with the name and array of every input and of every node's outputs, in order. A
        value is forgotten after its last use, so memory stays near a run's own.

    Raises
    ------
    InputError
        A name, shape or element type does not fit, or an index is outside its axis.
    ModelError
        An operator gave what its value's type cannot hold.
    """
    for name in inputs:
        if name not in graph.inputs:
            raise InputError(f"the graph has no input {name!r}")
    values: dict[str, Any] = dict(graph.constants if constants is None else constants)
    for name in graph.inputs:
        values[name] = _checked_input(name, graph.types[name], inputs)
    for kept in graph.states:
        values[kept.input] = (state or {}).get(kept.input, graph.constants[kept.first])
    if observe is not None:
        for name in graph.sources:
            observe(name, values[name])
    last = last_uses(graph)
    for i, node in enumerate(graph.nodes):
        taken = (None if name == ABSENT else values[name] for name in node.inputs)
        # floats follow IEEE 754: an overflow is an infinity, 0 / 0 a NaN, and neither a warning
        try:
            with np.errstate(all="ignore"):
                results = evaluate(node.op, *taken)
        except InputError as error:
            raise InputError(f"node {node.name!r}: {error}") from error
        for name, array in zip(node.outputs, results, strict=True):
            values[name] = _typed(np.asarray(array), graph.types[name], node)
            if observe is not None:
                observe(name, values[name])
        for name in {*node.operands, *node.outputs}:
            if last.get(name, i) <= i:
                values.pop(name, None)
    if state is not None:
        state.update({kept.input: values[kept.output] for kept in graph.states})
    return {name: values[name] for name in graph.outputs}


def _checked_input(name: str, t: TensorType, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in inputs:
        raise InputError(f"input {name!r} is missing")
    x = inputs[name]
    if x.shape != t.shape or x.dtype != t.dtype:
        raise InputError(
            f"input {name!r} takes {t.dtype} of shape {list(t.shape)}, "
            f"not {x.dtype} of shape {list(x.shape)}"
        )
    return x


def _typed(array: np.ndarray, t: TensorType, node: Node) -> np.ndarray:
    """``array`` as its value's element type; integer meanings compute in int64."""
    operator = type(node.op).__name__
    if array.shape != t.shape:
        raise ModelError(
            f"gave shape {list(array.shape)}, not {list(t.shape)}",
            node=node.name,
            operator=operator,
        )
    if array.dtype == t.dtype:
        return array
    typed = array.astype(t.dtype)
    if array.dtype != np.int64 or not np.array_equal(typed, array):
        raise ModelError(
            f"gave {array.dtype} that {t.dtype} cannot hold", node=node.name, operator=operator
        )
    return typed
