"""The TOSA graph of one Graph in the making: its constants, its operators, and where each value is.

What no operator rounds has one form here for all rules: moves, broadcasts and look-ups by place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeinfer.converters.tosa.flatbuffer import Operator, Tensor, document
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph.names import DistinctNames

__all__ = ["TosaWriter"]

# of tensors, by TOSA's level 8K
_MAX_AXES = 6

_TYPES = {"int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT48"}


class TosaWriter:
    """The TOSA graph of one Graph.

    Parameters
    ----------
    graph : Graph
        An integer one.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._names = DistinctNames(frozenset(graph.types))
        self._label = ""
        self._taken: dict[str, Tensor] = {}
        self._given: dict[str, Tensor] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], tuple[Tensor, np.ndarray]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._operators: list[Operator] = []

    # ---- values of the Graph ----

    def begin(self, node: str) -> int:
        """Call what is written from now on after ``node``; gives what ``take_back`` takes."""
        self._label = node
        return len(self._operators)

    def take_back(self, begun: int) -> None:
        """Forget the operators that were written since ``begin`` gave ``begun``."""
        del self._operators[begun:]

    def value(self, name: str) -> Tensor:
        """A value of the Graph, of integers that a scale gives a meaning.

        Raises
        ------
        UnsupportedError
            It is another one.
        """
        dtype = self.graph.types[name].dtype
        if dtype not in ("int8", "int16"):
            raise UnsupportedError(f"TOSA's operators take no {dtype}")
        return self._value(name, _TYPES[dtype])

    def places(self, name: str) -> Tensor:
        """A value of the Graph of int64, as INT32: of places along an axis, which fit."""
        return self._value(name, "INT32")

    def _value(self, name: str, dtype: str) -> Tensor:
        if name in self._given:
            return self._given[name]
        if name in self.graph.constants:
            return self.constant(self.graph.constants[name].astype(dtype.lower()))
        if name not in self._taken:
            self._taken[name] = Tensor(name, self.graph.types[name].shape, dtype)
        return self._taken[name]

    def give(self, name: str, tensor: Tensor) -> None:
        """Let a value of the Graph be ``tensor``."""
        self._given[name] = tensor

    # ---- constants and operators ----

    def constant(self, array: np.ndarray) -> Tensor:
        """A constant: of INT48 where ``array`` is of int64."""
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._constants:
            tensor = Tensor(self._called("CONST"), array.shape, _TYPES[array.dtype.name])
            self._constants[key] = tensor, array
        return self._constants[key][0]

    def number(self, value: int, dtype: str) -> Tensor:
        """One number of TOSA's type ``dtype``, of shape [1]."""
        return self.constant(np.array([value], "int64" if dtype == "INT48" else dtype.lower()))

    def scalar(self, value: int, like: Tensor) -> Tensor:
        """One number of INT32 with as many axes as ``like``, which meets each of its elements."""
        return self.constant(np.full((1,) * len(like.shape), value, np.int32))

    def apply(
        self,
        operator: str,
        operands: Sequence[Tensor | Sequence[int]],
        shape: Sequence[int],
        dtype: str,
        **attributes: Any,
    ) -> Tensor:
        """What ``operator`` of TOSA gives for ``operands``: tensors, and lists of extents.

        Raises
        ------
        UnsupportedError
            It has more axes than TOSA's tensors.
        """
        if len(shape) > _MAX_AXES:
            raise UnsupportedError(f"TOSA's tensors have {_MAX_AXES} axes at most")
        inputs = [x.name if isinstance(x, Tensor) else self._extents(x) for x in operands]
        output = Tensor(self._called(operator), tuple(shape), dtype)
        self._operators.append(Operator(operator, tuple(inputs), output, attributes))
        return output

    def _extents(self, extents: Sequence[int]) -> str:
        name = self._called("CONST_SHAPE")
        self._shapes[name] = tuple(extents)
        return name

    def _called(self, part: str) -> str:
        return self._names.claim(self._names.made(f"{self._label}/{part}"))

    # ---- what moves ----

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The same elements in the same order under another shape."""
        return self.apply("RESHAPE", [x, shape], shape, x.dtype)

    def transpose(self, x: Tensor, permutation: Sequence[int]) -> Tensor:
        """Axis ``i`` of the result is axis ``permutation[i]`` of x."""
        shape = [x.shape[axis] for axis in permutation]
        return self._moved("TRANSPOSE", x, [], shape, perms=list(permutation))

    def tile(self, x: Tensor, repeats: Sequence[int]) -> Tensor:
        """``x`` repeated along each axis."""
        shape = [extent * times for extent, times in zip(x.shape, repeats, strict=True)]
        return self._moved("TILE", x, [repeats], shape)

    def aligned(self, x: Tensor, rank: int) -> Tensor:
        """``x`` with axes of 1 before its own, up to ``rank`` of them."""
        lacking = rank - len(x.shape)
        return self.reshape(x, (1,) * lacking + x.shape) if lacking else x

    def expand(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """``x`` broadcast to ``shape``, as NumPy does."""
        full = self.aligned(x, len(shape))
        return self.tile(full, [n // m for n, m in zip(shape, full.shape, strict=True)])

    def slice(self, x: Tensor, starts: Sequence[int], sizes: Sequence[int]) -> Tensor:
        """``sizes`` elements of each axis from ``starts`` on."""
        return self._moved("SLICE", x, [starts, sizes], sizes)

    def part(self, x: Tensor, axis: int, start: int, size: int) -> Tensor:
        """``size`` elements of one axis from ``start`` on."""
        starts, sizes = [0] * len(x.shape), list(x.shape)
        starts[axis], sizes[axis] = start, size
        return self.slice(x, starts, sizes)

    def pad(self, x: Tensor, before: Sequence[int], after: Sequence[int], value: int) -> Tensor:
        """``x`` with elements ``value`` before and after each axis."""
        pairs = list(zip(before, after, strict=True))
        shape = [sum(pair) + extent for pair, extent in zip(pairs, x.shape, strict=True)]
        pads = [pad for pair in pairs for pad in pair]
        return self._moved("PAD", x, [pads, self.number(value, x.dtype)], shape)

    def _moved(
        self,
        operator: str,
        x: Tensor,
        others: Sequence[Tensor | Sequence[int]],
        shape: Sequence[int],
        **named: Any,
    ) -> Tensor:
        """What ``operator`` gives for x; TOSA moves no scalar, which stays what it is."""
        if not x.shape:
            return self.apply("IDENTITY", [x], (), x.dtype)
        return self.apply(operator, [x, *others], shape, x.dtype, **named)

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """``parts`` side by side along ``axis``."""
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        return self.apply("CONCAT", parts, shape, parts[0].dtype, axis=axis)

    def gather(self, x: Tensor, axis: int, places: Tensor) -> Tensor:
        """NumPy's ``x.take(places, axis)``; ``places`` are INT32 of any shape, none negative."""
        outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        count = math.prod(places.shape)
        rows = self.tile(self.reshape(places, (1, count)), (outer, 1))
        values = self.reshape(x, (outer, x.shape[axis], inner))
        found = self.apply("GATHER", [values, rows], (outer, count, inner), x.dtype)
        return self.reshape(found, (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))

    def take(self, x: Tensor, axis: int, places: np.ndarray) -> Tensor:
        """As ``gather``, at constant ``places``."""
        return self.gather(x, axis, self.constant(places.astype(np.int32)))

    # ---- what computes exactly ----

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """The same integers in another type, which holds them."""
        return self.apply("CAST", [x], x.shape, dtype)

    def meet(
        self,
        operator: str,
        a: Tensor,
        b: Tensor,
        *others: Tensor,
        dtype: str = "INT32",
        **named: Any,
    ) -> Tensor:
        """``operator`` on a and b, which meet as NumPy broadcasts them, and ``others``."""
        rank = max(len(a.shape), len(b.shape))
        a, b = self.aligned(a, rank), self.aligned(b, rank)
        shape = np.broadcast_shapes(a.shape, b.shape)
        return self.apply(operator, [a, b, *others], shape, dtype, **named)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """The product of two tensors of INT32, broadcast, which fits INT32."""
        return self.meet("MUL", a, b, self.number(0, "INT8"))

    # ---- the whole ----

    def finished(self) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
        """The graph as JSON, and by their names the Graph's values that it takes, and gives."""
        used = {name for operator in self._operators for name in operator.inputs}
        taken = {value: t for value, t in self._taken.items() if t.name in used}
        written = document(
            list(taken.values()),
            [(t, array) for t, array in self._constants.values() if t.name in used],
            {name: extents for name, extents in self._shapes.items() if name in used},
            self._operators,
            list(self._given.values()),
        )
        return written, taken, self._given
