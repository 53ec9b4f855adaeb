"""The gates of a recurrent layer: functions of W x + R h as tables, and the products beneath."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.arithmetic import elementary, pointwise
from edgeinfer.graph import TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant.bounds import Range, magnitude
from edgeinfer.quant.rules.between import covered, ending, integers
from edgeinfer.quant.rules.recurrent.layer import Layer
from edgeinfer.quant.wide_tables import wide_table

__all__ = ["Function", "Gate", "Products"]

# a function has settled where less than half a step of its largest result is left
_SETTLED = 2.0**-16

# where that is looked for: from the farthest number down, four places to a power of two
_PLACES = 80

# the finest reach, as a share of all that may be added up
_FINEST = 2.0**-20


class Function:
    """A function of what lies within ``-bound`` ... ``bound``, as a table of 16 bits.

    Parameters
    ----------
    layer : Layer
        Whose steps apply it.
    name : str
        What its value is called.
    expression : Expression
        The function.
    bound : float
        How far what it is given may reach.
    size : int, optional
        How many numbers it takes, where not as many as h has.
    takes, gives : TensorType, optional
        A type that covers ``bound``, to be taken as it is if the function needs all of it, and the
        type of the result.

    Attributes
    ----------
    reach : float
        How far what it is given need reach: beyond, the function has settled.
    most : float
        The largest magnitude that it gives.
    """

    def __init__(
        self,
        layer: Layer,
        name: str,
        expression: pointwise.Expression,
        bound: float,
        *,
        size: int | None = None,
        takes: TensorType | None = None,
        gives: TensorType | None = None,
    ) -> None:
        self._layer, self._name, self._expression = layer, name, expression
        end = math.inf if gives is None else magnitude(covered(gives))
        self.reach, self.most = _extent(("clip", expression, -end, end), bound)
        self.takes = layer.of_reach(self.reach, size)
        if takes is not None and self.reach >= bound:
            self.takes = takes
        self.gives = gives or layer.of_reach(self.most, size)
        table = wide_table(expression, None, integers(self.takes), integers(self.gives))
        self._table = layer.to.constant(f"{name}/table", table, None)

    def __call__(self, x: str) -> str:
        """Emit it of ``x``, which what is between brings to the type that it takes."""
        x = self._layer.rescale(f"{self._name}/x", x, self.takes)
        return self._layer.emit(
            self._name, self.gives, ops.Lookup(self._expression), x, self._table
        )


def _extent(expression: pointwise.Expression, bound: float) -> tuple[float, float]:
    """From where on a function has settled, and the largest magnitude that it gives."""
    places = bound * elementary.power(2.0, -np.arange(_PLACES) / 4)
    found = [pointwise.evaluate(expression, side * places) for side in (1.0, -1.0)]
    between = pointwise.evaluate(expression, np.linspace(-bound, bound, 1025))
    most = max(float(np.abs(values).max()) for values in (*found, between)) or 1.0
    moving = [np.flatnonzero(np.abs(values - values[0]) > most * _SETTLED) for values in found]
    first = min(int(m.min(initial=_PLACES)) for m in moving)
    return float(places[max(first - 1, 0)]), most


class Gate:
    """A function of W x + R h, and what else is added, for some ``rows`` of the matrices.

    Parameters
    ----------
    layer : Layer
        Whose steps have it.
    name : str
        What its value is called.
    rows : slice
        Its rows.
    expression : Expression
        The function.
    h : TensorType
        The type of what R multiplies.
    factor : float, optional
        The largest magnitude of what R h is multiplied by before it is added; None where it is
        added as it is.
    more : float
        How far what else is added may reach.
    gives : TensorType, optional
        The type of the result.

    Attributes
    ----------
    given_reach, product_reach : float
        How far its W x and its R h reach, or as far as they need.
    """

    def __init__(
        self,
        layer: Layer,
        name: str,
        rows: slice,
        expression: pointwise.Expression,
        h: TensorType,
        *,
        factor: float | None = None,
        more: float = 0.0,
        gives: TensorType | None = None,
    ) -> None:
        self.layer, self.name, self.rows, self.h = layer, name, rows, h
        weights, bias, recurrence, recurrent_bias = self.arrays()
        given = _largest(weights, bias, covered(layer.to.type(layer.x)))
        product = _largest(recurrence, recurrent_bias, covered(h))
        recurrent = product if factor is None else product * factor
        total = (given + recurrent + more) or 1.0
        self.size = len(bias)
        bound = min(total, layer.op.clip)
        self.function = Function(layer, name, expression, bound, size=self.size, gives=gives)
        least, reach = total * _FINEST, self.function.reach

        def useful(own: float, others: float) -> float:
            return max(min(own, reach + others), least)

        self.given_reach = useful(given, recurrent + more)
        recurrent_reach = useful(recurrent, given + more)
        self.product_reach = recurrent_reach if factor is None else product
        self.recurrent_part = layer.of_reach(recurrent_reach, self.size)
        self.more = layer.of_reach(useful(more, given + recurrent), self.size)
        self._both = layer.of_reach(useful(given + recurrent, more), self.size)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Its rows of W, R and their biases."""
        roles = ("weights", "bias", "recurrence", "recurrent_bias")
        weights, bias, recurrence, recurrent_bias = (
            self.layer.array(role)[self.rows] for role in roles
        )
        return weights, bias, recurrence, recurrent_bias

    def sum(self, given: str, recurrent: str, more: str | None = None) -> str:
        """W x, what has become of R h, and what is added beside."""
        layer, name, takes = self.layer, self.name, self.function.takes
        if more is None:
            return layer.add(f"{name}/sum", given, recurrent, takes)
        both = layer.add(f"{name}/both", given, recurrent, self._both)
        return layer.add(f"{name}/sum", both, more, takes)

    def __call__(self, given: str, recurrent: str, more: str | None = None) -> str:
        """The function of W x + R h and ``more``."""
        return self.function(self.sum(given, recurrent, more))


