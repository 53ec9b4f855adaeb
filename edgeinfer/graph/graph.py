"""The Graph: nodes over named values in static single assignment, float or integer.

Everything before the integer Graph produces it and every target consumes it. A Graph is
immutable: a pass takes one and gives back another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from struct import Struct
from typing import Literal, get_args

import numpy as np

from edgeinfer.errors import InputError, ModelError
from edgeinfer.graph.operators import Operator
from edgeinfer.graph.preparation import Preparation
from edgeinfer.printable import printable

__all__ = [
    "ABSENT",
    "DType",
    "Graph",
    "Node",
    "Quantization",
    "State",
    "TensorType",
    "check_is_graph",
    "nearest_float32",
]

ABSENT = ""
"""What stands in a node's inputs for an optional one that is left out."""

# nodes that a table in a notebook shows; the rest is counted
_MOST_ROWS = 200

# ten times as fast as NumPy's scalar, and a weight of a model has a thousand scales
_FLOAT32 = Struct("<f")

DType = Literal["bool", "int8", "int16", "int32", "int64", "float32"]


def nearest_float32(value: float) -> float:
    """The nearest float32; beyond its range an infinity."""
    try:
        (rounded,) = _FLOAT32.unpack(_FLOAT32.pack(value))
    except OverflowError:
        return math.copysign(math.inf, value)
    return float(rounded)


@dataclass(frozen=True)
class Quantization:
    """How the integers ``q`` of a value stand for real numbers: ``scale * (q - zero_point)``.

    Parameters
    ----------
    scale : tuple of float
        One scale, or one for each index of ``axis``; each is a float32, positive and finite.
    zero_point : int
        The integer that stands for 0.
    axis : int or None
        The axis of a per-channel weight; None for one scale a tensor.
    """

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None

    def __post_init__(self) -> None:
        if self.axis is None and len(self.scale) != 1:
            raise ModelError(f"a per-tensor quantization has one scale, not {len(self.scale)}")
        for scale in self.scale:
            if not (math.isfinite(scale) and scale > 0 and nearest_float32(scale) == scale):
                raise ModelError(f"a scale must be a positive finite float32, not {scale!r}")

    @classmethod
    def per_tensor(cls, scale: float, zero_point: int = 0) -> Quantization:
        """One scale, rounded to float32."""
        return cls((nearest_float32(scale),), int(zero_point))

    @property
    def step(self) -> float:
        """The scale of a per-tensor quantization."""
        if self.axis is not None:
            raise ModelError("a per-channel quantization has no single scale")
        return self.scale[0]

    def quantize(self, x: np.ndarray, dtype: str) -> np.ndarray:
        """Integers of ``x``: float32 division, round half to even, add, clamp (EI-1).

        Raises
        ------
        InputError
            ``x`` holds a NaN, which no integer stands for.
        """
        info = np.iinfo(dtype)
        with np.errstate(over="ignore"):
            q = np.rint(x.astype(np.float32, copy=False) / np.float32(self.step))
        if np.isnan(q).any():
            raise InputError("a NaN cannot be quantized")
        shifted = q.astype(np.float64) + self.zero_point
        return np.clip(shifted, info.min, info.max).astype(dtype)

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        """Float32 values that the integers ``q`` stand for."""
        scale = np.asarray(self.scale, np.float32)
        if self.axis is not None:
            scale = scale.reshape([-1 if a == self.axis else 1 for a in range(q.ndim)])
        return (q.astype(np.int64) - self.zero_point).astype(np.float32) * scale


