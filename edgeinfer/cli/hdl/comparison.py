"""Samples on an NPU, simulated or on a board, for as long as it computes what the CPU does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from edgeinfer.hdl.mismatch import Mismatch

__all__ = ["Comparison"]


class _Npu(Protocol):
    """What runs a model and compares it: a Simulation, a BoardNpu."""

    def run(self, x: dict[str, np.ndarray], /) -> object: ...

    def mismatches(self) -> list[Mismatch]: ...


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How many samples ran, and what the last of them had that is not the CPU's."""

    samples: int
    mismatches: list[Mismatch]

    @classmethod
    def of(cls, npu: _Npu, feeds: Iterable[dict[str, np.ndarray]]) -> Comparison:
        """Run ``feeds``, one or more, until there is a mismatch."""
        mismatches: list[Mismatch] = []
        samples = 0
        for feed in feeds:
            npu.run(feed)
            mismatches = npu.mismatches()
            samples += 1
            if mismatches:
                break
        return cls(samples, mismatches)

    def line(self, what: str) -> tuple[str, str]:
        """A line of the summary; ``what`` was compared of each sample."""
        samples = "sample" if self.samples == 1 else f"{self.samples} samples"
        equal = f"every {what} of the {samples} equals the CPU's"
        return "compared", "DIFFERENT" if self.mismatches else equal

    @property
    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "samples": self.samples,
            "mismatches": [dataclasses.asdict(each) for each in self.mismatches],
        }

    @property
    def failure(self) -> str | None:
        """What the command ends with."""
        return str(self.mismatches[0]) if self.mismatches else None
