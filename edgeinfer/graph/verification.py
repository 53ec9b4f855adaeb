"""The gate: a Graph, whoever made it, into certainty that running it stays inside its bounds.

Every Graph passes here before it is saved, planned or run, and one read from a file above all.
What holds afterwards: single assignment in topological order, shapes as ``shapes.py`` derives
them, element types that each operator takes, constants that fit their types, attributes and
accumulators that cannot overflow in any kernel, and a bounded amount of work.
"""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic import accumulators, pointwise
from edgeinfer.arithmetic.fixedpoint import MAX_ACCUMULATOR_16
from edgeinfer.arithmetic.tables import Integers, function_table
from edgeinfer.errors import InputError, ModelError, QuantizationError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import macs, peak_bytes
from edgeinfer.graph.graph import ABSENT, Graph, TensorType
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

# exp has another last bit on another processor, so a number next to a half rounds elsewhere
_TABLE_STEPS = 1

# strides, pads, dilations: far beyond sense, and their products far from overflow
_MAX_EXTENT = 2**24

_ACTIVATIONS = ("int8", "int16")


def verify(graph: Graph) -> None:
    """Check everything that a run relies on.

    Raises
    ------
    ModelError
        What is wrong, with the node and the operator where one is to blame.
    """
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
        if t.quantization is not None and t.dtype not in _ACTIVATIONS:
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
            if (q is None and t.dtype in _ACTIVATIONS) or (q is not None and q.axis is not None):
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
    node, given = site.node, set(known)
    for name in node.operands:
        site.require(name in known, f"takes {name!r}, which nothing before it gives")
    site.require(node.inputs[-1:] != (ABSENT,), "ends its inputs with an absent one")
    for name in node.outputs:
        site.require(name not in given, f"gives {name!r}, which is given already")
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


@singledispatch
def check(op: ops.Operator, site: Site) -> None:
    """Element types, attributes and accumulators of one node."""
    raise NotImplementedError(type(op).__name__)


@check.register
def _float_operator(op: ops.FloatOperator, site: Site) -> None:
    for t in (*site.inputs, *site.outputs):
        site.require(t.dtype == "float32", f"takes and gives float32, not {t.dtype}")


# ---- operators of either kind ----------------------------------------------------------------


@check.register
def _selecting(op: ops.Selecting, site: Site) -> None:
    for t in site.inputs:
        _same_kind(site, t)


def _same_kind(site: Site, t: TensorType) -> None:
    """The outputs' elements mean what those of type ``t`` do."""
    for output in site.outputs:
        site.require(t.dtype == output.dtype, f"turns {t.dtype} into {output.dtype}")
        same = t.quantization == output.quantization
        site.require(same, "gives another quantization than it takes")
    site.require(
        t.quantization is None or t.quantization.axis is None,
        "takes values with one scale, not one a channel",
    )


@check.register
def _max_pool(op: ops.MaxPool, site: Site) -> None:
    _selecting(op, site)
    dtype = site.type("x").dtype
    site.require(dtype in ("float32", *_ACTIVATIONS), f"takes no {dtype}")


@check.register
def _pad(op: ops.Pad, site: Site) -> None:
    _selecting(op, site)
    dtype, value = site.output.dtype, op.value
    if dtype == "float32":
        fits = type(value) is float
    else:
        site.require(dtype != "bool", "takes no bool")
        fits = type(value) is int and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    site.require(fits or op.mode != "constant", f"pads {dtype} with {value!r}")


@check.register
def _gather(op: ops.Gather, site: Site) -> None:
    data, indices = site.type("data"), site.type("indices")
    site.require(indices.dtype == "int64", f"takes int64 indices, not {indices.dtype}")
    _same_kind(site, data)
    if site.is_constant("indices"):
        known = site.constant("indices")
        extent = data.shape[op.axis]
        low, high = int(known.min()), int(known.max())
        site.require(
            -extent <= low and high < extent, f"indices {low} to {high} leave an axis of {extent}"
        )


@check.register
def _arg_max(op: ops.ArgMax, site: Site) -> None:
    output = site.output
    site.require(
        output.dtype == "int64" and output.quantization is None,
        f"gives int64 that nothing scales, not {output}",
    )


# ---- integer operators -----------------------------------------------------------------------


