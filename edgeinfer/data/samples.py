"""Whatever data a caller has into a stream of dicts, each of which is one run's inputs.

An array, a dict of arrays by input name, or any iterable of such: an array holds samples along
its first axis, or exactly one run's input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import TypeAlias

import numpy as np

from edgeinfer import advice
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph
from edgeinfer.graph.batching import obstacle
from edgeinfer.graph.indifference import indifferent_sides
from edgeinfer.graph.likely_states import likely_states

__all__ = ["Data", "is_batched", "keep_likely_states", "runs", "samples_in"]

Batch: TypeAlias = np.ndarray | Mapping[str, np.ndarray]
Data: TypeAlias = Batch | Iterable[Batch]

# by value, on which sides of 0 nobody asks how far a number lies
_Ignored: TypeAlias = Callable[[], Mapping[str, frozenset[int]]]


def runs(graph: Graph, data: Data, *, limit: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Inputs for one run of ``graph`` after another, at most ``limit`` of them.

    Numbers stand for themselves, as floats, on a float and on an integer Graph. A mask may hold
    minus infinity: the lowest float takes its place, which excludes as well.

    Raises
    ------
    InputError
        A name, shape or type does not fit the graph's inputs, a value is not finite, or there is
        no data at all.
    """
    count = 0
    if not isinstance(data, Iterable):
        raise InputError(f"samples are arrays, or arrays by name, not {type(data).__name__}")
    # asked where data holds minus infinity, once
    ignored = cache(lambda: indifferent_sides(graph))
    batches: Iterable[Batch] = [data] if isinstance(data, np.ndarray | Mapping) else data
    for batch in batches:
        for feed in _slices(graph, _named(graph, batch, ignored)):
            if limit is not None and count == limit:
                return
            count += 1
            yield feed
    if count == 0:
        raise InputError("the data holds no samples")


def is_batched(graph: Graph, name: str) -> bool:
    """Whether the first axis of the output ``name`` is that of the samples in one run.

    It is where the model's batch is open, and where it was fixed when the model was exported and
    its samples stay apart; a first axis along which they mix is, say, time.
    """
    shape, fed = graph.types[name].shape, graph.types[graph.inputs[0]].shape
    if not shape or shape[:1] != fed[:1]:
        return False
    return graph.free_batch or shape[0] == 1 or obstacle(graph, graph.inputs, shape[0]) is None


def samples_in(graph: Graph) -> int:
    """How many samples one run of ``graph`` takes, as far as its first output tells."""
    name = graph.outputs[0]
    return graph.types[name].shape[0] if is_batched(graph, name) else 1


def _named(graph: Graph, batch: Batch, ignored: _Ignored) -> dict[str, np.ndarray]:
    if isinstance(batch, Mapping):
        if set(batch) != set(graph.inputs):
            raise InputError(
                f"the data is for {_list(batch)}, but the model's inputs are "
                f"{_list(graph.inputs)}{_about_states(graph, batch)}"
            )
        named = {name: np.asarray(batch[name]) for name in graph.inputs}
    elif len(graph.inputs) == 1:
        named = {graph.inputs[0]: np.asarray(batch)}
    else:
        raise InputError(
            f"the model has inputs {_list(graph.inputs)}: give arrays by name, not one array"
            f"{keep_likely_states(graph, 1)}"
        )
    return {name: _checked(graph, name, array, ignored) for name, array in named.items()}


def keep_likely_states(graph: Graph, given: int) -> str:
    """Advice where data for ``given`` inputs lacks only what looks like states; else nothing."""
    likely = {} if graph.is_integer else likely_states(graph)
    if not likely or len(graph.inputs) - len(likely) != given:
        return ""
    return f"; to keep what a run leaves for the next, {advice.keep_states(likely)}"


def _about_states(graph: Graph, given: Mapping[str, np.ndarray]) -> str:
    """What is to be said where names differ from the inputs' by states alone; else nothing."""
    states = {state.input for state in graph.states}
    if states and set(given) - states == set(graph.inputs):
        return "; the model keeps its states itself"
    likely = likely_states(graph)
    left = set(graph.inputs) - set(likely)
    # a single array feeds a single input under any name
    fits = left == set(given) or len(left) == len(given) == 1
    return keep_likely_states(graph, len(given)) if fits else ""


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "nothing"


def _checked(graph: Graph, name: str, array: np.ndarray, ignored: _Ignored) -> np.ndarray:
    expected = graph.types[name]
    if expected.dtype == "float32" or expected.quantization is not None:
        if array.dtype.kind not in "fiub":
            raise InputError(f"input {name!r} takes numbers, not {array.dtype}")
        # what is too large becomes infinite
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            array = _excluded(graph, name, array, ignored)
    elif array.dtype != expected.dtype:
        if array.dtype.kind not in "iu" or (array.astype(expected.dtype) != array).any():
            raise InputError(f"input {name!r} takes {expected.dtype}, not {array.dtype}")
        array = array.astype(expected.dtype)
    if expected.shape[:1] == (1,) and array.shape == expected.shape[1:]:
        return array[np.newaxis]  # one sample, without the axis of the batch
    return array


def _excluded(graph: Graph, name: str, array: np.ndarray, ignored: _Ignored) -> np.ndarray:
    """``array`` with the lowest float for minus infinity, where that is a mask's "never"."""
    lowest = np.maximum(array, np.finfo(np.float32).min)
    if not np.isfinite(lowest).all():
        raise InputError(f"the data for input {name!r} holds a value that is not finite")
    # an integer Graph was asked before it was quantized
    if not graph.is_integer and -1 not in ignored().get(name, ()):
        raise InputError(
            f"the data for input {name!r} holds minus infinity, and the model computes with it: "
            "only a mask of what a Softmax or a maximum excludes may hold that"
        )
    return lowest


def _slices(graph: Graph, named: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    counts = {name: _runs_in(graph, name, array) for name, array in named.items()}
    if len(set(counts.values())) > 1:
        raise InputError(f"the inputs hold different numbers of samples: {counts}")
    for i in range(next(iter(counts.values()))):
        feed = {}
        for name, array in named.items():
            shape = graph.types[name].shape
            if array.shape == shape:
                feed[name] = array
            elif array.shape[1:] == shape:
                feed[name] = array[i]
            else:
                feed[name] = array[i * shape[0] : (i + 1) * shape[0]]
        yield feed


def _runs_in(graph: Graph, name: str, array: np.ndarray) -> int:
    shape = graph.types[name].shape
    if array.shape == shape:
        return 1
    if array.shape[1:] == shape:
        return len(array)
    if shape and array.shape[1:] == shape[1:] and array.ndim == len(shape):
        if len(array) % shape[0]:
            raise InputError(
                f"input {name!r} takes multiples of {shape[0]}, not {len(array)} samples"
            )
        return len(array) // shape[0]
    message = f"input {name!r} has shape {list(shape)}, but the data has shape {list(array.shape)}"
    steps = graph.provenance.get("stream")
    if steps is not None:
        runs = ", ".join(map(str, ("runs", *(shape[1:] if shape[:1] == (1,) else shape))))
        message += (
            f"; the model takes {steps} {'step' if steps == '1' else 'steps'} of a sequence a run: "
            f"give those of one sequence as [{runs}]"
        )
    raise InputError(message)
