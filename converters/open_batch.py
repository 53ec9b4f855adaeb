"""Decides whether the open first axis of a model's inputs is a batch of samples kept apart.

The model is imported with another batch too. Its Graphs must be the same but for that extent, and
``graph.batching`` must prove that no sample reaches another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeinfer.advice import give_shapes
from edgeinfer.converters.onnx_inputs import Inputs
from edgeinfer.errors import EdgeInferError, InputError, ModelError
from edgeinfer.graph import Graph
from edgeinfer.graph.batching import obstacle
from edgeinfer.graph.operators import Pointwise

__all__ = ["guess_failed", "is_free_batch"]

# so that the other batch is the extent of no other axis, or hardly ever
_MORE = 6
_EXAMPLE = 50


def is_free_batch(
    graph: Graph, inputs: Inputs, batch: int, with_batch: Callable[[int], Graph]
) -> bool:
    """Whether runs of more samples may go through ``graph`` in slices of ``batch``.

    Parameters
    ----------
    graph : Graph
        As imported, not yet canonical.
    inputs : Inputs
        What it was imported with.
    batch : int
        The extent of the open first axes.
    with_batch : callable
        Imports the model with another extent of them.

    Raises
    ------
    InputError
        Samples are not apart, and nobody has given the shape of the input that seemed to hold them.
    """
    if not inputs.open:
        return False
    found = _obstacle(graph, inputs.open, batch, with_batch)
    if found is not None and inputs.guessed:
        raise InputError(
            f"input {inputs.guessed[0]!r} leaves its first axis open, which is no batch of "
            f"samples: {found}; give its whole shape, as in {_example(inputs)}"
        )
    return found is None and set(inputs.open) == set(inputs.types)


def guess_failed(error: ModelError, inputs: Inputs, batch: int) -> ModelError:
    """``error`` of an import in which open first axes were taken to be ``batch``, saying so."""
    return type(error)(
        f"{error.message}; the first axis of input {inputs.guessed[0]!r} is open and was taken to "
        f"be {batch}: if it is no batch of samples, give its whole shape, as in {_example(inputs)}",
        node=error.node,
        operator=error.operator,
    )


def _example(inputs: Inputs) -> str:
    return give_shapes({n: [_EXAMPLE, *inputs.types[n].shape[1:]] for n in inputs.guessed})


def _obstacle(
    graph: Graph, opened: Sequence[str], batch: int, with_batch: Callable[[int], Graph]
) -> str | None:
    try:
        other = with_batch(batch + _MORE)
    except EdgeInferError:
        # the model holds the batch to this one, by a Reshape to [1, 256] say: a run of it is a
        # sample, whatever lies along axes of extent 1
        return obstacle(graph, opened, batch)
    return obstacle(other, opened, batch + _MORE) or _difference(graph, other, batch)


def _difference(graph: Graph, other: Graph, batch: int) -> str | None:
    """How the model computes otherwise with another batch; None where it does not."""
    if len(graph.nodes) != len(other.nodes):
        return "the model computes otherwise with another extent of it"
    for node, twin in zip(graph.nodes, other.nodes, strict=True):
        is_same = type(node.op) is type(twin.op) and len(node.inputs) == len(twin.inputs)
        if isinstance(node.op, Pointwise):
            is_same = node.op == twin.op
        values = zip((*node.operands, *node.outputs), (*twin.operands, *twin.outputs), strict=False)
        if not is_same or not all(_is_alike(graph, a, other, b) for a, b in values):
            return (
                f"{type(node.op).__name__} {node.name!r} computes otherwise with another extent"
                " of it"
            )
    for name in graph.outputs:
        if graph.types[name].shape[:1] != (batch,):
            return f"output {name!r} has no row for each sample"
    return None


def _is_alike(graph: Graph, name: str, other: Graph, twin: str) -> bool:
    """Whether two values have as many axes, and hold the same where they are constant."""
    a, b = graph.constants.get(name), other.constants.get(twin)
    if a is None or b is None:
        return a is b and len(graph.types[name].shape) == len(other.types[twin].shape)
    # what the larger batch repeats, ``obstacle`` has compared
    return a.ndim == b.ndim and np.array_equal(b[tuple(map(slice, a.shape))], a)
