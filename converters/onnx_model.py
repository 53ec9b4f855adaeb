"""Turns an ONNX file into an onnx_ir model without functions, its nodes in topological order.

The file may be hostile: what it refers to is checked before it is opened, what it expands to is
counted before it is expanded.
"""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx_ir.passes import common

from edgeinfer.advice import follow_links
from edgeinfer.errors import InputError, ModelFileError, UnsupportedError
from edgeinfer.files.file_name import as_path
from edgeinfer.files.input_file import read_file
from edgeinfer.files.other_formats import other_format

__all__ = [
    "external_files",
    "read_model",
    "read_tensor",
    "to_proto",
    "value_names",
    "without_log",
]

# of a file, once its functions stand where they are called
_MAX_NODES = 20_000
_MAX_ELEMENTS = 2**31

_Key = tuple[str, str, str]  # domain, name, overload of a function


def read_model(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto, *, allow_links: bool = False
) -> ir.Model:
    """Parse ``source``, read its external data, inline its functions, order its nodes.

    External data may lie behind links where ``allow_links``, wherever they lead.

    Raises
    ------
    InputError
        The file cannot be read, or is an .eqm file.
    ModelFileError
        It is not a whole ONNX model, is cyclic, or its external data lies outside its folder.
    UnsupportedError
        An initializer is sparse.
    """
    folder, what = None, "the model"
    if isinstance(source, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(source)
    else:
        what = "the file"
        if not isinstance(source, bytes):
            path = as_path(source)
            what, folder, source = str(path), path.parent, read_file(path)
            if path.suffix.lower() == ".eqm":
                raise InputError(f"{path} is an .eqm file, which edgeinfer.load reads")
        told = other_format(content=source)
        if told is not None:
            raise ModelFileError(f"{what} {told}")
        proto = _parse(source, what)
    if not proto.HasField("graph") or not proto.graph.node:
        raise ModelFileError(f"{what} holds no ONNX graph")
    _check_expansion(proto)
    _check_names(proto)
    for graph in _graphs(proto):
        if graph.sparse_initializer:
            name = graph.sparse_initializer[0].values.name
            raise UnsupportedError(f"initializer {name!r} is sparse: store it as a dense tensor")
        _forget_other_types(graph)
        _type_outputs(graph)
    _refuse_sparse_attributes(proto)
    _forget_devices(proto)
    _call_default_domain(proto)
    for tensor in _tensors(proto):
        _check_tensor(tensor, folder, allow_links)
    return _inlined(proto)


def external_files(path: Path) -> list[Path]:
    """The files beside the model in ``path`` that hold its external data, each once."""
    locations = {
        entry.value
        for tensor in _tensors(_parse(read_file(path), str(path)))
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(path.parent / location for location in locations)


def read_tensor(tensor: object, name: str) -> np.ndarray:
    """The elements of an onnx_ir tensor, which may turn out to be damaged, or no tensor at all.

    Raises
    ------
    ModelFileError
        They do not fill its shape, or are of a type that no operator takes.
    """
    try:
        if not isinstance(tensor, ir.TensorProtocol):
            raise ValueError("it has no data")
        array = np.asarray(tensor.numpy())
        if array.shape != tuple(tensor.shape):
            raise ValueError(f"its data do not fill shape {list(tensor.shape)}")
    except Exception as error:  # onnx_ir decodes lazily: damaged data shows itself here
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelFileError(f"initializer {name!r} cannot be read: {reason}") from error
    if array.dtype.kind == "c":
        raise ModelFileError(f"initializer {name!r} holds complex numbers")
    return array


def value_names(model: ir.Model) -> frozenset[str]:
    """The names of all values of the main graph and of its branches."""
    names = {value.name for value in (*model.graph.inputs, *model.graph.initializers.values())}
    for node in model.graph.all_nodes():
        names.update(value.name for value in node.outputs)
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                names.update(attribute.as_graph().initializers)
    return frozenset(str(name) for name in names if name)


def _parse(data: bytes, what: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelFileError(f"{what} is no ONNX file, or a damaged one: {error}") from None
    return proto


@contextmanager
def without_log() -> Iterator[None]:
    """Where onnx_ir logs what it finds odd, names as they are, which the import then refuses."""
    log = logging.getLogger("onnx_ir")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def to_proto(node: ir.Node) -> onnx.NodeProto:
    """The message of ``node``."""
    with without_log():
        return ir.to_proto(node)


def _inlined(proto: onnx.ModelProto) -> ir.Model:
    # onnx_ir checks as it goes, and raises whatever Python raises on a malformed message
    try:
        with without_log():
            model = ir.from_proto(proto)
            for rewrite in (
                common.InlinePass(),
                common.TopologicalSortPass(),
                common.RemoveUnusedNodesPass(),
            ):
                model = rewrite(model).model
    except Exception as error:
        cause = error.__cause__ or error
        reason = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise ModelFileError(f"the ONNX graph is malformed or cyclic: {reason}") from error
    assert isinstance(model, ir.Model)
    for node in model.graph.all_nodes():
        _check_attributes(node)
    return model


def _check_attributes(node: ir.Node) -> None:
    """Each is itself a value of a type that there is."""
    for attribute in node.attributes.values():
        if attribute.is_ref():
            reason = "stands for one of a function, and the node is in none"
        elif attribute.type == ir.AttributeType.UNDEFINED:
            reason = "has no type"
        else:
            continue
        name = node.name or ", ".join(str(value.name) for value in node.outputs)
        raise ModelFileError(
            f"attribute {attribute.name!r} {reason}", node=name, operator=node.op_type
        )


# ---- tensors ---------------------------------------------------------------------------------


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of the main graph, its subgraphs and the functions."""
    for graph in _graphs(proto):
        yield from graph.initializer
    for node in _nodes(proto):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _graphs(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph and every subgraph, those of the functions too."""
    yield proto.graph
    for node in _nodes(proto):
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node of the main graph and the functions, at any depth."""
    return _deep([*proto.graph.node, *(node for f in proto.functions for node in f.node)])


def _deep(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes and those of their subgraphs."""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                pending.extend(graph.node)


def _check_names(proto: onnx.ModelProto) -> None:
    """Protobuf hands over a damaged string as bytes; no name may be one."""
    domains = [imported.domain for imported in proto.opset_import]
    for name in (proto.producer_name, proto.producer_version, proto.domain, *domains):
        _check_name(name)
    for function in proto.functions:
        for name in (function.name, function.domain, *function.input, *function.output):
            _check_name(name)
    for graph in _graphs(proto):
        _check_name(graph.name)
        for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
            _check_name(value.name)
    for node in _nodes(proto):
        for name in (node.name, node.op_type, node.domain, *node.input, *node.output):
            _check_name(name)
        for attribute in node.attribute:
            _check_name(attribute.name)


def _forget_other_types(graph: onnx.GraphProto) -> None:
    """Sequences and maps, which onnx_ir does not all read; who gives or takes one is refused."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.WhichOneof("value") not in (None, "tensor_type"):
            value.ClearField("type")


def _type_outputs(graph: onnx.GraphProto) -> None:
    """Repeat the types of inputs that are outputs too; onnx_ir would lose them."""
    types = {value.name: value.type for value in graph.input}
    for value in graph.output:
        if value.name in types and value.type.WhichOneof("value") is None:
            value.type.CopyFrom(types[value.name])


def _refuse_sparse_attributes(proto: onnx.ModelProto) -> None:
    for node in _nodes(proto):
        if any(a.HasField("sparse_tensor") or a.sparse_tensors for a in node.attribute):
            name = node.name or ", ".join(node.output)
            raise UnsupportedError(f"{node.op_type} {name!r} is sparse: store a dense tensor")


def _forget_devices(proto: onnx.ModelProto) -> None:
    """On which devices nodes were to run, which onnx_ir does not always write as it read it."""
    for node in _nodes(proto):
        if "device_configurations" in node.DESCRIPTOR.fields_by_name:  # since onnx 1.18
            node.ClearField("device_configurations")


def _call_default_domain(proto: onnx.ModelProto) -> None:
    """The domain of ONNX itself is '' from here on; a model may call it 'ai.onnx'."""
    for imported in (*proto.opset_import, *(i for f in proto.functions for i in f.opset_import)):
        if imported.domain == "ai.onnx":
            imported.domain = ""


def _check_name(name: str | bytes) -> None:
    if not isinstance(name, str):
        raise ModelFileError(f"a name is not text: {name!r}")


def _check_tensor(tensor: onnx.TensorProto, folder: Path | None, allow_links: bool) -> None:
    if any(extent < 0 for extent in tensor.dims) or math.prod(tensor.dims) >= _MAX_ELEMENTS:
        raise ModelFileError(f"initializer {tensor.name!r} has shape {list(tensor.dims)[:8]}")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _read_external(tensor, folder, allow_links)


def _read_external(tensor: onnx.TensorProto, folder: Path | None, allow_links: bool) -> None:
    """Replace the reference to a file of the model's folder by the bytes it refers to."""
    what = f"external data of initializer {tensor.name!r}"
    if folder is None:
        raise ModelFileError(f"{what} needs the model's folder: give from_onnx the path")
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _inside(folder, entries.get("location", ""), what, allow_links)
    needed = _nbytes(tensor, what)
    try:
        offset = int(entries.get("offset") or 0)
        size = path.stat().st_size
        length = int(entries.get("length") or needed)
    except (ValueError, OSError) as error:
        raise ModelFileError(f"{what} cannot be read: {error}") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise ModelFileError(f"{what}: bytes {offset} to {offset + length} of a file of {size}")
    if length != needed:
        raise ModelFileError(
            f"{what} has {length} bytes, but shape {list(tensor.dims)} takes {needed}"
        )
    try:
        with path.open("rb") as file:
            file.seek(offset)
            tensor.raw_data = file.read(length)
    except OSError as error:
        raise ModelFileError(f"{what} cannot be read: {error.strerror}") from None
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _nbytes(tensor: onnx.TensorProto, what: str) -> int:
    """How many bytes the elements of ``tensor`` take, of which some share one."""
    try:
        bits = ir.DataType(tensor.data_type).bitwidth
    except (ValueError, TypeError):
        raise ModelFileError(f"{what} holds elements of no type that has a size") from None
    return -(-math.prod(tensor.dims) * bits // 8)


def _inside(folder: Path, location: str, what: str, allow_links: bool) -> Path:
    """The regular file ``location``, without a link or a step that could leave ``folder``."""
    for pure in (PurePosixPath(location), PureWindowsPath(location)):
        if not location or "\0" in location or pure.anchor or ".." in pure.parts:
            raise ModelFileError(f"{what} lies outside of the model's folder: {location!r}")
    path = folder
    try:
        for part in PurePosixPath(location).parts:
            path = path / part
            if path.is_symlink() and not allow_links:
                raise ModelFileError(
                    f"{what} lies behind a link: {location!r}; copy the files into one folder, "
                    f"or trust the model and give {follow_links()}"
                )
        if not path.is_file():
            raise ModelFileError(f"{what} is missing: {location!r}")
    except OSError as error:
        raise ModelFileError(f"{what} cannot be read: {error.strerror}") from None
    return path


# ---- functions -------------------------------------------------------------------------------


def _check_expansion(proto: onnx.ModelProto) -> None:
    """Refuse functions that call themselves or whose calls multiply beyond any real model."""
    bodies = {(f.domain, f.name, f.overload): f.node for f in proto.functions}
    calls = {key: _called(nodes) for key, nodes in bodies.items()}
    sizes: dict[_Key, int] = {}
    pending: set[_Key] = set()

    def expanded(called: Counter[_Key]) -> int:
        total = called.total() + sum(n * sizes[key] for key, n in called.items() if key in sizes)
        if total > _MAX_NODES:
            raise ModelFileError(f"the model expands to more than {_MAX_NODES} nodes")
        return total

    for root in calls:
        stack = [root]
        while stack:
            key = stack[-1]
            waiting = [callee for callee in calls[key] if callee in bodies and callee not in sizes]
            if key in sizes or not waiting:
                sizes.setdefault(key, expanded(calls[key]))
                pending.discard(stack.pop())
                continue
            pending.add(key)
            if pending.intersection(waiting):
                raise ModelFileError(f"function {key[1]!r} calls itself")
            stack += waiting
    expanded(_called(proto.graph.node))


def _called(nodes: Iterable[onnx.NodeProto]) -> Counter[_Key]:
    """How many nodes there are of each operator or function, those of the subgraphs too."""
    return Counter((node.domain, node.op_type, node.overload) for node in _deep(nodes))
