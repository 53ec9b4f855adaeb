"""What runs of a float Graph hold, as sums: in whatever order and parts they are counted, the same.

Nothing of it rounds, so what several machines counted adds up to what one would have, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.graph.indifference import indifferent_sides
from edgeinfer.quant.never import FarNumbers, Filling, fillings, near_and_far
from edgeinfer.quant.observers import Histogram
from edgeinfer.quant.reaches import Reaches

__all__ = ["Counted"]


@dataclass
class Counted:
    """The sums.

    Parameters
    ----------
    sides : dict of str to set of int
        By value, on which sides of 0 no reader asks how far a number lies.
    fillings : dict of str to Filling
        By value, what counts the number that a Pad filled it with.
    fitted, held_back : dict of str to Histogram
        Of every value asked for: of the runs to calibrate by, and of those to judge by.
    reaches : dict of str to Reaches
        How far each reached in each run that is not held back.
    far : dict of str to FarNumbers
        What lay far beyond the rest of its run.
    count : int
        How many runs were counted.
    inputs : dict of str to set of bytes
        Digests of each input, two at most: whether it was the same in every run.
    """

    sides: dict[str, frozenset[int]]
    fillings: dict[str, Filling]
    fitted: dict[str, Histogram]
    held_back: dict[str, Histogram]
    reaches: dict[str, Reaches]
    far: dict[str, FarNumbers] = field(default_factory=dict)
    count: int = 0
    inputs: dict[str, frozenset[bytes]] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, values: Collection[str]) -> Counted:
        """Those of no run yet, for ``values`` of ``graph``."""
        sides = indifferent_sides(graph)
        filled = {name: f for name, f in fillings(graph, sides).items() if name in values}
        return cls(
            sides,
            filled,
            {name: Histogram() for name in values},
            {name: Histogram() for name in values},
            {name: Reaches() for name in values},
        )

    def add(self, name: str, array: np.ndarray, is_held_back: bool) -> None:
        """Count what the value ``name`` holds in a run, where that was asked for.

        Raises
        ------
        QuantizationError
            It is not finite.
        """
        if name not in self.fitted:
            return
        if name in self.fillings:
            array = self.fillings[name].without(array, is_held_back)
        if name in self.sides:
            array, far = near_and_far(array, self.sides[name])
            if far.size:
                self.far.setdefault(name, FarNumbers()).add(far, is_held_back)
            if not array.size:
                return
        if not is_held_back:
            self.reaches[name].add(array)
        (self.held_back if is_held_back else self.fitted)[name].add(array)

    def add_run(self, digests: Mapping[str, bytes]) -> None:
        """Count a run whose inputs have these digests."""
        self.count += 1
        self._join({name: frozenset({digest}) for name, digest in digests.items()})

    def merge(self, other: Counted) -> None:
        """Count what ``other`` has counted."""
        for name in self.fitted:
            self.fitted[name].merge(other.fitted[name])
            self.held_back[name].merge(other.held_back[name])
            self.reaches[name].merge(other.reaches[name])
        for name, filling in self.fillings.items():
            filling.merge(other.fillings[name])
        for name, far in other.far.items():
            self.far.setdefault(name, FarNumbers()).merge(far)
        self.count += other.count
        self._join(other.inputs)

    def settled(self) -> dict[str, frozenset[int]]:
        """Put what was kept apart where it belongs, all of it into ``fitted`` and ``held_back``.

        Returns
        -------
        dict of str to set of int
            By value that held numbers that stand for never, their signs.
        """
        never: dict[str, frozenset[int]] = {}
        for apart in (self.far, self.fillings):
            for name in sorted(apart):
                signs = apart[name].settle(self.fitted[name], self.held_back[name])
                if signs:
                    never[name] = never.get(name, frozenset()) | signs
        return never

    @property
    def fixed_inputs(self) -> set[str]:
        """The inputs that were the same in every run, of two or more."""
        if self.count < 2:
            return set()
        return {name for name, digests in self.inputs.items() if len(digests) == 1}

    def _join(self, digests: Mapping[str, frozenset[bytes]]) -> None:
        for name, more in digests.items():
            self.inputs[name] = frozenset(sorted(self.inputs.get(name, frozenset()) | more)[:2])