def _activation(site: Site, t: TensorType, what: str, zero_point: int) -> int:
    """The largest ``|q - zero_point|`` of an activation of type ``t``."""
    site.require(t.dtype in _ACTIVATIONS, f"{what} must be int8 or int16, not {t.dtype}")
    info = np.iinfo(t.dtype)
    site.require(
        info.min <= zero_point <= info.max and (t.dtype == "int8" or zero_point == 0),
        f"{what} of type {t.dtype} cannot have zero point {zero_point}",
    )
    return accumulators.reach(t.dtype, zero_point)


def _requantizes(op: ops.Requantizing, site: Site) -> None:
    output = site.output
    _activation(site, output, "the output", op.output_zero_point)
    info = np.iinfo(output.dtype)
    site.require(
        info.min <= op.lo <= op.hi <= info.max,
        f"the clamp {op.lo} to {op.hi} does not fit {output.dtype}",
    )
    site.require(
        op.rounding == "single" or all(t.dtype != "int16" for t in site.inputs),
        "rounding 'double' is for int8 inputs",
    )


def _bounded(site: Site, accumulator: np.ndarray | int, multiplier: np.ndarray | int) -> None:
    """Each accumulator below 2^31; of int16 and with a 24-bit multiplier, below 2^38."""
    accumulator, multiplier = np.atleast_1d(accumulator), np.atleast_1d(multiplier)
    wide = (multiplier < 2**24) & any(t.dtype == "int16" for t in _activations(site))
    limit = np.where(wide, MAX_ACCUMULATOR_16, 2**31)
    over = np.flatnonzero(accumulator >= limit)
    if over.size:
        worst, bits = accumulator[over[0]], int(limit[over[0]]).bit_length() - 1
        site.require(False, f"an accumulator of up to {worst} is not below 2^{bits}")


def _activations(site: Site) -> list[TensorType]:
    """What it takes that is no constant of a layer."""
    roles = [role.name for role in site.node.op.takes if role.name in ("x", "a", "b")]
    return [site.type(role) for role in roles]


