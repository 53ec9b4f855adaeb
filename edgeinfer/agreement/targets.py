"""What else computes a model's values: each target as sequences of runs on raw inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.errors import InputError, MissingExtraError, UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime.session import Session

if TYPE_CHECKING:
    from edgeinfer.converters.tosa import ReferenceModel
    from edgeinfer.hdl import Simulation

__all__ = ["TARGETS", "Run", "Target", "Values", "session_run", "targets"]

Values: TypeAlias = Mapping[str, np.ndarray]
"""Raw integers by the names of the Graph's values."""

Run: TypeAlias = Callable[[Values], Values]
"""A run's raw inputs into all values that it shows; states go from each to the next."""

TARGETS = ("reference", "kernels", "c", "npu", "tflm", "onnxruntime", "tosa")
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
    begin : callable
        Gives the runs of a new sequence.
    promised : frozenset of str
        The values that are promised to be the Session's.
    absent : mapping of str to str
        The values that it has no operators for, each with its operator and the reason.
    """

    name: str
    begin: Callable[[], Run]
    promised: frozenset[str]
    absent: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def targets(graph: Graph, name: str, config: str) -> Iterator[list[Target]]:
    """Those that ``name``, of ``TARGETS``, stands for.

    Raises
    ------
    InputError
        ``name`` is none of them, or its program is not on PATH.
    MissingExtraError
        Its package is not installed.
    UnsupportedError
        It has not the model's operators.
    """
    made = frozenset(_made(graph))
    match name:
        case "reference":
            yield [Target(name, lambda: _reference(graph), made)]
        case "kernels":
            yield [_kernels(graph, isa, made) for isa in SUPPORTED]
        case "c":
            from edgeinfer.converters.c99 import compiled

            with compiled(graph) as library:
                yield [Target("c", library.begin, made)]
        case "npu":
            from edgeinfer.hdl import Simulation

            with Simulation(graph, config) as simulation:
                yield [Target(f"npu ({config})", lambda: _npu(simulation, graph), made)]
        case "tflm":
            yield [Target(name, _micro(graph), _until_others(graph))]
        case "onnxruntime":
            yield [Target(name, _onnxruntime(graph), frozenset())]
        case "tosa":
            from edgeinfer.converters.tosa import reference_model

            with reference_model(graph) as model:
                yield [Target(name, _tosa(model, graph), model.gives, model.absent)]
        case _:
            raise InputError(f"{name!r} is no target: {', '.join(TARGETS)} are")


def _made(graph: Graph) -> list[str]:
    """The values that nodes make."""
    return [name for node in graph.nodes for name in node.outputs]


def _reference(graph: Graph) -> Run:
    state: dict[str, np.ndarray] = {}

    def run(feeds: Values) -> Values:
        found: dict[str, np.ndarray] = {}
        reference.execute(graph, feeds, state=state, observe=found.__setitem__)
        return found

    return run


def _kernels(graph: Graph, isa: str, made: frozenset[str]) -> Target:
    session = Session(graph, isa=isa, keep_values=True)
    return Target(f"kernels ({isa})", lambda: session_run(session, made), made)


def session_run(session: Session, names: Iterable[str]) -> Run:
    """The runs of a new sequence of ``session``, which keeps its values."""
    stream, shown = session.stream(), tuple(names)

    def run(feeds: Values) -> Values:
        stream.run(dict(feeds))
        return {name: session.value(name) for name in shown}

    return run


def _npu(simulation: Simulation, graph: Graph) -> Run:
    def run(feeds: Values) -> Values:
        simulation.run(dict(feeds))
        found = {}
        for name in _made(graph):
            try:
                found[name] = simulation.value(name)
            except InputError:  # fused with the next
                continue
        return found

    return run


def _showing(graph: Graph) -> tuple[Graph, list[str]]:
    """``graph`` with every value that it makes as an output, and their names."""
    names = [name for name in _made(graph) if graph.types[name].quantization is not None]
    return replace(graph, outputs=tuple(names), labels=()), names


def _micro(graph: Graph) -> Callable[[], Run]:
    from edgeinfer.converters import to_tflite

    try:
        from tflite_micro.python.tflite_micro import runtime
    except ModuleNotFoundError:
        raise MissingExtraError("tflite_micro", "bench") from None
    shown, names = _showing(graph)
    content = to_tflite(shown)

    def begin() -> Run:
        try:
            interpreter = runtime.Interpreter.from_bytes(content, arena_size=_ARENA)
        except RuntimeError as error:
            raise UnsupportedError(
                f"TensorFlow Lite Micro does not take what is exported: {error}"
            ) from error

        def run(feeds: Values) -> Values:
            for place, name in enumerate(graph.inputs):
                array = feeds[name]
                narrow = array.astype(np.int32) if array.itemsize == 8 else array
                interpreter.set_input(narrow, place)
            interpreter.invoke()
            return {name: interpreter.get_output(place) for place, name in enumerate(names)}

        return run

    return begin


def _until_others(graph: Graph) -> frozenset[str]:
    """The values that nothing was computed for but what rounds twice, as TFLM does."""
    kept = {state.input: state.output for state in graph.states}
    while True:
        found = {*graph.inputs, *graph.constants, *kept}
        for node in graph.nodes:
            alike = (
                isinstance(node.op, _MICRO) and getattr(node.op, "rounding", "double") == "double"
            )
            if alike and all(name in found for name in node.operands):
                found.update(node.outputs)
        alike_again = {source: result for source, result in kept.items() if result in found}
        if alike_again == kept:
            return frozenset(found)
        kept = alike_again


def _onnxruntime(graph: Graph) -> Callable[[], Run]:
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

    def begin() -> Run:
        state = {state.input: graph.constants[state.first] for state in graph.states}

        def run(feeds: Values) -> Values:
            given = {}
            for name, array in {**feeds, **state}.items():
                q = graph.types[name].quantization
                given[name] = array if q is None else q.dequantize(array)
            found = {}
            for name, array in zip(names, session.run(names, given), strict=True):
                t = graph.types[name]
                assert t.quantization is not None
                found[name] = t.quantization.quantize(np.asarray(array), t.dtype)
            known = {**feeds, **state, **found}
            state.update({kept.input: known[kept.output] for kept in graph.states})
            return found

        return run

    return begin


def _tosa(model: ReferenceModel, graph: Graph) -> Callable[[], Run]:
    """Runs in which a Session lends what TOSA has no operators for."""
    session = Session(graph, keep_values=True)

    def begin() -> Run:
        lent = session_run(session, model.absent)
        state = {state.input: graph.constants[state.first] for state in graph.states}

        def run(feeds: Values) -> Values:
            known = {**graph.constants, **feeds, **state, **lent(feeds)}
            found = model.run(known)
            known.update(found)
            state.update({kept.input: known[kept.output] for kept in graph.states})
            return found

        return run

    return begin
