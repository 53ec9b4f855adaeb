"""Two Graphs of one model and data into the error of each layer, worst first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgeinfer.data.samples import Data, runs
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import Executor
from edgeinfer.runtime.session import Session

__all__ = ["Difference", "LayerError", "compare", "raised_channels"]

# everything a run computes, as real numbers by value name
_Values = dict[str, np.ndarray]


@dataclass
class Difference:
    """How far arrays ``b`` are from arrays ``a``, over all that were added.

    Parameters
    ----------
    signal, noise : float
        Sums of ``a^2`` and ``(a - b)^2``.
    largest : float
        The largest ``|a - b|``.
    """

    signal: float = 0.0
    noise: float = 0.0
    largest: float = 0.0

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        """Take in one pair of as many elements, in the same order."""
        x = a.astype(np.float64).ravel()
        difference = x - b.astype(np.float64).ravel()
        self.signal += float((x * x).sum())
        self.noise += float((difference * difference).sum())
        self.largest = max(self.largest, float(np.abs(difference).max()))

    @property
    def sqnr_db(self) -> float:
        """Signal-to-quantization-noise ratio, in dB; infinite where there is no difference."""
        if self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal > 0 else -math.inf


@dataclass(kw_only=True)
class LayerError(Difference):
    """How far one value of ``b`` is from the same value of ``a``.

    Parameters
    ----------
    value : str
        The value's name, in both Graphs.
    node, operator : str
        What computes it in ``b``.
    is_output : bool
        It is an output of ``b``.
    """

    value: str
    node: str
    operator: str
    is_output: bool


def compare(
    a: Graph,
    b: Graph,
    data: Data,
    *,
    samples: int | None = None,
    num_threads: int = 1,
    observe: Callable[[str, np.ndarray, np.ndarray], None] | None = None,
) -> list[LayerError]:
    """The error of ``b``'s values against ``a``'s of the same name, the worst first.

    Either Graph may be float or integer; both take ``data`` as floats, as one sequence where they
    keep states. ``observe`` is called with the name and both Graphs' numbers of each value that is
    compared, run after run.

    Raises
    ------
    InputError
        The Graphs' inputs differ, or they have no value in common.
    """
    if {n: a.types[n].shape for n in a.inputs} != {n: b.types[n].shape for n in b.inputs}:
        raise InputError(f"the models' inputs differ: {list(a.inputs)} and {list(b.inputs)}")
    errors = {
        name: LayerError(
            value=name,
            node=node.name,
            operator=type(node.op).__name__,
            is_output=name in b.outputs,
        )
        for node in b.nodes
        for name in node.outputs
        if name in a.types and a.types[name].elements == b.types[name].elements
    }
    if not errors:
        raise InputError("the models have no value of the same name and size")
    run_a, run_b = _runner(a, num_threads), _runner(b, num_threads)
    for feed in runs(a, data, limit=samples):
        values_a, values_b = run_a(feed), run_b(feed)
        for name, error in errors.items():
            error.add(values_a[name], values_b[name])
            if observe is not None:
                observe(name, values_a[name], values_b[name])
    return sorted(errors.values(), key=lambda e: e.sqnr_db)


def _runner(graph: Graph, num_threads: int) -> Callable[[Mapping[str, np.ndarray]], _Values]:
    if not graph.is_integer:
        state: dict[str, np.ndarray] = {}
        executor = Executor(graph)

        def run_floats(feed: Mapping[str, np.ndarray]) -> _Values:
            values: _Values = {}
            executor.run(feed, state=state, observe=values.__setitem__)
            return values

        return run_floats

    session = Session(graph, num_threads=num_threads, keep_values=True)
    stream = session.stream()

    def run_integers(feed: Mapping[str, np.ndarray]) -> _Values:
        stream.run(dict(feed))
        values = {}
        for node in graph.nodes:
            for name in node.outputs:
                q = graph.types[name].quantization
                value = session.value(name)
                values[name] = value if q is None else q.dequantize(value)
        return values

    return run_integers


def raised_channels(graph: Graph) -> dict[str, list[int]]:
    """By node, the output channels whose weights are coarser than their width allows.

    A channel's largest weight is the largest integer, or some steps less where it was rounded in
    turn, unless its bias, its accumulator or the ratio of scales needed a larger scale; one that is
    a sixteenth larger counts. A channel of zeros computes a constant.
    """
    raised = {}
    for node in graph.nodes:
        if not isinstance(node.op, ops.QConv | ops.QDense):
            continue
        weights = graph.constants[node.inputs[1]]
        largest = np.abs(weights.reshape(len(weights), -1).astype(np.int32)).max(1)
        channels = np.flatnonzero(16 * largest < 15 * np.iinfo(weights.dtype).max).tolist()
        if channels:
            raised[node.name] = channels
    return raised
