"""An integer Graph as one TOSA graph of all operators that have a form there.

What the others give are inputs of the TOSA graph, as the Graph's own inputs are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeinfer.converters.tosa.flatbuffer import Tensor
from edgeinfer.converters.tosa.rules import lower
from edgeinfer.converters.tosa.writer import TosaWriter
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph

__all__ = ["Lowered", "lowered"]


@dataclass(frozen=True)
class Lowered:
    """A TOSA graph.

    Parameters
    ----------
    document : mapping of str to Any
        TOSA's flatbuffer as JSON.
    takes : mapping of str to Tensor
        By their names, the values of the Graph that it takes: inputs, states, and what operators
        give that TOSA has no form for.
    gives : mapping of str to Tensor
        The values of the Graph that it computes, in order.
    absent : mapping of str to str
        The values of the Graph that it has no operators for, each with its operator and the reason.
    """

    document: Mapping[str, Any]
    takes: Mapping[str, Tensor]
    gives: Mapping[str, Tensor]
    absent: Mapping[str, str]


def lowered(graph: Graph) -> Lowered:
    """``graph``, an integer one, as TOSA's operators.

    Raises
    ------
    UnsupportedError
        TOSA has a form for none of its operators.
    """
    to = TosaWriter(graph)
    absent = {}
    for node in graph.nodes:
        begun = to.begin(node.name)
        try:
            made = lower(node.op, node, to)
        except UnsupportedError as error:
            to.take_back(begun)
            absent.update(
                {name: f"{type(node.op).__name__}: {error.message}" for name in node.outputs}
            )
            continue
        tensors = [made] if isinstance(made, Tensor) else made
        for name, tensor in zip(node.outputs, tensors, strict=True):
            to.give(name, tensor)
    document, takes, gives = to.finished()
    if not gives:
        reasons = "; ".join(dict.fromkeys(absent.values()))
        raise UnsupportedError(f"TOSA has a form for none of the operators: {reasons}")
    return Lowered(document, takes, gives, absent)