def _multipliers(site: Site, *, signed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    multiplier = site.constant("multiplier", "int32")
    shift = site.constant("shift", "int8")
    least = -(2**31) + 1 if signed else 0
    site.require(multiplier.min() >= least, f"a multiplier must not be {multiplier.min()}")
    site.require(
        shift.min() >= 2 and shift.max() <= 62,
        f"shifts must be between 2 and 62, not {shift.min()} to {shift.max()}",
    )
    return multiplier, shift


@check.register(ops.QConv)
@check.register(ops.QDense)
def _q_conv(op: ops.QConv | ops.QDense, site: Site) -> None:
    _requantizes(op, site)
    x = site.type("x")
    reach = _activation(site, x, "x", op.input_zero_point)
    narrow = x.dtype == "int8"
    weights = site.constant("weights", *(["int8"] if narrow else ["int8", "int16"]))
    bias = site.constant("bias", "int32" if narrow else "int64")
    multiplier, _ = _multipliers(site)
    limit = MAX_ACCUMULATOR_16
    site.require(
        int(bias.min()) > -limit and int(bias.max()) < limit,
        f"a bias must be below {limit} in magnitude",
    )
    _bounded(site, accumulators.largest_sums(weights, bias, reach), multiplier)


@check.register
def _q_add(op: ops.QAdd, site: Site) -> None:
    _requantizes(op, site)
    a, b = site.type("a"), site.type("b")
    _activation(site, a, "a", op.a_zero_point)
    _activation(site, b, "b", op.b_zero_point)
    expected = 15 if "int16" in (a.dtype, b.dtype) else 20
    site.require(
        op.left_shift == expected,
        f"shifts {a.dtype} and {b.dtype} by {expected}, not {op.left_shift}",
    )
    for m, s in ((op.a_multiplier, op.a_shift), (op.b_multiplier, op.b_shift)):
        site.require(2 * m <= 2**s, f"an operand's ratio must be at most 1/2, not {m} * 2^-{s}")


@check.register
def _q_mul(op: ops.QMul, site: Site) -> None:
    _requantizes(op, site)
    a, b = site.type("a"), site.type("b")
    product = _activation(site, a, "a", op.a_zero_point) * _activation(
        site, b, "b", op.b_zero_point
    )
    _bounded(site, product, op.multiplier)


@check.register
def _rescale(op: ops.Rescale, site: Site) -> None:
    _requantizes(op, site)
    _activation(site, site.type("x"), "x", op.input_zero_point)


@check.register
def _q_prelu(op: ops.QPRelu, site: Site) -> None:
    _requantizes(op, site)
    _activation(site, site.type("x"), "x", op.input_zero_point)
    _multipliers(site, signed=True)


@check.register
def _q_average_pool(op: ops.QAveragePool, site: Site) -> None:
    _requantizes(op, site)
    x = site.type("x")
    reach = _activation(site, x, "x", op.input_zero_point)
    _activation(site, x, "a pad", op.pad_value)
    multiplier, _ = _multipliers(site)
    _bounded(site, reach * np.arange(1, len(multiplier) + 1), multiplier)


@check.register
def _q_reduce_sum(op: ops.QReduceSum, site: Site) -> None:
    _requantizes(op, site)
    x = site.type("x")
    reach = _activation(site, x, "x", op.input_zero_point)
    count = math.prod(x.shape[a] for a in op.axes)
    _bounded(site, count * reach, op.multiplier)
    if op.mean is not None:
        _verify_mean(op, site, count)


def _verify_mean(op: ops.QReduceSum, site: Site, count: int) -> None:
    """The multiplier is that of a mean, or of a sum: one that the two types' scales give."""
    x, y = _integers(site, site.type("x"), "x"), _integers(site, site.output, "the output")
    expected = x[0] / (y[0] * (count if op.mean else 1))
    found = op.multiplier * 2.0**-op.shift
    # a mean of equal scales has a multiplier of its own, a little too large; what S = 62 cuts off
    # leaves an error of half a unit
    off = abs(found - expected)
    site.require(
        off <= expected * 2.0**-20 + 2.0**-63,
        f"is no {'mean' if op.mean else 'sum'}: multiplies by {found:.6g}, not {expected:.6g}",
    )


@check.register
def _lookup(op: ops.Lookup, site: Site) -> None:
    x, output = site.type("x"), site.output
    site.require(output.dtype in _ACTIVATIONS, f"gives int8 or int16, not {output.dtype}")
    entries = site.constant("table", output.dtype)
    lengths = {"int8": (256,), "int16": (513, 65536)}
    site.require(
        len(entries) in lengths.get(x.dtype, ()),
        f"a table of {len(entries)} entries does not serve {x.dtype}",
    )
    if len(entries) == 513:
        steps = np.abs(np.diff(entries.astype(np.int64)))
        site.require(
            output.dtype == "int16" and steps.max() < 2**15,
            "an interpolated table is int16, and its slopes fit int16",
        )
    _verify_expression(op, site, entries)


def _verify_expression(op: ops.Lookup, site: Site, entries: np.ndarray) -> None:
    """The table is the one of its expression, made again."""
    if op.expression is None:
        site.require(op.domain is None, "has a domain, but no expression")
        return
    site.require(
        op.domain is None or op.domain[0] <= op.domain[1],
        f"has a domain that ends before it begins: {op.domain}",
    )
    function = pointwise.text(op.expression)
    function = function if len(function) <= 60 else f"{function[:57]}..."
    x, y = _integers(site, site.type("x"), "x"), _integers(site, site.output, "the output")
    try:
        made = function_table(op.expression, op.domain, x, y, len(entries))
    except QuantizationError as error:
        raise ModelError(
            f"{function} has no table: {error}", node=site.node.name, operator=site.operator
        ) from error
    off = int(np.abs(entries.astype(np.int64) - made).max())
    site.require(
        off <= _TABLE_STEPS, f"its table is not that of {function}: it differs by {off} steps"
    )


def _integers(site: Site, t: TensorType, what: str) -> Integers:
    """How an activation of type ``t`` stands for real numbers."""
    q = t.quantization
    site.require(q is not None and q.axis is None, f"{what} needs one scale")
    assert q is not None
    _activation(site, t, what, q.zero_point)
    return q.step, q.zero_point, t.dtype


@check.register
def _q_softmax(op: ops.QSoftmax, site: Site) -> None:
    x, output = site.type("x"), site.output
    site.require(
        x.dtype == output.dtype and x.dtype in _ACTIVATIONS,
        f"turns int8 into int8 or int16 into int16, not {x.dtype} into {output.dtype}",
    )
    exponentials = site.constant("table", "int32")
    expected, one = ((256,), 2**23) if x.dtype == "int8" else ((2, 256), 2**30)
    site.require(
        exponentials.shape == expected,
        f"a table of shape {list(exponentials.shape)} does not serve {x.dtype}",
    )
    first = exponentials[..., 0]
    site.require(
        (first == one).all() and exponentials.min() >= 0 and exponentials.max() <= one,
        f"exponentials begin with {one} and lie between 0 and it",
    )
