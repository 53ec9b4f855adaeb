"""Turns an imported Graph into its canonical form: NHWC, few Transposes, everything fused.

Each pass is a function Graph -> Graph in a file of its own, its rule the docstring. What is
spelled out is recognized first, as the import wrote it; then Transposes move, and what they leave
together is fused.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from operator import is_

from edgeinfer.converters.passes.batch_first import batch_first
from edgeinfer.converters.passes.drop_noops import drop_noops
from edgeinfer.converters.passes.fold_affine import fold_affine
from edgeinfer.converters.passes.fold_scales import fold_scales
from edgeinfer.converters.passes.fuse_clamps import fuse_clamps
from edgeinfer.converters.passes.fuse_pointwise import fuse_pointwise
from edgeinfer.converters.passes.fuse_softmax import fuse_softmax
from edgeinfer.converters.passes.hoist_transposes import hoist_transposes
from edgeinfer.converters.passes.merge_identical import merge_identical
from edgeinfer.converters.passes.merge_pads import merge_pads
from edgeinfer.converters.passes.normalize_groups import normalize_groups
from edgeinfer.converters.passes.normalize_quotients import normalize_quotients
from edgeinfer.converters.passes.permute_dense import permute_dense
from edgeinfer.converters.passes.recognize_normalizations import recognize_normalizations
from edgeinfer.converters.passes.rewriter import Pass
from edgeinfer.converters.passes.settle_names import settle_names
from edgeinfer.converters.passes.sink_reshapes import sink_reshapes
from edgeinfer.converters.passes.sink_transposes import sink_transposes
from edgeinfer.converters.passes.slice_axes import slice_axes
from edgeinfer.converters.passes.slice_parts import slice_parts
from edgeinfer.converters.passes.split_products import split_products
from edgeinfer.graph import Graph

__all__ = [
    "batch_first",
    "canonicalize",
    "drop_noops",
    "fold_affine",
    "fold_scales",
    "fuse_clamps",
    "fuse_pointwise",
    "fuse_softmax",
    "hoist_transposes",
    "merge_identical",
    "merge_pads",
    "normalize_groups",
    "normalize_quotients",
    "permute_dense",
    "recognize_normalizations",
    "settle_names",
    "sink_reshapes",
    "sink_transposes",
    "slice_axes",
    "slice_parts",
    "split_products",
]

_RECOGNIZE: tuple[Pass, ...] = (
    merge_identical,
    drop_noops,
    recognize_normalizations,
    normalize_groups,
    fold_affine,
)
_MOVE: tuple[Pass, ...] = (merge_identical, drop_noops, sink_transposes, sink_reshapes)
_HOIST: tuple[Pass, ...] = (merge_identical, drop_noops, hoist_transposes)
_FUSE: tuple[Pass, ...] = (
    merge_identical,
    drop_noops,
    permute_dense,
    sink_reshapes,
    merge_pads,
    fold_affine,
    fold_scales,
    fuse_clamps,
    fuse_softmax,
    fuse_pointwise,
    batch_first,
    slice_axes,
    slice_parts,
    split_products,
    normalize_quotients,
)
_MAX_ROUNDS = 50


def canonicalize(graph: Graph, names: Set[str]) -> Graph:
    """Apply all passes until none changes an operator any more.

    ``names`` are those of the source's own values.
    """
    settled: dict[Pass, Graph] = {}
    graph = _to_the_end(graph, _RECOGNIZE, settled)
    # twice: what was spelled out and is one function now no longer holds a Transpose up
    for passes in (_MOVE, _HOIST, _FUSE) * 2:
        graph = _to_the_end(graph, passes, settled)
    return settle_names(graph, names)


def _to_the_end(graph: Graph, passes: Sequence[Pass], settled: dict[Pass, Graph]) -> Graph:
    """``graph`` after all rounds; ``settled`` has the Graph that each pass left as it was."""
    for _ in range(_MAX_ROUNDS):
        before = [node.op for node in graph.nodes]
        for rewrite in passes:
            if settled.get(rewrite) is graph:
                continue
            made = rewrite(graph)
            if _is_same(made, graph):
                settled[rewrite] = graph
            else:
                graph = made
        if [node.op for node in graph.nodes] == before:
            break
    return graph


def _is_same(a: Graph, b: Graph) -> bool:
    """Whether a pass that made ``a`` of ``b`` copied everything."""
    return (
        len(a.nodes) == len(b.nodes)
        and all(map(is_, a.nodes, b.nodes))
        and a.outputs == b.outputs
        and a.types == b.types
        and a.constants.keys() == b.constants.keys()
        and all(map(is_, a.constants.values(), map(b.constants.__getitem__, a.constants)))
    )
