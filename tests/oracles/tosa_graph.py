"""TOSA graphs for Arm's reference model: built here, run in the environment of tosa-tools."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.oracles.oracle_environment import run_program

_NAMES = {"int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT48"}


@dataclass
class Graph:
    """Many small computations, which one start of the reference model answers."""

    folder: Path
    inputs: list[tuple] = field(default_factory=list)
    constants: list[tuple] = field(default_factory=list)
    operators: list[tuple] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def input(self, array: np.ndarray) -> str:
        """A value that the caller gives: of INT48 where the array is int64."""
        return self._hold(self.inputs, "x", array)

    def constant(self, array: np.ndarray) -> str:
        """A value that is part of the graph."""
        return self._hold(self.constants, "c", array)

    def zero_point(self, value: int, dtype: str) -> str:
        """One number as a constant of shape [1]."""
        return self.constant(np.array([value], dtype))

    def _hold(self, values: list[tuple], letter: str, array: np.ndarray) -> str:
        name = f"{letter}{len(values)}"
        values.append((name, _NAMES[array.dtype.name], array))
        self.shapes[name] = array.shape
        return name

    def apply(
        self,
        name: str,
        operands: list[str],
        shape: tuple[int, ...],
        dtype: str,
        **attributes: object,
    ) -> str:
        """Operator ``name`` of TOSA, which makes a value of ``shape`` and ``dtype``."""
        result = f"y{len(self.operators)}"
        self.operators.append((name, operands, result, shape, _NAMES[dtype], attributes))
        self.shapes[result] = shape
        return result

    def rescale(
        self,
        x: str,
        from_dtype: str,
        to_dtype: str,
        multiplier: np.ndarray,
        shift: np.ndarray,
        *,
        input_zero_point: int = 0,
        output_zero_point: int = 0,
        rounding: str = "single",
    ) -> str:
        """RESCALE with a 32-bit multiplier: one for all, or one for each index of the last axis."""
        operands = [
            x,
            self.constant(np.asarray(multiplier, np.int32)),
            self.constant(np.asarray(shift, np.int8)),
            self.zero_point(input_zero_point, from_dtype),
            self.zero_point(output_zero_point, to_dtype),
        ]
        return self.apply(
            "RESCALE",
            operands,
            self.shapes[x],
            to_dtype,
            scale32=True,
            rounding_mode=f"{rounding.upper()}_ROUND",
            per_channel=len(multiplier) > 1,
            input_unsigned=False,
            output_unsigned=False,
        )

    def clamp(self, x: str, dtype: str, lo: int, hi: int) -> str:
        """CLAMP to lo ... hi."""
        lo_bytes, hi_bytes = (np.array([v], dtype).tobytes() for v in (lo, hi))
        return self.apply("CLAMP", [x], self.shapes[x], dtype, min_val=lo_bytes, max_val=hi_bytes)

    def result(self, name: str) -> int:
        """Name a result; its index in what ``run`` gives back."""
        self.results.append(name)
        return len(self.results) - 1

    def run(self) -> list[np.ndarray]:
        """What the reference model computes, in the order of ``result``."""
        graph, answer = self.folder / "graph.pickle", self.folder / "results.npz"
        description = {
            name: getattr(self, name) for name in ("inputs", "constants", "operators", "results")
        }
        graph.write_bytes(pickle.dumps(description))
        run_program("tosa", "run_tosa.py", graph, answer)
        with np.load(answer) as found:
            return [found[name] for name in self.results]
