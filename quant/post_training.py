"""A float Graph and calibration data into an integer Graph."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from edgeinfer.data.samples import Data
from edgeinfer.errors import InputError, QuantizationError, UnsupportedError
from edgeinfer.graph import Graph, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.verification import verify
from edgeinfer.quant.calibration import Progress, calibrate
from edgeinfer.quant.lowering import Lowering, fixed_output, is_supported, lower
from edgeinfer.quant.observers import OBSERVERS, Histogram, Levels, Observer, minmax
from edgeinfer.quant.schemes import SCHEMES, Scheme, activation_type, levels
from edgeinfer.quant.search import MAX_RUNS, Ranges, search
from edgeinfer.quant.sharing import shared_quantization

__all__ = ["DEFAULT_OBSERVER", "quantize"]

DEFAULT_OBSERVER = "auto"


def quantize(
    graph: Graph,
    data: Data,
    *,
    scheme: str = "int8",
    observer: str = DEFAULT_OBSERVER,
    samples: int | None = None,
    seed: int = 0,
    rounding: ops.Rounding = "single",
    progress: Progress | None = None,
) -> Graph:
    """Make every value of ``graph`` an integer.

    Parameters
    ----------
    graph : Graph
        A float Graph in canonical form, from ``edgeinfer.converters.from_onnx``.
    data : array, dict of arrays, or iterable of either
        Calibration samples as the model takes them, a hundred or so; never written to.
    scheme : str
        ``int8``; ``int16x8``, 16-bit activations with 8-bit weights; or ``int16``, both 16-bit.
    observer : str
        How ranges are chosen from what was seen. ``minmax``, ``percentile``, ``entropy`` and
        ``mse`` look at each value alone; ``auto`` lets the outputs decide between them
        (``search.py``), and is ``minmax`` for 16-bit activations, which need no cutting.
    samples, seed : int
        Of an array, how many samples to draw, and by which seed; of a stream, how many to take.
    rounding : str
        ``single``, or ``double`` for the bits of TFLM, CMSIS-NN and Ethos-U (int8 only).
    progress : callable
        Called as ``progress(stage, done, total)`` while samples are run (``calibrating``) and
        ranges tried (``searching``); the total is None where it is not known.

    Raises
    ------
    UnsupportedError
        Some operators have no integer meaning yet; the message names every node.
    QuantizationError
        A value or a layer cannot be made integer.
    InputError
        An option is unknown, or the data does not fit.
    """
    widths = _option("scheme", scheme, SCHEMES)
    rule = _option("observer", observer, {DEFAULT_OBSERVER: None, **OBSERVERS})
    if rounding not in ("single", "double"):
        raise InputError(f"rounding must be single or double, not {rounding!r}")
    if rounding == "double" and widths.activations != "int8":
        raise InputError("rounding 'double' is for scheme 'int8' only")
    _refuse_unsupported(graph)
    groups = shared_quantization(graph, average_pool=rounding == "double")
    searching = rule is None and widths.activations == "int8"
    seen = calibrate(
        graph,
        data,
        set(groups),
        samples=samples,
        seed=seed,
        keep=MAX_RUNS if searching else 0,
        progress=progress,
    )
    observed = {name: (h.low, h.high) for name, h in seen.histograms.items()}
    provenance = {
        **graph.provenance,
        "scheme": scheme,
        "observer": observer,
        "rounding": rounding,
    }

    def build(ranges: Ranges) -> Graph:
        to = Lowering(graph, widths, rounding, _types(graph, groups, ranges, widths), observed)
        for node in graph.nodes:
            lower(node.op, node, to)
        integer = replace(graph, constants=to.constants, types=to.types, provenance=provenance)
        return integer.with_nodes(to.nodes)

    divided = levels(widths.activations)
    if searching:
        proposals = {
            name: _hulls(groups, seen.histograms, propose, divided)
            for name, propose in OBSERVERS.items()
        }
        ranges = search(seen, proposals, build, progress)
    else:
        ranges = _hulls(groups, seen.histograms, rule or minmax, divided)
    integer = build(ranges)
    verify(integer)
    return integer


_T = TypeVar("_T")


def _option(what: str, name: str, known: dict[str, _T]) -> _T:
    if name not in known:
        raise InputError(f"{what} must be one of {', '.join(known)}, not {name!r}")
    return known[name]


def _refuse_unsupported(graph: Graph) -> None:
    """Name every node, or else the first input, that has no integer meaning."""
    refused = [node for node in graph.nodes if not is_supported(node.op)]
    if refused:
        names = ", ".join(f"{type(node.op).__name__} {node.name!r}" for node in refused)
        raise UnsupportedError(
            f"{len(refused)} of {len(graph.nodes)} operators cannot be made integer yet: {names}; "
            "replace them in the model, or cut it before them"
        )
    for name in graph.inputs:
        if graph.types[name].dtype == "bool":
            raise QuantizationError(f"input {name!r} is bool, which has no integer form")


def _hulls(
    groups: dict[str, str], histograms: dict[str, Histogram], rule: Observer, divided: Levels
) -> Ranges:
    """The range of each group by its representative: what ``rule`` gives its members, joined."""
    hulls: Ranges = {}
    for name, root in groups.items():
        low, high = rule(histograms[name], divided)
        known = hulls.get(root, (0.0, 0.0))
        hulls[root] = min(known[0], low), max(known[1], high)
    return hulls


def _types(
    graph: Graph,
    groups: dict[str, str],
    ranges: Ranges,
    scheme: Scheme,
) -> dict[str, TensorType]:
    """The integer type of every value that is not constant."""
    fixed = {}
    for node in graph.nodes:
        prescribed = fixed_output(node.op, scheme.activations)
        if prescribed is not None:
            fixed[groups[node.outputs[0]]] = prescribed
    types = {}
    for name, kind in graph.types.items():
        if name in graph.constants:
            continue
        if name not in groups:
            types[name] = kind
            continue
        root = groups[name]
        t = activation_type(kind.shape, *ranges[root], scheme.activations)
        types[name] = replace(t, quantization=fixed.get(root, t.quantization))
    return types
