"""Turns an integer Graph into something to call: arrays in, arrays out, on this CPU.

session = edgeinfer.load("model.eqm", num_threads=2)
scores = session.run(image)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import combinations
from typing import NoReturn

import numpy as np

from edgeinfer.cython_kernels.runtime import (
    ISAS,
    SUPPORTED,
    BoundRuns,
    PlainEdge,
    PlainRuns,
    Program,
    RunError,
)
from edgeinfer.errors import EdgeInferError, InputError
from edgeinfer.files import model_file
from edgeinfer.graph import DType, Graph, Preparation
from edgeinfer.graph import operators as ops
from edgeinfer.graph.batching import obstacle
from edgeinfer.graph.verification import verify
from edgeinfer.printable import printable
from edgeinfer.runtime.planner import MAX_BYTES, KnownCalls, Plan, plan
from edgeinfer.shortage import tells_shortage

__all__ = ["MAX_THREADS", "Bound", "Session", "Stream", "TensorInfo", "load"]

# the processors of this machine: more threads would wait for each other
MAX_THREADS = os.cpu_count() or 1

Arrays = np.ndarray | Mapping[str, np.ndarray]


@dataclass(frozen=True)
class TensorInfo:
    """An input or an output of a Session.

    Parameters
    ----------
    name : str
        Its name in the model.
    shape : tuple of int
        Its shape; where the first axis is a batch, its extent is that of one slice.
    dtype : str
        The type of its raw integers.
    scale : float or None
        The real number of one step; None where the integers are not quantized, but an index, say.
    zero_point : int
        The integer that stands for 0.
    preparation : Preparation or None
        How an image becomes this input, where the model says it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    scale: float | None
    zero_point: int
    preparation: Preparation | None = None

    @classmethod
    def of(cls, name: str, graph: Graph) -> TensorInfo:
        """The value ``name`` of ``graph``."""
        kind, prepared = graph.types[name], graph.preparation.get(name)
        q = kind.quantization
        if q is None:
            return cls(name, kind.shape, kind.dtype, None, 0, prepared)
        return cls(name, kind.shape, kind.dtype, q.step, q.zero_point, prepared)

    def __str__(self) -> str:
        scaled = "" if self.scale is None else f" * {self.scale:.6g}"
        zero = f" @ {self.zero_point}" if self.zero_point else ""
        shape = "x".join(map(str, self.shape))
        return f"{printable(self.name)}: {self.dtype}[{shape}]{scaled}{zero}"


@tells_shortage
def load(
    path: str | os.PathLike[str],
    num_threads: int = 1,
    isa: str | None = None,
    *,
    max_bytes: int = MAX_BYTES,
) -> Session:
    """The Session of the model file at ``path``.

    Parameters
    ----------
    path : str or path
        An ``.eqm`` file with an integer Graph.
    num_threads : int
        How many threads may share a step of a run.
    isa : str or None
        The instruction set to use, of ``SUPPORTED``; None takes ``EDGEINFER_ISA`` from the
        environment, or the best.
    max_bytes : int
        The most memory that the model may take, its file and what is made of it; a file of a few
        kilobytes can ask for gigabytes.

    Raises
    ------
    InputError
        There is no such file, an option does not fit, or the model takes too much memory.
    ModelError
        The file is damaged, or its Graph is not an integer one.
    """
    _check_limit(max_bytes)
    # reading has verified it
    session = Session.__new__(Session)
    session._make(model_file.read(path, max_bytes=max_bytes), num_threads, isa, False, max_bytes)
    return session


