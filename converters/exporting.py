"""Writes the operators of an integer Graph for another tool, and names all that it has no form
for at once."""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph, Node, check_is_graph

__all__ = ["check_exportable", "write_nodes"]

_NAMED = 5


def check_exportable(graph: Graph) -> None:
    """Refuse a float Graph, and what is none.

    Raises
    ------
    InputError
        It is one.
    """
    check_is_graph(graph)
    if not graph.is_integer:
        raise InputError("a float model has no integers to export: quantize it first")


def write_nodes(graph: Graph, write: Callable[[Node], None]) -> None:
    """Call ``write`` with each node of ``graph``, in order.

    Raises
    ------
    UnsupportedError
        ``write`` raised it for some: all are named.
    """
    refused = []
    for node in graph.nodes:
        try:
            write(node)
        except UnsupportedError as error:
            refused.append(f"{type(node.op).__name__} {node.name!r}: {error.message}")
    if refused:
        raise UnsupportedError(
            f"{len(refused)} of {len(graph.nodes)} operators cannot be exported: "
            f"{'; '.join(refused[:_NAMED])}{'; ...' if refused[_NAMED:] else ''}"
        )