class Products:
    """W x of all steps and R h of each, for ``gates`` that multiply the same h: one layer each.

    Their results have the reach of the gate that needs the most.
    """

    def __init__(self, *gates: Gate) -> None:
        first = gates[0]
        self._gates, self._layer = gates, first.layer
        self._prefix = f"{first.name}/" if len(gates) == 1 else ""
        layer, size = self._layer, sum(gate.size for gate in gates)
        weights, bias, recurrence, recurrent_bias = (
            np.concatenate(arrays)
            for arrays in zip(*(gate.arrays() for gate in gates), strict=True)
        )
        given = layer.of_reach(max(gate.given_reach for gate in gates), size)
        self._product = layer.of_reach(max(gate.product_reach for gate in gates), size)
        self._given = layer.over_all_steps(f"{self._prefix}given", given, weights, bias)
        self._constants = layer.to.layer_of(
            f"{self._prefix}recurrent", first.h, self._product, recurrence, recurrent_bias
        )

    def given(self) -> tuple[str, ...]:
        """W x and its bias in this step, for each gate."""
        return self._of_gates("given", self._given[self._layer.step])

    def recurrent(self, h: str) -> tuple[str, ...]:
        """R h and its bias, for each gate."""
        zero_point = self._layer.to.kind(h)[1]
        op = ops.QDense(**ending(self._product), input_zero_point=zero_point)
        part = f"{self._prefix}recurrent"
        product = self._layer.emit(part, self._product, op, h, *self._constants)
        return self._of_gates("recurrent", product)

    def _of_gates(self, part: str, value: str) -> tuple[str, ...]:
        if len(self._gates) == 1:
            return (value,)
        sizes = {f"{gate.name}/{part}": gate.size for gate in self._gates}
        return self._layer.split(value, sizes)


def _largest(matrix: np.ndarray, bias: np.ndarray, held: Range) -> float:
    """The largest magnitude of a row's products with numbers in ``held``, and its bias."""
    ends = np.stack([matrix.astype(np.float64) * end for end in held])
    sums = [ends.max(0).sum(1) + bias, ends.min(0).sum(1) + bias]
    return float(np.abs(sums).max())