class Session(PlainRuns):
    """An integer Graph that is planned and ready to run.

    Several threads may call ``run`` at once: each concurrent caller has a memory of its own.
    After a caller's first run with ``out=`` nothing is allocated.

    Parameters
    ----------
    graph : Graph
        An integer Graph.
    num_threads : int
        How many threads may share a step of a run, up to the processors of this machine. They
        sleep between runs and end with the Session. A process made by fork gets its own.
    isa : str or None
        The instruction set to use, of ``SUPPORTED``; None takes ``EDGEINFER_ISA`` from the
        environment, or the best.
    keep_values : bool
        Let ``value`` give back every intermediate tensor of the last run; costs memory, and only
        one thread may run the Session.
    max_bytes : int
        The most memory that its constants and one caller's arena may take.

    Attributes
    ----------
    inputs, outputs : tuple of TensorInfo
        What a run takes and gives.
    labels : tuple of str
        The names of the classes that the output scores, in order; empty where there are none.

    Raises
    ------
    InputError
        An option does not fit.
    ModelError
        The Graph is not a legal integer one.
    """

    @tells_shortage
    def __init__(
        self,
        graph: Graph,
        *,
        num_threads: int = 1,
        isa: str | None = None,
        keep_values: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if not isinstance(graph, Graph):
            raise InputError(
                f"a Session runs a Graph, not {type(graph).__name__}: edgeinfer.load makes one of "
                "an .eqm file"
            )
        _check_limit(max_bytes)
        verify(graph)
        self._make(graph, num_threads, isa, keep_values, max_bytes)

    @classmethod
    def of_trusted(cls, graph: Graph, known: KnownCalls) -> Session:
        """The Session of a Graph that this process has just lowered, on one thread.

        It is not verified, and packed only where it differs from what ``known`` holds: for the
        hundred Graphs of a search, of which one is verified in the end.
        """
        session = cls.__new__(cls)
        session._start(graph, plan(graph, isa=_chosen_isa(None), known=known), 1, False)
        return session

    def _make(
        self, graph: Graph, num_threads: int, isa: str | None, keep_values: bool, max_bytes: int
    ) -> None:
        """Of a Graph that is verified."""
        if type(num_threads) is not int or not 1 <= num_threads <= MAX_THREADS:
            raise InputError(
                f"num_threads must be between 1 and {MAX_THREADS}, this machine's processors, "
                f"not {num_threads!r}"
            )
        planned = plan(graph, isa=_chosen_isa(isa), keep_values=keep_values, max_bytes=max_bytes)
        self._start(graph, planned, num_threads, keep_values)

    def _start(self, graph: Graph, planned: Plan, num_threads: int, keep_values: bool) -> None:
        self._graph, self._plan = graph, planned
        self._program = Program(self._plan, num_threads)
        self._memory: np.ndarray | None = None
        if keep_values:
            self._memory = np.zeros(self._program.memory_bytes, np.uint8)
        self.inputs = tuple(TensorInfo.of(name, graph) for name in graph.inputs)
        self.outputs = tuple(TensorInfo.of(name, graph) for name in graph.outputs)
        self.labels = graph.labels
        if not graph.states and not keep_values:
            sources, results = (list(map(_edge, infos)) for infos in (self.inputs, self.outputs))
            self._prepare(self._program, np.ndarray, np.empty, sources, results)

    def __repr__(self) -> str:
        lines = [f"Session of {self._graph.name!r}: {len(self._plan.steps)} steps"]
        lines += [f"  input  {info}" for info in self.inputs]
        lines += [f"  output {info}" for info in self.outputs]
        memory = f"{self.weight_bytes:,} bytes of constants, {self.arena_bytes:,} of arena"
        return "\n".join([*lines, f"  {memory}"])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"

    @tells_shortage
    def stream(self) -> Stream:
        """A sequence of runs of its own, each of which takes up what the one before left."""
        return Stream(self)

    @property
    def arena_bytes(self) -> int:
        """Bytes that each concurrent caller needs: all activations and the kernels' scratch."""
        return self._program.memory_bytes

    @property
    def weight_bytes(self) -> int:
        """Bytes of the constants, as the kernels read them."""
        return int(self._plan.constants.nbytes)

    def __reduce__(self) -> NoReturn:
        raise InputError(
            "a Session cannot be pickled or copied: hand on the model, and make one where it runs"
        )

    @tells_shortage
    def _run_any(self, x: Arrays, out: Arrays | None = None) -> np.ndarray | dict[str, np.ndarray]:
        """What ``run`` does with everything that is not the plain case."""
        self._refuse_states("run")
        return self._run(x, out, ())

    def _refuse_states(self, call: str) -> None:
        if self._graph.states:
            given = "x" if call == "run" else "x, out"
            raise InputError(
                "the model keeps states from one run to the next: use stream = session.stream() "
                f"and stream.{call}({given})"
            )

    @tells_shortage
    def bind(self, x: Arrays, out: Arrays) -> Bound:
        """Runs from ``x`` to ``out``, for who fills and reads the same arrays again and again.

        Parameters
        ----------
        x, out : numpy.ndarray, or mapping of str to numpy.ndarray
            As ``run`` takes them, except that nothing is converted: C-contiguous arrays of the
            shapes and dtypes of the inputs and outputs, and of any number of slices.

        Raises
        ------
        InputError
            A name, a shape or a dtype does not fit, or the Session keeps its values or states.
        """
        self._refuse_states("bind")
        return self._bind(x, out, ())

    def _bind(self, x: Arrays, out: Arrays, state: Sequence[np.ndarray]) -> Bound:
        if self._memory is not None:
            raise InputError("a Session made with keep_values=True binds no arrays")
        arrays = _by_name(x, self.inputs, "input")
        for array, info in zip(arrays, self.inputs, strict=True):
            _check_bound(array, info)
        slices = self._slices(arrays)
        results = _by_name(out, self.outputs, "output")
        for array, info in zip(results, self.outputs, strict=True):
            _check_output(array, info, slices)
        self._check_apart(results, state)
        for array, info in zip(arrays, self.inputs, strict=True):
            if slices > 1 and _overlaps(array, results):
                raise InputError(
                    f"what is bound to input {info.name!r} shares memory with an output, of which "
                    "each slice is written before the next one is read"
                )
        return Bound(self, [*arrays, *state], [*results, *state], slices)

    @tells_shortage
    def profile(self, x: Arrays) -> dict[str, int]:
        """Nanoseconds that each node takes in one run, by the node's name, in order.

        Nodes that cost nothing, such as a Reshape, are left out. Where several run as one step,
        as the elementwise operators of an LSTM's cell do, all of its time is the last one's.
        """
        times = np.zeros(len(self._plan.steps), np.int64)
        self._run(x, None, self.stream().state, times)
        total: dict[str, int] = {}
        for step, time in zip(self._plan.steps, times, strict=True):
            total[step.node] = total.get(step.node, 0) + int(time)
        return total

    @tells_shortage
    def value(self, name: str) -> np.ndarray:
        """The raw integers of the value ``name`` after the last run; its last slice's.

        Raises
        ------
        InputError
            There is no such value, or the Session was made without ``keep_values``.
        """
        if self._memory is None:
            raise InputError("values are kept only by a Session made with keep_values=True")
        if name in self._graph.constants:
            return self._graph.constants[name]
        if name not in self._plan.places:
            raise InputError(f"the model has no value {name!r}")
        place, kind = self._plan.places[name], self._graph.types[name]
        source = self._memory if place.space == "arena" else self._plan.constants
        data = source[place.offset : place.offset + place.nbytes]
        return data.view(kind.dtype).reshape(kind.shape).copy()

    def _run(
        self,
        x: Arrays,
        out: Arrays | None,
        state: Sequence[np.ndarray],
        times: np.ndarray | None = None,
    ) -> np.ndarray | dict[str, np.ndarray]:
        arrays = [
            _as_input(array, info)
            for array, info in zip(_by_name(x, self.inputs, "input"), self.inputs, strict=True)
        ]
        slices = self._slices(arrays)
        if out is None:
            raw = any(
                array.dtype != np.float32
                for array, info in zip(arrays, self.inputs, strict=True)
                if info.scale is not None
            )
            results = [_new_output(info, slices, raw) for info in self.outputs]
        else:
            results = _by_name(out, self.outputs, "output")
            for array, info in zip(results, self.outputs, strict=True):
                _check_output(array, info, slices)
            self._check_apart(results, state)
            if slices > 1:
                # a slice is written before the next one is read
                arrays = [a.copy() if _overlaps(a, results) else a for a in arrays]
        try:
            # read before the first step and written after the last, so a run that fails leaves it
            self._program.run([*arrays, *state], [*results, *state], slices, self._memory, times)
        except RunError as error:
            raise self._explained(error) from None
        if len(results) == 1 and not isinstance(out, Mapping):
            return results[0]
        return {info.name: array for info, array in zip(self.outputs, results, strict=True)}

    def _check_apart(self, results: Sequence[np.ndarray], state: Sequence[np.ndarray]) -> None:
        """Refuse outputs that share memory with each other, or with what a stream keeps."""
        written = list(zip(self._graph.results, (*results, *state), strict=True))
        for (a, first), (b, second) in combinations(written, 2):
            if np.may_share_memory(first, second):
                raise InputError(
                    f"the arrays for {a!r} and {b!r} share memory, but both are written"
                )

    def _slices(self, arrays: Sequence[np.ndarray]) -> int:
        """How many batches ``arrays`` hold, which must be the same of each input."""
        slices = 0
        for array, info in zip(arrays, self.inputs, strict=True):
            shape = array.shape
            count = 1
            if shape != info.shape:
                count = shape[0] // info.shape[0] if shape and info.shape else 0
                whole = bool(count) and shape == (count * info.shape[0], *info.shape[1:])
                mixed = self._obstacle if whole else None
                if not whole or mixed is not None:
                    raise InputError(
                        f"input {info.name!r} must have shape {self._expected(info)}, "
                        f"not {list(shape)}{'' if mixed is None else f': {mixed}'}"
                    )
            if slices not in (0, count):
                raise InputError(
                    f"input {info.name!r} has a batch of {shape[0]}, "
                    f"but {self.inputs[0].name!r} has one of {arrays[0].shape[0]}"
                )
            slices = count
        slices = max(slices, 1)
        for info in self.outputs:
            if slices > 1 and not info.shape:
                raise InputError(
                    f"output {info.name!r} is one number, so this model takes one batch at a time"
                )
        return slices

    @cached_property
    def _obstacle(self) -> str | None:
        """Why the first axis of the inputs is no batch; None where it is."""
        if self._graph.free_batch:
            return None
        if self._graph.states:
            return "the model keeps states from one run to the next"
        extents = {info.shape[:1] for info in self.inputs}
        if len(extents) > 1:
            return "its inputs differ in their first axes"
        ((extent,),) = extents
        return obstacle(self._graph, self._graph.inputs, extent)

    def _expected(self, info: TensorInfo) -> str:
        if not info.shape or self._obstacle is not None:
            return str(list(info.shape))
        batch = "N" if info.shape[0] == 1 else f"a multiple of {info.shape[0]}"
        return f"[{', '.join([batch, *map(str, info.shape[1:])])}]"

    def _explained(self, error: RunError) -> EdgeInferError:
        if error.reason == "nan":
            return InputError(f"input {self.inputs[error.where].name!r} holds a NaN")
        if error.reason == "busy":
            return InputError(
                "another thread is running these bound arrays: bind arrays of its own for each"
            )
        if error.reason in ("input", "output"):
            names = self._graph.sources if error.reason == "input" else self._graph.results
            cannot = "read" if error.reason == "input" else "written"
            return InputError(
                f"the array bound to {error.reason} {names[error.where]!r} was resized, or cannot "
                f"be {cannot} any more: bind arrays again"
            )
        name = self._plan.steps[error.where].node
        node = next(node for node in self._graph.nodes if node.name == name)
        assert isinstance(node.op, ops.Gather | ops.GatherElements)
        extent = self._graph.types[node.input("data")].shape[node.op.axis]
        return InputError(
            f"node {name!r} got an index in {node.input('indices')!r} that is outside of the axis "
            f"of {extent} that it gathers from"
        )


class Bound(BoundRuns):
    """Runs of a Session between arrays that are given once; see ``Session.bind``.

    ``run()`` takes no argument and gives nothing back. It has a memory of its own, holds on to the
    arrays, and belongs to one thread at a time.
    """

    def __reduce__(self) -> NoReturn:
        raise InputError("bound arrays cannot be pickled or copied: bind them where they run")

    def __init__(
        self,
        session: Session,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        slices: int,
    ) -> None:
        self._explained = session._explained
        self._hold(session._program, inputs, outputs, slices)


class Stream:
    """A sequence of runs through one Session, with what each leaves for the next.

    It belongs to one thread at a time; the Session may serve any number of streams.

    Parameters
    ----------
    session : Session
        What runs.

    Attributes
    ----------
    state : tuple of numpy.ndarray
        The raw integers of each of the model's states, in its order: what the next run takes.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        graph = session._graph
        self._first = [graph.constants[state.first] for state in graph.states]
        self.state = tuple(np.array(array, order="C") for array in self._first)

    @tells_shortage
    def run(self, x: Arrays, out: Arrays | None = None) -> np.ndarray | dict[str, np.ndarray]:
        """As ``Session.run``, beginning with what the run before left.

        A run that raises leaves the state as it was.
        """
        return self._session._run(x, out, self.state)

    @tells_shortage
    def bind(self, x: Arrays, out: Arrays) -> Bound:
        """As ``Session.bind``: each of its runs takes up what the run before left, of any kind."""
        return self._session._bind(x, out, self.state)

    def reset(self) -> None:
        """Begin again."""
        for array, first in zip(self.state, self._first, strict=True):
            array[...] = first


def _check_limit(max_bytes: int) -> None:
    if not isinstance(max_bytes, int):
        raise InputError(f"max_bytes must be a number of bytes, not {type(max_bytes).__name__}")


def _chosen_isa(isa: str | None) -> str:
    """``isa``, or that of the environment, or the best; refused where this processor lacks it."""
    source = "isa"
    if not isinstance(isa, str | None):
        raise InputError(f"isa must be a name, not {type(isa).__name__}")
    if isa is None:
        source, isa = "EDGEINFER_ISA", os.environ.get("EDGEINFER_ISA") or SUPPORTED[0]
    if isa in SUPPORTED:
        return isa
    known = ", ".join(SUPPORTED)
    if isa in ISAS:
        raise InputError(f"{source} is {isa!r}, which this processor lacks; it has {known}")
    raise InputError(f"{source} must be one of {known}, not {isa!r}")


def _edge(info: TensorInfo) -> PlainEdge:
    """The input or output as ``PlainRuns`` takes it."""
    has_floats = info.scale is not None
    return PlainEdge(info.name, info.shape, has_floats, np.dtype(np.float32), np.dtype(info.dtype))


def _by_name(given: Arrays, infos: Sequence[TensorInfo], what: str) -> list[np.ndarray]:
    """The arrays in the order of ``infos``, whether given alone or by name."""
    names = [info.name for info in infos]
    if not isinstance(given, Mapping):
        if len(names) != 1:
            raise InputError(
                f"the model has {len(names)} {what}s, so they are given as a dict by name: "
                f"{', '.join(names)}"
            )
        return [given]
    unknown = sorted(set(map(str, given)) - set(names))
    if unknown:
        raise InputError(
            f"the model has no {what} {unknown[0]!r}; its {what}s are: {', '.join(names)}"
        )
    missing = [name for name in names if name not in given]
    if missing:
        raise InputError(f"{what} {missing[0]!r} is missing")
    return [given[name] for name in names]


def _as_input(array: np.ndarray, info: TensorInfo) -> np.ndarray:
    """``array`` packed: float32, or the input's own integers."""
    array = np.require(np.asarray(array), requirements="A")
    if info.shape[:1] == (1,) and array.shape == info.shape[1:]:
        array = array[np.newaxis]  # one sample, without the axis of the batch
    if array.dtype == info.dtype:
        return np.ascontiguousarray(array, info.dtype).reshape(array.shape)
    if info.scale is None:
        if array.dtype.kind not in "iu" or not np.can_cast(array.dtype, info.dtype):
            raise InputError(f"input {info.name!r} takes {info.dtype}, not {array.dtype}")
        return np.ascontiguousarray(array, info.dtype).reshape(array.shape)
    if array.dtype.kind not in "fb":
        raise InputError(
            f"input {info.name!r} takes floats, or {info.dtype} as raw integers, not {array.dtype}"
        )
    # a float64 beyond float32's range becomes infinite, which clamps
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32).reshape(array.shape)


