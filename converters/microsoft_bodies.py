"""What onnxruntime's own operators (com.microsoft) are made of, as functions of ONNX's operators.

onnxruntime leaves them in a model that it has optimized and saved. Operands' shapes are known, and
so a body has no more nodes than its operands and attributes ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from edgeinfer.converters.onnx_operators import Operand, Refusal
from edgeinfer.errors import ModelError

__all__ = ["DOMAIN", "OPERATORS", "definition"]

DOMAIN = "com.microsoft"

_OPSET = 23

Outputs = str | Sequence[str | None]


@dataclass
class _Body:
    """The function of one node in the making."""

    node: ir.Node
    operands: Sequence[Operand | None]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)

    def has(self, index: int) -> bool:
        """Whether the input ``index`` is there."""
        return index < len(self.operands) and self.operands[index] is not None

    def input(self, index: int) -> str:
        """The name of the input ``index``."""
        if not self.has(index):
            raise ModelError(f"input {index} is missing")
        return f"input{index}"

    def shape(self, index: int, rank: int | None = None) -> tuple[int, ...]:
        """The shape of the input ``index``, which has ``rank`` axes where that is said."""
        operand = self.operands[index] if self.has(index) else None
        if operand is None:
            raise ModelError(f"input {index} is missing")
        if rank is not None and len(operand.shape) != rank:
            raise ModelError(
                f"input {index} must have {rank} axes, not shape {list(operand.shape)}"
            )
        return operand.shape

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute, of the type of ``default``."""
        self.read.add(name)
        found = self.node.attributes.get(name)
        value = default if found is None else found.value
        if isinstance(default, str | float | int) and not isinstance(value, type(default)):
            raise ModelError(f"attribute {name!r} is no {type(default).__name__}")
        return value

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node of the function, and the name of what it gives."""
        return self.several(operator, 1, *inputs, **attributes)[0]

    def several(self, operator: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """As the call, of a node that gives several values."""
        names = [f"{operator}{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def constant(self, value: Any) -> str:
        """A constant of floats, or of integers where ``value`` holds some."""
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        return self("Constant", value=numpy_helper.from_array(array))

    def sum(self, *names: str | None) -> str:
        """The sum of those that are there."""
        there = [name for name in names if name is not None]
        total = there[0]
        for name in there[1:]:
            total = self("Add", total, name)
        return total

    def optional(self, index: int) -> str | None:
        """The name of the input ``index`` where it is there."""
        return f"input{index}" if self.has(index) else None

    def if_there(self, index: int) -> list[str]:
        """The input ``index`` as the last of a node's, which may be left out."""
        return [f"input{index}"] if self.has(index) else []

    def refuse_inputs(self, *refused: tuple[int, str]) -> None:
        """Refuse those of the inputs that are there."""
        for index, what in refused:
            if self.has(index):
                raise Refusal(f"its input {what} is not supported")

    def scaled(self, x: str, factor: float) -> str:
        """``x`` times a number."""
        return x if factor == 1 else self("Mul", x, self.constant(float(factor)))


OPERATORS: dict[str, Callable[[_Body], Outputs]] = {}
"""By operator, what makes its function: the names of its outputs, None for one that it has not."""


def _operator(
    *names: str,
) -> Callable[[Callable[[_Body], Outputs]], Callable[[_Body], Outputs]]:
    def register(function: Callable[[_Body], Outputs]) -> Callable[[_Body], Outputs]:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def definition(
    node: ir.Node, operands: Sequence[Operand | None], used: Sequence[bool]
) -> onnx.FunctionProto:
    """The function that says what ``node`` is.

    Parameters
    ----------
    node : onnx_ir.Node
        Of ``DOMAIN`` and one of ``OPERATORS``.
    operands : sequence of Static, Dynamic or None
        Its operands; None where an optional one is left out.
    used : sequence of bool
        Of each output whether anything takes it.

    Raises
    ------
    Refusal
        It cannot be imported.
    ModelError
        Its operands or attributes contradict each other.
    """
    body = _Body(node, operands)
    found = OPERATORS[node.op_type](body)
    outputs = [found] if isinstance(found, str) else list(found)
    for index, is_used in enumerate(used):
        if is_used and (index >= len(outputs) or outputs[index] is None):
            raise Refusal(f"its output {index} is not supported")
    unknown = set(node.attributes) - body.read
    if unknown:
        raise Refusal(f"its attribute {min(unknown)!r} is not supported")
    names = [name or f"none{i}" for i, name in enumerate(outputs)]
    names += [f"none{i}" for i in range(len(names), len(used))]
    return helper.make_function(
        DOMAIN,
        node.op_type,
        [f"input{i}" for i in range(len(operands))],
        names[: len(used)],
        body.nodes,
        [helper.make_opsetid("", _OPSET)],
    )


