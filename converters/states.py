"""Turns inputs and outputs of a Graph that hand on what a run leaves into states of the Graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, State
from edgeinfer.graph.names import distinct

__all__ = ["likely_states", "with_states"]

# words by which a state's input and its output differ
_ROLES = frozenset(
    (
        "0",
        "in",
        "input",
        "prev",
        "previous",
        "past",
        "old",
        "init",
        "initial",
        "n",
        "out",
        "output",
        "next",
        "present",
        "new",
        "cur",
        "current",
        "final",
        "last",
        "updated",
    )
)


def with_states(graph: Graph, pairs: Mapping[str, str]) -> Graph:
    """``graph`` in which each input of ``pairs`` is what its output was in the run before.

    In the first run it is zeros. Neither is an input or output any more.

    Raises
    ------
    InputError
        A pair names no input or output, or two of different types; or nothing is left to be given
        or to be computed.
    """
    constants, types = dict(graph.constants), dict(graph.types)
    states = []
    for source, result in pairs.items():
        for name, names, what in (
            (source, graph.inputs, "input"),
            (result, graph.outputs, "output"),
        ):
            if name not in names:
                raise InputError(
                    f"a state is an input and an output, and there is no {what} {name!r}; "
                    f"the {what}s are: {', '.join(names)}"
                )
        if types[source] != types[result]:
            raise InputError(
                f"input {source!r} is {types[source]} and output {result!r} is {types[result]}: "
                "a state is of one type"
            )
        first = distinct(f"{source}/first", types)
        types[first] = types[source]
        constants[first] = np.zeros(types[source].shape, types[source].dtype)
        states.append(State(source, result, first))
    kept = set(pairs.values())
    if len(kept) < len(pairs):
        raise InputError("two states are kept from one output")
    inputs = tuple(name for name in graph.inputs if name not in pairs)
    outputs = tuple(name for name in graph.outputs if name not in kept)
    for names, what in ((inputs, "input"), (outputs, "output")):
        if not names:
            raise InputError(f"no {what} is left beside the states")
    return replace(
        graph,
        inputs=inputs,
        outputs=outputs,
        types=types,
        constants=constants,
        states=(*graph.states, *states),
        free_batch=False,
    )


def likely_states(graph: Graph) -> dict[str, str]:
    """The inputs and outputs that are of one type, and whose names differ by their role alone.

    As ``h0`` and ``hn``, ``state`` and ``stateN``, ``cache_in`` and ``cache_out``.
    """
    found: dict[str, list[str]] = {}
    for source in graph.inputs:
        for result in graph.outputs:
            if graph.types[source] == graph.types[result] and _stem(source) == _stem(result):
                found.setdefault(source, []).append(result)
    single = {source: results[0] for source, results in found.items() if len(results) == 1}
    given = list(single.values())
    return {source: result for source, result in single.items() if given.count(result) == 1}


def _stem(name: str) -> tuple[str, ...] | None:
    """The words of a name without those that tell a state's side; None where none is left."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", " ", name)
    words = re.findall(r"[a-z]+|\d+", apart.lower())
    # h0 and hn of torch.nn.GRU
    words = [word[0] if word in ("hn", "cn") else word for word in words]
    kept = tuple(word for word in words if word not in _ROLES)
    return kept or None
