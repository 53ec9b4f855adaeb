"""A Graph, float or integer, into the bytes of an ``.eqm`` file, and such bytes into a Graph.

An ``.eqm`` is a safetensors file. Its tensors are the constants; its one metadata key,
``edgeinfer``, holds all the rest as canonical JSON:

    contract     the arithmetic that the integers mean, ``fixedpoint.CONTRACT``
    format       2; 1, which edgeinfer 0.1.0 wrote with all defaults spelled out, is read as well
    needs        the oldest version of edgeinfer that knows all that the file uses
    graph        name, inputs, outputs, types by value name, nodes, states
    labels       names of the classes
    preparation  how what a device has becomes an input, by the input's name
    provenance   where the model came from
    sha256       over this JSON with ``sha256`` empty, then every constant's bytes, by sorted name

Canonical means that what is as it would be by default is left out, sorted keys, no spaces, ASCII,
floats in their shortest form and an infinity as the string ``"inf"`` or ``"-inf"``: one Graph has
one text, and another text for it is refused. So an operator may get another attribute with a
default, and files that do not know of it stay as they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, get_type_hints

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from edgeinfer.arithmetic.fixedpoint import CONTRACT
from edgeinfer.errors import InputError, ModelError, ModelFileError
from edgeinfer.files.atomic_write import atomic_write
from edgeinfer.files.file_name import as_path
from edgeinfer.files.input_file import read_file
from edgeinfer.files.other_formats import other_format
from edgeinfer.graph import (
    Graph,
    Node,
    Preparation,
    Quantization,
    State,
    TensorType,
    nearest_float32,
)
from edgeinfer.graph.operators import OPERATORS, Operator
from edgeinfer.graph.operators.attributes import fits
from edgeinfer.graph.verification import verify
from edgeinfer.shortage import tells_shortage
from edgeinfer.version import __version__, release

__all__ = ["FORMAT", "from_bytes", "read", "save", "to_bytes"]

FORMAT = 2

_READ = (1, 2)
_SINCE = "0.2.0"  # the version that brought the format

_KEY = "edgeinfer"
_RESERVED = "__metadata__"  # what safetensors itself calls the metadata among the tensors
_MAX_JSON = 64 << 20

T = TypeVar("T")
Json = dict[str, Any]


@tells_shortage
def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write ``graph`` to ``path``; the same Graph gives the same bytes.

    Raises
    ------
    ModelError
        The Graph is not a legal one.
    OutputError
        The file cannot be written; what was there before is untouched.
    """
    atomic_write(path, to_bytes(graph))