# ---- activations -------------------------------------------------------------------------------


@_operator("Gelu")
def _gelu(b: _Body) -> Outputs:
    return b("Gelu", b.input(0))


@_operator("BiasGelu")
def _bias_gelu(b: _Body) -> Outputs:
    return b("Gelu", b("Add", b.input(0), b.input(1)))


@_operator("FastGelu")
def _fast_gelu(b: _Body) -> Outputs:
    return b("Gelu", b.sum(b.input(0), b.optional(1)), approximate="tanh")


@_operator("QuickGelu")
def _quick_gelu(b: _Body) -> Outputs:
    x = b.input(0)
    return b("Mul", x, b("Sigmoid", b.scaled(x, b.attribute("alpha", 1.702))))


@_operator("BiasSplitGelu")
def _bias_split_gelu(b: _Body) -> Outputs:
    last = b.shape(0)[-1]
    if last % 2:
        raise ModelError(f"{last} channels do not divide into halves")
    x, gate = b.several(
        "Split", 2, b("Add", b.input(0), b.input(1)), b.constant([last // 2] * 2), axis=-1
    )
    return b("Mul", x, b("Gelu", gate))


@_operator("BiasAdd")
def _bias_add(b: _Body) -> Outputs:
    return b.sum(b.input(0), b.input(1), b.input(2))


# ---- layers ------------------------------------------------------------------------------------

# the parameters of an activation that is fused, in the order in which it has them
_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Softplus": (),
    "Softsign": (),
    "Tanh": (),
    "ThresholdedRelu": ("alpha",),
}
_CONVOLUTION: tuple[tuple[str, Any], ...] = (
    ("auto_pad", "NOTSET"),
    ("dilations", None),
    ("group", 1),
    ("kernel_shape", None),
    ("pads", None),
    ("strides", None),
)


def _activated(b: _Body, x: str, parameters: Sequence[float]) -> str:
    name = b.attribute("activation", "")
    if not name:
        return x
    if name == "Clip":
        return b("Clip", x, *map(b.constant, map(float, parameters)))
    if name not in _ACTIVATIONS:
        raise Refusal(f"its activation {name!r} is not supported")
    if len(parameters) > len(_ACTIVATIONS[name]):
        raise ModelError(f"activation {name} takes no {len(parameters)} parameters")
    named = dict(zip(_ACTIVATIONS[name], map(float, parameters), strict=False))
    return b(name, x, **named)


def _convolution(b: _Body, *inputs: str) -> str:
    given = {name: b.attribute(name, default) for name, default in _CONVOLUTION}
    return b("Conv", *inputs, **{name: v for name, v in given.items() if v is not None})


@_operator("FusedConv")
def _fused_conv(b: _Body) -> Outputs:
    y = b.sum(_convolution(b, b.input(0), b.input(1), *b.if_there(2)), b.optional(3))
    return _activated(b, y, b.attribute("activation_params", ()))


@_operator("NhwcConv")
def _nhwc_conv(b: _Body) -> Outputs:
    """x [N,H,W,I] and weights [O,kh,kw,I/group], the channels last."""
    rank = len(b.shape(0))
    first, last = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
    x, weights = (b("Transpose", b.input(i), perm=first) for i in (0, 1))
    return b("Transpose", _convolution(b, x, weights, *b.if_there(2)), perm=last)


@_operator("FusedGemm")
def _fused_gemm(b: _Body) -> Outputs:
    given = {
        name: b.attribute(name, default)
        for name, default in (("alpha", 1.0), ("beta", 1.0), ("transA", 0), ("transB", 0))
    }
    y = b("Gemm", b.input(0), b.input(1), *b.if_there(2), **given)
    names = [name for name in b.node.attributes if name.startswith("activation_")]
    own = {"activation_alpha": "alpha", "activation_beta": "beta", "activation_gamma": "gamma"}
    parameters = [b.attribute(name, 0.0) for name in own if name in names]
    return _activated(b, y, parameters)


@_operator("FusedMatMul", "TransposeMatMul")
def _fused_mat_mul(b: _Body) -> Outputs:
    operands = []
    for index, side in enumerate("AB"):
        rank, name = len(b.shape(index)), b.input(index)
        order = list(range(rank))
        if b.attribute(f"transBatch{side}", 0) and rank > 2:
            order = [*order[1:-1], 0, order[-1]]
        if b.attribute(f"trans{side}", 0) and rank > 1:
            order[-2:] = order[:-3:-1]
        if order != sorted(order):
            name = b("Transpose", name, perm=order)
        operands.append(name)
    return b.scaled(b("MatMul", *operands), b.attribute("alpha", 1.0))


# ---- normalizations ----------------------------------------------------------------------------


def _layer_norm(b: _Body, x: str, scale: int, bias: int) -> str:
    epsilon = b.attribute("epsilon", 1e-12)
    taken = x, b.input(scale), *b.if_there(bias)
    return b("LayerNormalization", *taken, axis=-1, epsilon=epsilon)


@_operator("SkipLayerNormalization")
def _skip_layer_normalization(b: _Body) -> Outputs:
    total = b.sum(b.input(0), b.input(1), b.optional(4))
    return _layer_norm(b, total, 2, 3), None, None, total


@_operator("SkipSimplifiedLayerNormalization")
def _skip_rms_normalization(b: _Body) -> Outputs:
    total = b.sum(b.input(0), b.input(1), b.optional(3))
    epsilon = b.attribute("epsilon", 1e-12)
    y = b("RMSNormalization", total, b.input(2), axis=-1, epsilon=epsilon)
    return y, None, None, total


@_operator("EmbedLayerNormalization")
def _embed_layer_normalization(b: _Body) -> Outputs:
    """Words, places and segments, each by its embedding, added and normalized."""
    _, length = b.shape(0, rank=2)
    if b.has(8):
        places = b("Gather", b.input(3), b.input(8), axis=0)
    else:
        if b.shape(3, rank=2)[0] < length:
            raise ModelError(f"it has embeddings of {b.shape(3)[0]} places, not of {length}")
        places = b("Gather", b.input(3), b.constant(np.arange(length)), axis=0)
    total = b.sum(b("Gather", b.input(2), b.input(0), axis=0), places)
    if b.has(1):
        total = b("Add", total, b("Gather", b.input(4), b.input(1), axis=0))
    b.attribute("mask_index_type", 0)
    return _layer_norm(b, total, 5, 6), None, total


# ---- attention ---------------------------------------------------------------------------------


def _heads(b: _Body, x: str, shape: tuple[int, ...], count: int) -> str:
    """``x`` [B,S,N h] as [B,N,S,h]."""
    samples, length, width = shape
    if count < 1 or width % count:
        raise ModelError(f"{width} channels do not divide into {count} heads")
    split = b("Reshape", x, b.constant([samples, length, count, width // count]))
    return b("Transpose", split, perm=[0, 2, 1, 3])


def _mask(b: _Body, index: int, samples: int, seen: int) -> str | None:
    """What the mask in input ``index`` adds to scores: 0, or a number that stands for never."""
    never = b.attribute("mask_filter_value", -10000.0)
    if not b.has(index):
        return None
    shape = b.shape(index)
    mask = b.input(index)
    if shape == (samples,):
        # how many are there, from the first on
        counts = b("Unsqueeze", mask, b.constant([1]))
        is_there = b("Less", b.constant(np.arange(seen)), b("Cast", counts, to=_INT64))
    else:
        is_there = b("Greater", b("Cast", mask, to=_INT64), b.constant(0))
    added = {1: [1, 2], 2: [1, 2], 3: [1]}.get(len(shape))
    if added is None or shape[0] != samples or (len(shape) > 1 and shape[-1] != seen):
        raise Refusal(f"a mask of shape {list(shape)} is not supported")
    is_there = b("Unsqueeze", is_there, b.constant(added))
    return b("Where", is_there, b.constant(0.0), b.constant(float(never)))


_INT64 = onnx.TensorProto.INT64


def _attended(
    b: _Body,
    query: str,
    key: str,
    value: str,
    extents: tuple[int, int, int, int],
    mask: str | None,
    bias: str | None,
    width: int,
) -> str:
    """[B,N,S,h], [B,N,L,h] and [B,N,L,v] into [B,S,N v], with S, L, h and the heads as extents."""
    length, seen, head, heads = extents
    scale = b.attribute("scale", 0.0) or 1 / math.sqrt(head)
    scores = b.scaled(b("MatMul", query, b("Transpose", key, perm=[0, 1, 3, 2])), scale)
    if b.attribute("unidirectional", 0):
        hidden = np.triu(np.ones((length, seen), np.float32), 1 + seen - length)
        later = b.constant(np.where(hidden, np.finfo(np.float32).min, 0))
        scores = b("Add", scores, later)
    scores = b.sum(scores, bias, mask)
    mixed = b("MatMul", b("Softmax", scores, axis=-1), value)
    joined = b("Transpose", mixed, perm=[0, 2, 1, 3])
    return b("Reshape", joined, b.constant([0, length, heads * width]))


def _unpacked(b: _Body, index: int, names: str) -> list[str]:
    """Input ``index`` [B,S,N,k,h], which holds what ``names`` says, as [B,N,S,h] each."""
    samples, length, heads, count, width = b.shape(index, rank=5)
    if count != len(names):
        raise ModelError(f"input {index} holds {count} values for {len(names)}")
    parts = b.several("Split", count, b.input(index), b.constant([1] * count), axis=3)
    shape = b.constant([samples, length, heads, width])
    return [b("Transpose", b("Reshape", part, shape), perm=[0, 2, 1, 3]) for part in parts]


@_operator("Attention")
def _attention(b: _Body) -> Outputs:
    b.refuse_inputs((6, "past_sequence_length"))
    samples, length, _ = b.shape(0, rank=3)
    heads = b.attribute("num_heads", 0)
    total = b.shape(1, rank=2)[1]
    sizes = [int(n) for n in b.attribute("qkv_hidden_sizes", ()) or [total // 3] * 3]
    if len(sizes) != 3 or sum(sizes) != total:
        raise ModelError(f"{total} outputs are no query, key and value of {sizes}")
    if b.attribute("do_rotary", 0):
        raise Refusal("do_rotary is not supported")
    b.attribute("past_present_share_buffer", 0)
    projected = b.sum(b("MatMul", b.input(0), b.input(1)), b.optional(2))
    parts = b.several("Split", 3, projected, b.constant(sizes), axis=-1)
    query, key, value = (
        _heads(b, part, (samples, length, size), heads)
        for part, size in zip(parts, sizes, strict=True)
    )
    seen = length
    if b.has(4):
        # the keys and values of the steps before
        seen += b.shape(4, rank=5)[3]
        past = b.several("Split", 2, b.input(4), b.constant([1, 1]), axis=0)
        past = [b("Squeeze", part, b.constant([0])) for part in past]
        key, value = (
            b("Concat", old, new, axis=2) for old, new in zip(past, (key, value), strict=True)
        )
    mask = _mask(b, 3, samples, seen)
    extents = (length, seen, sizes[0] // heads, heads)
    width = sizes[2] // heads
    y = _attended(b, query, key, value, extents, mask, b.optional(5), width)
    if sizes[1] != sizes[2]:
        return y
    both = [b("Unsqueeze", part, b.constant([0])) for part in (key, value)]
    return y, b("Concat", *both, axis=0)


@_operator("MultiHeadAttention")
def _multi_head_attention(b: _Body) -> Outputs:
    b.refuse_inputs((8, "past_sequence_length"), (9, "cache_indirection"))
    heads = b.attribute("num_heads", 0)
    query, key, value, extents, width = _given_heads(b, heads)
    length, seen, head, _ = extents
    if b.has(6):
        seen += b.shape(6, rank=4)[2]
        key = b("Concat", b.input(6), key, axis=2)
        value = b("Concat", b.input(7), value, axis=2)
    mask = _mask(b, 4, b.shape(0)[0], seen)
    extents = (length, seen, head, heads)
    y = _attended(b, query, key, value, extents, mask, b.optional(5), width)
    return y, key, value


def _given_heads(b: _Body, heads: int) -> tuple[str, str, str, tuple[int, int, int, int], int]:
    """Query, key and value by head, with their biases, what extents they have, and a value's width.

    They come apart, key and value by head already, or packed: all into the query, or the value
    into the key.
    """
    if len(b.shape(0)) == 5:
        samples, length, count, _, head = b.shape(0)
        query, key, value = _unpacked(b, 0, "qkv")
        if b.has(3) or count != heads:
            raise Refusal(
                "a bias beside packed values, or heads of another count, is not supported"
            )
        return query, key, value, (length, length, head, heads), head
    samples, length, hidden = b.shape(0, rank=3)
    if heads < 1 or hidden % heads:
        raise ModelError(f"{hidden} channels do not divide into {heads} heads")
    query, by_head = b.input(0), len(b.shape(1)) != 3
    width = hidden if len(b.shape(1)) == 5 else 0
    width = width or (heads * b.shape(2, rank=4)[3] if by_head else b.shape(2, rank=3)[2])
    seen = b.shape(1)[2 if len(b.shape(1)) == 4 else 1]
    biases: list[str | None] = [None] * 3
    if b.has(3):
        sizes = b.constant([hidden, hidden, width])
        biases = [*b.several("Split", 3, b.input(3), sizes, axis=0)]
    query = _heads(b, b.sum(query, biases[0]), (samples, length, hidden), heads)
    if len(b.shape(1)) == 5:
        if b.has(3):
            raise Refusal(
                "a bias beside packed values, or heads of another count, is not supported"
            )
        key, value = _unpacked(b, 1, "kv")
    elif by_head:
        key, value = b.input(1), b.input(2)
    else:
        key = _heads(b, b.sum(b.input(1), biases[1]), (samples, seen, hidden), heads)
        value = _heads(b, b.sum(b.input(2), biases[2]), (samples, seen, width), heads)
    return query, key, value, (length, seen, hidden // heads, heads), width // heads


@_operator("RotaryEmbedding")
def _rotary_embedding(b: _Body) -> Outputs:
    shape, places = b.shape(0), b.shape(1)
    for name in ("is_packed_batching", "scale"):
        if b.attribute(name, type(_ROTARY[name])(_ROTARY[name])) != _ROTARY[name]:
            raise Refusal(f"its attribute {name!r} is not supported")
    rotated = b.attribute("rotary_embedding_dim", 0)
    heads = b.attribute("num_heads", 0)
    if len(shape) == 3 and not heads:
        heads = shape[2] // (2 * b.shape(2, rank=2)[1])
    length = shape[1] if len(shape) == 3 else shape[2]
    ids = b.input(1)
    if len(places) == 1:
        # where the first stands
        steps = b.constant(np.arange(length).reshape(1, length))
        ids = b("Add", steps, b("Cast", b("Reshape", ids, b.constant([1, 1])), to=_INT64))
        ids = b("Expand", ids, b.constant([shape[0], length]))
    return b(
        "RotaryEmbedding",
        b.input(0),
        b.input(2),
        b.input(3),
        ids,
        interleaved=b.attribute("interleaved", 0),
        num_heads=heads,
        rotary_embedding_dim=rotated,
    )


_ROTARY: dict[str, float | int] = {"is_packed_batching": 0, "scale": 1.0}
