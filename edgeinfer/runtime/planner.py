"""Turns an integer Graph into a Plan: steps in order, every value at its place in one arena."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edgeinfer.cython_kernels.runtime import EDGE_LOOPS, SUPPORTED
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import peak_bytes
from edgeinfer.graph.lifetimes import last_uses, spans
from edgeinfer.runtime.arena import Buffer, allocate, allocate_beside
from edgeinfer.runtime.catalogue import (
    CACHE_BYTES,
    KernelCall,
    KernelSite,
    Parameters,
    having,
    lower,
    packed_bytes,
)
from edgeinfer.runtime.catalogue.proofs import short_quotient
from edgeinfer.runtime.fusion import Fusion, apart, fused

__all__ = ["ALIGNMENT", "MAX_BYTES", "Edge", "KnownCalls", "Place", "Plan", "Step", "plan"]

# A cache line, and the widest vector that any kernel loads.
ALIGNMENT = 64

# Constants as the kernels read them and one arena: far beyond devices, and little for a server.
MAX_BYTES = 1 << 30

# Work of a part that is worth handing to a thread that is awake: two to three microseconds. To hand
# it over and back takes more than half of one, and the other core has none of it in its cache.
GRAIN = 1 << 20


@dataclass(frozen=True)
class Place:
    """``nbytes`` bytes from ``offset`` on, in the arena or among the constants."""

    space: Literal["arena", "constants"]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Step:
    """One kernel at work on places; the last ``outputs`` operands are its outputs.

    ``node`` is the last node of those that it computes.
    ``parts`` is into how many pieces the units are worth dividing, ``scratch`` where the first
    thread's is.
    """

    node: str
    kernel: str
    isa: str
    operands: tuple[Place, ...]
    parameters: Mapping[str, int | tuple[int, ...]]
    units: int
    parts: int
    scratch: Place
    outputs: int = 1


@dataclass(frozen=True)
class Edge:
    """An input or output: where its integers are, and their scale, 0 where they are no numbers
    of a scale but, say, indices. ``inverse`` stands for the scale's where that is proven to serve,
    and is 0 otherwise."""

    name: str
    place: Place
    elements: int
    itemsize: int
    scale: float
    inverse: tuple[float, float]
    zero_point: int


@dataclass(frozen=True)
class Plan:
    """What a Program runs.

    Parameters
    ----------
    steps : tuple of Step
        In order.
    inputs, outputs : tuple of Edge
        The Graph's ``sources`` and ``results``: its inputs and outputs, then its states'.
    places : mapping of str to Place
        Where each value that a run computes is while it is alive; for ever, with ``keep_values``.
        Without, what is made and taken by one step alone has none.
    constants : numpy.ndarray
        One block of bytes: what the kernels read beside the arena.
    values_bytes : int
        What the values take of the arena, which lie at its start.
    arena_bytes : int
        The size of the arena: values, and the scratch of one thread where no value is.
    scratch_bytes : int
        What each further thread needs beside it.
    dtypes : mapping of Place to str
        Of the elements of each constant.
    edges_isa : str
        The instruction set of the loops that take in and give out floats.
    """

    steps: tuple[Step, ...]
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    places: Mapping[str, Place]
    constants: np.ndarray
    values_bytes: int
    arena_bytes: int
    scratch_bytes: int
    dtypes: Mapping[Place, str]
    edges_isa: str = "scalar"


class KnownCalls:
    """The kernel calls of the Graph that was planned last, for one that differs in few nodes."""

    def __init__(self) -> None:
        self._of_last: dict[
            Node, tuple[tuple[object, ...], list[np.ndarray], list[KernelCall]]
        ] = {}
        self._packs: dict[tuple[object, ...], tuple[np.ndarray, np.ndarray]] = {}

    def of(self, graph: Graph, isa: str, cache_bytes: Sequence[int]) -> list[list[KernelCall]]:
        """The calls of every node, which has so many ``cache_bytes``; made anew only where the
        node, these, a type or a constant is new."""
        of_this, calls = {}, []
        for node, own_bytes in zip(graph.nodes, cache_bytes, strict=True):
            types = (graph.types[name] for name in (*node.operands, *node.outputs))
            constants = [graph.constants[name] for name in node.operands if name in graph.constants]
            seen = (own_bytes, *types, *map(id, constants))
            known = self._of_last.get(node)
            if known is None or known[0] != seen:
                # the constants are kept, so that no other takes their place in memory
                site = KernelSite(node, graph, self._packs, isa, own_bytes)
                known = seen, constants, lower(node.op, site)
            of_this[node] = known
            calls.append(known[2])
        self._of_last = of_this
        # a search plans a hundred Graphs: what this one does not have is not kept for the next
        live = {id(array) for _, constants, _ in of_this.values() for array in constants}
        self._packs = {key: pack for key, pack in self._packs.items() if id(pack[0]) in live}
        return calls


def plan(
    graph: Graph,
    *,
    isa: str = "scalar",
    keep_values: bool = False,
    known: KnownCalls | None = None,
    max_bytes: int = MAX_BYTES,
    cache_bytes: int | None = CACHE_BYTES,
) -> Plan:
    """Order, place and pack everything that a run of ``graph`` needs.

    Parameters
    ----------
    graph : Graph
        An integer Graph that ``edgeinfer.graph.verification`` accepts.
    isa : str
        The instruction set to use where a kernel has it; one of ``SUPPORTED``.
    keep_values : bool
        Give every value a place of its own, so that all can be read after a run.
    known : KnownCalls
        What plans of Graphs much like this one have packed already.
    max_bytes : int
        The most memory that constants and one arena may take, counted before anything is packed.
    cache_bytes : int
        What plain loops may keep at hand of what they read again and again; None for as much as
        the least arena has room for.

    Raises
    ------
    InputError
        This CPU does not have ``isa``, or the model takes more than ``max_bytes``.
    UnsupportedError
        The Graph holds floats, or an operator that no kernel computes.
    """
    if isa not in SUPPORTED:
        raise InputError(f"isa must be one of {', '.join(SUPPORTED)}, not {isa!r}")
    if not graph.is_integer:
        raise UnsupportedError(f"graph {graph.name!r} holds floats; quantize it first")
    needed = _bytes_before_packing(graph, keep_values)
    _check_memory(needed, max_bytes)
    known = known or KnownCalls()
    count = len(graph.nodes)
    layout = _Layout(graph, known.of(graph, isa, [cache_bytes or 0] * count), keep_values)
    if cache_bytes is None:
        layout = _Layout(graph, known.of(graph, isa, layout.free_bytes()), keep_values)
    _check_memory(needed + layout.scratch_bytes, max_bytes)
    views, fusion, buffers = layout.views, layout.fusion, layout.buffers
    blob = _Blob()

    def place(operand: str | np.ndarray) -> Place:
        if isinstance(operand, np.ndarray):
            return blob.place(operand)
        root, start = views.root(operand)
        if root in graph.constants:
            return blob.place(np.asarray(graph.constants[root], graph.types[root].dtype))
        return Place("arena", buffers[root].offset + start, views.span(operand))

    edges_isa = next(name for name in SUPPORTED[SUPPORTED.index(isa) :] if name in EDGE_LOOPS)

    def edge(name: str) -> Edge:
        kind = graph.types[name]
        q = kind.quantization
        scale, zero_point = (q.step, q.zero_point) if q is not None else (0.0, 0)
        inverse = 0.0, 0.0
        # the plain loops have no fused multiplication
        if name in graph.sources and kind.dtype == "int8" and edges_isa != "scalar":
            inverse = short_quotient(scale, zero_point) or inverse
        return Edge(name, place(name), kind.elements, kind.itemsize, scale, inverse, zero_point)

    steps = _alternating(
        Step(
            node.name,
            call.kernel,
            call.isa or next(having(call.kernel, isa)),
            tuple(map(place, call.operands)),
            views.parameters(call),
            call.units,
            max(1, call.work // GRAIN),
            Place("arena", max(0, own.offset), call.scratch),
            call.outputs,
        )
        for node, node_calls, own in zip(graph.nodes, fusion.calls, layout.scratches, strict=True)
        for call in node_calls
        if views.needs(call)
    )
    computed = [*graph.sources, *(name for node in graph.nodes for name in node.outputs)]
    return Plan(
        steps,
        tuple(map(edge, graph.sources)),
        tuple(map(edge, graph.results)),
        {name: place(name) for name in computed if views.root(name)[0] not in fusion.inner},
        blob.bytes(),
        layout.values_bytes,
        layout.arena_bytes,
        _aligned(layout.scratch_bytes),
        blob.dtypes,
        edges_isa,
    )


def _alternating(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Layers that share weights, as the steps of a sequence do, read them from alternate ends: what
    one read last is still in the first-level cache when the next begins with it."""
    readers: Counter[Place] = Counter()
    ordered = []
    for step in steps:
        if "backwards" in step.parameters:
            weights = step.operands[1]
            if readers[weights] % 2:
                step = replace(step, parameters={**step.parameters, "backwards": 1})
            readers[weights] += 1
        ordered.append(step)
    return tuple(ordered)


