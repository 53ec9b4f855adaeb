"""Ranges and widths of groups into the integer types of values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from edgeinfer.graph import ABSENT, Graph, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant.bounds import Ranges, bounded_groups, magnitude
from edgeinfer.quant.calibration import Calibration
from edgeinfer.quant.headroom import headroom
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.knots import with_knots_at_bends
from edgeinfer.quant.reaches import growth, of_two_tails
from edgeinfer.quant.schemes import Width, activation_type, fixed_output, spare_of_16
from edgeinfer.quant.widths import denominators

__all__ = ["ValueTypes"]


# tables of functions have knots over all that 16 bits hold, and more of it leaves them fewer
_ONE_BIT = 2.0


@dataclass(frozen=True)
class ValueTypes:
    """What makes types of ranges and widths, as often as others are tried.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    groups : mapping of str to str
        For each float value that is not constant, the representative of its group.
    seen : Calibration
        How far values reached.
    weights : str
        The width of weights.
    has_spare : bool
        Whether 16 bits cover more than was seen, for runs yet to come.
    """

    graph: Graph
    groups: Mapping[str, str]
    seen: Calibration
    weights: Width
    has_spare: bool = True

    def __call__(self, ranges: Ranges, widths: Mapping[str, Width]) -> IntegerTypes:
        """The types where each group has its range and its width, both by representative."""
        return IntegerTypes(self._typed(ranges, widths), self.weights, self._domains)

    @cached_property
    def _domains(self) -> dict[str, tuple[float, float]]:
        return {name: (h.low, h.high) for name, h in self.seen.histograms.items()}

    @cached_property
    def _limits(self) -> Ranges:
        return bounded_groups(self.graph, self.groups)

    @cached_property
    def _times(self) -> dict[str, float]:
        """By value, how many times as far as was seen 16 bits reach, for its error to be least."""
        types, histograms = self.graph.types, self.seen.histograms
        return {
            name: min(
                headroom(reaches, types[name].elements, histograms[name].reach / 32767), _ONE_BIT
            )
            for name, reaches in self.seen.reaches.items()
        }

    @cached_property
    def _likely(self) -> dict[str, float]:
        """How far values of two tails may reach in runs yet to come."""
        divisors = denominators(self.graph, self.groups)
        # a denominator's least numbers would lose what its largest gained
        return {
            name: self.seen.reaches[name].likely
            for name in of_two_tails(self.graph) & self.groups.keys()
            if self.groups[name] not in divisors
        }

    def _prescribed(self, widths: Mapping[str, Width]) -> dict[str, Quantization]:
        """The quantization of each group that the contract leaves no choice."""
        fixed = {}
        for node in self.graph.nodes:
            for root in {self.groups[name] for name in node.outputs if name in self.groups}:
                prescribed = fixed_output(node.op, widths[root])
                if prescribed is not None:
                    fixed[root] = prescribed
        return fixed

    def _spare(self, ranges: Ranges, widths: Mapping[str, Width]) -> dict[str, float]:
        """How many times its range each group covers in 16 bits."""
        if not self.has_spare:
            return dict.fromkeys(ranges, 1.0)
        seen, groups = self.seen, self.groups
        beyond = dict.fromkeys(ranges, 0.0)
        for name, root in groups.items():
            if widths[root] == "int16":
                beyond[root] = max(beyond[root], self._times[name])
        for name, reach in self._likely.items():
            root = groups[name]
            # what was seen and is not covered is not wanted
            known = max(magnitude(ranges[root]), seen.histograms[name].reach)
            beyond[root] = max(beyond[root], reach / known)
        for node in self.graph.nodes:
            x = node.inputs[0] if isinstance(node.op, ops.Pointwise) else ABSENT
            if x in groups and widths[groups[x]] == "int16":
                root = groups[node.output]
                times = growth(
                    node.op, seen.histograms[x], spare_of_16(seen.count, beyond[groups[x]])
                )
                beyond[root] = max(beyond[root], times)
        return {root: spare_of_16(seen.count, share) for root, share in beyond.items()}

    def _typed(self, ranges: Ranges, widths: Mapping[str, Width]) -> dict[str, TensorType]:
        """The integer type of every value that is not constant."""
        types: dict[str, TensorType] = {}
        fixed, spare = self._prescribed(widths), self._spare(ranges, widths)
        limits = self._limits
        for name, kind in self.graph.types.items():
            if name in self.graph.constants:
                continue
            if name not in self.groups:
                types[name] = kind
                continue
            root = self.groups[name]
            # beyond a function's bounds nothing comes
            ends = magnitude(limits[root]) / magnitude(ranges[root]) if root in limits else math.inf
            margin = max(1.0, min(spare[root], ends))
            t = activation_type(kind.shape, *ranges[root], widths[root], margin)
            types[name] = replace(t, quantization=fixed.get(root, t.quantization))
        return with_knots_at_bends(self.graph, self.groups, types, set(fixed))
