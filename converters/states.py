"""Turns inputs and outputs of a Graph that hand on what a run leaves into states of the Graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, State
from edgeinfer.graph.names import distinct

__all__ = ["with_states"]


def with_states(graph: Graph, pairs: Mapping[str, str]) -> Graph:
    """``graph`` in which each input of ``pairs`` is what its output was in the run before.

    In the first run it is zeros. Neither is an input or output any more.

    Raises
    ------
    InputError
        A pair names no input or output, or two of different types; or nothing is left to be given
        or to be computed.
    """
    if not isinstance(pairs, Mapping):
        raise InputError(
            "states are outputs by the inputs that they are in the next run, as in "
            f"{{'h0': 'hn'}}, or 'auto'; not {pairs!r}"
        )
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
