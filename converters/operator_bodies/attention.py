"""onnxruntime's attentions, with masks, biases and what was attended before, and their rotations.

Of names: B samples, S queries and L keys a sample, N heads, h numbers a head of queries and keys, v
of values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import onnx

from edgeinfer.converters.onnx_operators import Refusal
from edgeinfer.converters.operator_bodies.body import Body, Outputs, operator
from edgeinfer.errors import ModelError

__all__: list[str] = []

_INT64 = onnx.TensorProto.INT64

# elements of a mask that is made: more attend to no more than memory holds
_MOST_MASKED = 2**26


@dataclass(frozen=True)
class _Heads:
    """What is attended, by head.

    Parameters
    ----------
    query, key, value : str
        Names of what has shape [B,N,S,h], [B,N,L,h] and [B,N,L,v].
    count, length, seen, width, value_width : int
        N, S, L, h and v.
    """

    query: str
    key: str
    value: str
    count: int
    length: int
    seen: int
    width: int
    value_width: int

    def behind(self, b: Body, keys: str, values: str, steps: int) -> _Heads:
        """The same behind the keys and values of as many ``steps`` before."""
        key = b("Concat", keys, self.key, axis=2)
        value = b("Concat", values, self.value, axis=2)
        return replace(self, key=key, value=value, seen=self.seen + steps)


@operator("Attention")
def _attention(b: Body) -> Outputs:
    b.refuse_inputs((6, "past_sequence_length"))
    samples, length, _ = b.shape(0, rank=3)
    count = b.attribute("num_heads", 0)
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
        _by_head(b, part, (samples, length, size), count)
        for part, size in zip(parts, sizes, strict=True)
    )
    widths = sizes[0] // count, sizes[2] // count
    heads = _Heads(query, key, value, count, length, length, *widths)
    if b.has(4):
        past = b.several("Split", 2, b.input(4), b.constant([1, 1]), axis=0)
        keys, values = (b("Squeeze", part, b.constant([0])) for part in past)
        heads = heads.behind(b, keys, values, b.shape(4, rank=5)[3])
    y = _attended(b, heads, _mask(b, 3, samples, heads.seen), b.optional(5))
    if sizes[1] != sizes[2]:
        return y
    both = [b("Unsqueeze", part, b.constant([0])) for part in (heads.key, heads.value)]
    return y, b("Concat", *both, axis=0)


@operator("MultiHeadAttention")
def _multi_head_attention(b: Body) -> Outputs:
    b.refuse_inputs((8, "past_sequence_length"), (9, "cache_indirection"))
    count = b.attribute("num_heads", 0)
    heads = _packed_heads(b, count) if len(b.shape(0)) == 5 else _given_heads(b, count)
    if b.has(6):
        heads = heads.behind(b, b.input(6), b.input(7), b.shape(6, rank=4)[2])
    y = _attended(b, heads, _mask(b, 4, b.shape(0)[0], heads.seen), b.optional(5))
    return y, heads.key, heads.value


def _packed_heads(b: Body, count: int) -> _Heads:
    """Of all packed into the query [B,S,N,3,h]."""
    query, key, value = _unpacked(b, 0, "qkv", count)
    _, length, _, _, width = b.shape(0)
    return _Heads(query, key, value, count, length, length, width, width)


def _given_heads(b: Body, count: int) -> _Heads:
    """Of a query [B,S,N h] with keys and values alike, by head already, or packed [B,L,N,2,h]."""
    samples, length, hidden = b.shape(0, rank=3)
    if count < 1 or hidden % count:
        raise ModelError(f"{hidden} channels do not divide into {count} heads")
    packed, by_head = len(b.shape(1)) == 5, len(b.shape(1)) == 4
    seen = b.shape(1)[2 if by_head else 1]
    values = hidden
    if by_head:
        values = count * b.shape(2, rank=4)[3]
    elif not packed:
        values = b.shape(2, rank=3)[2]
    biases: list[str | None] = [None] * 3
    if b.has(3):
        sizes = b.constant([hidden, hidden, values])
        biases = [*b.several("Split", 3, b.input(3), sizes, axis=0)]
    query = _by_head(b, b.sum(b.input(0), biases[0]), (samples, length, hidden), count)
    if packed:
        key, value = _unpacked(b, 1, "kv", count)
    elif by_head:
        key, value = b.input(1), b.input(2)
    else:
        key = _by_head(b, b.sum(b.input(1), biases[1]), (samples, seen, hidden), count)
        value = _by_head(b, b.sum(b.input(2), biases[2]), (samples, seen, values), count)
    return _Heads(query, key, value, count, length, seen, hidden // count, values // count)


def _by_head(b: Body, x: str, shape: tuple[int, ...], count: int) -> str:
    """``x`` [B,S,N h] as [B,N,S,h]."""
    samples, length, width = shape
    if count < 1 or width % count:
        raise ModelError(f"{width} channels do not divide into {count} heads")
    split = b("Reshape", x, b.constant([samples, length, count, width // count]))
    return b("Transpose", split, perm=[0, 2, 1, 3])


def _unpacked(b: Body, index: int, names: str, count: int) -> list[str]:
    """Input ``index`` [B,S,N,k,h], which holds what ``names`` says, as [B,N,S,h] each."""
    samples, length, heads, held, width = b.shape(index, rank=5)
    if held != len(names):
        raise ModelError(f"input {index} holds {held} values for {len(names)}")
    if heads != count:
        raise ModelError(f"input {index} has {heads} heads, not {count}")
    if b.has(3):
        raise Refusal("a bias beside packed values is not supported")
    parts = b.several("Split", held, b.input(index), b.constant([1] * held), axis=3)
    shape = b.constant([samples, length, heads, width])
    return [b("Transpose", b("Reshape", part, shape), perm=[0, 2, 1, 3]) for part in parts]


def _mask(b: Body, index: int, samples: int, seen: int) -> str | None:
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


def _attended(b: Body, heads: _Heads, mask: str | None, bias: str | None) -> str:
    """The values [B,S,N v], weighed by the shares of their keys."""
    length, seen = heads.length, heads.seen
    scale = b.attribute("scale", 0.0) or 1 / math.sqrt(heads.width)
    turned = b("Transpose", heads.key, perm=[0, 1, 3, 2])
    scores = b.scaled(b("MatMul", heads.query, turned), scale)
    if b.attribute("unidirectional", 0):
        if length * seen > _MOST_MASKED:
            raise Refusal(f"a mask of {length} by {seen} is more than {_MOST_MASKED} elements")
        hidden = np.triu(np.ones((length, seen), np.float32), 1 + seen - length)
        later = b.constant(np.where(hidden, np.finfo(np.float32).min, 0))
        scores = b("Add", scores, later)
    scores = b.sum(scores, bias, mask)
    mixed = b("MatMul", b("Softmax", scores, axis=-1), heads.value)
    joined = b("Transpose", mixed, perm=[0, 2, 1, 3])
    return b("Reshape", joined, b.constant([0, length, heads.count * heads.value_width]))


@operator("RotaryEmbedding")
def _rotary_embedding(b: Body) -> Outputs:
    shape, places = b.shape(0), b.shape(1)
    for name, usual in (("is_packed_batching", 0), ("scale", 1.0)):
        if b.attribute(name, usual) != usual:
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
