"""Turns a node that no importer knows into the nodes that define it, as ONNX itself or
operator_bodies/ says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
import onnx.inliner
import onnx_ir as ir

from edgeinfer.converters import operator_bodies
from edgeinfer.converters.onnx_model import to_proto, without_log
from edgeinfer.converters.onnx_operators import Operand, Refusal, qualified
from edgeinfer.errors import ModelError

__all__ = ["body_of", "has_body"]

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
    "quantized integers": onnx.TensorProto.UINT8,
}


def has_body(node: ir.Node) -> bool:
    """Whether other operators define what ``node`` is."""
    if qualified(node) in operator_bodies.OPERATORS:
        return True
    return node.domain == "" and node.op_type in _DEFINED


def body_of(node: ir.Node, version: int, operands: Sequence[Operand | None]) -> ir.Graph | None:
    """The graph that computes ``node``; None where it is not defined by other operators.

    It takes those operands that are there, in order, each once, and gives the node's outputs. Its
    values have names that no model uses.

    Raises
    ------
    Refusal
        Nothing defines it as the node has it.
    ModelError
        The operands or attributes do not fit the operator.
    """
    if not has_body(node):
        return None
    proto = to_proto(node)
    used = [bool(v.name) and (bool(v.uses()) or v.is_graph_output()) for v in node.outputs]
    types = {
        name: onnx.helper.make_tensor_type_proto(_ELEMENTS[operand.kind], operand.shape)
        for name, operand in zip(proto.input, operands, strict=True)
        if operand is not None
    }
    try:
        if qualified(node) in operator_bodies.OPERATORS:
            definition = operator_bodies.definition(node, operands, used)
            proto.output[:] = [
                str(v.name) if is_used else ""
                for v, is_used in zip(node.outputs, used, strict=True)
            ]
            del proto.attribute[:]
        elif onnx.defs.has(node.op_type, version, node.domain):
            schema = onnx.defs.get_schema(node.op_type, version, node.domain)
            _refuse_misfits(node, operands)
            found = _definition(schema, version, proto, types)
            if found is None:
                return None
            definition = found
        else:
            return None
        graph = _inlined(definition, proto, types)
    except (ModelError, Refusal):
        raise
    except Exception as error:  # onnx raises whatever its C++ and Python raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"its inputs do not fit the operator: {reason}") from error
    (opset,) = (imported.version for imported in definition.opset_import)
    for inner in graph.all_nodes():
        inner.version = opset
    return graph


def _refuse_misfits(node: ir.Node, operands: Sequence[Operand | None]) -> None:
    """ModelError where ONNX's own definition would only fail somewhere inside."""
    ranks = [len(operand.shape) if operand is not None else None for operand in operands]
    if node.op_type == "RotaryEmbedding":
        has_places = len(ranks) > 3 and ranks[3] is not None
        wanted, where = (2, "with") if has_places else (3, "without")
        for name, rank in zip(("cos_cache", "sin_cache"), ranks[1:3], strict=False):
            if rank != wanted:
                raise ModelError(f"{name} must have {wanted} axes {where} position_ids, not {rank}")
    if node.op_type == "Attention":
        for index, name in enumerate(("q_num_heads", "kv_num_heads", "kv_num_heads")):
            if ranks[index : index + 1] == [3] and name not in node.attributes:
                raise ModelError(f"attribute {name!r} is missing, which inputs of 3 axes need")


def _definition(
    schema: onnx.defs.OpSchema,
    version: int,
    node: onnx.NodeProto,
    types: Mapping[str, onnx.TypeProto],
) -> onnx.FunctionProto | None:
    """The function of the newest opset up to ``version`` that says what ``node`` is.

    The node gets the attributes that it leaves out: the body does not know what they are.
    """
    named = {attribute.name for attribute in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in named and attribute.default_value.name:
            node.attribute.append(attribute.default_value)
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
    result = next((name for name in node.output if name), "")
    _mark(model.graph, result, {*types, *node.output})
    with without_log():
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
