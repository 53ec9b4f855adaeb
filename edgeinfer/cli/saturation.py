"""Runs on their way into an integer model, and a warning where many of their values saturate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from edgeinfer.graph import Graph

__all__ = ["Saturation"]

_FEW = 0.03


class Saturation:
    """Counts the values that lie beyond what the inputs of ``graph`` can say."""

    def __init__(self, graph: Graph) -> None:
        self._ranges: dict[str, tuple[float, float, float]] = {}
        for name in graph.inputs:
            kind = graph.types[name]
            if kind.quantization is not None:
                self._ranges[name] = *kind.range, kind.quantization.step
        self._beyond: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()

    def watch(
        self, feeds: Iterable[Mapping[str, np.ndarray]]
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """The same ``feeds``, counted while they pass."""
        for feed in feeds:
            for name, (low, high, step) in self._ranges.items():
                x = feed[name]
                # what rounds to the last step is still said well
                beyond = np.count_nonzero((x < low - step / 2) | (x > high + step / 2))
                self._beyond[name] += int(beyond)
                self._seen[name] += x.size
            yield feed

    def warnings(self) -> list[str]:
        """One line for each input of which more than three percent of the values saturated."""
        return [
            f"{self._beyond[name] / seen:.1%} of the values given to input {name!r} lie beyond "
            f"{self._ranges[name][0]:.4g} to {self._ranges[name][1]:.4g}, where it saturates; "
            "prepare them as the calibration data was, or calibrate on data like them"
            for name, seen in self._seen.items()
            if self._beyond[name] > _FEW * seen
        ]
