"""What becomes of a Graph that a stranger's file holds: its run is refused, or has right bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from edgeinfer.errors import EdgeInferError
from edgeinfer.files.model_file import from_bytes, to_bytes
from edgeinfer.graph import Graph
from edgeinfer.graph.cost import cost
from edgeinfer.meaning import float_executor, reference
from edgeinfer.quant import as_stated, quantize
from edgeinfer.quant.stated import states_integers
from edgeinfer.runtime.planner import plan
from edgeinfer.runtime.session import Session

MOST_MACS = 10**7
MOST_ELEMENTS = 10**6
"""Of a Graph that is run: more takes too long, and is legal."""
MOST_PLANNED = 1 << 29
"""Bytes of a Graph that is only planned."""
SAMPLES = 3
SECONDS = 10
"""Of a processor, that reading a file may take."""


def imported(load: Callable[[bytes], Graph], data: bytes, chance: int) -> str:
    """What becomes of a file that is no ``.eqm``: "refused", "imported" (where no integers are
    made of it), "quantized" (where their run is refused), or "run".

    Raises
    ------
    AssertionError
        The Session and the reference do not agree, a refusal is no line, or it took too long.
    Exception
        Whatever else is no error of edgeinfer.
    """
    graph = loaded(load, data)
    if graph is None:
        return "refused"
    if not _is_small(graph):
        return "imported"
    try:
        if states_integers(graph):
            integers = as_stated(graph)
        else:
            samples = [_sample(graph, chance + i) for i in range(SAMPLES)]
            # all of them take most of the time
            observer = "minmax" if chance % 8 else "auto"
            integers = quantize(graph, samples, observer=observer)
    except EdgeInferError as error:
        _assert_one_line(error)
        return "imported"
    return "run" if accepted(from_bytes(to_bytes(integers)), chance) == "run" else "quantized"


def loaded(load: Callable[[bytes], Graph], data: bytes) -> Graph | None:
    """The Graph in ``data``, or None where it is refused: in a line, and in time."""
    with _in_time():
        try:
            return load(data)
        except EdgeInferError as error:
            _assert_one_line(error)
            return None


@contextmanager
def _in_time() -> Iterator[None]:
    began = time.process_time()
    yield
    seconds = time.process_time() - began
    assert seconds < SECONDS, f"{seconds:.1f} s of a processor"


def accepted(graph: Graph, chance: int) -> str:
    """ "run" where a Graph is integer with the reference's bits, or float with any, and "accepted"
    where its run is refused, or too much work, so that it is only planned.
    """
    if not _is_small(graph):
        if graph.is_integer:
            with _in_time(), suppress(EdgeInferError):
                plan(graph, max_bytes=MOST_PLANNED)
        return "accepted"
    feed = _inputs(graph, chance)
    if not graph.is_integer:
        values = _tried(float_executor.execute, graph, feed)
        assert values or any(kind.dtype != "float32" for kind in graph.types.values())
        return "run" if values else "accepted"
    ours, expected = _tried(_by_session, graph, feed), _tried(reference.execute, graph, feed)
    assert (ours is None) == (expected is None)
    if ours is None or expected is None:
        return "accepted"
    for name, array in expected.items():
        assert ours[name].dtype == array.dtype
        np.testing.assert_array_equal(ours[name], array)
    return "run"


def _is_small(graph: Graph) -> bool:
    elements = sum(kind.elements for kind in graph.types.values())
    return cost(graph).macs <= MOST_MACS and elements <= MOST_ELEMENTS


def _assert_one_line(error: EdgeInferError) -> None:
    assert str(error) and "\n" not in str(error), repr(error)


def _sample(graph: Graph, chance: int) -> dict[str, np.ndarray]:
    """Numbers as a calibration has them; small ones where they may be places."""
    rng, feed = np.random.default_rng(chance), {}
    for name in graph.inputs:
        kind = graph.types[name]
        low = -2 if chance % 2 else 0
        if kind.dtype == "float32":
            feed[name] = rng.normal(size=kind.shape).astype(np.float32)
        else:
            feed[name] = rng.integers(low, 4, kind.shape).astype(kind.dtype)
    return feed


def _inputs(graph: Graph, chance: int) -> dict[str, np.ndarray]:
    """Numbers of the whole range."""
    rng, feed = np.random.default_rng(chance), {}
    for name in graph.inputs:
        kind = graph.types[name]
        dtype = np.dtype(kind.dtype)
        info = np.iinfo(dtype) if dtype.kind == "i" else None
        low, high = (info.min, info.max) if info else (0, 1)
        feed[name] = rng.integers(low, high, kind.shape, endpoint=True).astype(dtype)
    return feed


def _by_session(graph: Graph, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    kinds = {name: graph.types[name] for name in graph.outputs}
    # integers: without inputs that are numbers there would be floats
    found = {name: np.empty(kind.shape, kind.dtype) for name, kind in kinds.items()}
    Session(graph).stream().run(feed, out=found)
    return found


def _tried(run: Callable[..., dict[str, np.ndarray]], *arguments: Any) -> dict | None:
    """The outputs, or None where the run is refused, for an index outside of its axis, say."""
    try:
        return run(*arguments)
    except EdgeInferError:
        return None
