"""Turns ONNX's RNN, GRU and LSTM into one layer for each direction, batch first.

ONNX has time first, unless ``layout`` is 1, and an axis of directions. What turns these stands
around the layers, where later passes let most of it cancel.

Where sequences end at steps of their own, a layer runs to the end of its input all the same. What
it gives beyond is replaced by 0, and what runs backwards takes the elements of each sequence in
their opposite order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.converters.onnx_operators import indices
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}

# ONNX's functions, whose names have no case, and the alpha and beta that it gives them
_ACTIVATIONS: dict[str, tuple[Callable[..., Expression], tuple[float, ...]]] = {
    "affine": (lambda a, b: ("add", ("mul", "x", a), b), (1.0, 0.0)),
    "elu": (lambda a: ("elu", "x", a), (1.0,)),
    "hardsigmoid": (lambda a, b: ("hard_sigmoid", "x", a, b), (0.2, 0.5)),
    "leakyrelu": (lambda a: ("leaky_relu", "x", a), (0.01,)),
    "relu": (lambda: ("relu", "x"), ()),
    "scaledtanh": (lambda a, b: ("mul", a, ("tanh", ("mul", b, "x"))), (1.0, 1.0)),
    "sigmoid": (lambda: ("sigmoid", "x"), ()),
    "softplus": (lambda: ("softplus", "x"), ()),
    "softsign": (lambda: ("softsign", "x"), ()),
    "tanh": (lambda: ("tanh", "x"), ()),
    "thresholdedrelu": (lambda a: ("thresholded_relu", "x", a), (1.0,)),
}


_BESIDE = (ops.Slice, ops.Concat, ops.Pad, ops.Gather, ops.Mul, ops.IndexArithmetic)


@importer("RNN", makes=(ops.RNN, *_BESIDE), integers=True)
def _rnn(call: Call) -> Sequence[Operand]:
    return _Layers(call, ops.RNN).outputs()


@importer("GRU", makes=(ops.GRU, *_BESIDE), integers=True)
def _gru(call: Call) -> Sequence[Operand]:
    before = bool(call.integer("linear_before_reset", 0))
    return _Layers(call, ops.GRU, linear_before_reset=before).outputs()


@importer("LSTM", makes=(ops.LSTM, *_BESIDE), integers=True)
def _lstm(call: Call) -> Sequence[Operand]:
    coupled = bool(call.integer("input_forget", 0))
    return _Layers(call, ops.LSTM, input_forget=coupled).outputs()


class _Layers:
    """One ONNX node as a layer of ``kind`` for each of its directions."""

    def __init__(self, call: Call, kind: type[ops.Recurrent], **attributes: bool) -> None:
        self.call, self.kind, self.attributes = call, kind, attributes
        direction = call.text("direction", "forward")
        if direction not in _DIRECTIONS:
            raise ModelError(
                f"direction must be one of {', '.join(_DIRECTIONS)}, not {direction!r}"
            )
        self.directions = _DIRECTIONS[direction]
        layout = call.integer("layout", 0)
        if layout not in (0, 1):
            raise ModelError(f"layout must be 0 or 1, not {layout}")
        self.time_first = layout == 0
        x = call.operand(0)
        if len(x.shape) != 3:
            raise ModelError(f"takes a value of 3 axes, not shape {list(x.shape)}")
        self.x = call.transpose(x, (1, 0, 2), f"{x.name}@nti") if self.time_first else x
        self.samples, steps, _ = self.x.shape
        lengths = self._lengths(steps)
        self.steps = steps
        if isinstance(lengths, Static):
            self.steps = max(1, int(lengths.array.max()))
            if (lengths.array == self.steps).all():
                lengths = None
        # results beyond a sequence's end are 0
        self.beyond = steps - self.steps
        if self.beyond:
            self.x = call.stretch(self.x, 1, 0, self.steps)
        self.ends = None if lengths is None else _Ends(call, lengths, self.samples, self.steps)
        self.weights, self.recurrence = self._matrices()
        self.hidden = self.recurrence.shape[2]

    def outputs(self) -> list[Operand]:
        """Y, the last of every direction, and of an LSTM its last cells."""
        call = self.call
        y, *cells = zip(*(self._layer(place) for place in range(len(self.directions))), strict=True)
        last = [self._last(i, s) for i, s in enumerate((y, *cells), start=1)]
        if self.ends is not None:
            y = tuple(
                self.ends.backwards(s) if reverse else s
                for s, reverse in zip(y, self.directions, strict=True)
            )
        joined = y[0]
        if len(y) > 1:
            joined = call.emit(ops.Concat(2), *y, name=call.part(0, "nth"))
        if self.beyond:
            joined = call.emit(ops.Pad((0, 0, 0), (0, self.beyond, 0)), joined)
        steps = self.steps + self.beyond
        sequence = call.reshape(joined, (self.samples, steps, len(y), self.hidden))
        if self.time_first:
            sequence = call.transpose(sequence, (1, 2, 0, 3))
        return [sequence, *last][: call.output_count]

    def _layer(self, place: int) -> list[Operand]:
        """What the direction at ``place`` gives at every step, each [N,T,H]."""
        call, reverse, ends = self.call, self.directions[place], self.ends
        op = self.kind(
            reverse=reverse and ends is None,
            clip=self._clip(),
            **self.attributes,
            **self._activations(place),
        )
        biases = self._constant(3, "biases", 2 * self.kind.gates * self.hidden)
        taken: list[Operand | None] = [
            self.x if ends is None or not reverse else ends.backwards(self.x),
            self._row(self.weights, place),
            self._row(self.recurrence, place),
            *self._halves(biases, place),
        ]
        taken += [self._first(index, place) for index in range(5, 5 + len(set(op.firsts)))]
        if self.kind is ops.LSTM:
            peepholes = self._constant(7, "peepholes", 3 * self.hidden)
            taken.append(None if peepholes is None else self._row(peepholes, place))
        while taken[-1] is None:
            del taken[-1]
        names = [call.part(0, "nth"), *(f"{call.result}#{role.name}" for role in op.gives[1:])]
        if len(self.directions) > 1:
            label = "backward" if reverse else "forward"
            further = (f"{call.result}#{label} {role.name}" for role in op.gives[1:])
            names = [f"{call.result}#{label}", *further]
        sequences = call.emit_several(op, *taken, names=names)
        return sequences if ends is None else [ends.zeroed(s) for s in sequences]

    def _last(self, index: int, states: Sequence[Operand]) -> Operand:
        """Output ``index``, the last of the steps of each direction, [D,N,H] or [N,D,H]."""
        call, last = self.call, []
        whole = call.part(index, "ndh")
        for state, reverse in zip(states, self.directions, strict=True):
            if self.ends is not None:
                last.append(self.ends.last(state))
                continue
            name = None if len(states) > 1 else whole
            last.append(call.stretch(state, 1, 0 if reverse else self.steps - 1, 1, name))
        joined = call.emit(ops.Concat(1), *last, name=whole) if len(last) > 1 else last[0]
        return call.transpose(joined, (1, 0, 2)) if self.time_first else joined

    # ---- what it takes

    def _matrices(self) -> tuple[Static, Static]:
        weights, recurrence = (self.call.weights(i, "weights") for i in (1, 2))
        count, rows = len(self.directions), self.kind.gates
        if weights is None or recurrence is None:
            raise ModelError("its weights are missing")
        hidden = recurrence.shape[-1] if len(recurrence.shape) == 3 else 0
        if self.call.integer("hidden_size", hidden) != hidden:
            raise ModelError(f"hidden_size is not that of its weights {list(recurrence.shape)}")
        for matrix, columns in ((weights, self.x.shape[2]), (recurrence, hidden)):
            if matrix.shape != (count, rows * hidden, columns) or not hidden:
                raise ModelError(
                    f"weights of shape {list(weights.shape)} and {list(recurrence.shape)} do not "
                    f"make {count} direction{'s' if count > 1 else ''} of {self.x.shape[2]} numbers"
                )
        return weights, recurrence

    def _constant(self, index: int, what: str, extent: int) -> Static | None:
        """A row of ``extent`` numbers for each direction, where there is one."""
        value = self.call.weights(index, what)
        if value is not None and value.shape != (len(self.directions), extent):
            shape = [len(self.directions), extent]
            raise ModelError(f"its {what} must have shape {shape}, not {list(value.shape)}")
        return value

    def _row(self, constant: Static, place: int) -> Static:
        return self.call.static_like(constant, constant.finite()[place])

    def _halves(self, biases: Static | None, place: int) -> list[Static]:
        """The biases of W x and of R h."""
        count = self.kind.gates * self.hidden
        if biases is None:
            return [self.call.constant(np.zeros(count, np.float32), "bias")] * 2
        row = biases.finite()[place]
        return [self.call.static_like(biases, half) for half in np.split(row, 2)]

    def _first(self, index: int, place: int) -> Operand | None:
        """What the first step takes, [N,H]; None where it is 0."""
        call, value, count = self.call, self.call.optional(index), len(self.directions)
        if value is None:
            return None
        axis = 0 if self.time_first else 1
        shape = [self.samples, self.samples, self.hidden]
        shape[axis] = count
        if list(value.shape) != shape:
            raise ModelError(f"its initial state must have shape {shape}, not {list(value.shape)}")
        if isinstance(value, Static):
            array = value.finite().take(place, axis)
            return call.static_like(value, array) if array.any() else None
        if count > 1:
            value = call.stretch(value, axis, place, 1)
        return call.reshape(value, (self.samples, self.hidden))

    def _lengths(self, steps: int) -> Operand | None:
        """How many of the ``steps`` of x each sequence has; None where it is all."""
        value = self.call.optional(4)
        if value is None:
            return None
        if value.kind != "integers" or value.shape != (self.samples,):
            raise ModelError(
                f"its sequence lengths must be {self.samples} integers, not {value.kind} of shape "
                f"{list(value.shape)}"
            )
        if isinstance(value, Dynamic):
            if value.type.dtype != "int64":
                raise Refusal("its sequence lengths are computed as floats")
        elif (value.array < 0).any() or (value.array > steps).any():
            raise ModelError(
                f"sequence lengths {value.array.tolist()} do not fit {steps} steps "
                f"of a batch of {self.samples}"
            )
        return value

    # ---- attributes

    def _clip(self) -> float:
        clip = self.call.bound("clip", np.inf)
        if clip <= 0:
            raise ModelError(f"clip must be positive, not {clip:g}")
        return clip

    def _activations(self, place: int) -> dict[str, Expression]:
        """The functions of the direction at ``place``, by the names of the layer's attributes."""
        names, count = self.kind.activations, len(self.directions)
        found = self.call.texts("activations")
        alphas, betas = (
            iter(self.call.reals(name) or ()) for name in ("activation_alpha", "activation_beta")
        )
        if found is None:
            return {}
        if len(found) != count * len(names):
            raise ModelError(f"has {len(found)} activations, not {count * len(names)}")
        expressions = []
        for name in found:
            if name.lower() not in _ACTIVATIONS:
                raise Refusal(f"activation {name!r} is not supported")
            function, defaults = _ACTIVATIONS[name.lower()]
            # each takes the next alpha, and the next beta, if it has one
            given = [next(*pair) for pair in zip((alphas, betas), defaults, strict=False)]
            expressions.append(function(*given))
        own = expressions[place * len(names) : (place + 1) * len(names)]
        return dict(zip(names, own, strict=True))