def _check_bound(array: np.ndarray, info: TensorInfo) -> None:
    """Refuse an array to be bound that is not exactly what the input is read from."""
    dtypes = [info.dtype] if info.scale is None else ["float32", info.dtype]
    if not isinstance(array, np.ndarray) or array.dtype not in dtypes:
        got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(
            f"what is bound to input {info.name!r} must be {' or '.join(dtypes)}, not {got}"
        )
    if not array.flags.c_contiguous:
        raise InputError(f"what is bound to input {info.name!r} must be C-contiguous")
    if not array.flags.aligned:
        raise InputError(f"what is bound to input {info.name!r} must be aligned to its elements")


def _overlaps(array: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    return any(np.may_share_memory(array, other) for other in others)


def _out_shape(info: TensorInfo, slices: int) -> tuple[int, ...]:
    return (slices * info.shape[0], *info.shape[1:]) if info.shape else ()


def _new_output(info: TensorInfo, slices: int, raw: bool) -> np.ndarray:
    dtype = info.dtype if raw or info.scale is None else "float32"
    return np.empty(_out_shape(info, slices), dtype)


def _check_output(array: np.ndarray, info: TensorInfo, slices: int) -> None:
    """Refuse an ``out`` that is not exactly what the output is written to."""
    dtypes = [info.dtype] if info.scale is None else ["float32", info.dtype]
    if not isinstance(array, np.ndarray) or array.dtype not in dtypes:
        got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"out for {info.name!r} must be {' or '.join(dtypes)}, not {got}")
    shape = _out_shape(info, slices)
    if array.shape != shape:
        raise InputError(
            f"out for {info.name!r} must have shape {list(shape)}, not {list(array.shape)}"
        )
    if not (array.flags.c_contiguous and array.flags.writeable):
        raise InputError(f"out for {info.name!r} must be C-contiguous and writable")
    if not array.flags.aligned:
        raise InputError(f"out for {info.name!r} must be aligned to its elements")
