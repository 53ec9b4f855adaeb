"""Turns inputs and outputs of a Graph that hand on what a run leaves into states of the Graph.

ONNX has no word for such a pair. A model that is written here, or read from a format that has one,
states its pairs as metadata, in JSON: ``{"states": {"h0": "hn"}, "shown": []}``, the outputs by the
inputs that they are in the next run, and which of these outputs are the model's own as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgeinfer.errors import InputError, ModelError
from edgeinfer.graph import Graph, State
from edgeinfer.graph.names import distinct

__all__ = ["StatedStates", "with_states"]

_KEY = "edgeinfer.states"


@dataclass(frozen=True)
class StatedStates:
    """The states that an ONNX model states.

    Parameters
    ----------
    pairs : dict of str to str
        Outputs by the inputs that they are in the next run.
    shown : tuple of str
        Those outputs that a caller gets, too.
    """

    pairs: dict[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> StatedStates:
        """Those that the metadata of a model states; none without such.

        Raises
        ------
        ModelError
            It is no such statement.
        """
        if _KEY not in metadata:
            return cls()
        try:
            document = json.loads(metadata[_KEY])
            pairs, shown = document["states"], document["shown"]
            names = [*pairs.values(), *shown]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            names = [None]
        if not all(isinstance(name, str) for name in names):
            raise ModelError(
                f"the model's metadata {_KEY!r} must be like {{'states': {{'h0': 'hn'}}, "
                "'shown': []}"
            )
        return cls(dict(pairs), tuple(shown))

    @property
    def metadata(self) -> dict[str, str]:
        """What a model states them with; nothing without any."""
        if not self.pairs:
            return {}
        return {_KEY: json.dumps({"states": self.pairs, "shown": self.shown})}


def with_states(
    graph: Graph, pairs: Mapping[str, str], stated: StatedStates = StatedStates()
) -> Graph:
    """``graph`` in which each input of ``pairs`` is what its output was in the run before.

    In the first run it is zeros. Neither is an input or output any more. ``stated`` has further
    pairs, and which of their outputs stay such.

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
    pairs = {**stated.pairs, **pairs}
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
    outputs = tuple(n for n in graph.outputs if n not in kept or n in stated.shown)
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
