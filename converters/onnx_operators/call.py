"""Turns an ONNX node into what an operator's import function needs: attributes, operands, emit.

An import function is registered by the ONNX names it serves, reads its ``Call`` and gives back
one value for each ONNX output. It reads an attribute or an input, whichever the opset of the
node uses, so that one function serves all opsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from edgeinfer.converters.onnx_operators.registry import IMPORTERS, Refusal, qualified
from edgeinfer.converters.onnx_operators.values import (
    ANY_INT64,
    Dynamic,
    Kind,
    Operand,
    Quantized,
    Static,
    Step,
)
from edgeinfer.errors import ModelError
from edgeinfer.graph import DType, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import output_shapes

if TYPE_CHECKING:
    from edgeinfer.converters.onnx_import import Walk

__all__ = ["Call"]

# the entries of a table that turns indices into floats
_MOST_NUMBERS = 65536


# of quantized integers they give the same ones, at other places
_MOVING = """Concat DepthToSpace DequantizeLinear Expand Flatten Gather GatherElements GatherND
    Identity MaxPool Reshape Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze"""


def _one_quantization(values: Sequence[Operand]) -> Quantized | None:
    """What the quantized integers of all ``values`` stand for; Refusal where they differ."""
    found = [value.quantized if isinstance(value, Dynamic) else None for value in values]
    if any(each != found[0] for each in found):
        names = " and ".join(repr(value.name) for value in values[:2])
        raise Refusal(f"moves integers of different scales into one value, such as {names}")
    return found[0]


class Call:
    """One ONNX node during the import.

    Parameters
    ----------
    node : onnx_ir.Node
        The node.
    version : int
        The opset version of its domain.
    inputs : sequence of Static, Dynamic or None
        Its operands; None where an optional one is left out.
    walk : Walk
        The import that it is a part of.
    """

    def __init__(
        self, node: ir.Node, version: int, inputs: Sequence[Operand | None], walk: Walk
    ) -> None:
        self.node = node
        self.operator = node.op_type
        self.version = version
        self.inputs = inputs
        self.result = str(next((v.name for v in node.outputs if v.name), node.name))
        self.output_count = len(node.outputs)
        self._walk = walk
        self._entry = IMPORTERS[qualified(node)]
        self._read: set[str] = set()

    def outputs(self) -> Sequence[Operand]:
        """Import the node: the values of its outputs.

        Raises
        ------
        Refusal
            It cannot be imported, be it for an attribute that the function knows nothing of.
        """
        if self.operator not in _MOVING.split():
            for value in self.inputs:
                if value is not None and value.kind == "quantized integers":
                    raise Refusal(f"computes with {value.name!r}, which is not dequantized")
        results = self._entry.function(self)
        unknown = set(self.node.attributes) - self._read - set(self._entry.ignores)
        if unknown:
            raise Refusal(f"its attribute {min(unknown)!r} is not supported")
        return [results] if isinstance(results, Static | Dynamic) else results

    # ---- attributes

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        return int(self._attribute(name, ir.AttributeType.INT, default))

    def real(self, name: str, default: float) -> float:
        """A float attribute, finite."""
        value = float(self._attribute(name, ir.AttributeType.FLOAT, default))
        if not np.isfinite(value):
            raise ModelError(f"attribute {name!r} is {value}")
        return value

    def bound(self, name: str, default: float) -> float:
        """A float attribute, which may be infinite."""
        value = float(self._attribute(name, ir.AttributeType.FLOAT, default))
        if np.isnan(value):
            raise ModelError(f"attribute {name!r} is NaN")
        return value

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        return str(self._attribute(name, ir.AttributeType.STRING, default))

    def any_real(self, name: str, default: float) -> float:
        """A float attribute, which may be NaN."""
        return float(self._attribute(name, ir.AttributeType.FLOAT, default))

    def integers(self, name: str) -> tuple[int, ...] | None:
        """An attribute of several integers; None where it is absent."""
        value = self._attribute(name, ir.AttributeType.INTS, None)
        return None if value is None else tuple(value)

    def reals(self, name: str) -> tuple[float, ...] | None:
        """An attribute of several floats; None where it is absent."""
        value = self._attribute(name, ir.AttributeType.FLOATS, None)
        return None if value is None else tuple(value)

    def texts(self, name: str) -> tuple[str, ...] | None:
        """An attribute of several strings; None where it is absent."""
        value = self._attribute(name, ir.AttributeType.STRINGS, None)
        return None if value is None else tuple(map(str, value))

    def graph(self, name: str) -> ir.Graph:
        """An attribute that is a graph, which must be there."""
        value = self._attribute(name, ir.AttributeType.GRAPH, None)
        if not isinstance(value, ir.Graph):
            raise ModelError(f"its {name} is missing")
        return value

    def has(self, name: str) -> bool:
        """Whether the attribute is there."""
        self._read.add(name)
        return name in self.node.attributes

    def _attribute(self, name: str, kind: ir.AttributeType, default: Any) -> Any:
        self._read.add(name)
        attribute = self.node.attributes.get(name)
        if attribute is None:
            return default
        if attribute.type != kind:
            raise ModelError(f"attribute {name!r} must be {kind.name}, not {attribute.type.name}")
        return attribute.value

    # ---- operands

    def operand(self, index: int) -> Operand:
        """The input ``index``, which must be there."""
        value = self.optional(index)
        if value is None:
            raise ModelError(f"input {index} is missing")
        return value

    def optional(self, index: int) -> Operand | None:
        """The input ``index``, or None."""
        return self.inputs[index] if index < len(self.inputs) else None

    def known(self, value: ir.Value | None) -> Operand | None:
        """What ``value``, one of another node, has become so far."""
        return None if value is None else self._walk.known(value)

    def operands(self) -> list[Operand]:
        """All inputs of an operator that takes any number of them."""
        return [self.operand(index) for index in range(max(1, len(self.inputs)))]

    def dtype(self, value: Operand) -> DType:
        """The element type that ``value`` has in the Graph."""
        return self._walk.dtype(value)

    def bounds(self, value: Operand) -> tuple[int, int]:
        """The least and the largest integer that ``value`` may hold."""
        if isinstance(value, Dynamic):
            return value.bounds
        array = value.array
        return (int(array.min()), int(array.max())) if array.size else (0, 0)

    def weights(self, index: int, what: str) -> Static | None:
        """The input ``index``, which must be known at import where it is there."""
        value = self.optional(index)
        if isinstance(value, Dynamic):
            raise Refusal(f"its {what} must be constant")
        return value

    def static(self, index: int, what: str) -> np.ndarray | None:
        """The elements of the input ``index``, which must be known at import."""
        value = self.weights(index, what)
        return None if value is None else value.array

    def static_integers(self, index: int, what: str, attribute: str) -> tuple[int, ...] | None:
        """Integers that older opsets have as an attribute and newer ones as an input."""
        if self.has(attribute):
            return self.integers(attribute)
        array = self.static(index, what)
        if array is None:
            return None
        if array.dtype.kind not in "iu":
            raise ModelError(f"its {what} must be integers, not {array.dtype}")
        return tuple(int(v) for v in array.reshape(-1))

    def whole_number(self, index: int, what: str, default: int | None = None) -> int:
        """The one integer in the input ``index``; ``default`` where it is absent, or empty.

        Raises
        ------
        Refusal
            It is not known at import.
        ModelError
            It is absent and has no default, or it is not one integer.
        """
        array = self.static(index, what)
        if default is not None and (array is None or not array.size):
            return default
        is_number = array is not None and array.size == 1 and array.dtype.kind in "iuf"
        if array is None or not is_number or not float(array.reshape(())).is_integer():
            raise ModelError(f"its {what} must be one integer")
        return int(array.reshape(()))

    def axis(self, value: int, rank: int) -> int:
        """An axis from 0 on; ModelError where there is none of that number."""
        if not -rank <= value < rank:
            raise ModelError(f"axis {value} does not fit a value of {rank} axes")
        return value % rank

    def uses_output(self, index: int) -> bool:
        """Whether anything takes the output ``index``."""
        if index >= len(self.node.outputs):
            return False
        value = self.node.outputs[index]
        return bool(value.name) and (bool(value.uses()) or value.is_graph_output())

    # ---- results

    def part(self, index: int, layout: str) -> str:
        """The name of what holds the elements of output ``index`` in the order ``layout``."""
        name = self.node.outputs[index].name if index < self.output_count else ""
        return f"{name}@{layout}" if name else f"{self.result}#{layout}"

    def name_classes(self, names: Sequence[str]) -> None:
        """Tell what the classes are called that the model scores."""
        self._walk.labels = tuple(names)

    def emit(
        self,
        op: ops.Operator,
        *operands: Operand,
        name: str | None = None,
        kind: Kind | None = None,
    ) -> Operand:
        """Add a node to the Graph; its value has ``name`` until it gets an ONNX name.

        Where all operands are known, so is the value, and no node is needed.

        It is one of those that the importer ``makes``, beside what turns indices into floats. The
        elements are of ``kind``: where that is not said, of that of the first operand where the
        operator selects, and floats elsewhere.

        ``y@layout`` is for what holds the elements of the ONNX value y in another order of axes,
        ``y#part`` for a step on the way to y.
        """
        names = [name or f"{self.result}#{type(op).__name__}"]
        (value,) = self.emit_several(op, *operands, names=names, kind=kind)
        return value

    def emit_several(
        self,
        op: ops.Operator,
        *operands: Operand | None,
        names: Sequence[str],
        kind: Kind | None = None,
    ) -> list[Operand]:
        """As ``emit``, of an operator that gives a value for each of ``names``.

        None stands for an optional input that is left out.
        """
        if type(op) not in (*self._entry.makes, ops.Reshape, ops.Transpose):
            raise AssertionError(f"{self.operator} does not say that it makes {type(op).__name__}")
        return self._made(op, operands, names, kind)

    def _made(
        self,
        op: ops.Operator,
        operands: Sequence[Operand | None],
        names: Sequence[str],
        kind: Kind | None,
    ) -> list[Operand]:
        if isinstance(op, ops.FloatOperator):
            # what the model casts to floats has waited until they are needed
            operands = [
                self.floats_of(v) if v is not None and v.kind == "floats" else v for v in operands
            ]
        for operand in operands:
            if isinstance(operand, Dynamic):
                self._check_kind(op, operand)
        names = [self._walk.made_name(name) for name in names]
        known = [operand for operand in operands if not isinstance(operand, Dynamic)]
        if len(known) == len(operands):
            arrays = self._walk.evaluate(op, known)
            return [Static(array, name) for array, name in zip(arrays, names, strict=True)]
        there = [operand for operand in operands if operand is not None]
        shapes = output_shapes(op, *(None if v is None else v.shape for v in operands))
        dtype = op.gives[0].dtype or self._walk.dtype(there[0])
        if kind is None:
            selected = there[0].kind if isinstance(op, ops.Selecting) else "floats"
            kind = "integers" if op.gives[0].dtype else selected
        quantized = None
        if kind == "quantized integers" and isinstance(op, ops.Selecting):
            quantized = _one_quantization(there if isinstance(op, ops.Joining) else there[:1])
        bounds, leaves_over = ANY_INT64, False
        if isinstance(op, ops.Selecting) and dtype == "int64":
            parts = there if isinstance(op, ops.Joining) else there[:1]
            low, high = zip(*map(self.bounds, parts), strict=True)
            bounds = min(low), max(high)
            leaves_over = any(isinstance(v, Dynamic) and v.leaves_over for v in parts)
        made = [
            Dynamic(name, TensorType(shape, dtype), kind, bounds, leaves_over, quantized)
            for name, shape in zip(names, shapes, strict=True)
        ]
        self._walk.add(self.node, op, operands, made)
        return [*made]

    def _check_kind(self, op: ops.Operator, operand: Dynamic) -> None:
        if operand.kind == "quantized integers":
            return  # floats in the Graph
        dtype = operand.type.dtype
        if dtype == "float32" and operand.kind == "floats":
            return
        refused = operand in self.inputs and not self._entry.integers
        if dtype != "float32" and (refused or isinstance(op, ops.FloatOperator)):
            raise Refusal(f"its input {operand.name!r} holds {dtype}, not floats")
        if operand.kind != "floats" and refused:
            raise Refusal(f"its input {operand.name!r} holds {operand.kind}, not floats")

    def steps_of(
        self, body: ir.Graph, inputs: Sequence[Operand]
    ) -> tuple[Sequence[Step], Sequence[Operand]]:
        """What ``body`` computes of ``inputs``, apart from the model, and its outputs."""
        return self._walk.steps_of(body, inputs)

    def outputs_of(self, body: ir.Graph, inputs: Sequence[Operand]) -> Sequence[Operand]:
        """What ``body`` gives of ``inputs``, computed as a part of the model."""
        return self._walk.outputs_of(body, inputs)

    def static_like(
        self, source: Static, array: np.ndarray, scale: np.ndarray | None = None
    ) -> Static:
        """A constant made of another one, under its name; of multiples of ``scale``."""
        return Static(np.asarray(array, order="C"), source.name, scale)

    @property
    def visited(self) -> int:
        """How many nodes the import has visited so far, those of bodies in each iteration."""
        return self._walk.visits.count

    def spend(self, elements: int) -> None:
        """Count elements that the import is about to make beside those that the file has.

        Raises
        ------
        ModelError
            No real model has so many.
        """
        self._walk.spend(elements)

    def constant(self, array: np.ndarray, label: str) -> Static:
        """A constant that the import computes."""
        name = self._walk.made_name(f"{self.result}#{label}")
        return Static(np.asarray(array, order="C"), name)

    # ---- steps that many operators share

    def floats_of(self, x: Operand, kind: Kind | None = None) -> Operand:
        """``x``, from a table of all numbers that it may be where it is held as int64.

        Raises
        ------
        Refusal
            They are too many.
        """
        if isinstance(x, Static) or x.type.dtype != "int64":
            return x
        low, high = x.bounds
        if high - low >= _MOST_NUMBERS:
            raise Refusal(
                f"a run cannot convert {x.name!r} from int64 to floats beyond a known range: "
                "Clip it before"
            )
        numbers = self.constant(np.arange(low, high + 1, dtype=np.float32), "numbers")
        if low:
            least = self.constant(np.asarray(low, np.int64), "least")
            names = [f"{self.result}#from0"]
            (x,) = self._made(ops.IndexArithmetic("sub"), (x, least), names, "integers")
        names = [f"{self.result}#floats"]
        (made,) = self._made(ops.Gather(0), (numbers, x), names, kind or x.kind)
        return made

    def alike(self, operands: Sequence[Operand]) -> list[Operand]:
        """The operands, all as floats where a run computes one of them as floats."""
        if not any(isinstance(v, Dynamic) and v.type.dtype == "float32" for v in operands):
            return list(operands)
        return [
            self.static_like(v, v.clamped()) if isinstance(v, Static) else self.floats_of(v)
            for v in operands
        ]

    def reshape(self, x: Operand, shape: Sequence[int], name: str | None = None) -> Operand:
        """``x`` under another shape."""
        shape = tuple(int(n) for n in shape)
        if x.shape == shape:
            return x
        if isinstance(x, Static):
            return self.static_like(x, x.array.reshape(shape))
        return self.emit(ops.Reshape(shape), x, name=name)

    def transpose(self, x: Operand, order: Sequence[int], name: str | None = None) -> Operand:
        """``x`` with its axes in another order."""
        if isinstance(x, Static):
            scale = None if x.scale is None else x.scale.transpose(order)
            return self.static_like(x, x.array.transpose(order), scale)
        return self.emit(ops.Transpose(tuple(order)), x, name=name)

    def stretch(
        self, x: Operand, axis: int, start: int, size: int, name: str | None = None
    ) -> Operand:
        """``size`` elements of ``x`` along an axis, from ``start`` on."""
        if isinstance(x, Static):
            return self.static_like(x, x.array.take(range(start, start + size), axis))
        starts = tuple(start if a == axis else 0 for a in range(len(x.shape)))
        sizes = tuple(size if a == axis else n for a, n in enumerate(x.shape))
        return self.emit(ops.Slice(starts, sizes, (1,) * len(sizes)), x, name=name)

    def flipped(self, x: Operand, axis: int) -> Operand:
        """``x`` with the elements along an axis in their opposite order."""
        if isinstance(x, Static):
            return self.static_like(x, np.flip(x.array, axis))
        starts = tuple(n - 1 if a == axis else 0 for a, n in enumerate(x.shape))
        steps = tuple(-1 if a == axis else 1 for a in range(len(x.shape)))
        return self.emit(ops.Slice(starts, x.shape, steps), x)

    def pointwise(self, expression: Any, x: Operand, kind: Kind = "floats") -> Operand:
        """A function of each element of ``x``."""
        return self.emit(ops.Pointwise(expression), x, kind=kind)
