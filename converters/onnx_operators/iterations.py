"""What the iterations of a Loop or a Scan have in common: what a body takes, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal
from edgeinfer.converters.onnx_operators.values import Operand, Static

__all__ = ["Iterations"]


@dataclass(frozen=True)
class Iterations:
    """The iterations of a loop.

    Parameters
    ----------
    call : Call
        The Loop or Scan.
    body : onnx_ir.Graph
        What each computes. A Loop's takes the number of the iteration and a condition before what
        is carried, and gives a condition first; a Scan's takes an element of each of ``scanned``
        behind what is carried. Behind what they carry both give what is scanned out.
    initial : sequence of Static or Dynamic
        What the first takes as carried.
    most : int
        How many there are, where the body does not end them before.
    scanned : sequence of (Static or Dynamic, int)
        A Scan's values, and the axis of each along which it is taken apart; none for a Loop.
    """

    call: Call
    body: ir.Graph
    initial: Sequence[Operand]
    most: int
    scanned: Sequence[tuple[Operand, int]] = ()

    @property
    def states(self) -> list[int]:
        """The places of floats that change: what a body gives back as it was is no state."""
        taken = self.body.inputs if self.scanned else self.body.inputs[2:]
        given = self.body.outputs if self.scanned else self.body.outputs[1:]
        return [
            place
            for place, value in enumerate(self.initial)
            if value.kind == "floats" and given[place] is not taken[place]
        ]

    @property
    def scans(self) -> int:
        """How many values a body scans out."""
        return len(self.body.outputs) - len(self.initial) - (0 if self.scanned else 1)

    def taken(
        self, index: int, carried: Sequence[Operand], elements: Sequence[Operand]
    ) -> list[Operand]:
        """What the body takes in the iteration ``index``."""
        if self.scanned:
            return [*carried, *elements]
        name = self.call.result
        number = Static(np.array(index, np.int64), f"{name}#index")
        return [number, Static(np.array(True), f"{name}#going"), *carried]

    def given(self, values: Sequence[Operand]) -> tuple[bool, list[Operand], list[Operand]]:
        """Whether another iteration follows, what it takes as carried, and what is scanned out.

        Raises
        ------
        Refusal
            A run would have to tell whether another follows.
        """
        going = True
        if not self.scanned:
            condition, *values = values
            if not isinstance(condition, Static):
                raise Refusal("how often it runs must be constant")
            going = bool(condition.array.all())
        count = len(self.initial)
        return going, list(values[:count]), list(values[count:])
