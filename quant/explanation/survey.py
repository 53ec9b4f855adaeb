"""One pass of runs through a float Graph and an integer one into what each value shows of a loss.

It costs no more than two runs a sample, and says where to look: what is then undone and measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.graph import Graph, TensorType
from edgeinfer.quant.calibration import Run
from edgeinfer.quant.compare import compare

__all__ = ["Seen", "survey"]

# a last axis of more is one of places, not of channels
_MOST_CHANNELS = 4096


@dataclass
class Seen:
    """What one value held in all runs.

    Parameters
    ----------
    low, high : numpy.ndarray
        float64 [channels], of the float Graph.
    integer_low, integer_high : numpy.ndarray
        The same of the integer Graph, as real numbers.
    signal, noise, clipped : float
        Sums of squares: of the floats, of what the integers differ by, and of what lies beyond the
        type's range.
    beyond, count : int
        How many elements lie beyond it, of how many.
    """

    low: np.ndarray = field(default_factory=lambda: np.zeros(0))
    high: np.ndarray = field(default_factory=lambda: np.zeros(0))
    integer_low: np.ndarray = field(default_factory=lambda: np.zeros(0))
    integer_high: np.ndarray = field(default_factory=lambda: np.zeros(0))
    signal: float = 0.0
    noise: float = 0.0
    clipped: float = 0.0
    beyond: int = 0
    count: int = 0

    def add(self, floats: np.ndarray, integers: np.ndarray, t: TensorType) -> None:
        """Take in what one run holds."""
        channels = floats.shape[-1] if floats.ndim and floats.shape[-1] <= _MOST_CHANNELS else 1
        a, b = (x.reshape(-1, channels).astype(np.float64) for x in (floats, integers))
        ends = a.min(0), a.max(0), b.min(0), b.max(0)
        if self.count:
            self.low = np.minimum(self.low, ends[0])
            self.high = np.maximum(self.high, ends[1])
            self.integer_low = np.minimum(self.integer_low, ends[2])
            self.integer_high = np.maximum(self.integer_high, ends[3])
        else:
            self.low, self.high, self.integer_low, self.integer_high = ends
        low, high = t.range
        assert t.quantization is not None
        over = a - np.clip(a, low, high)
        self.signal += float((a * a).sum())
        self.noise += float(((a - b) ** 2).sum())
        self.clipped += float((over * over).sum())
        # what rounds to the last step is still said well
        self.beyond += int(np.count_nonzero(np.abs(over) > t.quantization.step / 2))
        self.count += a.size

    @property
    def reach(self) -> np.ndarray:
        """The largest magnitude of each channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def constant(self) -> np.ndarray:
        """Whether each channel is one number in the float Graph."""
        return np.asarray(self.low == self.high)

    @property
    def lost(self) -> np.ndarray:
        """Whether each channel is one number in the integer Graph alone."""
        return np.asarray((self.integer_low == self.integer_high) & ~self.constant)


def survey(
    graph: Graph, integer: Graph, types: Mapping[str, TensorType], runs: Sequence[Run]
) -> dict[str, Seen]:
    """What each quantized value of the float ``graph`` held, inputs too.

    ``types`` are those of ``integer``.
    """
    found: dict[str, Seen] = {}

    def observe(name: str, floats: np.ndarray, integers: np.ndarray) -> None:
        if name in types and types[name].quantization is not None:
            found.setdefault(name, Seen()).add(floats, integers, types[name])

    compare(graph, integer, [run.feed for run in runs], observe=observe)
    for name in graph.inputs:
        q = types[name].quantization
        if q is None:
            continue
        for run in runs:
            x = run.feed[name]
            observe(name, x, q.dequantize(q.quantize(x, types[name].dtype)))
    return found
