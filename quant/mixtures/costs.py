"""How long the nodes of a float Graph take in each mixture of widths: a model, and no clock.

The same Graph has the same costs on every machine and at every time, so a choice by them is the
same too. The coefficients are nanoseconds on one core with AVX2, fitted to the least times of the
kernels in the zoo's networks, in small convolutions and in products of two values, in int8, in both
16-bit schemes and in random mixtures (``benchmarks/mixture_costs.py`` prints them; the time of a
layer is within 1 to 14 % of the fit, in the median). What a step of a recurrent layer takes beside
its layer is fitted to whole runs of the zoo's three, since chains of functions are run in slices
together. Only their proportions matter here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import macs
from edgeinfer.graph.site import Site
from edgeinfer.quant.schemes import Width

__all__ = ["Costs"]

# By family, and by the bytes of what a layer takes, gives and multiplies by: nanoseconds a
# multiply-accumulate, an element that it gives, and a call. Of families, those are told apart that
# have kernels of their own in some width. The small differences of dense layers are rounded such
# that 8 bits never take longer than 16: a clock of 10 ns cannot tell.
_Sizes: TypeAlias = tuple[int, int, int]
_LAYERS: Mapping[str, Mapping[_Sizes, tuple[float, float, float]]] = {
    "dense": {
        (1, 1, 1): (0.017, 0.0, 100.0),
        (1, 2, 1): (0.017, 0.1, 100.0),
        (2, 1, 1): (0.0235, 0.6, 100.0),
        (2, 2, 1): (0.025, 0.3, 105.0),
        (2, 1, 2): (0.053, 1.3, 140.0),
        (2, 2, 2): (0.0565, 1.2, 150.0),
    },
    "recurrent": {
        (1, 2, 1): (0.0138, 0.379, 91.0),
        (2, 2, 1): (0.0261, 0.156, 110.0),
        (2, 2, 2): (0.0548, 0.69, 200.0),
    },
    "products": {
        (1, 1, 1): (0.0141, 0.908, 537.0),
        (1, 2, 1): (0.0136, 0.804, 2151.0),
        (2, 1, 2): (0.0717, 2.718, 3868.0),
        (2, 2, 2): (0.072, 2.725, 3872.0),
    },
    "points": {
        (1, 1, 1): (0.0137, 0.231, 101.0),
        (1, 2, 1): (0.0122, 0.631, 144.0),
        (2, 1, 1): (0.0135, 0.247, 110.0),
        (2, 2, 1): (0.0157, 0.186, 137.0),
        (2, 1, 2): (0.027, 0.978, 294.0),
        (2, 2, 2): (0.0275, 0.95, 62.0),
    },
    "windows": {
        (1, 1, 1): (0.0065, 0.65, 271.0),
        (1, 2, 1): (0.0055, 1.128, 275.0),
        (2, 1, 1): (0.0135, 0.404, 436.0),
        (2, 2, 1): (0.0136, 0.363, 354.0),
        (2, 1, 2): (0.0266, 1.224, 496.0),
        (2, 2, 2): (0.0269, 1.175, 427.0),
    },
    "depthwise": {
        (1, 1, 1): (0.0793, 0.0, 172.0),
        (1, 2, 1): (0.1327, 0.0, 164.0),
        (2, 1, 1): (0.0823, 0.0, 255.0),
        (2, 2, 1): (0.0789, 0.0, 169.0),
        (2, 1, 2): (0.2013, 0.0, 239.0),
        (2, 2, 2): (0.1933, 0.0, 241.0),
    },
}

# nanoseconds an element; two operands of different widths, and what they give another, have no
# kernel with vectors
_PAIRS_8, _PAIRS_16, _PAIRS_TO_8, _PAIRS_MIXED = 0.11, 0.35, 2.52, 5.24

# what moves, a byte; tables, of which the zoo has none of 8 bits; an element that is read, and one
# of a row, which takes exponentials and quotients
_MOVED, _TABLE_8, _TABLE_16 = 0.07, 0.11, 0.83
_READ_8, _READ_16, _ROWS_8, _ROWS_16 = 0.06, 0.11, 1.98, 4.17

# a call of any of these
_CALL = 70.0

# what a step of a recurrent layer computes beside its layer, in slices of all its operators: an
# element of h, and the step itself
_STATE, _STEP = 5.0, 50.0


@dataclass
class Costs:
    """The costs of a Graph's nodes.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    groups : mapping of str to str
        For each float value that is not constant, the representative of its group.
    widths : mapping of str to str
        The width of each group that is given no other.
    weights : str
        The width of weights behind 16-bit activations.
    """

    graph: Graph
    groups: Mapping[str, str]
    widths: Mapping[str, Width]
    weights: Width = "int8"
    _known: dict[tuple[int, tuple[int, ...]], float] = field(default_factory=dict, init=False)
    _touching: dict[str, list[int]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for index, node in enumerate(self.graph.nodes):
            for root in {self.groups[n] for n in self._values(node)}:
                self._touching.setdefault(root, []).append(index)

    def whole(self, wide: Collection[str]) -> float:
        """Nanoseconds of a run where the groups ``wide`` have 16 bits as well."""
        return sum(self._of(index, wide) for index in range(len(self.graph.nodes)))

    def change(self, before: Collection[str], after: Collection[str], changed: set[str]) -> float:
        """How many more it takes after than before, where only ``changed`` groups differ."""
        indices = {index for root in changed for index in self._touching.get(root, ())}
        return sum(self._of(i, after) - self._of(i, before) for i in sorted(indices))

    def _values(self, node: Node) -> list[str]:
        return [name for name in (*node.operands, *node.outputs) if name in self.groups]

    def _of(self, index: int, wide: Collection[str]) -> float:
        node = self.graph.nodes[index]
        roots = [self.groups[name] for name in self._values(node)]
        sizes = tuple(2 if root in wide or self.widths[root] == "int16" else 1 for root in roots)
        if (index, sizes) not in self._known:
            by_name = dict(zip(self._values(node), sizes, strict=True))
            self._known[index, sizes] = self._nanoseconds(node, by_name)
        return self._known[index, sizes]

    def _nanoseconds(self, node: Node, sizes: Mapping[str, int]) -> float:
        if not sizes:
            return 0.0
        site = Site(node, self.graph)
        taken = [sizes[name] for name in node.operands if name in sizes]
        x = max(taken, default=1)
        y = max((sizes[name] for name in node.outputs if name in sizes), default=x)
        elements = sum(self.graph.types[name].elements for name in node.outputs)
        if isinstance(node.op, ops.Recurrent):
            # each step multiplies what the one before gave, and all else of it has 16 bits
            h = sizes.get(node.outputs[0], y)
            samples, steps, _ = site.shape("x")
            gates, states = site.shape("recurrence")
            rows = samples * steps
            found = rows * states * _STATE + steps * _STEP
            for size, calls, role in ((x, 1, "weights"), (h, steps, "recurrence")):
                weights = 2 if self.weights == "int16" and size == 2 else 1
                each, given, call = _LAYERS["recurrent"][size, 2, weights]
                found += rows * (site.type(role).elements * each + gates * given) + calls * call
            return found
        if isinstance(node.op, ops.MatMul):
            each, given, call = _LAYERS["products"][x, y, x]
            return macs(node.op, site) * each + elements * given + call
        if isinstance(node.op, ops.Weighted):
            weights = 2 if self.weights == "int16" else 1
            each, given, call = _LAYERS[_family(site)][x, y, weights if x == 2 else 1]
            return macs(node.op, site) * each + elements * given + call
        if isinstance(node.op, ops.Broadcasting) and not isinstance(node.op, ops.Joining):
            each = _PAIRS_MIXED
            if len(set(taken)) == 1 and x == 2:
                each = _PAIRS_16 if y == 2 else _PAIRS_TO_8
            elif len({*taken, y}) == 1:
                each = _PAIRS_8
            return elements * each + _CALL
        if isinstance(node.op, ops.Selecting):
            return elements * _MOVED * y + _CALL
        if isinstance(node.op, ops.Elementwise):
            return elements * (_TABLE_16 if max(x, y) == 2 else _TABLE_8) + _CALL
        read = sum(self.graph.types[name].elements for name in node.operands if name in sizes)
        if isinstance(node.op, ops.AlongAxis | ops.Normalizing):
            return read * (_ROWS_16 if x == 2 else _ROWS_8) + _CALL
        return read * (_READ_16 if x == 2 else _READ_8) + _CALL


def _family(site: Site) -> str:
    """Which of the layers a node is."""
    op = site.node.op
    if not isinstance(op, ops.Conv | ops.ConvTranspose):
        return "dense"
    if isinstance(op, ops.Conv) and 1 < op.group == site.shape("x")[-1]:
        return "depthwise"
    return "points" if site.shape("weights")[1:3] == (1, 1) else "windows"