def _bytes_before_packing(graph: Graph, keep_values: bool) -> int:
    """At most what the constants and one arena take, of shapes alone.

    The constants count twice: as each kernel has its own packed, and one after another.
    """
    if keep_values:
        arena = sum(t.nbytes for name, t in graph.types.items() if name not in graph.constants)
    else:
        arena = peak_bytes(graph, lambda t: t.nbytes)
    return arena + 2 * packed_bytes(graph)


def _check_memory(needed: int, max_bytes: int) -> None:
    if needed > max_bytes:
        raise InputError(
            f"the model would take {needed:,} bytes of memory, and the limit is {max_bytes:,}: "
            "give a larger max_bytes if it is trusted"
        )


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class _Layout:
    """Where values and scratches lie, once each node has its calls."""

    def __init__(self, graph: Graph, calls: list[list[KernelCall]], keep_values: bool) -> None:
        self.views = _Views(graph, calls, keep_values)
        self.fusion = (
            apart(calls) if keep_values else fused(graph, calls, self.views.root, self.views.needs)
        )
        self.buffers = _buffers(graph, self.fusion, self.views, keep_values)
        self.scratches = [
            Buffer(max((c.scratch for c in node_calls), default=0), index, index)
            for index, node_calls in enumerate(self.fusion.calls)
        ]
        self.scratch_bytes = max((c.scratch for own in calls for c in own), default=0)
        self._of_values = list({id(b): b for b in self.buffers.values()}.values())
        self.values_bytes = allocate(self._of_values, ALIGNMENT)
        scratches = (b for b in self.scratches if b.size)
        self.arena_bytes = allocate_beside(self._of_values, scratches, ALIGNMENT)

    def free_bytes(self) -> list[int]:
        """What of the arena no value takes while a node is computed, in one piece."""
        found = []
        for index in range(len(self.scratches)):
            end = free = 0
            alive = (b for b in self._of_values if b.first <= index <= b.last)
            for buffer in sorted(alive, key=lambda b: b.offset):
                free = max(free, buffer.offset - end)
                end = max(end, _aligned(buffer.offset + buffer.size))
            found.append(max(free, self.arena_bytes - end))
        return found


