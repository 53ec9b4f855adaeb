"""Turns operators that have no importer, but that ONNX defines by others, into these others."""

from __future__ import annotations

import onnx
from onnx.inliner import inline_selected_functions

from edgeinfer.errors import ModelFileError

__all__ = ["DEFINED", "expanded"]

DEFINED = frozenset(
    (
        "AffineGrid",
        "Attention",
        "CausalConvWithState",
        "CenterCropPad",
        "LinearAttention",
        "RotaryEmbedding",
        "SwiGLU",
    )
)
"""Operators that are imported by their definition."""


def expanded(proto: onnx.ModelProto) -> onnx.ModelProto:
    """``proto`` with the body of its definition for each operator of ``DEFINED``.

    Raises
    ------
    ModelFileError
        A node does not fit its definition.
    """
    functions = [*proto.functions, proto.graph]
    used = {n.op_type for f in functions for n in f.node if n.domain in ("", "ai.onnx")} & DEFINED
    if not used:
        return proto
    try:
        return inline_selected_functions(
            _typed(proto), [("", name) for name in sorted(used)], inline_schema_functions=True
        )
    except Exception as error:  # onnx raises whatever its C++ did
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        names = ", ".join(sorted(used))
        raise ModelFileError(f"{names} cannot be taken apart: {reason}") from error


def _typed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """``proto`` with the type of every value, which definitions may depend on."""
    known = {value.name for value in (*proto.graph.input, *proto.graph.value_info)}
    for tensor in proto.graph.initializer:
        if tensor.name not in known:
            made = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            proto.graph.value_info.append(made)
    return onnx.shape_inference.infer_shapes(proto)
