"""Turns an ONNX node that no importer knows into the nodes that ONNX itself defines it by.

Attention, RMSNormalization, GroupNormalization and some thirty others are functions: their schemas
hold what they mean in terms of other operators.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import onnx
import onnx.inliner
import onnx_ir as ir

from edgeinfer.converters.onnx_operators import Operand
from edgeinfer.errors import ModelError

__all__ = ["body_of"]

# old releases of onnx expand a model's own functions only
_CAN_EXPAND = (
    "inline_schema_functions"
    in inspect.signature(onnx.inliner.inline_selected_functions).parameters
)

_ELEMENTS = {
    "floats": onnx.TensorProto.FLOAT,
    "integers": onnx.TensorProto.INT64,
    "truth values": onnx.TensorProto.BOOL,
}


def body_of(node: ir.Node, version: int, operands: Sequence[Operand | None]) -> ir.Graph | None:
    """The graph that computes ``node``; None where ONNX does not define it by other operators.

    It takes those operands that are there, in order, each once, and gives the node's outputs. Its
    values have names that no model uses.

    Raises
    ------
    ModelError
        The operands or attributes do not fit the operator.
    """
    if not onnx.defs.has(node.op_type, version, node.domain):
        return None
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    if not _CAN_EXPAND or not (schema.has_function or schema.has_context_dependent_function):
        return None
    proto = ir.to_proto(node)
    named = {attribute.name for attribute in proto.attribute}
    for name, attribute in schema.attributes.items():
        # the body does not know what an attribute is that the node leaves out
        if name not in named and attribute.default_value.name:
            proto.attribute.append(attribute.default_value)
    given = {
        name: operand
        for name, operand in zip(proto.input, operands, strict=True)
        if operand is not None
    }
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [proto],
            "body",
            [
                onnx.helper.make_tensor_value_info(name, _ELEMENTS[v.kind], list(v.shape))
                for name, v in given.items()
            ],
            [onnx.helper.make_empty_tensor_value_info(name) for name in proto.output if name],
        ),
        opset_imports=[onnx.helper.make_opsetid(node.domain, version)],
    )
    try:
        model = onnx.inliner.inline_selected_functions(
            model, [(node.domain, node.op_type)], inline_schema_functions=True
        )
        if any(n.op_type == node.op_type for n in model.graph.node):
            return None
        _mark(model.graph, proto.output[0], {*given, *proto.output})
        return ir.from_proto(model).graph
    except Exception as error:  # onnx raises whatever its C++ and Python raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"its inputs do not fit the operator: {reason}") from error


def _mark(graph: onnx.GraphProto, result: str, outer: set[str]) -> None:
    """Name what is inside the body, at any depth, as parts of the way to ``result``."""

    def marked(name: str) -> str:
        return name if not name or name in outer else f"{result}#{name}"

    for n in graph.node:
        n.name = marked(next(iter(n.output), ""))
        n.input[:] = map(marked, n.input)
        n.output[:] = map(marked, n.output)
        for attribute in n.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _mark(inner, result, outer)
                for value in (*inner.input, *inner.output, *inner.initializer):
                    value.name = marked(value.name)
