"""A float Graph and data into the integer type of every value: its width and its range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from edgeinfer.data.samples import Data
from edgeinfer.errors import InputError, QuantizationError, UnsupportedError
from edgeinfer.graph import Graph, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant.calibration import Progress, calibrate
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.lowering import Lowering
from edgeinfer.quant.observers import OBSERVERS, minmax
from edgeinfer.quant.ranges import Ranges, bounded, group_ranges
from edgeinfer.quant.rules import fixed_output, is_supported
from edgeinfer.quant.schemes import SCHEMES, Width, activation_type, headroom
from edgeinfer.quant.search import MAX_RUNS, search
from edgeinfer.quant.sharing import shared_quantization
from edgeinfer.quant.widths import group_widths

__all__ = ["DEFAULT_OBSERVER", "choose_types"]

DEFAULT_OBSERVER = "auto"


def choose_types(
    graph: Graph,
    data: Data,
    *,
    scheme: str = "int8",
    observer: str = DEFAULT_OBSERVER,
    overrides: Mapping[str, str] | None = None,
    samples: int | None = None,
    seed: int = 0,
    rounding: ops.Rounding = "single",
    progress: Progress | None = None,
) -> IntegerTypes:
    """The integer types of all values of ``graph``; parameters and errors are ``quantize``'s."""
    widths = _option("scheme", scheme, SCHEMES)
    rule = _option("observer", observer, {DEFAULT_OBSERVER: None, **OBSERVERS})
    if rounding not in ("single", "double"):
        raise InputError(f"rounding must be single or double, not {rounding!r}")
    _refuse_unsupported(graph)
    groups = shared_quantization(graph, average_pool=rounding == "double")
    chosen = group_widths(graph, groups, widths.activations, overrides or {})
    if rounding == "double" and "int16" in chosen.values():
        raise InputError("rounding 'double' is for int8 only, in every layer")
    # 16 bits need no cutting, and a run that depends on those before it is no judge by itself
    searching = rule is None and "int8" in chosen.values() and not graph.states
    seen = calibrate(
        graph,
        data,
        set(groups),
        samples=samples,
        seed=seed,
        keep=MAX_RUNS if searching else 0,
        progress=progress,
    )
    domains = {name: (h.low, h.high) for name, h in seen.histograms.items()}
    fixed = _prescribed(graph, groups, chosen)

    def types(ranges: Ranges) -> IntegerTypes:
        typed = _typed(graph, groups, chosen, ranges, fixed, headroom(seen.count))
        return IntegerTypes(typed, widths.weights, domains)

    ranges = group_ranges(graph, groups, chosen, seen, rule or minmax)
    if not searching:
        return types(ranges)
    lowering = Lowering(graph, rounding=rounding)
    proposals = {
        name: {
            root: hull
            for root, hull in group_ranges(graph, groups, chosen, seen, propose).items()
            if chosen[root] == "int8"
        }
        for name, propose in OBSERVERS.items()
    }
    best = search(
        seen, proposals, lambda tried: lowering.graph_of(types({**ranges, **tried})), progress
    )
    return types({**ranges, **best})


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


def _prescribed(
    graph: Graph, groups: Mapping[str, str], widths: Mapping[str, Width]
) -> dict[str, Quantization]:
    """The quantization of each group that the contract leaves no choice, by its representative."""
    fixed = {}
    for node in graph.nodes:
        for root in {groups[name] for name in node.outputs if name in groups}:
            prescribed = fixed_output(node.op, widths[root])
            if prescribed is not None:
                fixed[root] = prescribed
    return fixed


def _typed(
    graph: Graph,
    groups: Mapping[str, str],
    widths: Mapping[str, Width],
    ranges: Ranges,
    fixed: Mapping[str, Quantization],
    spare: float,
) -> dict[str, TensorType]:
    """The integer type of every value that is not constant."""
    types, limits = {}, bounded(graph, groups)
    for name, kind in graph.types.items():
        if name in graph.constants:
            continue
        if name not in groups:
            types[name] = kind
            continue
        root = groups[name]
        # beyond its function's bounds nothing comes
        ends = ranges[root] == limits.get(root)
        t = activation_type(kind.shape, *ranges[root], widths[root], 1.0 if ends else spare)
        types[name] = replace(t, quantization=fixed.get(root, t.quantization))
    return types
