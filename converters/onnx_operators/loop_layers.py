"""Finds the recurrent layer that a loop over a sequence spells out.

The body is imported for every iteration, apart from the model. Where each is the same step of an
LSTM, GRU or RNN, on the next element, the loop is that layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.converters.onnx_operators.iterations import Iterations
from edgeinfer.converters.onnx_operators.recurrent_cells import Cell, Element, Reader, cell_of
from edgeinfer.converters.onnx_operators.registry import Refusal
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand, Static
from edgeinfer.graph import TensorType

__all__ = ["layer_of"]


@dataclass(frozen=True)
class _Step:
    """An iteration as the step of a layer on an element; ``scans`` are the states scanned out."""

    cell: Cell
    element: Element
    scans: tuple[int, ...]

    def is_step_of(self, other: _Step) -> bool:
        """Whether both are steps of one layer, each on its own element."""
        pairs = zip(self.cell.constants(), other.cell.constants(), strict=True)
        return (
            (self.cell.op, self.cell.states, self.scans)
            == (other.cell.op, other.cell.states, other.scans)
            and (self.element.source, self.element.axis)
            == (other.element.source, other.element.axis)
            and all(np.array_equal(a, b) for a, b in pairs)
        )


def layer_of(loop: Iterations) -> list[Operand] | None:
    """What ``loop`` gives, computed by a recurrent layer; None where it is none."""
    name = loop.call.result
    states = {
        place: Dynamic(f"{name}#state", TensorType(loop.initial[place].shape))
        for place in loop.states
    }
    carried = [states.get(place, value) for place, value in enumerate(loop.initial)]
    step, count, going = None, 0, True
    while going and count < loop.most:
        found = _read(loop, count, states, carried)
        if found is None:
            return None
        now, carried, going = found
        if now.element.index != count or not (step is None or now.is_step_of(step)):
            return None
        step, count = now, count + 1
    if step is None or step.element.source.shape[step.element.axis] != count:
        return None
    return _emitted(loop, step, carried)


def _read(
    loop: Iterations, index: int, states: dict[int, Dynamic], carried: Sequence[Operand]
) -> tuple[_Step, list[Operand], bool] | None:
    """The iteration ``index`` as a step, what it carries on, and whether another follows."""
    elements = {_apart(loop, x, axis): Element(x, axis, index) for x, axis in loop.scanned}
    try:
        taken = loop.taken(index, carried, [*elements])
        steps, values = loop.call.steps_of(loop.body, taken)
        going, given, scanned = loop.given(values)
    except Refusal:
        return None
    known: dict[Operand, Element] = {
        value: element
        for value, element in elements.items()
        if len(element.source.shape) == 3 and element.axis < 2
    }
    reader = Reader(steps, [*states.values()], known)
    symbols = [reader.of(given[place]) for place in states]
    cell = cell_of(symbols)
    element = None if cell is None else cell.element()
    if cell is None or element is None:
        return None
    scans = []
    for value in scanned:
        symbol = reader.of(value)
        same = [state for state, s in enumerate(symbols) if s is not None and s is symbol]
        if not same:
            return None
        scans.append(same[0])
    kept = list(carried)
    for place, value in enumerate(given):
        if place in states:
            continue
        if not isinstance(value, Static) and value is not carried[place]:
            return None
        kept[place] = value
    return _Step(cell, element, tuple(scans)), kept, going


def _apart(loop: Iterations, x: Operand, axis: int) -> Dynamic:
    """What stands for an element of ``x`` along ``axis``."""
    shape = tuple(n for a, n in enumerate(x.shape) if a != axis)
    kind = TensorType(shape, loop.call.dtype(x))
    return Dynamic(f"{loop.call.result}#element", kind, x.kind)


def _emitted(loop: Iterations, step: _Step, carried: Sequence[Operand]) -> list[Operand]:
    """The layer's last states in the places of the loop's, and those that are scanned out."""
    call, cell, element, places = loop.call, step.cell, step.element, loop.states
    x = element.source
    if element.axis == 0:
        x = call.transpose(x, (1, 0, 2), f"{x.name}@nti")
    samples, steps, _ = x.shape
    labels = ("weights", "recurrence", "bias", "recurrent bias")
    taken: list[Operand | None] = [x]
    taken += [call.constant(a, n) for a, n in zip(cell.constants(), labels, strict=True)]
    size = len(cell.gates[0][0].bias)
    for state in cell.states:
        first = loop.initial[places[state]]
        known = isinstance(first, Static) and not first.array.any()
        taken.append(None if known else call.reshape(first, (samples, size)))
    while taken[-1] is None:
        del taken[-1]
    further = (f"{call.result}#{role.name}" for role in cell.op.gives[1:])
    sequences = call.emit_several(cell.op, *taken, names=[f"{call.result}#sequence", *further])
    # a GRU gives its only state twice
    by_state = dict(zip(cell.states, sequences, strict=False))
    results = list(carried)
    for state, place in enumerate(places):
        last = call.stretch(by_state[state], 1, steps - 1, 1)
        results[place] = call.reshape(last, loop.initial[place].shape)
    for state in step.scans:
        scanned = call.transpose(by_state[state], (1, 0, 2))
        shape = loop.initial[places[state]].shape
        results.append(call.reshape(scanned, (steps, *shape)))
    return results
