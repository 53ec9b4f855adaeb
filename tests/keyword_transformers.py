"""A keyword transformer (KWT) as PyTorch exports its layers, with drawn weights."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["keyword_transformer"]


def keyword_transformer(
    *, frames: int = 32, mels: int = 40, width: int = 64, heads: int = 4, blocks: int = 2
) -> onnx.ModelProto:
    """KWT-1 of 2 blocks: frames behind a class token, ``nn.TransformerEncoderLayer``s, 12 classes.

    Attention puts the sequence first, [T, 1, C], and its scale on queries and keys alike.
    """
    rng = np.random.default_rng(17)
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}

    def add(operator: str, *inputs: str | np.ndarray, **attributes: object) -> str:
        names = []
        for each in inputs:
            if not isinstance(each, str):
                constants[f"c{len(constants)}"] = each
                each = f"c{len(constants) - 1}"
            names.append(each)
        output = f"{operator.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def normal(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(shape[0])).astype("f4")

    def shape(*extents: int) -> np.ndarray:
        return np.array(extents, np.int64)

    def dense(x: str, inner: int, outer: int) -> str:
        return add("Add", add("MatMul", x, normal(inner, outer)), normal(outer))

    def norm(x: str) -> str:
        scale = (1 + normal(width)).astype("f4")
        return add("LayerNormalization", x, scale, normal(width), axis=-1)

    def attention(x: str) -> str:
        tokens, depth = frames + 1, width // heads
        mixed = dense(add("Transpose", x, perm=[1, 0, 2]), width, 3 * width)
        apart = add("Reshape", mixed, shape(tokens, 1, 3, width))
        first = add("Transpose", add("Unsqueeze", apart, shape(0)), perm=[3, 1, 2, 0, 4])
        parts = add("Squeeze", first, shape(3))
        q, k, v = (
            add("Reshape", add("Gather", parts, np.int64(i), axis=0), shape(tokens, heads, depth))
            for i in range(3)
        )
        root = np.float32(depth**-0.25)
        by_head = [
            add("Reshape", add("Transpose", each, perm=[1, 0, 2]), shape(1, heads, tokens, depth))
            for each in (q, k, v)
        ]
        keys = add("Mul", add("Transpose", by_head[1], perm=[0, 1, 3, 2]), root)
        scores = add("MatMul", add("Mul", by_head[0], root), keys)
        attended = add("MatMul", add("Softmax", scores, axis=-1), by_head[2])
        back = add("Transpose", attended, perm=[2, 0, 1, 3])
        flat = add("Reshape", back, shape(tokens, width))
        joined = add("Gemm", flat, normal(width, width), normal(width), transB=1)
        sequence = add("Reshape", joined, shape(tokens, 1, width))
        return add("Transpose", sequence, perm=[1, 0, 2])

    x = dense(add("Transpose", "x", perm=[0, 2, 1]), mels, width)
    x = add("Concat", normal(1, 1, width), x, axis=1)
    x = add("Add", x, rng.normal(size=(1, frames + 1, width)).astype("f4"))
    for _ in range(blocks):
        x = norm(add("Add", x, attention(x)))
        x = norm(add("Add", x, dense(add("Gelu", dense(x, width, 128)), 128, width)))
    token = add("Gather", x, np.int64(0), axis=1)
    scores = add("Gemm", token, normal(12, width), normal(12), transB=1)
    graph = helper.make_graph(
        nodes,
        "keyword_transformer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, mels, frames))],
        [helper.make_tensor_value_info(scores, TensorProto.FLOAT, (1, 12))],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
