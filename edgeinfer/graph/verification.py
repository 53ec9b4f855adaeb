"""The gate: a Graph, whoever made it, into certainty that running it stays inside its bounds.

Every Graph passes here before it is saved, planned or run, and one read from a file above all.
What holds afterwards: single assignment in topological order, shapes as ``shapes.py`` derives
them, element types that each operator takes, constants that fit their types, attributes and
accumulators that cannot overflow in any kernel, and a bounded amount of work.
"""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.errors import InputError, ModelError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import macs, peak_bytes
from edgeinfer.graph.graph import ABSENT, Graph, check_is_graph
from edgeinfer.graph.operator_checks import ACTIVATIONS, check
from edgeinfer.graph.shapes import output_shapes
from edgeinfer.graph.site import Site

__all__ = ["MAX_BYTES", "MAX_LINKS", "MAX_NODES", "MAX_WORK", "padded_elements", "verify", "work"]

# element moves and multiply-accumulates of one run: an hour or so of a scalar core
MAX_WORK = 10**13

# activations alive at once, far beyond any device: a file of a kilobyte can ask for more
MAX_BYTES = 2**32

# several times what any real model has; planning takes seconds with them
MAX_NODES = 20_000
MAX_LINKS = 100_000  # inputs of all nodes together

# of expressions, each times the entries of its table: seconds, where each is as slow as erf
_MAX_TERMS = 2**26

# strides, pads, dilations: far beyond sense, and their products far from overflow
_MAX_EXTENT = 2**24


def verify(graph: Graph) -> None:
    """Check everything that a run relies on.

    Raises
    ------
    ModelError
        What is wrong, with the node and the operator where one is to blame.
    InputError
        It is no Graph.
    """
    check_is_graph(graph)
    _verify_size(graph)
    _verify_expressions(graph)
    _verify_node_names(graph)
    _verify_values(graph)
    _verify_states(graph)
    _verify_preparation(graph)
    known = {*graph.sources, *graph.constants}
    total = 0
    for node in graph.nodes:
        site = Site(node, graph)
        _verify_names(site, known)
        _verify_shapes(site)
        _verify_window(site)
        check(node.op, site)
        known.update(node.outputs)
        total += work(site)
    for name in graph.results:
        if name not in known:
            kind = "output" if name in graph.outputs else "state"
            raise ModelError(f"{kind} {name!r} is never computed")
    for name in graph.types:
        if name not in known:
            raise ModelError(f"value {name!r} has a type, but is never computed")
    for name in (*graph.inputs, *graph.outputs):
        t = graph.types[name]
        if t.quantization is not None and t.dtype not in ACTIVATIONS:
            raise ModelError(f"value {name!r} is {t.dtype}, which takes no scale")
    if total > MAX_WORK:
        raise ModelError(f"a run would take {total:.3g} operations; the limit is {MAX_WORK:.0g}")
    held = peak_bytes(graph, lambda t: t.nbytes)
    if held > MAX_BYTES:
        raise ModelError(f"a run would hold {held} bytes at once; the limit is {MAX_BYTES}")


def _verify_size(graph: Graph) -> None:
    links = sum(len(node.inputs) + len(node.outputs) - 1 for node in graph.nodes)
    for what, count, limit in (("nodes", len(graph.nodes), MAX_NODES), ("links", links, MAX_LINKS)):
        if count > limit:
            raise ModelError(f"the graph has {count} {what}; the limit is {limit}")


def _verify_expressions(graph: Graph) -> None:
    """Tables are made again, and a short file can ask for long work."""
    terms = 0
    for node in graph.nodes:
        if isinstance(node.op, ops.Lookup) and node.op.expression is not None:
            entries = graph.types.get(node.inputs[-1]) if node.inputs else None
            terms += pointwise.size(node.op.expression) * (entries.elements if entries else 0)
    if terms > _MAX_TERMS:
        raise ModelError(f"its tables' expressions have {terms} terms; the limit is {_MAX_TERMS}")


def _verify_node_names(graph: Graph) -> None:
    """What a stage makes for a node, it calls by the node's name."""
    seen: set[str] = set()
    for node in graph.nodes:
        if node.name in seen:
            raise ModelError(f"two nodes are called {node.name!r}")
        seen.add(node.name)


