"""ONNX models into others: protobuf messages of other content, and bytes that are nearly protobuf.

What a message holds is found by its descriptor, so that all of ONNX's is changed, known here or
not. What follows from a change is most often made to agree, such as the bytes of a tensor after
its extents, so that many mutants are models that no exporter would write.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.version_converter
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import helper

from edgeinfer.converters import from_onnx
from edgeinfer.converters.qdq.export import to_qdq
from edgeinfer.errors import EdgeInferError
from tests.campaigns.outcomes import MOST_ELEMENTS, imported
from tests.converters import test_loops, test_microsoft, test_qdq_export, test_quantized_models
from tests.converters.test_onnx_backend import node_tests, with_known_parameters
from tests.model_file.digits_models import digits

__all__ = ["corpus", "mutant", "outcome"]

SHIPPED = Path(onnx.__file__).parent / "backend" / "test" / "data"
MOST_BYTES = 20_000
OPSET = 13  # of the models that onnx ships, which are of opset 6 and older

NUMBERS = (
    *(0, 1, 2, 3, 5, 7, 8, 16, 31, 64, 127, 255, 256, 65536, 2**24, 2**31 - 1, 2**31, 2**40),
    *(2**62, 2**63 - 1),
)
REALS = (0.0, -0.0, 0.5, 1.0, -1.5, 1e-45, 1e-30, 3.4e38, math.inf, -math.inf, math.nan)
WORDS = (
    "",
    "x",
    "ghost",
    "ai.onnx",
    "ai.onnx.ml",
    "com.microsoft",
    "N",
    "\x1b[2J",
    "a\nb",
    "é" * 50,
)


class Corpus(NamedTuple):
    """Models to change, and what is put into others: operators, and messages by their type."""

    models: list[onnx.ModelProto]
    operators: list[str]
    messages: dict[str, list[Message]]

    def __len__(self) -> int:
        return len(self.models)


def corpus(seed: int, small: bool) -> Corpus:
    """Models of one operator and of few that onnx ships and makes, of loops, and quantized ones."""
    models = [*_written(), *_shipped(every=3 if small else 1)]
    if not small:
        models += _of_nodes()
    rng = random.Random(seed)
    models = [
        proto
        for proto in models
        if proto.ByteSize() <= MOST_BYTES and (_is_imported(proto) or rng.random() < 0.1)
    ]
    messages: dict[str, list[Message]] = {}
    for proto in rng.sample(models, min(len(models), 200)):
        for message in _messages(proto):
            messages.setdefault(message.DESCRIPTOR.full_name, []).append(message)
    nodes = {node.op_type for proto in models for node in proto.graph.node}
    return Corpus(models, sorted(nodes), messages)


def mutant(rng: random.Random, files: Corpus) -> bytes:
    """One of ``files`` with one to three changes; one in six is changed as bytes."""
    made = onnx.ModelProto()
    made.CopyFrom(rng.choice(files.models))
    if rng.random() < 1 / 6:
        return _as_bytes(rng, made.SerializeToString())
    for _ in range(rng.choice((1, 1, 2, 3))):
        try:
            rng.choice(CHANGES)(rng, made, files)
        except (IndexError, KeyError, TypeError, ValueError):
            continue  # nothing there that this one could apply to, or no value of the field
    if rng.random() < 0.9:
        _agree(made)
    return made.SerializeToString()


def outcome(data: bytes) -> str:
    """What becomes of a file, as ``imported`` says."""
    return imported(from_onnx, data, len(data))


# ---- the models --------------------------------------------------------------------------------


def _written() -> Iterator[onnx.ModelProto]:
    """Loops, layers, attention, and the quantized models of other tests."""
    for kind in ("LSTM", "GRU", "RNN"):
        yield test_loops.looped(kind)
    yield test_loops.nested(2, 3)
    yield test_quantized_models.partly()
    yield test_quantized_models.network()
    yield test_microsoft.transformer()
    for layers in (test_qdq_export.heads, test_qdq_export.normalized, test_qdq_export.sequence):
        yield layers()
    yield to_qdq(digits("int8"))


def _shipped(every: int) -> Iterator[onnx.ModelProto]:
    for path in sorted(SHIPPED.glob("*/test_*/model.onnx"))[::every]:
        if path.stat().st_size <= MOST_BYTES:
            yield onnx.version_converter.convert_version(onnx.load(path), OPSET)


def _of_nodes() -> Iterator[onnx.ModelProto]:
    """A model of each of ONNX's own tests of operators, its parameters known in every second."""
    for place, case in enumerate(node_tests()):
        inputs = case.data_sets[0][0]
        yield with_known_parameters(case.model, inputs) if place % 2 else case.model