@dataclass(frozen=True)
class TensorType:
    """Shape and element type of a value, and when it is quantized, its scale and zero point.

    A value of a spatial operator is NHWC, its weights OHWI; every other value keeps the order
    that its ONNX model gave it.
    """

    shape: tuple[int, ...]
    dtype: DType = "float32"
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        if self.dtype not in get_args(DType):
            raise ModelError(f"a value cannot hold elements of type {self.dtype!r}")
        if len(self.shape) > 8:
            raise ModelError(f"a value has at most 8 axes, not {len(self.shape)}")
        for extent in self.shape:
            if not 0 < extent < 2**31:
                raise ModelError(f"an extent must be between 1 and 2147483647, not {extent}")
        if self.elements >= 2**31:
            raise ModelError(f"a value of shape {list(self.shape)} has 2^31 elements or more")
        q = self.quantization
        if q is not None:
            # floats by channel are whole multiples of scales, as weights that were quantized are
            whole = self.dtype == "float32" and q.axis is not None and q.zero_point == 0
            if not self.dtype.startswith("int") and not whole:
                raise ModelError(f"a value of type {self.dtype} cannot be quantized")
            if q.axis is not None and not (
                0 <= q.axis < len(self.shape) and self.shape[q.axis] == len(q.scale)
            ):
                raise ModelError(
                    f"{len(q.scale)} scales on axis {q.axis} do not fit shape {list(self.shape)}"
                )
            if whole:
                return
            info = np.iinfo(self.dtype)
            if not info.min <= q.zero_point <= info.max:
                raise ModelError(f"zero point {q.zero_point} does not fit {self.dtype}")

    @classmethod
    def of(cls, array: np.ndarray, quantization: Quantization | None = None) -> TensorType:
        """That of a constant, with what its integers mean.

        Raises
        ------
        ModelError
            No value can hold elements of its type.
        """
        return cls(array.shape, str(array.dtype), quantization)  # type: ignore[arg-type]

    @property
    def range(self) -> tuple[float, float]:
        """The real numbers that the integers of a per-tensor quantization cover."""
        q, info = self.quantization, np.iinfo(self.dtype)
        assert q is not None
        return q.step * (info.min - q.zero_point), q.step * (info.max - q.zero_point)

    @property
    def elements(self) -> int:
        """How many elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes, unpadded."""
        return self.elements * self.itemsize

    @property
    def itemsize(self) -> int:
        """How many bytes an element has."""
        return np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        text = f"{self.dtype}[{'x'.join(map(str, self.shape))}]"
        if self.quantization is not None and self.quantization.axis is None:
            text += f" * {self.quantization.step:.6g}"
            if self.quantization.zero_point:
                text += f" @ {self.quantization.zero_point}"
        return text


@dataclass(frozen=True)
class Node:
    """One operator between named values.

    Parameters
    ----------
    name : str
        Its name.
    op : Operator
        What it does; ``op.takes`` and ``op.gives`` say what stands where.
    inputs : tuple of str
        The values that it takes; ``ABSENT`` for an optional one that is left out, or nothing at the
        end.
    outputs : tuple of str
        The values that it gives.
    """

    name: str
    op: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def operands(self) -> tuple[str, ...]:
        """The values that it takes, in order, without the absent ones."""
        if ABSENT not in self.inputs:
            return self.inputs
        return tuple(name for name in self.inputs if name != ABSENT)

    def input(self, role: str) -> str:
        """The value that it takes in ``role``; ``ABSENT`` where there is none."""
        for place, candidate in enumerate(self.op.takes):
            if candidate.name == role:
                return self.inputs[place] if place < len(self.inputs) else ABSENT
        raise KeyError(f"{type(self.op).__name__} takes no {role!r}")

    @property
    def output(self) -> str:
        """The only value that it gives.

        Raises
        ------
        ValueError
            It gives several.
        """
        (name,) = self.outputs
        return name

    def __str__(self) -> str:
        taken = ", ".join(name or "-" for name in self.inputs)
        return printable(f"{', '.join(self.outputs)} = {self.op}({taken})")


@dataclass(frozen=True)
class State:
    """A value that one run leaves for the next.

    Parameters
    ----------
    input : str
        The value that nodes take: in the first run the constant ``first``, and in every other what
        ``output`` was in the run before.
    output : str
        The value that is kept.
    first : str
        A constant of the same type.
    """

    input: str
    output: str
    first: str