class _Ends:
    """Where the sequences of a batch end: ``lengths`` [N] of 0 to ``steps``."""

    def __init__(self, call: Call, lengths: Operand, samples: int, steps: int) -> None:
        self._call, self._samples, self._steps = call, samples, steps
        self._lengths = lengths
        call.spend(2 * (steps + 1) * steps)
        step, length = np.arange(steps), np.arange(steps + 1)[:, None]
        self._is_there = call.reshape(
            self._of_length((step < length).astype(np.float32), "is there"), (samples, steps, 1)
        )
        self._orders = np.where(step < length, length - 1 - step, step)

    def zeroed(self, sequence: Operand) -> Operand:
        """[N,T,H] with 0 beyond each end."""
        return self._call.emit(ops.Mul(), sequence, self._is_there)

    def backwards(self, sequence: Operand) -> Operand:
        """[N,T,H] with the steps up to each end in their opposite order."""
        return self._at(sequence, self._of_length(self._orders, "orders"))

    def last(self, sequence: Operand) -> Operand:
        """[N,1,H] of [N,T,H], which is 0 beyond each end: what stands before it."""
        places = self._of_length(np.maximum(np.arange(self._steps + 1) - 1, 0), "last")
        return self._at(sequence, self._call.reshape(places, (self._samples, 1)))

    def _of_length(self, table: np.ndarray, label: str) -> Operand:
        by_length = ops.Gather(0, from_end=False)
        return self._call.emit(by_length, self._call.constant(table, label), self._lengths)

    def _at(self, sequence: Operand, places: Operand) -> Operand:
        """What stands at the steps ``places`` [N,K] of each sequence."""
        call = self._call
        firsts = call.constant(np.arange(self._samples)[:, None] * self._steps, "firsts")
        rows = call.reshape(sequence, (self._samples * self._steps, sequence.shape[2]))
        return call.emit(ops.Gather(0), rows, indices.arithmetic(call, "Add", places, firsts))
