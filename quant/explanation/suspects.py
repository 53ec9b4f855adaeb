"""What a survey shows into the causes that are worth undoing, and what is odd about each value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.quant.equalization import can_equalize, divisors_of
from edgeinfer.quant.explanation.causes import Cause
from edgeinfer.quant.explanation.recovery import Recovered
from edgeinfer.quant.explanation.survey import Seen

__all__ = ["Suspect", "suspects"]

# a range is dominated by a channel, or by weights, that reach so many times as far as the others
_DOMINANT = 6.0

# a channel that is lost is faint where the middle one reaches so many times as far
_FAINT = 16.0

# a range is dominated by numbers that these data do not have where it is so many times theirs
_UNUSED = 2.0

# a weight is an outlier beside so many, and where so few are as far out
_FEWEST_WEIGHTS, _FEW = 16, 0.02

# how much noise a table leaves is not seen: it is undone before what leaves less
_UNKNOWN = 1e-4

# less of a layer's signal than this is no cause to look at
_LEAST = 1e-9


@dataclass
class Suspect:
    """A group of values and the layers that give it, with what is seen of it.

    Parameters
    ----------
    root, value : str
        The representative, and the value that it is called by.
    node, operator : str
        What gives it; both empty for an input.
    layers, readers : list of str
        The nodes with weights that give it, and that take it.
    function : Node or None
        The node that gives it, where integers compute its function by a table or a series that is
        not exact.
    scores : dict of Cause to float
        About how much noise each cause leaves in it, as a share of its signal.
    times : float
        How many times as wide its range is as all but outliers need.
    dominant : list of int
        The channels that make it so wide.
    divisors : dict of int to float
        By channel, what would make them like the others, where the layers can.
    unused : float
        How many times as wide its range is as these data need.
    outlying : dict of str to list of int
        By layer, the output channels whose scale a few weights decide.
    beyond : float
        The share of its elements that are clipped.
    lost, constant : list of int
        The channels that are one number in the integer Graph alone, and in the float one too.
    channels : int
        How many it has.
    """

    root: str
    value: str
    node: str
    operator: str
    layers: list[str]
    readers: list[str]
    function: Node | None = None
    scores: dict[Cause, float] = field(default_factory=dict)
    times: float = 1.0
    dominant: list[int] = field(default_factory=list)
    divisors: dict[int, float] = field(default_factory=dict)
    unused: float = 1.0
    outlying: dict[str, list[int]] = field(default_factory=dict)
    beyond: float = 0.0
    lost: list[int] = field(default_factory=list)
    constant: list[int] = field(default_factory=list)
    channels: int = 1

    @property
    def is_input(self) -> bool:
        """It is given to the model."""
        return not self.node


def suspects(graph: Graph, made: Recovered, seen: Mapping[str, Seen]) -> list[Suspect]:
    """Every group of values, in the order of the flow."""
    producers, consumers = graph.producers(), graph.consumers()
    found = []
    for root, names in made.members.items():
        giving = [producers[name] for name in names if name in producers]
        computing = [node for node in giving if not isinstance(node.op, ops.Selecting)]
        given = set(names) & set(graph.inputs)
        node = None if given else (computing or giving)[0]
        value = next(iter(given)) if node is None else next(n for n in node.outputs if n in names)
        suspect = Suspect(
            root,
            value,
            "" if node is None else node.name,
            "" if node is None else type(node.op).__name__,
            _weighted(made, giving),
            _weighted(made, [c for name in names for c in consumers[name]]),
        )
        if len(giving) == 1 and _is_approximate(giving[0], made):
            suspect.function = giving[0]
            suspect.scores[Cause.TABLE] = _UNKNOWN
        known = [seen[name] for name in names if name in seen]
        if known:
            _look(suspect, graph, made, max(known, key=lambda s: float(s.reach.max())), known)
        _weigh(suspect, graph, made)
        found.append(suspect)
    return found


def _is_approximate(node: Node, made: Recovered) -> bool:
    """Whether integers compute a function with an error beside that of rounding its result."""
    if isinstance(node.op, ops.Pointwise):
        # a table of 8 bits has an entry for each input
        return node.inputs[0] in made.types and made.types[node.inputs[0]].dtype == "int16"
    return isinstance(node.op, ops.Softmax | ops.LogSoftmax | ops.Normalizing)


def _weighted(made: Recovered, nodes: list[Node]) -> list[str]:
    return list(dict.fromkeys(node.name for node in nodes if node.name in made.weights))


def _look(suspect: Suspect, graph: Graph, made: Recovered, widest: Seen, known: list[Seen]) -> None:
    """What the values' numbers show."""
    t = made.types[suspect.value]
    q = t.quantization
    assert q is not None
    signal = sum(s.signal for s in known) or 1.0
    count = sum(s.count for s in known)
    clipped = sum(s.clipped for s in known) / signal
    suspect.beyond = sum(s.beyond for s in known) / max(1, count)
    if clipped > _LEAST:
        cause = Cause.INPUT_SATURATION if suspect.is_input else Cause.CLIPPING
        suspect.scores[cause] = clipped
    if t.dtype != "int8":
        return
    rounded = q.step**2 / 12 * count / signal
    suspect.scores[Cause.ACTIVATION_ROUNDING] = rounded
    low, high = t.range
    extent = high - low
    suspect.channels = len(widest.reach)
    suspect.lost = np.flatnonzero(widest.lost).tolist()
    suspect.constant = np.flatnonzero(widest.constant).tolist()
    if suspect.lost:
        suspect.scores[Cause.CONSTANT_CHANNEL] = rounded
    used = max(float(s.high.max()) for s in known), min(float(s.low.min()) for s in known)
    spans = max(used[0], 0.0) - min(used[1], 0.0)
    suspect.unused = extent / spans if spans > 0 else 1.0
    extents = np.maximum(widest.high, 0) - np.minimum(widest.low, 0)
    alive = np.flatnonzero(extents > 0)
    if len(alive) > 2:
        typical = float(np.median(extents[alive]))
        dominant = [int(c) for c in alive if extents[c] > _DOMINANT * typical]
        others = np.delete(extents, dominant)
        bulk = float(others.max()) if len(others) else extent
        # some channels beside many: where they are a third, it is how the model is
        if dominant and len(dominant) <= max(1, len(alive) // 8) and bulk > 0:
            suspect.dominant = dominant
            suspect.times = extent / bulk
        faint = [c for c in suspect.lost if 0 < _FAINT * extents[c] < typical]
        odd = sorted({*suspect.dominant, *faint})
        if odd and can_equalize(graph, suspect.value):
            suspect.divisors = divisors_of(extents, odd)
    suspect.times = max(suspect.times, suspect.unused)
    if suspect.dominant or suspect.unused > _UNUSED:
        suspect.scores[Cause.OUTLIERS] = rounded


def _weigh(suspect: Suspect, graph: Graph, made: Recovered) -> None:
    """What the weights show of the layers that give the group."""
    worst = 0.0
    for node in graph.nodes:
        if node.name not in suspect.layers or made.weights[node.name].weights.dtype != np.int8:
            continue
        given = made.weights[node.name]
        floats = graph.constants[node.input("weights")].reshape(len(given.weights), -1)
        floats = floats.astype(np.float64)
        scale = np.broadcast_to(np.asarray(given.scale, np.float64), len(floats))[:, None]
        error = ((given.weights.reshape(floats.shape) * scale - floats) ** 2).sum()
        worst = max(worst, float(error / max((floats**2).sum(), 1e-30)))
        magnitudes = np.abs(floats)
        few = max(1, int(_FEW * floats.shape[1]))
        if floats.shape[1] < _FEWEST_WEIGHTS:
            continue
        ranked = -np.sort(-magnitudes, 1)
        outlying = np.flatnonzero(
            (ranked[:, few] > 0) & (ranked[:, 0] > _DOMINANT * ranked[:, few])
        )
        if len(outlying):
            suspect.outlying[node.name] = outlying.tolist()
    if worst > 0:
        suspect.scores[Cause.WEIGHT_ROUNDING] = worst