@tells_shortage
def read(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Graph:
    """The verified Graph in the file ``path``.

    Raises
    ------
    InputError
        It cannot be read, or has more than ``max_bytes``.
    ModelError
        The file is damaged, or holds no legal Graph.
    """
    path = as_path(path)
    data = read_file(path, max_bytes=max_bytes)
    if path.suffix.lower() == ".onnx":
        raise InputError(
            f"{path} is an ONNX model, not an .eqm file: make one of it with "
            "edgeinfer.quantize, or on the command line with: edgeinfer quantize"
        )
    try:
        return from_bytes(data)
    except ModelFileError as error:
        told = other_format(content=data) or other_format(path)
        if told is not None:
            raise ModelFileError(f"{path} {told}") from None
        raise ModelFileError(f"{path}: {error}") from error


@tells_shortage
def to_bytes(graph: Graph) -> bytes:
    """The ``.eqm`` bytes of ``graph``, or ``ModelError`` where it is not a legal Graph."""
    verify(graph)
    if _RESERVED in graph.constants:
        raise ModelError(f"a constant cannot be called {_RESERVED!r} in a model file")
    constants = {
        name: np.asarray(array, np.dtype(graph.types[name].dtype).newbyteorder("<"), order="C")
        for name, array in graph.constants.items()
    }
    document = _document(graph)
    document["sha256"] = _digest(_canonical(document), constants)
    text = _canonical(document)
    if len(text) > _MAX_JSON:
        raise ModelError(f"the graph takes {len(text)} bytes of JSON, more than {_MAX_JSON}")
    return bytes(safetensors.numpy.save(constants, metadata={_KEY: text}))


@tells_shortage
def from_bytes(data: bytes) -> Graph:
    """The verified Graph in the ``.eqm`` bytes ``data``; whatever they are, no code in them runs.

    Raises
    ------
    ModelFileError
        The bytes are no ``.eqm`` file, are damaged, or say something that cannot be.
    ModelError
        They hold a Graph that is not a legal one.
    """
    try:
        constants = safetensors.numpy.load(data)  # checks all offsets before it copies
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelFileError(f"not an .eqm file, or a damaged one: {_short(error)}") from error
    text = _metadata(data)
    document = _parse(text)
    _check_version(document)
    stated = _take(document, "sha256", str)
    # no string of JSON holds quotes that are not escaped, and no record below has such a key
    blank = text.replace(f'"sha256":{json.dumps(stated)}', '"sha256":""', 1)
    if _digest(blank, constants) != stated:
        raise ModelFileError("the file is damaged: its checksum does not match")
    graph = _graph(document, constants)
    if document["format"] == FORMAT and _document(graph) != {**document, "sha256": ""}:
        raise ModelFileError("the graph's JSON is not in its canonical form")
    verify(graph)
    return graph


# ---- the Graph as JSON -----------------------------------------------------------------------


def _canonical(document: Json) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(text: str, constants: Mapping[str, np.ndarray]) -> str:
    """Of the canonical text whose own field is blank, and of the constants by their names."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(constants):
        digest.update(constants[name].tobytes())
    return digest.hexdigest()


def _document(graph: Graph) -> Json:
    return {
        "contract": CONTRACT,
        "format": FORMAT,
        "graph": {
            "inputs": list(graph.inputs),
            "name": graph.name,
            "nodes": [_node_json(node) for node in graph.nodes],
            "outputs": list(graph.outputs),
            "types": {name: _type_json(kind) for name, kind in graph.types.items()},
            **_unless_empty("states", [_changed(state) for state in graph.states]),
            **_unless_empty("free_batch", graph.free_batch),
        },
        "needs": _needed(graph),
        "sha256": "",
        **_unless_empty("labels", list(graph.labels)),
        **_unless_empty("preparation", {n: _changed(p) for n, p in graph.preparation.items()}),
        **_unless_empty("provenance", dict(graph.provenance)),
    }


def _unless_empty(key: str, value: Any) -> Json:
    return {key: value} if value else {}


def _needed(graph: Graph) -> str:
    """The oldest version that knows all operators and attributes of ``graph``."""
    needed = {_SINCE}
    for op in {node.op for node in graph.nodes}:
        needed.add(op.since)
        changed = _changed(op)
        for field in dataclasses.fields(op):
            if field.name in changed:
                needed.add(field.metadata.get("since", op.since))
    return max(needed, key=release)


def _changed(record: Any) -> Json:
    """The fields of a dataclass that are not as they would be by default."""
    return {
        name: _plain(value)
        for name, default in _defaults(record.__class__)
        for value in (getattr(record, name),)
        if default is None or repr(value) != default
    }


@cache
def _defaults(record: type) -> tuple[tuple[str, str | None], ...]:
    """The fields of a dataclass, and the text of their defaults where they have one.

    Their text tells 0 from 0.0, and that from -0.0, where a comparison does not.
    """
    return tuple(
        (f.name, None if f.default is dataclasses.MISSING else repr(f.default))
        for f in dataclasses.fields(record)
    )


def _node_json(node: Node) -> Json:
    return {
        "inputs": list(node.inputs),
        "name": node.name,
        "operator": type(node.op).__name__,
        "outputs": list(node.outputs),
        **_unless_empty("attributes", _changed(node.op)),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def _shortest(scale: float) -> float:
    """The float with the fewest digits that rounds to the float32 ``scale``."""
    return float(str(np.float32(scale)))


def _type_json(kind: TensorType) -> Json:
    q = kind.quantization
    if q is None:
        return {"dtype": kind.dtype, "shape": list(kind.shape)}
    quantization = {**_changed(q), "scale": [_shortest(scale) for scale in q.scale]}
    return {"dtype": kind.dtype, "quantization": quantization, "shape": list(kind.shape)}


# ---- JSON as the Graph: every field is checked for its type before it is used ------------------


def _metadata(data: bytes) -> str:
    # safetensors has checked the header, but does not hand its metadata out
    length = int.from_bytes(data[:8], "little")
    try:
        metadata = json.loads(data[8 : 8 + length]).get(_RESERVED)
    except ValueError as error:
        raise ModelFileError(f"not an .eqm file, or a damaged one: {_short(error)}") from error
    if metadata is None or set(metadata) != {_KEY}:
        raise ModelFileError(f"not an .eqm file: its metadata is not the one key {_KEY!r}")
    return str(metadata[_KEY])


def _parse(text: str) -> Json:
    if len(text) > _MAX_JSON:
        raise ModelFileError(f"the graph takes {len(text)} bytes of JSON, more than {_MAX_JSON}")
    try:
        document = json.loads(text, parse_constant=_refused)
        canonical = _canonical(document) == text
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"the graph is not valid JSON: {_short(error)}") from error
    if not canonical:
        raise ModelFileError("the graph's JSON is not in its canonical form")
    if not isinstance(document, dict):
        raise ModelFileError("the graph's JSON is not an object")
    return document


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _check_version(document: Json) -> None:
    version = _take(document, "format", int)
    needs = _take(document, "needs", str) if version != 1 else "0.1.0"
    try:
        known = version in _READ and release(needs) <= release(__version__)
    except ValueError as error:
        raise ModelFileError(f"the field 'needs' cannot be {_short(needs)}") from error
    if not known:
        raise ModelFileError(
            f"the file needs edgeinfer {needs} or newer, and this is {__version__}"
        )
    contract = _take(document, "contract", str)
    if contract != CONTRACT:
        raise ModelFileError(
            f"the file is for arithmetic {_short(contract)}, but this edgeinfer computes "
            f"{CONTRACT}; quantize the model again"
        )
    _keys(
        document,
        "the file",
        ("contract", "format", "graph", "sha256"),
        ("labels", "needs", "preparation", "provenance"),
    )


def _graph(document: Json, constants: Mapping[str, np.ndarray]) -> Graph:
    body = _take(document, "graph", dict)
    _keys(
        body, "the graph", ("inputs", "name", "nodes", "outputs", "types"), ("free_batch", "states")
    )
    provenance = _take(document, "provenance", dict, {})
    types = {name: _type(name, kind) for name, kind in _take(body, "types", dict).items()}
    for name, array in constants.items():
        _check_constant(name, array, types)
    preparation = _take(document, "preparation", dict, {})
    return Graph(
        name=_take(body, "name", str),
        nodes=tuple(map(_node, _take(body, "nodes", list))),
        types=types,
        inputs=_many(body, "inputs", str),
        outputs=_many(body, "outputs", str),
        constants=constants,
        free_batch=_take(body, "free_batch", bool, False),
        provenance={key: _take(provenance, key, str) for key in provenance},
        labels=_many(document, "labels", str, []),
        states=tuple(_record(State, "a state", state) for state in _take(body, "states", list, [])),
        preparation={
            name: _record(Preparation, f"the preparation of {_short(name)}", fields)
            for name, fields in preparation.items()
        },
    )


def _check_constant(name: str, array: np.ndarray, types: Mapping[str, TensorType]) -> None:
    kind = types.get(name)
    if kind is None:
        raise ModelFileError(f"the constant {_short(name)} has no type")
    if array.dtype != kind.dtype or array.shape != kind.shape:
        raise ModelFileError(
            f"the constant {_short(name)} is {array.dtype}{list(array.shape)}, not {kind}"
        )
    if kind.dtype == "bool" and array.view(np.uint8).max() > 1:
        raise ModelFileError(f"the constant {_short(name)} holds bytes that are not bool")


def _type(name: str, record: Any) -> TensorType:
    what = f"the type of {_short(name)}"
    _keys(record, what, ("dtype", "shape"), ("quantization",))
    quantization = None
    if record.get("quantization") is not None:
        fields = _take(record, "quantization", dict)
        _keys(fields, f"the quantization of {_short(name)}", ("scale",), ("axis", "zero_point"))
        axis = None if fields.get("axis") is None else _take(fields, "axis", int)
        scale = tuple(map(nearest_float32, _many(fields, "scale", float)))
        quantization = Quantization(scale, _take(fields, "zero_point", int, 0), axis)
    shape = _many(record, "shape", int)
    return TensorType(shape, _take(record, "dtype", str), quantization)  # type: ignore[arg-type]


def _node(record: Any) -> Node:
    _keys(record, "a node", ("inputs", "name", "operator", "outputs"), ("attributes",))
    name, operator = _take(record, "name", str), _take(record, "operator", str)
    cls = OPERATORS.get(operator)
    if cls is None:
        raise ModelFileError(f"node {_short(name)} has an unknown operator {_short(operator)}")
    try:
        op = _record(cls, f"node {_short(name)}", _take(record, "attributes", dict, {}))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(_short(error), node=name, operator=operator) from error
    return Node(name, op, _many(record, "inputs", str), _many(record, "outputs", str))


def _record(cls: type[T], what: str, fields: Any) -> T:
    """A dataclass of the fields that a file has for it; those that it lacks are by default."""
    known = dataclasses.fields(cls)  # type: ignore[arg-type]
    required = [f.name for f in known if f.default is dataclasses.MISSING]
    _keys(fields, what, required, [f.name for f in known if f.name not in required])
    values = {key: _attribute(value) for key, value in fields.items()}
    if not issubclass(cls, Operator):  # which checks its attributes itself
        hints = get_type_hints(cls)
        for key, value in values.items():
            if not fits(value, hints[key]):
                raise ModelFileError(f"{what}: {key} cannot be {_short(value)}")
    try:
        return cls(**values)
    except InputError as error:
        raise ModelFileError(f"{what}: {error}") from error


def _attribute(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_attribute(item) for item in value)
    return float(value) if value in ("inf", "-inf") else value


def _keys(record: Any, what: str, required: Sequence[str], optional: Sequence[str]) -> None:
    if not isinstance(record, dict):
        raise ModelFileError(f"{what} is not an object")
    for key in sorted({*required, *record}):
        if key not in record:
            raise ModelFileError(f"{what} lacks {_short(key)}")
        if key not in (*required, *optional):
            raise ModelFileError(f"{what} has an unknown field {_short(key)}")


def _take(record: Json, key: str, kind: type[T], default: T | None = None) -> T:
    value = record.get(key, default)
    if type(value) is not kind:
        raise ModelFileError(f"the field {key!r} cannot be {_short(value)}")
    return value


def _many(record: Json, key: str, kind: type[T], default: list[T] | None = None) -> tuple[T, ...]:
    items = _take(record, key, list, default)
    for item in items:
        if type(item) is not kind:
            raise ModelFileError(f"the field {key!r} cannot hold {_short(item)}")
    return tuple(items)


def _short(value: object) -> str:
    """One line of at most 120 characters for an error's text."""
    line = str(value) if isinstance(value, Exception) else repr(value)
    line = " ".join(line.split())
    return line if len(line) <= 120 else f"{line[:117]}..."
