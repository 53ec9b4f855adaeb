"""What a network takes, and samples of it drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["image", "signal", "noise", "tokens", "ones"]


@dataclass(frozen=True)
class Input:
    """One input of a network.

    Parameters
    ----------
    shape : tuple of int
        Whole, with the batch.
    kind : str
        ``image``, channels first, and ``signal``, time last: neighbours are alike; ``noise``:
        normal, each number by itself; ``tokens``: integers below ``high``; ``ones``: a mask.
    name : str
        What the model calls it.
    high : int
        How many tokens there are.
    dtype : str
        Of the array.
    """

    shape: tuple[int, ...]
    kind: Kind = "image"
    name: str = "x"
    high: int = 0
    dtype: str = "float32"

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {**vars(self), "shape": list(self.shape)}

    @classmethod
    def of_json(cls, fields: dict[str, Any]) -> Input:
        """What ``as_json`` gave."""
        return cls(**{**fields, "shape": tuple(fields["shape"])})

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """One array; loud and quiet ones, as recordings are, but none that stands alone."""
        if self.kind == "tokens":
            return rng.integers(0, self.high, self.shape).astype(self.dtype)
        if self.kind == "ones":
            return np.ones(self.shape, self.dtype)
        x = rng.normal(size=self.shape)
        for axis in {"image": (-1, -2), "signal": (-1,), "noise": ()}[self.kind]:
            x = (x + np.roll(x, 1, axis) + np.roll(x, 2, axis)) / np.sqrt(3)
        return (x * np.exp(0.3 * np.clip(rng.normal(), -1, 1))).astype(self.dtype)


def tokens(shape: tuple[int, ...], high: int, name: str = "x") -> Input:
    """Indices below ``high``, int64."""
    return Input(shape, "tokens", name, high, "int64")


def feeds(inputs: Sequence[Input], count: int, seed: int) -> list[dict[str, np.ndarray]]:
    """The inputs of ``count`` runs."""
    rng = np.random.default_rng(seed)
    return [{each.name: each.sample(rng) for each in inputs} for _ in range(count)]
