"""An NPU's predicted cycles as a clock, by which mixtures of widths are chosen."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.graph import Graph
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import NpuConfig, configuration

__all__ = ["NpuClock"]


@dataclass(frozen=True)
class NpuClock:
    """What one inference takes by the compiler's model: the ``clock`` of a quantization's goal.

    Parameters
    ----------
    config : NpuConfig or str
        The NPU, or its text, such as ``8x8-16``.

    Raises
    ------
    InputError
        There is no such NPU.
    """

    config: NpuConfig | str

    def __post_init__(self) -> None:
        if isinstance(self.config, str):
            object.__setattr__(self, "config", configuration(self.config))

    @property
    def unit(self) -> str:
        """Cycles, inputs and outputs on the chip, as ``hdl simulate`` counts them."""
        return "cycles"

    @property
    def where(self) -> str:
        """The NPU by the name of its array."""
        assert isinstance(self.config, NpuConfig)
        return f"the NPU {self.config.name}"

    def __call__(self, graph: Graph) -> float:
        """The cycles of one inference of an integer Graph.

        Raises
        ------
        UnsupportedError
            It does not run on this NPU as a whole, or does not fit it.
        """
        return compile(graph, self.config).program.prediction.cycles
