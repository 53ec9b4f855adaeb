"""How long the nodes of a float Graph take in each mixture of widths: a model, and no clock.

The same Graph has the same costs on every machine and at every time, so a choice by them is the
same too. The coefficients are nanoseconds on one core with AVX2, fitted to the least times
of the kernels in the zoo's networks, in int8, in both 16-bit schemes and in random mixtures
(``benchmarks/mixture_costs.py`` prints them; a kernel's time is within 1 to 9 % of the fit, in the
median). Only their proportions matter here.
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
# have kernels of their own in some width.
_Sizes: TypeAlias = tuple[int, int, int]
_LAYERS: Mapping[str, Mapping[_Sizes, tuple[float, float, float]]] = {
    "dense": {
        (1, 1, 1): (0.028, 0.19, 105.0),
        (1, 2, 1): (0.0273, 0.176, 113.0),
        (2, 1, 1): (0.0256, 0.415, 108.0),
        (2, 2, 1): (0.0264, 0.129, 95.0),
        (2, 1, 2): (0.0627, 1.93, 110.0),
        (2, 2, 2): (0.0537, 0.723, 169.0),
    },
    "points": {
        (1, 1, 1): (0.013, 0.216, 530.0),
        (1, 2, 1): (0.0123, 0.649, 0.0),
        (2, 1, 1): (0.0123, 0.23, 819.0),
        (2, 2, 1): (0.0142, 0.168, 801.0),
        (2, 1, 2): (0.0254, 0.945, 1293.0),
        (2, 2, 2): (0.0256, 0.923, 1129.0),
    },
    "windows": {
        (1, 1, 1): (0.0061, 0.45, 3082.0),
        (1, 2, 1): (0.0053, 0.752, 4697.0),
        (2, 1, 1): (0.014, 0.407, 0.0),
        (2, 2, 1): (0.0134, 0.331, 881.0),
        (2, 1, 2): (0.0268, 1.144, 1903.0),
        (2, 2, 2): (0.0274, 1.111, 883.0),
    },
    "depthwise": {
        (1, 1, 1): (0.0551, 0.0, 1800.0),
        (1, 2, 1): (0.1012, 0.0, 2204.0),
        (2, 1, 1): (0.0546, 0.0, 1786.0),
        (2, 2, 1): (0.0553, 0.0, 1754.0),
        (2, 1, 2): (0.1738, 0.0, 2487.0),
        (2, 2, 2): (0.1457, 0.0, 3075.0),
    },
}

# nanoseconds an element; two operands of different widths, and what they give another, have no
# kernel with vectors
_PAIRS_8, _PAIRS_16, _PAIRS_TO_8, _PAIRS_MIXED = 0.11, 0.60, 2.52, 5.24

# what moves, a byte; tables, of which the zoo has none of 8 bits; an element that is read, and one
# of a row, which takes exponentials and quotients
_MOVED, _TABLE_8, _TABLE_16 = 0.07, 0.11, 0.83
_READ_8, _READ_16, _ROWS_8, _ROWS_16 = 0.06, 0.11, 1.98, 4.17

# a call of any of these; a dozen of them, on 16 bits, are a step of a recurrent layer
_CALL = 70.0
_STEP = 12 * 2 * _CALL


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
            weights = 2 if self.weights == "int16" and h == 2 else 1
            each, given, _ = _LAYERS["dense"][h, 2, weights]
            steps = site.shape("x")[1]
            return macs(node.op, site) * each + elements * given + steps * _STEP
        if isinstance(node.op, ops.Weighted | ops.MatMul):
            weights = x if isinstance(node.op, ops.MatMul) else 2 if self.weights == "int16" else 1
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
