"""An integer Graph into layers: convolutions, depthwise filters and maxima, whatever they were."""

from __future__ import annotations

import numpy as np

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.fusion import fused
from edgeinfer.hdl.compiler.layers import Layer, Lowered
from edgeinfer.hdl.compiler.rules import NpuSite, lower
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Mode

__all__ = ["lower_graph", "refusals"]


def refusals(graph: Graph, config: NpuConfig) -> dict[str, UnsupportedError]:
    """Why nodes of ``graph`` cannot run on an NPU of ``config``, by their outputs."""
    found = {}
    for node in graph.nodes:
        try:
            _lower_node(NpuSite(node, graph, config, Lowered()))
        except UnsupportedError as error:
            found[node.outputs[0]] = error
    return found


def lower_graph(graph: Graph, config: NpuConfig) -> Lowered:
    """The layers of ``graph``, additions fused into the convolutions before them.

    Raises
    ------
    UnsupportedError
        A node cannot run on the NPU.
    """
    lowered = Lowered()
    for node in graph.nodes:
        _lower_node(NpuSite(node, graph, config, lowered))
    lowered.layers = [*lowered.prologue, *lowered.layers]
    lowered.layers = fused(graph, lowered)
    return lowered


def _lower_node(site: NpuSite) -> None:
    if all(name in site.graph.constants for name in site.node.operands):
        raise site.refuse("has no operand but constants, so it gives the same in every run")
    bits = 8 * site.config.element_bytes
    for name in (*site.node.operands, *site.node.outputs):
        if name in site.graph.constants:
            continue
        kind = site.graph.types[name]
        if kind.dtype not in ("int8", "int16"):
            raise site.refuse(f"has a tensor of {kind.dtype}; the array takes int8 and int16")
        if np.dtype(kind.dtype).itemsize * 8 > bits:
            raise site.refuse(
                f"has a tensor of {kind.dtype}, but the elements of {site.config.name} have "
                f"{bits} bits; take a 16-bit configuration such as 8x8-16, or quantize to int8, "
                "with --override NAME=int8 what has 16 bits in every scheme"
            )
        if kind.shape and kind.shape[0] != 1:
            raise site.refuse(f"has a batch of {kind.shape[0]}; the NPU takes 1")
        if len(kind.shape) not in (2, 3, 4):
            raise site.refuse(f"has a tensor of {len(kind.shape)} axes; the NPU takes 2 to 4")
    done = len(site.lowered.layers)
    lower(site.node.op, site)
    for layer in site.lowered.layers[done:]:
        _check_fields(site, layer)


def _check_fields(site: NpuSite, layer: Layer) -> None:
    """Refuse a kernel that the fields of the instructions cannot say."""
    source, kernel = isa.fields(isa.SetSource), isa.fields(isa.SetKernel)
    taps = min(site.config.rows, kernel["taps"].high) if layer.mode is Mode.DEPTHWISE else 1
    across = kernel["emit"].high if layer.mode is Mode.DEPTHWISE else source["stride"].high
    for what, value, most in (
        ("a kernel of {} rows", layer.kernel[0], kernel["lines"].high),
        ("a kernel of {} columns", layer.kernel[1], taps * kernel["runs"].high),
        ("a stride of {} rows", layer.strides[0], source["stride"].high),
        ("a stride of {} columns", layer.strides[1], across),
        ("a dilation of {} rows", layer.dilations[0], source["dilation"].high),
    ):
        if value > most:
            raise site.refuse(f"has {what.format(value)}; the NPU takes {most} at most")
