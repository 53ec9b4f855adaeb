"""What must not be lost at outputs: ranges that no search cuts, parts that 8 bits lose."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.quant.bounds import function_bounds, near_outputs
from edgeinfer.quant.calibration import Calibration

__all__ = [
    "classes_of",
    "has_classes",
    "last_results",
    "shares",
    "uncut_groups",
    "uneven_outputs",
]

# the fewest of 255 steps that a part of an output is left to
_FEWEST_STEPS = 8.0


def uncut_groups(graph: Graph, groups: Mapping[str, str]) -> set[str]:
    """The groups whose range is all that was seen, whatever the outputs' error says.

    They are the outputs and what they are functions of, down to the layers: what is cut there, a
    result can never reach again, and the samples that judge need not show it.
    """
    return {groups[name] for name in near_outputs(graph) if name in groups}


def has_classes(graph: Graph) -> bool:
    """Whether the output is one number for each of two or more classes: along its last axis, none
    but a batch beside it, and not like an input, as an autoencoder's is."""
    types = [graph.types[name] for name in graph.outputs]
    shape = types[0].shape
    likenesses = {graph.types[name].shape for name in graph.inputs}
    is_row = len(shape) > 0 and shape[-1] > 1 and all(extent == 1 for extent in shape[1:-1])
    is_row &= types[0].dtype == "float32" and shape not in likenesses
    return len(types) == 1 and is_row


def classes_of(y: np.ndarray) -> np.ndarray:
    """The class of each sample of an output [N, ..., classes] or [classes]."""
    return np.asarray(y.reshape(-1, y.shape[-1]).argmax(1))


def last_results(graph: Graph) -> dict[str, bool]:
    """What the outputs are functions of, one number of one number, or of one row: the last layers'
    results; and whether a softmax is between."""
    producers = graph.producers()
    names: dict[str, bool] = {}
    for name in graph.outputs:
        node, is_ranked = producers.get(name), False
        while node is not None and isinstance(
            node.op, ops.Pointwise | ops.Softmax | ops.LogSoftmax
        ):
            is_ranked |= not isinstance(node.op, ops.Pointwise)
            name = node.inputs[0]
            node = producers.get(name)
        names[name] = is_ranked and names.get(name, True)
    return names


def shares(graph: Graph) -> set[str]:
    """The outputs that a bounded function alone gives, such as probabilities.

    Of a thousand of them most are below a step, and that is no loss.
    """
    producers = graph.producers()
    found = set()
    for output in graph.outputs:
        node = producers.get(output)
        while node is not None and isinstance(node.op, ops.Moving) and len(node.operands) == 1:
            node = producers.get(node.operands[0])
        if node is not None and function_bounds(node.op) is not None:
            found.add(output)
    return found


def uneven_outputs(graph: Graph, groups: Mapping[str, str], seen: Calibration) -> dict[str, str]:
    """The outputs whose joined parts differ so much that one 8-bit scale would lose one.

    By the group's representative, a note for the user: boxes of 0 to 640 leave the scores beside
    them no step.
    """
    at_outputs = {groups[name]: name for name in graph.outputs if name in groups}
    notes = {}
    for node in graph.nodes:
        root = groups.get(node.output) if isinstance(node.op, ops.Concat) else None
        if root is None or root not in at_outputs:
            continue
        spans = {
            name: seen.histograms[name].high - seen.histograms[name].low
            for name in node.operands
            if name in groups
        }
        whole = seen.histograms[node.output]
        step = (max(whole.high, 0.0) - min(whole.low, 0.0)) / 255
        small = {name: span for name, span in spans.items() if 0 < span < _FEWEST_STEPS * step}
        if small and root not in notes:
            name, span = min(small.items(), key=lambda item: item[1])
            notes[root] = (
                f"output {at_outputs[root]!r} has 16 bits: its part {name!r} spans {span:.3g} of "
                f"{255 * step:.3g}, of which 8 bits would leave it {span / step:.1f} steps; give "
                "the parts outputs of their own to have them in 8 bits"
            )
    return notes
