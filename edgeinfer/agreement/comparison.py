"""Compares the values of a model that targets compute with those of the Session."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeinfer.agreement.shrinking import smallest
from edgeinfer.agreement.targets import Target, Values, session_run, targets
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, check_is_graph
from edgeinfer.runtime.session import Session
from edgeinfer.shortage import tells_shortage

__all__ = ["Agreement", "digest", "random_inputs", "sealed", "verify"]

_RUNS = 4


@dataclass(frozen=True)
class Agreement:
    """How far a target's values are the Session's.

    Parameters
    ----------
    target : str
        Which one.
    layers, values : int
        How many values of the Graph, and elements of these in all runs, were compared.
    differing : int
        How many elements differ.
    largest : int
        The largest difference, in steps of the value's integers.
    first : str or None
        The first value of the Graph that differs in the first run that shows it.
    run : int or None
        Which run that is.
    promised : int
        How many of the layers are promised to be equal.
    broken : int
        How many elements of these differ.
    by_layer : dict of str to int
        How many elements differ of each value that was compared.
    absent : dict of str to str
        The values that the target has no operators for, each with its operator and the reason.
    smallest : dict of str to numpy.ndarray or None
        Raw inputs in which ``first`` still differs, with as few elements away from their zero as
        were found; where it was asked for, and something differs.
    """

    target: str
    layers: int
    values: int
    differing: int
    largest: int
    first: str | None
    run: int | None
    promised: int
    broken: int
    by_layer: dict[str, int]
    absent: dict[str, str]
    smallest: dict[str, np.ndarray] | None = None


def random_inputs(graph: Graph, runs: int = _RUNS, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Raw inputs, all integers that a type holds equally likely.

    Raises
    ------
    InputError
        An input is no integers of a scale: which ones it may hold only data can tell.
    """
    rng = np.random.default_rng(seed)
    for name in graph.inputs:
        if graph.types[name].quantization is None:
            raise InputError(
                f"input {name!r} holds {graph.types[name].dtype}, of which only data can tell what "
                "may stand there: give some"
            )
    return [{name: _random(rng, graph, name) for name in graph.inputs} for _ in range(runs)]


def _random(rng: np.random.Generator, graph: Graph, name: str) -> np.ndarray:
    t = graph.types[name]
    info = np.iinfo(t.dtype)
    return rng.integers(info.min, info.max + 1, t.shape).astype(t.dtype)


@tells_shortage
def verify(
    graph: Graph,
    against: Sequence[str] = ("reference", "kernels"),
    runs: Iterable[Mapping[str, np.ndarray]] | None = None,
    *,
    config: str = "8x8",
    shrink: bool = False,
) -> list[Agreement]:
    """Whether targets compute what the Session does, every value of it.

    Parameters
    ----------
    graph : Graph
        An integer one. One that keeps states begins with its first ones and runs on as a stream.
    against : sequence of str
        Of ``TARGETS``: the reference in NumPy, the kernels of every instruction set of this
        machine, the exported C, the simulated NPU, TensorFlow Lite Micro and onnxruntime with what
        is exported for them, and the operators of TOSA in Arm's reference model.
    runs : iterable of mappings of str to numpy.ndarray, optional
        Raw inputs, one of ``graph.inputs`` each; without them ``random_inputs``.
    config : str
        The NPU's.
    shrink : bool
        Look for the smallest input that shows what differs first, in a few hundred runs more; not
        where states of runs before had a part in it.

    Raises
    ------
    InputError
        It is a float Graph, a name is no target, a target's program is not on PATH, or a target has
        no states and the Graph does.
    MissingExtraError
        A target's package is not installed.
    UnsupportedError
        A target has not the model's operators; of TOSA, none of them.
    """
    given = _checked(graph, runs)
    expected = list(_session_values(graph, given))
    found = []
    for name in dict.fromkeys(against):
        with targets(graph, name, config) as made:
            for target in made:
                own = _compared(target, given, expected)
                alone = own.run == 0 or not graph.states
                if shrink and alone and own.first is not None and own.run is not None:
                    own = replace(own, smallest=_shrunk(graph, target, given[own.run], own.first))
                found.append(own)
    return found


def _shrunk(graph: Graph, target: Target, feeds: Values, value: str) -> dict[str, np.ndarray]:
    """The smallest input in which ``value`` differs from the Session's."""
    session = Session(graph, keep_values=True)

    def differs(tried: Values) -> bool:
        expected = session_run(session, [value])(tried)
        return bool((expected[value] != target.begin()(tried)[value]).any())

    return smallest(graph, feeds, differs)


@tells_shortage
def digest(graph: Graph, runs: Iterable[Mapping[str, np.ndarray]] | None = None) -> str:
    """SHA-256, in hexadecimal, over every value of every run: the same on every machine.

    Parameters
    ----------
    graph, runs
        As for ``verify``.

    Raises
    ------
    InputError
        It is a float Graph.
    """
    return sealed(_session_values(graph, _checked(graph, runs)))


def sealed(runs: Iterable[Values]) -> str:
    """SHA-256, in hexadecimal, over ``runs``, each all values that nodes make, in their order."""
    sum_of = hashlib.sha256()
    for values in runs:
        for name, array in values.items():
            sum_of.update(f"{name} {array.dtype} {array.shape}\n".encode())
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            sum_of.update(little.tobytes())
    return sum_of.hexdigest()


def _checked(
    graph: Graph, runs: Iterable[Mapping[str, np.ndarray]] | None
) -> list[Mapping[str, np.ndarray]]:
    check_is_graph(graph)
    if not graph.is_integer:
        raise InputError("a float model has no bits that are promised: quantize it first")
    return list(random_inputs(graph) if runs is None else runs)


def _session_values(graph: Graph, runs: Sequence[Values]) -> Iterator[dict[str, np.ndarray]]:
    names = [name for node in graph.nodes for name in node.outputs]
    run = session_run(Session(graph, keep_values=True), names)
    for feeds in runs:
        yield dict(run(feeds))


def _compared(target: Target, runs: Sequence[Values], expected: Sequence[Values]) -> Agreement:
    by_layer: dict[str, int] = {}
    values = largest = 0
    first: tuple[str, int] | None = None
    run = target.begin()
    for place, (feeds, own) in enumerate(zip(runs, expected, strict=True)):
        shown = run(feeds)
        for name, array in own.items():
            if name not in shown:
                continue
            values += array.size
            apart = np.abs(array.astype(np.int64) - shown[name].astype(np.int64))
            count = int(np.count_nonzero(apart))
            by_layer[name] = by_layer.get(name, 0) + count
            if count:
                largest = max(largest, int(apart.max()))
                first = first or (name, place)
    return Agreement(
        target=target.name,
        layers=len(by_layer),
        values=values,
        differing=sum(by_layer.values()),
        largest=largest,
        first=None if first is None else first[0],
        run=None if first is None else first[1],
        promised=len(by_layer.keys() & target.promised),
        broken=sum(count for name, count in by_layer.items() if name in target.promised),
        by_layer=by_layer,
        absent=dict(target.absent),
    )
