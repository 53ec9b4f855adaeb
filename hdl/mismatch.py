"""A value that the NPU, simulated or on a board, computed otherwise than the CPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Mismatch"]


@dataclass(frozen=True)
class Mismatch:
    """A value that the NPU computed otherwise than the CPU.

    Parameters
    ----------
    value : str
    index : tuple of int
        The first element that differs.
    expected, got : int
        The CPU's and the NPU's.
    count : int
        How many elements differ.
    """

    value: str
    index: tuple[int, ...]
    expected: int
    got: int
    count: int

    @classmethod
    def of(cls, value: str, expected: np.ndarray, got: np.ndarray) -> Mismatch | None:
        """Where two arrays differ; None where they are equal."""
        differs = np.argwhere(got != expected)
        if not len(differs):
            return None
        index = tuple(map(int, differs[0]))
        return cls(value, index, int(expected[index]), int(got[index]), len(differs))

    def __str__(self) -> str:
        where = ", ".join(map(str, self.index))
        return (
            f"{self.value!r}[{where}] is {self.got} on the NPU and {self.expected} on the CPU; "
            f"{self.count} elements differ"
        )