def _is_imported(proto: onnx.ModelProto) -> bool:
    try:
        from_onnx(proto)
    except EdgeInferError:
        return False
    return True


# ---- changes of messages -----------------------------------------------------------------------

WEIGHTS = {"AttributeProto": 6, "TensorProto": 5, "NodeProto": 4, "Dimension": 3}
"""How often a message of a kind is changed, beside those of others."""


def _messages(message: Message) -> Iterator[Message]:
    """It and all that it holds."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in (value,) if isinstance(value, Message) else value:
                yield from _messages(part)


def change_a_field(rng: random.Random, made: onnx.ModelProto, files: Corpus) -> None:
    """Another value of a field anywhere, also of one that is not set; none; or another's."""
    by_kind: dict[str, list[Message]] = {}
    for message in _messages(made):
        by_kind.setdefault(message.DESCRIPTOR.name, []).append(message)
    (kind,) = rng.choices(list(by_kind), [WEIGHTS.get(name, 1) for name in by_kind])
    message = rng.choice(by_kind[kind])
    there = [field for field, _ in message.ListFields()]
    field = rng.choice(there if there and rng.random() < 0.85 else message.DESCRIPTOR.fields)
    value = getattr(message, field.name)
    if isinstance(value, Message):
        _change_message(rng, message, field, files)
    elif isinstance(value, str | bytes | int | float):
        if rng.random() < 0.15:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, _another(rng, field, value, made, files))
    elif field.message_type is not None:
        _change_messages(rng, value, field, files)
    else:
        _change_values(rng, value, field, made, files)


def _change_message(
    rng: random.Random, message: Message, field: FieldDescriptor, files: Corpus
) -> None:
    if rng.random() < 0.3:
        message.ClearField(field.name)
    else:
        other = rng.choice(files.messages.get(field.message_type.full_name, [None]))
        getattr(message, field.name).CopyFrom(other)


def _change_messages(rng: random.Random, items: Any, field: FieldDescriptor, files: Corpus) -> None:
    at = rng.randrange(len(items)) if len(items) else 0
    match rng.randrange(5):
        case 0:
            del items[at]
        case 1:
            items.add().CopyFrom(items[at])
        case 2:
            _exchange(items[at], items[rng.randrange(len(items))])
        case 3:
            items.add().CopyFrom(rng.choice(files.messages[field.message_type.full_name]))
        case _:
            items[at].CopyFrom(rng.choice(files.messages[field.message_type.full_name]))


def _exchange(a: Message, b: Message) -> None:
    kept = type(a)()
    kept.CopyFrom(a)
    a.CopyFrom(b)
    b.CopyFrom(kept)


def _change_values(
    rng: random.Random, items: Any, field: FieldDescriptor, made: onnx.ModelProto, files: Corpus
) -> None:
    at = rng.randrange(len(items)) if len(items) else 0
    match rng.randrange(6) if len(items) else 0:
        case 0:
            usual = field.default_value if not isinstance(field.default_value, list) else 0
            now = items[at] if len(items) else usual
            items.insert(at, _another(rng, field, now, made, files))
        case 1:
            del items[at]
        case 2:
            other = rng.randrange(len(items))
            items[at], items[other] = items[other], items[at]
        case _:
            items[at] = _another(rng, field, items[at], made, files)


