"""Turns the inputs that an ONNX model declares into types with static shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgeinfer.advice import cut, give_shapes, listed
from edgeinfer.converters.raw_samples import FLOATS, becoming
from edgeinfer.errors import InputError, ModelError, ModelFileError, UnsupportedError
from edgeinfer.graph import DType, TensorType

__all__ = ["Inputs", "declared_shapes", "static_inputs"]

# what may go in as floats, as raw samples do
_RAW = ("UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "INT64", "BOOL")
_INPUT_TYPES: dict[str, DType] = {
    **dict.fromkeys(FLOATS, "float32"),
    "INT32": "int64",  # indices, which a Graph has of one type
    "INT64": "int64",
    "BOOL": "bool",
}


class _OpenAxisError(Exception):
    """The shape of an input is not known; None for the extents to be given."""

    def __init__(self, name: str, what: str, shape: Sequence[int | None]) -> None:
        super().__init__(name)
        self.name, self.what, self.shape = name, what, shape


@dataclass(frozen=True)
class Inputs:
    """The inputs of a model with static shapes.

    Parameters
    ----------
    types : dict of str to TensorType
        Each input that no initializer gives.
    open : tuple of str
        Those whose first axis the model leaves open, and which has the extent of the batch.
    guessed : tuple of str
        Those of ``open`` whose shape nobody gave.
    """

    types: dict[str, TensorType]
    open: tuple[str, ...]
    guessed: tuple[str, ...]


def declared_shapes(graph: ir.Graph) -> dict[str, list[int | None] | None]:
    """By input that no initializer gives, its shape as declared: None for an open axis, or for a
    shape of which nothing is said."""
    return {
        str(value.name): None
        if value.shape is None
        else [None if _is_open(n) else int(n) for n in value.shape]
        for value in graph.inputs
        if value.name not in graph.initializers
    }


def static_inputs(graph: ir.Graph, batch: int, shapes: Mapping[str, Sequence[int]]) -> Inputs:
    """The inputs of ``graph``, open first axes bound to ``batch``.

    Parameters
    ----------
    graph : onnx_ir.Graph
        The main graph.
    batch : int
        The extent of an open first axis.
    shapes : mapping of str to sequence of int
        Whole shapes by input name.

    Raises
    ------
    InputError
        ``batch`` or ``shapes`` do not fit, or an axis is open and nothing gives its extent.
    UnsupportedError
        An input holds what a Graph cannot.
    """
    if type(batch) is not int or batch < 1:
        raise InputError(f"batch must be a positive integer, not {batch!r}")
    inputs = [v for v in graph.inputs if v.name not in graph.initializers]
    unknown = sorted(set(shapes) - {str(v.name) for v in inputs})
    if unknown:
        raise InputError(f"a shape is given for {unknown[0]!r}, which is no input of the model")
    if not inputs:
        raise ModelError("the model has no inputs: there is nothing to run")
    named: dict[str, int] = {}
    types: dict[str, TensorType] = {}
    opened, guessed = [], []
    lacking: list[_OpenAxisError] = []
    for value in inputs:
        name, dtype = str(value.name), _input_dtype(value)
        if name in types:
            raise ModelFileError(f"two inputs of the model are called {name!r}")
        try:
            shape, is_open = _static_shape(value, batch, named, shapes.get(name))
        except _OpenAxisError as error:
            lacking.append(error)
            continue
        if is_open:
            opened.append(name)
            guessed += [name] if name not in shapes else []
        try:
            types[name] = TensorType(shape, dtype)
        except ModelError as error:
            raise ModelError(f"input {name!r}: {error}") from None
    if lacking:
        raise InputError(_advice(lacking))
    return Inputs(types, tuple(opened), tuple(guessed))


def _input_dtype(value: ir.Value) -> DType:
    kind = "no tensor"
    if isinstance(value.type, ir.TensorType) and value.dtype is not None:
        kind = value.dtype.name
    if kind in _RAW:
        found = becoming(value)
        if kind == "BOOL" and not all(o.endswith("is an output") for o in found.obstacles):
            return "float32"  # 0 and 1, with which logic computes
        if not found.obstacles and (found.floats or kind not in _INPUT_TYPES):
            return "float32"
        if kind not in _INPUT_TYPES:
            behind = cut(inputs=found.floats)
            where = f"; the model can begin behind that with {behind}" if behind else ""
            raise UnsupportedError(
                f"input {value.name!r} holds {kind}, and {found.obstacles[0]}: that is supported "
                f"only where a Cast to float comes first{where}"
            )
    if kind not in _INPUT_TYPES:
        raise UnsupportedError(
            f"input {value.name!r} holds {kind}; floats, integers and bool are supported"
        )
    return _INPUT_TYPES[kind]


def _static_shape(
    value: ir.Value, batch: int, named: dict[str, int], given: Sequence[int] | None
) -> tuple[tuple[int, ...], bool]:
    """The input's shape, and whether its first axis was open."""
    declared = None if value.shape is None else list(value.shape)
    if given is not None:
        shape = _given_shape(value, declared, given)
    elif declared is None:
        raise _OpenAxisError(str(value.name), "no shape", [1, 3, 224, 224])
    else:
        shape = _bound_shape(value, declared, batch, named)
    is_open = bool(declared) and _is_open(value.shape[0])
    return shape, is_open and shape[0] == batch


def _given_shape(
    value: ir.Value, declared: Sequence[object] | None, given: Sequence[int]
) -> tuple[int, ...]:
    try:
        shape = tuple(int(n) for n in given)
    except (TypeError, ValueError):
        raise InputError(
            f"the shape of input {value.name!r} must be whole numbers, not {given!r}"
        ) from None
    fits = declared is None or (
        len(declared) == len(shape)
        and all(_is_open(d) or d == n for d, n in zip(declared, shape, strict=True))
    )
    if not fits or any(n < 1 for n in shape):
        raise InputError(
            f"{list(shape)} is given as the shape of input {value.name!r}, "
            f"which the model declares as {_shown(declared or ['any shape'])}"
        )
    return shape


def _bound_shape(
    value: ir.Value, declared: Sequence[object], batch: int, named: dict[str, int]
) -> tuple[int, ...]:
    shape: list[int] = []
    for axis, extent in enumerate(declared):
        symbol = getattr(extent, "value", None)
        if isinstance(extent, int) and not _is_open(extent):
            shape.append(extent)
        elif axis == 0:
            shape.append(batch)
            if symbol:
                named[symbol] = batch
        elif symbol in named:
            shape.append(named[symbol])
        else:
            known = [d if isinstance(d, int) and not _is_open(d) else None for d in declared]
            example = [batch if a == 0 and d is None else d for a, d in enumerate(known)]
            what = f"axis {axis} open in {_shown(declared)}"
            raise _OpenAxisError(str(value.name), what, example)
    return tuple(shape)


def _advice(lacking: Sequence[_OpenAxisError]) -> str:
    shapes = give_shapes({each.name: each.shape for each in lacking})
    if len(lacking) == 1:
        return f"input {lacking[0].name!r} has {lacking[0].what}: give its whole shape, {shapes}"
    names = listed([each.name for each in lacking])
    return f"inputs {names} have open axes: give their whole shapes, {shapes}"


def _is_open(extent: object) -> bool:
    return not isinstance(extent, int) or extent == -1


def _shown(declared: Sequence[object]) -> str:
    symbols = (getattr(extent, "value", extent) for extent in declared)
    return f"[{', '.join('?' if s is None else str(s) for s in symbols)}]"
