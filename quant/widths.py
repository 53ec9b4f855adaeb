"""The width of every sharing group: the scheme's, or what the last pattern that names it says."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import get_args

from edgeinfer.errors import InputError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.quant.schemes import Width

__all__ = ["denominators", "group_widths", "wide_groups", "wider"]

_NEAR = 3


def wider(*widths: Width) -> Width:
    """The width that holds all of ``widths``."""
    return "int16" if "int16" in widths else "int8"


def group_widths(
    graph: Graph, groups: Mapping[str, str], default: Width, overrides: Mapping[str, str]
) -> dict[str, Width]:
    """The width of each group, by its representative.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    groups : mapping of str to str
        For each float value that is not constant, the representative of its group.
    default : str
        The width of a group that no pattern names.
    overrides : mapping of str to str
        ``int8`` or ``int16`` by shell pattern. A pattern names values, and a node's name all that
        the node gives; where several name a group, the last one counts.

    Raises
    ------
    InputError
        A width is unknown, or a pattern names no float value that a run computes.
    """
    widths = dict.fromkeys(groups.values(), default)
    named: dict[str, set[str]] = {name: {root} for name, root in groups.items()}
    for node in graph.nodes:
        given = {groups[name] for name in node.outputs if name in groups}
        if given:
            named.setdefault(node.name, set()).update(given)
    for pattern, width in overrides.items():
        if width not in get_args(Width):
            raise InputError(
                f"the width for {pattern!r} must be one of {', '.join(get_args(Width))}, "
                f"not {width!r}"
            )
        # a name may hold brackets, which a pattern reads as a choice
        matched = [name for name in named if name == pattern or fnmatchcase(name, pattern)]
        if not matched:
            raise InputError(
                f"no node and no value that is computed is named {pattern!r}{_near(pattern, named)}"
            )
        for name in matched:
            widths.update(dict.fromkeys(named[name], width))  # type: ignore[arg-type]
    return widths


def wide_groups(graph: Graph, groups: Mapping[str, str]) -> set[str]:
    """The groups of 16 bits in every scheme: denominators, shares that others weigh by, memories,
    what recurrent layers take, sums of products, boxes.

    A quotient has the relative accuracy of its denominator, of which the least numbers of 8 bits
    have none; of 200 shares of a softmax most are no step of 1/256; the cells of an LSTM and the
    memory of a GRU add up what all steps give, and so each step's error; W x + R h, spelled out, is
    rounded once and not three times; 255 steps of a box are 2.5 pixels of 640; and features of all
    sizes are compared in one tensor.
    """
    results = {groups[name] for name in graph.results if name in groups}
    shares = {
        groups[node.output]
        for node in graph.nodes
        if isinstance(node.op, ops.Softmax) and groups[node.output] not in results
    }
    memories = {
        groups[node.outputs[1]] for node in graph.nodes if isinstance(node.op, ops.LSTM | ops.GRU)
    }
    compared = [
        name
        for node in graph.nodes
        if isinstance(node.op, ops.Exceeds | ops.NonMaxSuppression)
        for name in node.operands
    ]
    return (
        shares
        | memories
        | _sequences(graph, groups)
        | _summed_products(graph, groups)
        | denominators(graph, groups)
        | _behind_layers(graph, groups, compared)
    )


def _sequences(graph: Graph, groups: Mapping[str, str]) -> set[str]:
    """The groups of what recurrent layers take as x, but for what is another's h, or of a table.

    W x is one layer for all steps, and takes no longer for it. R h of each step does: it has to
    wait for weights. And a table of 16 bits is twice as large.
    """
    producers = graph.producers()
    layers = [node for node in graph.nodes if isinstance(node.op, ops.Recurrent)]
    kept = {groups[node.outputs[0]] for node in layers} | {
        groups[node.output]
        for node in graph.nodes
        if isinstance(node.op, ops.Gather)
        and node.inputs[0] in graph.constants
        and node.output in groups  # and not of whole numbers
    }

    def is_kept(name: str) -> bool:
        node = producers.get(name)
        if groups.get(name) in kept:
            return True
        if node is None or not isinstance(node.op, ops.Selecting):
            return False
        return any(is_kept(each) for each in node.operands)

    taken = [node.input("x") for node in layers]
    return {groups[name] for name in taken if name in groups and not is_kept(name)}


def _summed_products(graph: Graph, groups: Mapping[str, str]) -> set[str]:
    """The groups of what dense layers give where nothing but a sum of two such takes it."""
    producers, consumers = graph.producers(), graph.consumers()

    def is_product(name: str) -> bool:
        node = producers.get(name)
        alone = len(consumers.get(name, ())) == 1 and name not in graph.results
        return node is not None and isinstance(node.op, ops.Dense) and alone

    return {
        groups[name]
        for node in graph.nodes
        if isinstance(node.op, ops.Add) and all(map(is_product, node.operands))
        for name in node.operands
    }


def denominators(graph: Graph, groups: Mapping[str, str]) -> set[str]:
    """The groups of denominators, and of what these are computed from behind a layer."""
    divisors = [node.input("b") for node in graph.nodes if isinstance(node.op, ops.Div)]
    return _behind_layers(graph, groups, divisors)


def _behind_layers(graph: Graph, groups: Mapping[str, str], names: Iterable[str]) -> set[str]:
    """The groups of values, and of what they are computed from behind a layer."""
    producers = graph.producers()
    pending = list(names)
    found: set[str] = set()
    while pending:
        name = pending.pop()
        node = producers.get(name)
        if name in found or node is None:
            continue
        if isinstance(node.op, ops.Selecting | ops.Elementwise | ops.Broadcasting | ops.Reducing):
            found.add(name)
            pending += node.operands
    return {groups[name] for name in found if name in groups}


def _near(pattern: str, names: Mapping[str, object]) -> str:
    plain = pattern.strip("*?")
    holding = [name for name in names if plain and plain.lower() in name.lower()]
    near = holding[:_NEAR] or difflib.get_close_matches(plain, names, _NEAR, 0.4)
    return f"; near it are {', '.join(map(repr, near))}" if near else ""
