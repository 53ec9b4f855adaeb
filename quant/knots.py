"""16-bit types into types at which functions need 513 knots, where these alone would not do.

A table of 65,536 entries takes 128 KiB, and the NPU holds none. What makes 513 err is most often a
bend between two knots: the function's own, or the one where the output's integers end. A scale that
is a hundredth coarser has a knot there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.exact_cache import exact_cache
from edgeinfer.arithmetic.tables import step_ending_on_a_knot, step_with_bends_on_knots
from edgeinfer.graph import Graph, Quantization, TensorType
from edgeinfer.graph import operators as ops

__all__ = ["with_knots_at_bends"]


def with_knots_at_bends(
    graph: Graph, groups: Mapping[str, str], types: Mapping[str, TensorType], kept: set[str]
) -> dict[str, TensorType]:
    """``types`` with coarser scales where functions of 16 bits bend.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    groups : mapping of str to str
        For each float value that is not constant, the representative of its group.
    types : mapping of str to TensorType
        What was chosen so far.
    kept : set of str
        The representatives of groups whose scale is prescribed.
    """
    steps = {groups[name]: t.quantization.step for name, t in types.items() if t.quantization}
    wide = {groups[name] for name, t in types.items() if t.dtype == "int16"} - kept
    for node in graph.nodes:
        x, y = node.inputs[0], groups.get(node.outputs[0])
        if not isinstance(node.op, ops.Pointwise) or x not in groups or y is None:
            continue
        if types[x].dtype != "int16" or pointwise.clip_bounds(node.op.expression) is not None:
            continue
        expression, x = node.op.expression, groups[x]
        if x in wide:
            steps[x] = _input_step(expression, steps[x], steps[y])
        if y in wide:
            steps[y] = _output_step(expression, steps[x], steps[y])
    return {
        name: replace(t, quantization=Quantization.per_tensor(steps[groups[name]]))
        if name in groups and groups[name] in wide
        else t
        for name, t in types.items()
    }


# a search tries a hundred types of an 8-bit Graph, in which those of 16 bits stay as they are
@exact_cache(1024)
def _input_step(expression: pointwise.Expression, step: float, out_step: float) -> float:
    return step_with_bends_on_knots(partial(pointwise.evaluate, expression), step, out_step)


@exact_cache(1024)
def _output_step(expression: pointwise.Expression, in_step: float, step: float) -> float:
    return step_ending_on_a_knot(partial(pointwise.evaluate, expression), in_step, step)
