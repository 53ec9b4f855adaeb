"""Turns an ONNX node that no importer knows into the nodes that ONNX itself defines it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
import onnx.inliner
import onnx_ir as ir

from edgeinfer.converters.onnx_operators import Operand
from edgeinfer.errors import ModelError

__all__ = ["body_of"]

# the others of which ONNX has definitions are of sequences, or draw numbers
_DEFINED = (
    "AffineGrid",
    "Attention",
    "CausalConvWithState",
    "CenterCropPad",
    "GroupNormalization",
    "LinearAttention",
    "MeanVarianceNormalization",
    "NegativeLogLikelihoodLoss",
    "RMSNormalization",
    "RotaryEmbedding",
    "SoftmaxCrossEntropyLoss",
    "SwiGLU",
)

# of the definition, as a function of a model
_DOMAIN = "definition"

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
    if node.op_type not in _DEFINED or not onnx.defs.has(node.op_type, version, node.domain):
        return None
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    proto = ir.to_proto(node)
    named = {attribute.name for attribute in proto.attribute}
    for name, attribute in schema.attributes.items():
        # the body does not know what an attribute is that the node leaves out
        if name not in named and attribute.default_value.name:
            proto.attribute.append(attribute.default_value)
    types = {
        name: onnx.helper.make_tensor_type_proto(_ELEMENTS[operand.kind], operand.shape)
        for name, operand in zip(proto.input, operands, strict=True)
        if operand is not None
    }
    try:
        definition = _definition(schema, version, proto, types)
        if definition is None:
            return None
        graph = _inlined(definition, proto, types)
    except Exception as error:  # onnx raises whatever its C++ and Python raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"its inputs do not fit the operator: {reason}") from error
    (opset,) = (imported.version for imported in definition.opset_import)
    for inner in graph.all_nodes():
        inner.version = opset
    return graph


def _definition(
    schema: onnx.defs.OpSchema,
    version: int,
    node: onnx.NodeProto,
    types: Mapping[str, onnx.TypeProto],
) -> onnx.FunctionProto | None:
    """The function of the newest opset up to ``version`` that says what ``node`` is."""
    given = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
    definition = onnx.FunctionProto()
    if known := [v for v in schema.context_dependent_function_opset_versions if v <= version]:
        definition.ParseFromString(
            schema.get_context_dependent_function_with_opset_version(
                max(known), node.SerializeToString(), given
            )
        )
    elif known := [v for v in schema.function_opset_versions if v <= version]:
        definition.ParseFromString(schema.get_function_with_opset_version(max(known)))
    return definition if definition.node else None


def _inlined(
    definition: onnx.FunctionProto, node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto]
) -> ir.Graph:
    """The body of ``definition`` with the node's own values and attributes."""
    definition.domain, definition.name = _DOMAIN, node.op_type
    call = onnx.NodeProto()
    call.CopyFrom(node)
    call.domain = _DOMAIN
    graph = onnx.helper.make_graph(
        [call],
        "body",
        [onnx.helper.make_value_info(name, kind) for name, kind in types.items()],
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    imports = [*definition.opset_import, onnx.helper.make_opsetid(_DOMAIN, 1)]
    model = onnx.helper.make_model(graph, functions=[definition], opset_imports=imports)
    model = onnx.inliner.inline_local_functions(model)
    _mark(model.graph, node.output[0], {*types, *node.output})
    return ir.from_proto(model).graph


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