def _another(
    rng: random.Random, field: FieldDescriptor, value: Any, made: onnx.ModelProto, files: Corpus
) -> Any:
    """A value of the field's kind; ``ValueError`` is raised where it is set, if it is none."""
    if field.enum_type is not None or field.name in ("data_type", "elem_type"):
        return rng.randrange(26)
    if isinstance(value, str):
        if field.name == "op_type":
            return rng.choice(files.operators)
        names = [name for node in made.graph.node for name in (*node.input, *node.output)]
        return rng.choice(rng.choice((names or WORDS, names or WORDS, WORDS)))
    if isinstance(value, bytes):
        return _other_bytes(rng, value)
    if isinstance(value, float):
        return rng.choice((value * rng.choice((0.5, -1.0, 1.001, 1e30)), rng.choice(REALS)))
    near = (value + rng.choice((-2, -1, 1, 1, 2)), -value, value * 2, value // 2)
    return rng.choice((*near, rng.choice(NUMBERS), -rng.choice(NUMBERS)))


def _other_bytes(rng: random.Random, value: bytes) -> bytes:
    made = bytearray(value)
    match rng.randrange(5):
        case 0:
            return bytes(made[: rng.randrange(len(made) + 1)])
        case 1:
            return bytes(made) + bytes(rng.choice((1, 4, 8, 100)))
        case 2:
            # an extreme of its elements, be they of 4 bytes or of 8
            number = rng.choice((2**31 - 1, -(2**31), -1, 0, 1, 2**24)).to_bytes(
                4, "little", signed=True
            )
            at = 4 * rng.randrange(max(1, len(made) // 4))
            made[at : at + 4] = number
            return bytes(made)
        case 3:
            words = (b"SAME_UPPER", b"VALID", b"linear", b"cubic", b"reflect", b"max", b"\xff", b"")
            return rng.choice(words)
        case _:
            for _ in range(rng.choice((1, 4))):
                made[rng.randrange(len(made))] = rng.randrange(256)
            return bytes(made)


def change_an_extent(rng: random.Random, made: onnx.ModelProto, files: Corpus) -> None:
    """Everywhere at once, in tensors, inputs and attributes, as if the model had been made so."""
    tensors = [m for m in _messages(made) if isinstance(m, onnx.TensorProto)]
    dims = [m for m in _messages(made) if m.DESCRIPTOR.name == "Dimension"]
    old = rng.choice([*(n for t in tensors for n in t.dims), *(d.dim_value for d in dims)])
    new = max(0, rng.choice((old - 1, old + 1, old * 2, old // 2, rng.choice(NUMBERS[:12]))))
    for tensor in tensors:
        tensor.dims[:] = [new if n == old else n for n in tensor.dims]
    for dim in dims:
        if dim.HasField("dim_value") and dim.dim_value == old:
            dim.dim_value = new
    for message in _messages(made):
        if isinstance(message, onnx.AttributeProto):
            message.ints[:] = [new if n == old else n for n in message.ints]


def rewire(rng: random.Random, made: onnx.ModelProto, files: Corpus) -> None:
    """A node reads another value, one before it."""
    at = rng.randrange(len(made.graph.node))
    node = made.graph.node[at]
    known = [value.name for value in (*made.graph.input, *made.graph.initializer)]
    known += [name for n in made.graph.node[:at] for name in n.output]
    node.input[rng.randrange(len(node.input))] = rng.choice(known)


def graft(rng: random.Random, made: onnx.ModelProto, files: Corpus) -> None:
    """A node of this model or of another stands at the end, on values that there are."""
    graph = made.graph
    others = rng.choice((graph.node, files.messages["onnx.NodeProto"]))
    node = onnx.NodeProto()
    node.CopyFrom(rng.choice(others))
    known = [value.name for value in (*graph.input, *graph.initializer)]
    known += [name for n in graph.node for name in n.output]
    own = set(known)
    for at, name in enumerate(node.input):
        if name not in own or rng.random() < 0.3:
            node.input[at] = rng.choice(known)
    for at, name in enumerate(node.output):
        node.output[at] = f"{name}_{len(graph.node)}"
    graph.node.append(node)
    graph.output.append(helper.make_empty_tensor_value_info(node.output[0]))


def put_into_a_function(rng: random.Random, made: onnx.ModelProto, files: Corpus) -> None:
    """A node becomes a function of the model that holds it, and a call of that."""
    node = rng.choice(made.graph.node)
    body = onnx.NodeProto()
    body.CopyFrom(node)
    takes, gives = list(dict.fromkeys(filter(None, node.input))), list(filter(None, node.output))
    made.functions.append(
        helper.make_function("own", "F", takes, gives, [body], list(made.opset_import))
    )
    node.CopyFrom(helper.make_node("F", takes, gives, domain="own"))
    made.opset_import.append(helper.make_opsetid("own", 1))


CHANGES: tuple[Callable[[random.Random, onnx.ModelProto, Corpus], None], ...] = (
    *(change_a_field,) * 6,
    change_an_extent,
    change_an_extent,
    rewire,
    graft,
    put_into_a_function,
)


def _agree(made: onnx.ModelProto) -> None:
    """Tensors as long as their shapes say, attributes of the type that they have."""
    for message in list(_messages(made)):
        if isinstance(message, onnx.TensorProto):
            _fill(message)
        elif isinstance(message, onnx.AttributeProto):
            held = [field.name for field, _ in message.ListFields() if field.name in _KINDS]
            if held:
                message.type = _KINDS[held[0]]


_KINDS = {
    "f": onnx.AttributeProto.FLOAT,
    "i": onnx.AttributeProto.INT,
    "s": onnx.AttributeProto.STRING,
    "t": onnx.AttributeProto.TENSOR,
    "g": onnx.AttributeProto.GRAPH,
    "floats": onnx.AttributeProto.FLOATS,
    "ints": onnx.AttributeProto.INTS,
    "strings": onnx.AttributeProto.STRINGS,
    "tensors": onnx.AttributeProto.TENSORS,
    "graphs": onnx.AttributeProto.GRAPHS,
}


def _fill(tensor: onnx.TensorProto) -> None:
    count = math.prod(tensor.dims)
    if not 0 <= count <= MOST_ELEMENTS:
        return
    for field, value in tensor.ListFields():
        if field.name.endswith("_data") and field.message_type is None and field.name != "raw_data":
            value[:] = (list(value) * (count // len(value) + 1))[:count]
    if tensor.raw_data:
        try:
            size = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
        except (KeyError, TypeError):
            return  # of no type that there is
        raw = tensor.raw_data
        tensor.raw_data = (raw * (count * size // len(raw) + 1))[: count * size]


# ---- changes of bytes --------------------------------------------------------------------------


def _as_bytes(rng: random.Random, data: bytes) -> bytes:
    made = bytearray(data)
    match rng.randrange(5):
        case 0:
            for _ in range(rng.choice((1, 3, 20))):
                made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
        case 1:
            del made[rng.randrange(len(made)) :]
        case 2:
            start = rng.randrange(len(made))
            span = made[start : start + rng.choice((1, 2, 8, 100))]
            made[start:start] = span * rng.choice((1, 2, 1000))
        case 3:
            start = rng.randrange(len(made))
            del made[start : start + rng.choice((1, 2, 8, 100))]
        case _:
            # what may be a length: a byte behind a key of that wire type
            places = [i + 1 for i in range(len(made) - 1) if made[i] & 7 == 2]
            at = rng.choice(places)
            length = rng.choice((made[at] + rng.choice((-1, 1)), 0, 127, 2**14, 2**31 - 1, 2**63))
            made[at : at + 1] = _varint(max(0, length))
    return bytes(made)


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)
