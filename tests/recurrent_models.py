"""ONNX models of one recurrent node, with random constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from tests.converters.onnx_agreement import model, node

__all__ = ["DIRECTIONS", "GATES", "recurrent"]

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
ROLES = ("x", "w", "r", "b", "lengths", "h", "c", "p")


def recurrent(
    kind: str,
    *roles: str,
    computed: tuple[str, ...] = (),
    sizes: tuple[int, int, int, int] = (3, 5, 4, 2),
    outputs: tuple[str, ...] = (),
    changed: Mapping[str, Any] | None = None,
    opset: int = 14,
    seed: int = 0,
    weight: float = 0.7,
    **attributes: Any,
) -> onnx.ModelProto:
    """One node with random constants in ``roles``, those of ``computed`` inputs of the model.

    ``sizes`` are those of a sample, time, hidden and input; ``changed`` are other constants,
    ``weight`` their standard deviation.
    """
    rng = np.random.default_rng(seed)
    samples, steps, hidden, width = sizes
    count, rows = DIRECTIONS[attributes.get("direction", "forward")], GATES[kind] * hidden
    time_first = not attributes.get("layout", 0)
    state = (count, samples, hidden) if time_first else (samples, count, hidden)
    shapes = {
        "x": (steps, samples, width) if time_first else (samples, steps, width),
        "w": (count, rows, width),
        "r": (count, rows, hidden),
        "b": (count, 2 * rows),
        "h": state,
        "c": state,
        "p": (count, 3 * hidden),
    }
    constants: dict[str, Any] = {
        name: (rng.normal(size=shapes[name]) * weight).astype("f4")
        for name in ("w", "r", *roles)
        if name != "lengths" and name not in computed
    }
    if "lengths" in roles:
        constants["lengths"] = np.full(samples, steps, np.int32)
    constants |= changed or {}
    taken = [name if name in (*constants, *computed, "x") else "" for name in ROLES]
    while not taken[-1]:
        taken.pop()
    given = outputs or ("y", "y_h", "y_c")[: 3 if kind == "LSTM" else 2]
    return model(
        [node(kind, taken, given, hidden_size=hidden, **attributes)],
        constants=constants,
        inputs={name: shapes[name] for name in ("x", *computed)},
        outputs=[name for name in given if name],
        opset=opset,
    )