def _verify_values(graph: Graph) -> None:
    for kind, names in (("input", graph.inputs), ("output", graph.outputs)):
        if not names:
            raise ModelError(f"a graph has at least one {kind}")
        if len(set(names)) != len(names):
            raise ModelError(f"the {kind}s are not distinct: {list(names)}")
    for name in (*graph.sources, *graph.constants, *graph.results):
        if name not in graph.types:
            raise ModelError(f"value {name!r} has no type")
    if ABSENT in graph.types:
        raise ModelError("a value must have a name")
    for name in graph.inputs:
        if name in graph.constants:
            raise ModelError(f"value {name!r} is both an input and a constant")
        if graph.free_batch and not graph.types[name].shape:
            raise ModelError(f"input {name!r} has no axis for the free batch")
    for name, array in graph.constants.items():
        t = graph.types[name]
        if array.shape != t.shape or str(array.dtype) != t.dtype:
            raise ModelError(
                f"constant {name!r} holds {array.dtype} of shape {list(array.shape)}, "
                f"but its type says {t}"
            )
        if t.dtype == "float32" and not np.isfinite(array).all():
            raise ModelError(f"constant {name!r} holds a value that is not finite")
    if graph.is_integer:
        for name in (*graph.sources, *graph.results):
            t = graph.types[name]
            q = t.quantization
            if (q is None and t.dtype in ACTIVATIONS) or (q is not None and q.axis is not None):
                raise ModelError(f"value {name!r} is {t.dtype} and needs one scale")


def _verify_states(graph: Graph) -> None:
    taken = {*graph.inputs, *graph.constants}
    for state in graph.states:
        if state.input in taken:
            raise ModelError(f"state {state.input!r} is given already")
        taken.add(state.input)
        if state.first not in graph.constants:
            raise ModelError(f"state {state.input!r} begins with {state.first!r}, no constant")
        for name in (state.output, state.first):
            if graph.types[name] != graph.types[state.input]:
                raise ModelError(
                    f"state {state.input!r} is {graph.types[state.input]}, "
                    f"but {name!r} is {graph.types[name]}"
                )
    if graph.states and graph.free_batch:
        raise ModelError("a graph with states has no free batch")


def _verify_preparation(graph: Graph) -> None:
    for name, preparation in graph.preparation.items():
        if name not in graph.inputs:
            raise ModelError(f"{name!r} has a preparation, but is no input")
        try:
            preparation.extent(graph.types[name].shape)
        except InputError as error:
            raise ModelError(f"input {name!r}: {error}") from error


def _verify_names(site: Site, known: set[str]) -> None:
    """Every value is given once, before it is taken."""
    node, given = site.node, set[str]()
    for name in node.operands:
        site.require(name in known, f"takes {name!r}, which nothing before it gives")
    site.require(node.inputs[-1:] != (ABSENT,), "ends its inputs with an absent one")
    for name in node.outputs:
        is_new = name not in known and name not in given
        site.require(is_new, f"gives {name!r}, which is given already")
        site.require(name in site.graph.types, f"gives {name!r}, which has no type")
        given.add(name)


def _verify_shapes(site: Site) -> None:
    node, types = site.node, site.graph.types
    shapes = (None if name == ABSENT else types[name].shape for name in node.inputs)
    try:
        derived = output_shapes(node.op, *shapes)
    except ModelError as error:
        raise ModelError(str(error), node=node.name, operator=site.operator) from error
    count = f"{len(derived)} value{'s' if len(derived) > 1 else ''}"
    site.require(len(derived) == len(node.outputs), f"gives {count}, not {len(node.outputs)}")
    for shape, t in zip(derived, site.outputs, strict=True):
        site.require(
            shape == t.shape, f"gives shape {list(shape)}, but its type says {list(t.shape)}"
        )


def _verify_window(site: Site) -> None:
    """Every place in or beside x that a window touches has a number far below 2^32, and x with its
    pads, which the interpreter makes, is bounded too."""
    op = site.node.op
    for a in ("strides", "pads", "dilations", "kernel", "ceil_pads", "output_padding"):
        for value in getattr(op, a, ()):
            site.require(value < _MAX_EXTENT, f"{a} must be below {_MAX_EXTENT}, not {value}")
    if isinstance(op, ops.Windowed):
        extent = max(site.shape("x")[1:3])
        site.require(extent < 2**30, f"an axis that a window moves along cannot have {extent}")
        held = padded_elements(op, site) * site.itemsize("x")
        site.require(
            held <= MAX_BYTES, f"takes {held} bytes with its pads; the limit is {MAX_BYTES}"
        )


def padded_elements(op: ops.Windowed, site: Site) -> int:
    """How many elements that which the window moves over has with its pads."""
    padded = site.output if isinstance(op, ops.ConvTranspose) else site.type("x")
    top, left, bottom, right = op.pads
    n, h, w, c = padded.shape
    return n * (h + top + bottom) * (w + left + right) * c


def work(site: Site) -> int:
    """At most how many multiply-accumulates or moves of an element the node takes."""
    op = site.node.op
    window = op.size if isinstance(op, ops.LRN) else math.prod(getattr(op, "kernel", (1,)))
    moved = max(site.elements, *(t.elements for t in site.inputs))
    return max(macs(op, site), moved, site.elements * window)
