"""Cuts an ONNX model, so that it begins with some of its values or ends with others."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir
from onnx_ir.passes import common

from edgeinfer.errors import InputError

__all__ = ["cut_model"]


def cut_model(model: ir.Model, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Make values of the main graph its inputs and outputs, in place.

    Parameters
    ----------
    model : onnx_ir.Model
        The model, without functions.
    inputs : sequence of str
        Values that are given to it instead of being computed; its own inputs stay where the
        outputs still need them.
    outputs : sequence of str
        The values that it gives; none for its own outputs.

    Raises
    ------
    InputError
        A name is that of no value, stands twice, or is an input and an output; or nothing is left.
    """
    graph = model.graph
    names = [*inputs, *outputs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"the model cannot be cut at {name!r} twice")
    if any(_value(graph, name).type is None for name in inputs):
        _infer_types(model)
    ends = [_value(graph, name) for name in outputs] or list(graph.outputs)
    called = [str(value.name) for value in ends]  # who begins the model takes the name over
    begins = {name: _beginning(_value(graph, name)) for name in inputs}
    graph.outputs[:] = [begins.get(name, v) for name, v in zip(called, ends, strict=True)]
    kept = [value for value in graph.inputs if value.name not in begins]
    graph.inputs[:] = [*kept, *begins.values()]
    common.RemoveUnusedNodesPass()(model)
    graph.inputs[:] = [v for v in graph.inputs if v.name in begins or _is_needed(v)]
    if not graph:
        raise InputError(f"nothing is left to compute of the model where it is cut at {names}")


def _value(graph: ir.Graph, name: str) -> ir.Value:
    values = _values(graph)
    if name in values:
        return values[name]
    nodes: Mapping[str, ir.Node] = {str(node.name): node for node in graph if node.name}
    if name in nodes:
        gives = ", ".join(repr(value.name) for value in nodes[name].outputs if value.name)
        raise InputError(f"{name!r} is a node, not a value; it gives {gives}")
    close = difflib.get_close_matches(name, values, n=3)
    hint = f"; there is {', '.join(map(repr, close))}" if close else ""
    raise InputError(f"the model has no value {name!r}{hint}")


def _values(graph: ir.Graph) -> dict[str, ir.Value]:
    computed: Iterable[ir.Value] = (value for node in graph for value in node.outputs)
    return {str(value.name): value for value in (*graph.inputs, *computed) if value.name}


def _beginning(value: ir.Value) -> ir.Value:
    """An input that takes the place of ``value`` wherever it is used."""
    if value.is_graph_input():
        return value
    kind = value.type or ir.TensorType(ir.DataType.FLOAT)
    given = ir.Value(name=value.name, type=kind, shape=value.shape)
    ir.convenience.replace_all_uses_with(value, given, replace_graph_outputs=True)
    value.name = None
    return given


def _is_needed(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _infer_types(model: ir.Model) -> None:
    """Note what onnx infers of the values; where it fails, shapes have to be given."""
    try:
        common.ShapeInferencePass()(model)
    except Exception:  # onnx raises whatever its C++ does: nothing is noted then
        return
