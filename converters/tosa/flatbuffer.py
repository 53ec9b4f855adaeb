"""Tensors and operators as the JSON of TOSA's flatbuffer, whose schema tosa-tools bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Operator", "Tensor", "document"]

# whose tables have other names than their operators
_ATTRIBUTES = {"ARGMAX": "ArgMaxAttribute", "MATMUL": "MatMulAttribute"}
_INT48_BYTES = 6


@dataclass(frozen=True)
class Tensor:
    """A tensor of a TOSA graph.

    Parameters
    ----------
    name : str
        Its own, which no other has.
    shape : tuple of int
        Its extents.
    dtype : str
        In TOSA's words: BOOL, INT8, INT16, INT32 or INT48.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Operator:
    """An operator of a TOSA graph.

    Parameters
    ----------
    name : str
        In TOSA's words: CONV2D.
    inputs : tuple of str
        Tensors and shapes that it takes, by their names.
    output : Tensor
        What it gives.
    attributes : mapping of str to Any
        Those of its table in the schema.
    """

    name: str
    inputs: tuple[str, ...]
    output: Tensor
    attributes: Mapping[str, Any]


def document(
    inputs: Sequence[Tensor],
    constants: Sequence[tuple[Tensor, np.ndarray]],
    shapes: Mapping[str, Sequence[int]],
    operators: Sequence[Operator],
    outputs: Sequence[Tensor],
) -> dict[str, Any]:
    """A graph of TOSA 1.0 of one block.

    Parameters
    ----------
    inputs, outputs : sequence of Tensor
        What a run takes and gives.
    constants : sequence of (Tensor, numpy.ndarray)
        Tensors that are known; one of INT48 has an array of int64.
    shapes : mapping of str to sequence of int
        By their names, the lists of extents that operators take.
    operators : sequence of Operator
        In an order in which they can run.
    """
    block = {
        "name": "main",
        "operators": [
            *(_operator("CONST", (), tensor.name, {}) for tensor, _ in constants),
            *(_operator("CONST_SHAPE", (), name, {}) for name in shapes),
            *(_operator(o.name, o.inputs, o.output.name, o.attributes) for o in operators),
        ],
        "tensors": [
            *map(_tensor, inputs),
            *({**_tensor(tensor), "data": _bytes(array, tensor)} for tensor, array in constants),
            *(_tensor(o.output) for o in operators),
        ],
        "inputs": [tensor.name for tensor in inputs],
        "outputs": [tensor.name for tensor in outputs],
        "shapes": [
            {"name": name, "rank": len(extents), "data": _bytes(np.array(extents, np.int64))}
            for name, extents in shapes.items()
        ],
    }
    version = {"_major": 1, "_minor": 0, "_patch": 0, "_draft": False}
    return {"version": version, "regions": [{"name": "main", "blocks": [block]}]}


def _operator(
    name: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Any]
) -> dict[str, Any]:
    words = "".join(word.capitalize() for word in name.split("_"))
    return {
        "op": name,
        "attribute_type": _ATTRIBUTES.get(name, f"{words}Attribute"),
        "attribute": dict(attributes),
        "inputs": list(inputs),
        "outputs": [output],
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "type": tensor.dtype}


def _bytes(array: np.ndarray, tensor: Tensor | None = None) -> list[int]:
    """The elements in order, the lowest byte of each first."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    single = little.reshape(-1).view(np.uint8).reshape(array.size, array.itemsize)
    if tensor is not None and tensor.dtype == "INT48":
        single = single[:, :_INT48_BYTES]
    return single.reshape(-1).tolist()