@dataclass(frozen=True)
class Graph:
    """A model: nodes in topological order over typed values.

    Parameters
    ----------
    name : str
        The model's name.
    nodes : tuple of Node
        In topological order; every value has one producer.
    types : mapping of str to TensorType
        The type of every value: inputs, constants and node outputs.
    inputs, outputs : tuple of str
        The values that a caller gives and gets.
    constants : mapping of str to numpy.ndarray
        The values that are known; their arrays fit their types.
    free_batch : bool
        The first axis of each input was symbolic in the source, so samples are independent and a
        run with more of them goes through in slices.
    provenance : mapping of str to str
        Where the model came from and how it was made; carried into the model file.
    labels : tuple of str
        The names of the classes that the output scores, in order; empty where there are none.
    states : tuple of State
        The values that a run leaves for the next one, which no caller gives or gets.
    preparation : mapping of str to Preparation
        By input, how what a device has becomes that input.
    """

    name: str
    nodes: tuple[Node, ...]
    types: Mapping[str, TensorType]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, np.ndarray]
    free_batch: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    preparation: Mapping[str, Preparation] = field(default_factory=dict)

    @cached_property
    def is_integer(self) -> bool:
        """No value holds floats."""
        return all(t.dtype != "float32" for t in self.types.values())

    @property
    def sources(self) -> tuple[str, ...]:
        """The values that are there before any node runs: inputs, and what the last run left."""
        return (*self.inputs, *(state.input for state in self.states))

    @property
    def results(self) -> tuple[str, ...]:
        """The values that a run is for: outputs, and what the next run takes."""
        return (*self.outputs, *(state.output for state in self.states))

    def producers(self) -> dict[str, Node]:
        """The node that gives each value that a node gives."""
        return {output: node for node in self.nodes for output in node.outputs}

    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that take each value, once for each time it is taken."""
        found: dict[str, list[Node]] = {name: [] for name in self.types}
        for node in self.nodes:
            for name in node.operands:
                found[name].append(node)
        return found

    def with_nodes(
        self,
        nodes: Iterable[Node],
        *,
        types: Mapping[str, TensorType] | None = None,
        constants: Mapping[str, np.ndarray] | None = None,
        outputs: tuple[str, ...] | None = None,
    ) -> Graph:
        """The Graph with other nodes, without the nodes and values that no output needs."""
        nodes = tuple(nodes)
        outputs = self.outputs if outputs is None else outputs
        types = self.types if types is None else types
        constants = self.constants if constants is None else constants
        needed = {*outputs, *(name for s in self.states for name in (s.output, s.first))}
        kept = []
        for node in reversed(nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(node.operands)
                needed.update(node.outputs)
        needed.update(self.sources)
        return replace(
            self,
            nodes=tuple(reversed(kept)),
            types={name: t for name, t in types.items() if name in needed},
            constants={name: array for name, array in constants.items() if name in needed},
            outputs=outputs,
        )

    def with_outputs(self, outputs: tuple[str, ...]) -> Graph:
        """The Graph that gives these values, without what none of them needs."""
        return self.with_nodes(self.nodes, outputs=outputs)

    def __repr__(self) -> str:
        """Its name and kind, what it takes, gives and keeps, and how many of which operators."""
        kind = "integer" if self.is_integer else "float"
        lines = [f"{kind} graph {self.name!r}: {len(self.nodes)} nodes"]
        lines += [f"  input  {name}: {self.types[name]}" for name in self.inputs]
        lines += [f"  output {name}: {self.types[name]}" for name in self.outputs]
        lines += [f"  state  {s.input} <- {s.output}: {self.types[s.input]}" for s in self.states]
        counts = Counter(type(node.op).__name__ for node in self.nodes)
        if counts:
            lines.append(f"  {', '.join(f'{count} {op}' for op, count in counts.most_common())}")
        return "\n".join(map(printable, lines))

    def _repr_html_(self) -> str:
        """For notebooks: the same, and a table with a row a node."""
        rows = [
            f"<tr><td>{escape(printable(node.name))}</td><td>{escape(str(node.op))}</td>"
            f"<td>{escape(', '.join(str(self.types[name]) for name in node.outputs))}</td></tr>"
            for node in self.nodes[:_MOST_ROWS]
        ]
        left = len(self.nodes) - len(rows)
        if left:
            rows.append(f"<tr><td colspan=3>and {left} more</td></tr>")
        return (
            f"<pre>{escape(repr(self))}</pre>"
            "<table><thead><tr><th>node</th><th>operator</th><th>gives</th></tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table>"
        )

    def __str__(self) -> str:
        """Every node, in order, with its types."""
        lines = [f"graph {self.name}"]
        lines += [f"  input  {name}: {self.types[name]}" for name in self.inputs]
        for node in self.nodes:
            kinds = ", ".join(str(self.types[name]) for name in node.outputs)
            lines.append(f"  {node}  -> {kinds}")
        lines += [f"  output {name}: {self.types[name]}" for name in self.outputs]
        lines += [f"  state  {s.input} <- {s.output}: {self.types[s.input]}" for s in self.states]
        return "\n".join(map(printable, lines))


def check_is_graph(given: object) -> None:
    """Refuse what is no Graph, such as the name of its file.

    Raises
    ------
    InputError
        It is none.
    """
    if not isinstance(given, Graph):
        raise InputError(
            f"a Graph is wanted, not {type(given).__name__}: edgeinfer.read gives that of an .eqm "
            "file"
        )
