"""Models of TensorFlow Lite's with an LSTM, of floats or integers, or with variables, as cases."""

from __future__ import annotations

import numpy as np

from edgeinfer.converters.tflite.model import HANDLE, Model, Operator, Quantized, Tensor
from edgeinfer.converters.tflite.writing import serialize

__all__ = ["OPTIONS", "lstm", "lstm_model", "summing", "written"]

HIDDEN, WIDTH = 5, 3
OPTIONS = {
    "FusedActivationFunction": 4,
    "CellClip": 10.0,
    "ProjClip": 0.0,
    "TimeMajor": False,
    "AsymmetricQuantizeInputs": False,
}
_FLOAT = np.dtype(np.float32)


def written(model: Model) -> bytes:
    return serialize(model, {}, {}, "a test")


def lstm(steps: int, **options: float) -> bytes:
    return written(lstm_model(steps, **options))


def lstm_model(steps: int, **options: float) -> Model:
    """x [1,T,3], or [T,1,3] where ``TimeMajor`` says so, into [.,.,5]; of floats."""
    rng = np.random.default_rng(0)
    shapes = [(HIDDEN, WIDTH)] * 4 + [(HIDDEN, HIDDEN)] * 4 + [(HIDDEN,)] * 4
    weights = [
        Tensor(f"w{i}", s, _FLOAT, False, None, rng.normal(size=s).astype("f4"))
        for i, s in enumerate(shapes)
    ]
    states = [Tensor(n, (1, HIDDEN), _FLOAT, False, None, None, True) for n in ("h", "c")]
    first = (steps, 1) if options.get("TimeMajor") else (1, steps)
    x = Tensor("x", (*first, WIDTH), _FLOAT, False, None, None)
    y = Tensor("y", (*first, HIDDEN), _FLOAT, False, None, None)
    none = -1
    taken = (0, *range(1, 9), none, none, none, *range(9, 13), none, none, 13, 14)
    node = Operator("UNIDIRECTIONAL_SEQUENCE_LSTM", {**OPTIONS, **options}, taken, (15,))
    return Model("m", [x, *weights, *states, y], [node], (0,), (15,), {0: "x", 15: "y"})


def summing(first: np.ndarray, step: float | None = None) -> bytes:
    """y = x + sum, a variable that is y then and ``first`` at first; of int8 by ``step``."""
    handle = Tensor("handle", (1,), HANDLE, False, None, None)
    quantized = None
    if step is not None:
        quantized = Quantized(np.array([step], np.float32), np.array([3]), 0)
    dtype = _FLOAT if step is None else np.dtype(np.int8)
    x, before, y = (Tensor(n, (1, 4), dtype, False, quantized, None) for n in ("x", "v", "y"))
    named = {"Container": "", "SharedName": "sum"}
    nodes = [
        Operator("CALL_ONCE", {"InitSubgraphIndex": 1}, (), ()),
        Operator("VAR_HANDLE", named, (), (1,)),
        Operator("READ_VARIABLE", {}, (1,), (2,)),
        Operator("ADD", {"FusedActivationFunction": 0}, (0, 2), (3,)),
        Operator("ASSIGN_VARIABLE", {}, (1, 3), ()),
    ]
    filling = [Operator("VAR_HANDLE", named, (), (0,)), Operator("ASSIGN_VARIABLE", {}, (0, 1), ())]
    values = first.astype(dtype).reshape(1, 4)
    constant = Tensor("first", (1, 4), dtype, False, quantized, values)
    once = Model("once", [handle, constant], filling, (), (), {})
    return written(
        Model("m", [x, handle, before, y], nodes, (0,), (3,), {0: "x", 3: "y"}, {1: once})
    )
