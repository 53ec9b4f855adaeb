"""What else computes a model's values: each target as a function of a run's raw inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.errors import InputError, MissingExtraError, UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime.session import Session

__all__ = ["TARGETS", "Target", "Values", "targets"]

Values: TypeAlias = Mapping[str, np.ndarray]
"""Raw integers by the names of the Graph's values."""

TARGETS = ("reference", "kernels", "c", "npu", "tflm", "onnxruntime")
"""The names of those that are known."""

_ARENA = 64 << 20

# what TensorFlow Lite Micro computes bit for bit of a model that rounds twice
_MICRO = (
    *(ops.QConv, ops.QDense, ops.QAdd, ops.QSub, ops.QMul, ops.Rescale, ops.QAveragePool),
    *(ops.MaxPool, ops.Moving),
)


@dataclass(frozen=True)
class Target:
    """One way to compute a model.

    Parameters
    ----------
    name : str
        What it is called: reference, or kernels (avx2).
    run : callable
        A run's raw inputs into all values that it shows.
    promised : frozenset of str
        The values that are promised to be the Session's.
    """

    name: str
    run: Callable[[Values], Values]
    promised: frozenset[str]


@contextmanager
def targets(graph: Graph, name: str, config: str) -> Iterator[list[Target]]:
    """Those that ``name``, of ``TARGETS``, stands for.

    Raises
    ------
    InputError
        ``name`` is none of them.
    MissingExtraError
        Its package is not installed.
    UnsupportedError
        It has not the model's operators.
    """
    made = frozenset(_made(graph))
    match name:
        case "reference":
            yield [Target(name, lambda feeds: _reference(graph, feeds), made)]
        case "kernels":
            yield [_kernels(graph, isa, made) for isa in SUPPORTED]
        case "c":
            from edgeinfer.converters.c99 import compiled

            with compiled(graph) as library:
                yield [Target("c", library.run, made)]
        case "npu":
            from edgeinfer.hdl import Simulation

            with Simulation(graph, config) as simulation:
                yield [
                    Target(f"npu ({config})", lambda feeds: _npu(simulation, graph, feeds), made)
                ]
        case "tflm":
            yield [Target("tflm", _micro(graph), _until_others(graph))]
        case "onnxruntime":
            yield [Target(name, _onnxruntime(graph), frozenset())]
        case _:
            raise InputError(f"{name!r} is no target: {', '.join(TARGETS)} are")


def _made(graph: Graph) -> list[str]:
    """The values that nodes make."""
    return [name for node in graph.nodes for name in node.outputs]


def _reference(graph: Graph, feeds: Values) -> Values:
    found: dict[str, np.ndarray] = {}
    reference.execute(graph, feeds, observe=lambda name, array: found.update({name: array}))
    return found


def _kernels(graph: Graph, isa: str, made: frozenset[str]) -> Target:
    session = Session(graph, isa=isa, keep_values=True)

    def run(feeds: Values) -> Values:
        session.run(dict(feeds))
        return {name: session.value(name) for name in made}

    return Target(f"kernels ({isa})", run, made)


def _npu(simulation: object, graph: Graph, feeds: Values) -> Values:
    from edgeinfer.hdl import Simulation

    assert isinstance(simulation, Simulation)
    simulation.run(dict(feeds))
    found = {}
    for name in _made(graph):
        try:
            found[name] = simulation.value(name)
        except InputError:  # fused with the next
            continue
    return found


def _showing(graph: Graph) -> tuple[Graph, list[str]]:
    """``graph`` with every value that it makes as an output, and their names."""
    names = [name for name in _made(graph) if graph.types[name].quantization is not None]
    return replace(graph, outputs=tuple(names), labels=()), names


def _micro(graph: Graph) -> Callable[[Values], Values]:
    from edgeinfer.converters import to_tflite

    try:
        from tflite_micro.python.tflite_micro import runtime
    except ModuleNotFoundError:
        raise MissingExtraError("tflite_micro", "bench") from None
    shown, names = _showing(graph)
    try:
        interpreter = runtime.Interpreter.from_bytes(to_tflite(shown), arena_size=_ARENA)
    except RuntimeError as error:
        raise UnsupportedError(
            f"TensorFlow Lite Micro does not take what is exported: {error}"
        ) from error

    def run(feeds: Values) -> Values:
        for place, name in enumerate(graph.inputs):
            array = feeds[name]
            interpreter.set_input(array.astype(np.int32) if array.itemsize == 8 else array, place)
        interpreter.invoke()
        return {name: interpreter.get_output(place) for place, name in enumerate(names)}

    return run


def _until_others(graph: Graph) -> frozenset[str]:
    """The values that nothing was computed for but what rounds twice, as TFLM does."""
    found = {*graph.inputs, *graph.constants}
    for node in graph.nodes:
        alike = isinstance(node.op, _MICRO) and getattr(node.op, "rounding", "double") == "double"
        if alike and all(name in found for name in node.operands):
            found.update(node.outputs)
    return frozenset(found)


def _onnxruntime(graph: Graph) -> Callable[[Values], Values]:
    from edgeinfer.converters.qdq import to_qdq

    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingExtraError("onnxruntime", "bench") from None
    shown, names = _showing(graph)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # its fused kernels saturate on some processors
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = to_qdq(shown).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(feeds: Values) -> Values:
        given = {}
        for name in graph.inputs:
            q = graph.types[name].quantization
            given[name] = feeds[name] if q is None else q.dequantize(feeds[name])
        found = {}
        for name, array in zip(names, session.run(names, given), strict=True):
            t = graph.types[name]
            assert t.quantization is not None
            found[name] = t.quantization.quantize(np.asarray(array), t.dtype)
        return found

    return run
