"""One-operator models for TensorFlow Lite Micro: described here, run where it is installed."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracles.oracle_environment import run_program

__all__ = ["Batch", "Model", "Tensor"]


@dataclass(frozen=True)
class Tensor:
    """A tensor of a .tflite model; a constant one has ``data``."""

    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...] = (0,)
    axis: int = 0
    data: np.ndarray | None = None


@dataclass(frozen=True)
class Model:
    """One operator, its tensors and the inputs to run it on.

    ``operator``, ``options`` and ``attributes`` have the names of TensorFlow Lite's schema.
    """

    operator: str
    version: int
    options: str | None
    attributes: dict[str, Any]
    operands: tuple[Tensor, ...]
    result: Tensor
    inputs: tuple[np.ndarray, ...]


@dataclass
class Batch:
    """Models that one process answers."""

    folder: Path
    models: list[Model] = field(default_factory=list)

    def run(self) -> list[np.ndarray]:
        """The output of each model."""
        models, answer = self.folder / "models.pickle", self.folder / "results.npz"
        models.write_bytes(pickle.dumps([asdict(model) for model in self.models]))
        run_program("tflm", "run_tflm.py", models, answer)
        with np.load(answer) as found:
            return [found[str(i)] for i in range(len(self.models))]