class _Views:
    """Which values are bytes of another's: moved by no step, written where they are read.

    A value that is its operand under another shape, or one run of it, is a view of it. A value that
    is copied whole into one run of another, as the operands of a Concat are, is written there by
    whoever makes it; where it is copied pixel by pixel, by a layer, which can leave room between
    pixels for the channels of others.
    """

    def __init__(self, graph: Graph, calls: list[list[KernelCall]], keep_values: bool) -> None:
        self._of: dict[str, tuple[str, int]] = {}
        # elements from one pixel of a view to the next, where others lie between
        self._pitches: dict[str, int] = {}
        self._graph = graph
        layers = {} if keep_values else _layers(graph, calls)
        for node, node_calls in zip(graph.nodes, calls, strict=True):
            if not node_calls:
                self._of[node.output] = node.operands[0], 0
            elif all(_is_run(call) for call in node_calls):
                for call in node_calls:
                    self._join(call)
            else:
                for call in node_calls:
                    if call.kernel == "copy" and call.operands[0] in layers:
                        self._join_pixels(call)

    def root(self, name: str) -> tuple[str, int]:
        """The value whose bytes ``name`` is, which is no other's, and from which byte on."""
        start = 0
        while name in self._of:
            name, further = self._of[name]
            start += further
        return name, start

    def needs(self, call: KernelCall) -> bool:
        """Whether ``call`` moves anything: its source is not already where it would copy it."""
        if call.kernel == "copy" and call.operands[0] in self._pitches:
            return False
        if not _is_run(call):
            return True
        (source, from_byte), (target, to_byte) = self._ends(call)
        return (source, from_byte) != (target, to_byte)

    def span(self, name: str) -> int:
        """The bytes from the first of ``name`` to its last."""
        kind = self._graph.types[name]
        pitch = self._pitches.get(name)
        if pitch is None:
            return kind.nbytes
        channels = kind.shape[-1]
        return ((kind.elements // channels - 1) * pitch + channels) * kind.itemsize

    def parameters(self, call: KernelCall) -> Parameters:
        """Those of ``call``, whose output may leave room between its pixels."""
        pitch = self._pitches.get(str(call.operands[-1]))
        return call.parameters if pitch is None else {**call.parameters, "out_depth": pitch}

    def _join_pixels(self, call: KernelCall) -> None:
        """Where a layer's output is copied between the pixels of others, it is written there."""
        source, target = map(str, call.operands)
        channels = self._graph.types[source].shape[-1]
        p = call.parameters
        extents, out_strides = p["extents"], p["out_strides"]
        assert isinstance(extents, tuple) and isinstance(out_strides, tuple)
        if extents[1:] == (channels,) and p["in_strides"] == (channels, 1) and out_strides[1] == 1:
            self._of[source] = target, _number(call, "out_start") * _number(call, "bytes")
            self._pitches[source] = out_strides[0]

    def _ends(self, call: KernelCall) -> tuple[tuple[str, int], tuple[str, int]]:
        """Where a copy reads and writes: roots, and bytes in them."""
        ends = []
        for operand, field in zip(call.operands, ("in_start", "out_start"), strict=True):
            root, start = self.root(str(operand))
            ends.append((root, start + _number(call, field) * _number(call, "bytes")))
        return ends[0], ends[1]

    def _join(self, call: KernelCall) -> None:
        extents = call.parameters["extents"]
        assert isinstance(extents, tuple)
        size = math.prod(extents) * _number(call, "bytes")
        (source, from_byte), (target, to_byte) = self._ends(call)
        types, constants = self._graph.types, self._graph.constants
        if source == target or source in constants:
            return
        if (to_byte, size) == (0, types[target].nbytes):
            self._of[target] = source, from_byte
        elif (from_byte, size) == (0, types[source].nbytes):
            self._of[source] = target, to_byte


def _layers(graph: Graph, calls: list[list[KernelCall]]) -> set[str]:
    """What layers make that can leave room between their pixels, and one Concat alone reads."""
    readers = Counter(name for node in graph.nodes for name in node.operands)
    kept = {*graph.sources, *graph.results}
    found: set[str] = set()
    for node in graph.nodes:
        if isinstance(node.op, ops.Concat):
            found.update(name for name in node.operands if readers[name] == 1 and name not in kept)
    made = {
        node.output: node_calls[0]
        for node, node_calls in zip(graph.nodes, calls, strict=True)
        if len(node.outputs) == len(node_calls) == 1
    }
    return {
        name
        for name in found & made.keys()
        if made[name].parameters.get("out_depth") == graph.types[name].shape[-1]
    }


def _number(call: KernelCall, field: str) -> int:
    value = call.parameters[field]
    assert isinstance(value, int)
    return value


def _is_run(call: KernelCall) -> bool:
    """Whether ``call`` copies neighbours to neighbours."""
    if call.kernel != "copy":
        return False
    p = call.parameters
    return p["extents"] == (1,) or p["in_strides"] == p["out_strides"] == (1,)


def _buffers(graph: Graph, fusion: Fusion, views: _Views, keep_values: bool) -> dict[str, Buffer]:
    """The buffer of every root that steps share; one for several that take over from each other."""
    end = len(graph.nodes)
    times = (*fusion.times, end)
    uses = ((views.root(name)[0], times[index]) for name, index in last_uses(graph).items())
    last = {root: until for root, (_, until) in spans(uses).items()}
    buffers: dict[str, Buffer] = {}

    def hold(name: str, index: int, overwritten: Buffer | None = None) -> None:
        root, _ = views.root(name)
        if root not in buffers and root not in graph.constants and root not in fusion.inner:
            until = end if keep_values else last.get(root, index)
            buffer = overwritten or Buffer(graph.types[root].nbytes, index, until)
            buffer.last = until
            buffers[root] = buffer

    def dying(node: Node, index: int, call: KernelCall) -> Buffer | None:
        """The buffer that the node's output may take over: whole values, one by the other."""
        if keep_values or views.root(node.outputs[0]) != (node.outputs[0], 0):
            return None
        for root, start in map(views.root, call.in_place):
            whole = start == 0 and graph.types[root].nbytes == graph.types[node.output].nbytes
            if whole and root in buffers and last[root] == index:
                return buffers[root]
        return None

    for name in graph.sources:
        hold(name, -1)
    for node, node_calls, index in zip(graph.nodes, fusion.calls, fusion.times, strict=True):
        overwritten = dying(node, index, node_calls[0]) if node_calls else None
        for name in node.outputs:
            hold(name, index, overwritten)
    return buffers


class _Blob:
    """Constants one after another, aligned; equal ones once."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, bytes], tuple[np.ndarray, Place]] = {}
        self._size = 0

    def place(self, array: np.ndarray) -> Place:
        """Where ``array`` will stand."""
        array = np.ascontiguousarray(array)
        # not their bytes, which may be many
        key = array.dtype.name, hashlib.sha256(array.data).digest()
        if key not in self._arrays:
            self._arrays[key] = array, Place("constants", self._size, array.nbytes)
            self._size = _aligned(self._size + array.nbytes)
        return self._arrays[key][1]

    @property
    def dtypes(self) -> dict[Place, str]:
        """Of the elements of each."""
        return {place: dtype for (dtype, _), (_, place) in self._arrays.items()}

    def bytes(self) -> np.ndarray:
        """All of them, in memory that starts at a multiple of ``ALIGNMENT``."""
        room = np.zeros(self._size + ALIGNMENT, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        blob = room[start : start + self._size]
        for array, at in self._arrays.values():
            blob[at.offset : at.offset + at.nbytes] = array.reshape(-1).view(np.uint8)
        return blob
