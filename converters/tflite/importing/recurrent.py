"""LSTM layers of a .tflite model, a step after the other.

A layer of integers has the types that TensorFlow Lite prescribes between its operators: what the
functions of the gates take is int16 of a step of 2^-12, what they give int16 of a step of 2^-15,
and the cell and the result are as the layer's variables are ("TensorFlow Lite 8-bit quantization
specification"; tensorflow/lite/kernels/lstm_eval.cc, 8x8_16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeinfer.converters.tflite.importing.call import Call, operator
from edgeinfer.converters.tflite.model import Quantized, Tensor
from edgeinfer.errors import ModelError, UnsupportedError

__all__: list[str] = []

# among the inputs, what belongs to the gates input, forget and output, and to the new cell
_WEIGHTS = (1, 2, 4, 3)
_RECURRENCE = (5, 6, 8, 7)
_BIASES = (12, 13, 15, 14)

_HIDDEN, _CELL = 18, 19
_OTHERS = {"peepholes": (9, 10, 11), "projections": (16, 17), "normalized gates": (20, 21, 22, 23)}
_TANH = 4

_OF_GATES, _OF_FUNCTIONS = 2.0**-12, 2.0**-15


@operator("UNIDIRECTIONAL_SEQUENCE_LSTM")
def _lstm(call: Call) -> str:
    """x, four of each of weights, weights of the result before and biases, and two variables.

    A layer of several steps begins each run at zeros, as after LiteRT's ``reset_all_variables``:
    it was trained so. One of a single step goes on where the run before ended.
    """
    _refuse_others(call)
    time_major, x = bool(call.option("TimeMajor")), call.value(0)
    shape = call.shape(0, 3)
    steps = shape[0 if time_major else 1]
    cell = _Cell(call, shape[2])
    if time_major:
        x = call("Transpose", x, perm=[1, 0, 2])
    gates = cell.of_input(x)
    parts = [gates] if steps == 1 else call.several("Split", steps, gates, axis=1)
    if steps == 1:
        cell.resume()
    axis = call.array([1], "axis")
    results = [call("Unsqueeze", cell.step(call("Squeeze", p, axis)), axis) for p in parts]
    if steps == 1:
        cell.keep()
    y = results[0] if steps == 1 else call("Concat", *results, axis=1)
    return call("Transpose", y, perm=[1, 0, 2]) if time_major else y


class _Cell:
    """What an LSTM computes in a step, from the result and the cell of the one before.

    Parameters
    ----------
    call : Call
        The layer.
    width : int
        The numbers of a step's input.
    """

    def __init__(self, call: Call, width: int) -> None:
        self._call, self._size = call, call.shape(_RECURRENCE[0], 2)[1]
        shapes: dict[tuple[int, ...], tuple[int, ...]] = {
            _WEIGHTS: (self._size, width),
            _RECURRENCE: (self._size,) * 2,
        }
        shapes[_BIASES] = (self._size,)
        for indices, shape in shapes.items():
            for index in indices:
                if call.shape(index) != shape:
                    raise ModelError(
                        f"input {index} must have shape {list(shape)}, not "
                        f"{list(call.shape(index))}"
                    )
        self._recurrence = self._stacked(_RECURRENCE)
        self._clip = float(call.option("CellClip"))
        self._hidden: str | None = None
        self._cell: str | None = None

    def of_input(self, x: str) -> str:
        """What the input ``x`` [N,T,I] adds to the gates, [N,T,4H]."""
        call = self._call
        product = call("MatMul", x, self._stacked(_WEIGHTS))
        return self._as_gates(call("Add", product, self._stacked(_BIASES)))

    def resume(self) -> None:
        """Begin where the run before ended."""
        self._hidden, self._cell = map(self._call.variable, (_HIDDEN, _CELL))

    def keep(self) -> None:
        """Leave the next run where this one ended."""
        for index, value in ((_HIDDEN, self._hidden), (_CELL, self._cell)):
            assert value is not None
            self._call.keep(index, value)

    def step(self, gates: str) -> str:
        """The result [N,H] of a step, whose input adds ``gates`` [N,4H]."""
        call, h = self._call, self._size
        if self._hidden is not None:
            product = self._as_gates(call("MatMul", self._hidden, self._recurrence))
            gates = self._as_gates(call("Add", gates, product))
        sigmoids, new = call.several("Split", 2, gates, call.array([3 * h, h], "parts"), axis=1)
        sigmoids = self._as_results(call("Sigmoid", sigmoids))
        let_in, kept, let_out = call.several("Split", 3, sigmoids, axis=1)
        new = self._as_results(call("Tanh", new))
        cell = self._as(_CELL, call("Mul", let_in, new))
        if self._cell is not None:
            cell = call("Add", self._as(_CELL, call("Mul", kept, self._cell)), cell)
            cell = self._as(_CELL, cell)
        if 0 < self._clip < self._reach(_CELL):
            bounds = (call.array(bound) for bound in (-self._clip, self._clip))
            cell = self._as(_CELL, call("Clip", cell, *bounds))
        out = self._as_results(call("Tanh", cell))
        self._cell, self._hidden = cell, self._as(_HIDDEN, call("Mul", let_out, out))
        return self._hidden

    # ---- the integers of each

    def _as(self, index: int, value: str) -> str:
        return self._call.form.rounded(self._call.input(index), value)

    def _reach(self, index: int) -> float:
        """The largest number that the input ``index`` holds."""
        tensor = self._call.input(index)
        if tensor.quantized is None:
            return np.inf
        return float(tensor.quantized.scale.max()) * -float(np.iinfo(tensor.dtype).min)

    def _as_gates(self, value: str) -> str:
        return self._as_words(value, _OF_GATES)

    def _as_results(self, value: str) -> str:
        return self._as_words(value, _OF_FUNCTIONS)

    def _as_words(self, value: str, step: float) -> str:
        """``value`` as int16 of a step, where the layer is one of integers."""
        if self._call.input(0).quantized is None:
            return value
        of = Quantized(np.array([step], np.float32), np.zeros(1, np.int64), 0)
        return self._call.form.rounded(
            Tensor(value, (), np.dtype(np.int16), False, of, None), value
        )

    def _stacked(self, indices: Sequence[int]) -> str:
        """The constants ``indices``, one below the other, matrices transposed then."""
        call = self._call
        tensors = [call.input(index) for index in indices]
        array = np.concatenate([call.constant(index) for index in indices])
        axis = array.ndim - 1
        of = [t.quantized for t in tensors if t.quantized is not None]
        quantized = None
        if len(of) == len(tensors):
            # a scale a tensor becomes one a row
            scale, zero_point = (
                np.concatenate([np.broadcast_to(each, self._size) for each in numbers])
                for numbers in ([q.scale for q in of], [q.zero_point for q in of])
            )
            quantized = Quantized(scale, zero_point, axis)
        elif of:
            raise ModelError("some of its weights are quantized, and others not")
        return call.form.constant(replace(tensors[0], quantized=quantized), array.T, axis)


def _refuse_others(call: Call) -> None:
    for what, indices in _OTHERS.items():
        if any(call.has(index) for index in indices):
            raise UnsupportedError(f"{what} of an LSTM are not supported")
    if not (call.has(_WEIGHTS[0]) and call.has(_RECURRENCE[0]) and call.has(_BIASES[0])):
        raise UnsupportedError("an LSTM whose input gate is its forget gate is not supported")
    if call.activation != _TANH:
        raise UnsupportedError("an LSTM of another function than tanh is not supported")
    call.activation = 0  # the cell's own
