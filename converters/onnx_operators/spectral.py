"""Turns ONNX's Fourier transforms into layers whose weights are cosines and sines."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.arithmetic import elementary
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.values import Operand
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []

# a matrix of weights has as many elements as this squared
_MOST_ALONG = 4096


def _turns(places: int, bins: int, length: int, *, inverse: bool = False) -> np.ndarray:
    """[bins, 2, places, 2] in float64: what each place adds, by its parts, to each bin's parts."""
    turn = np.outer(np.arange(bins), np.arange(places)) % length * (2 * math.pi / length)
    sign, share = (-1, 1 / length) if inverse else (1, 1)
    cosine, sine = elementary.cos(turn) * share, sign * elementary.sin(turn) * share
    return np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], 1)


@importer("DFT", makes=(ops.Dense, ops.Slice))
def _dft(call: Call) -> Operand:
    x = call.operand(0)
    rank = len(x.shape)
    if rank < 3 or x.shape[-1] not in (1, 2):
        raise ModelError(f"its input must be [..., 1] or [..., 2], not {list(x.shape)}")
    where = call.whole_number(2, "axis", -2) if call.version >= 20 else call.integer("axis", 1)
    axis = call.axis(where, rank)
    if axis == rank - 1:
        raise ModelError("its axis must not be that of real and imaginary parts")
    places, parts = x.shape[axis], x.shape[-1]
    inverse, onesided = (bool(call.integer(name, 0)) for name in ("inverse", "onesided"))
    from_half = inverse and onesided
    length = call.whole_number(1, "dft_length", 2 * (places - 1) if from_half else places)
    if length < 1 or (from_half and parts != 2):
        raise ModelError(f"its input {list(x.shape)} has no transform of length {length}")
    half = length // 2 + 1
    taken = min(places, half if from_half else length)
    bins = half if onesided and not inverse else length
    _refuse_too_long(length)
    call.spend(4 * bins * taken)
    turns = _turns(taken, bins, length, inverse=inverse)[..., :parts]
    if from_half:
        # what is there once stands for its mirror image too, and the result is real
        once = np.isin(np.arange(taken), (0, length / 2))
        turns = turns[:, :1] * np.where(once, 1, 2)[:, None]
    if taken < places:
        x = call.stretch(x, axis, 0, taken)
    order = [*(a for a in range(rank) if a not in (axis, rank - 1)), axis, rank - 1]
    rows = call.transpose(x, order)
    others = rows.shape[:-2]
    weights = turns.reshape(-1, taken * parts).astype(np.float32)
    y = call.emit(
        ops.Dense(),
        call.reshape(rows, (*others, taken * parts)),
        call.constant(weights, "turns"),
    )
    return call.transpose(
        call.reshape(y, (*others, bins, turns.shape[1])), np.argsort(order).tolist()
    )


@importer("STFT", makes=(ops.Conv,))
def _stft(call: Call) -> Operand:
    """A convolution along the signal, whose channels are the parts of the bins."""
    signal, window = call.operand(0), call.weights(2, "window")
    if len(signal.shape) == 2:
        signal = call.reshape(signal, (*signal.shape, 1))
    if len(signal.shape) != 3 or signal.shape[2] not in (1, 2):
        raise ModelError(f"its signal must be [N,L], or [N,L,1] or [N,L,2], not {signal.shape}")
    samples, length, parts = signal.shape
    step = call.whole_number(1, "frame_step", 0)
    size = call.whole_number(3, "frame_length", 0 if window is None else window.shape[0])
    if step < 1 or not 1 <= size <= length:
        raise ModelError(f"frames of {size} every {step} do not fit a signal of {length}")
    if window is not None and window.shape != (size,):
        raise ModelError(f"its window must have shape {[size]}, not {list(window.shape)}")
    bins = size // 2 + 1 if call.integer("onesided", 1) else size
    _refuse_too_long(size)
    call.spend(4 * bins * size)
    turns = _turns(size, bins, size)[..., :parts]
    if window is not None:
        turns = turns * window.finite().astype(np.float64)[:, None]
    weights = turns.reshape(2 * bins, 1, size, parts).astype(np.float32)
    y = call.emit(
        ops.Conv(strides=(1, step)),
        call.reshape(signal, (samples, 1, length, parts)),
        call.constant(weights, "turns"),
    )
    return call.reshape(y, (samples, y.shape[2], bins, 2))


def _refuse_too_long(length: int) -> None:
    if length > _MOST_ALONG:
        raise Refusal(f"a transform of {length} is not supported, up to {_MOST_ALONG} is")
