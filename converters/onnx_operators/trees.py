"""Turns ensembles of decision trees into comparisons, one layer of paths and one of leaves.

Every inner node asks whether a feature exceeds its threshold. A leaf is reached where all nodes
above it answer as its path asks: the answers, +1 or -1 each and less what the path needs, add up to
1 there, and to 0 or less everywhere else. So a layer with a group for each tree gives 1 for the
leaves that are reached and 0 for the others, and another adds up what these are worth.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.classical import (
    labelled,
    labels_of,
    of_two,
    transformed,
)
from edgeinfer.converters.onnx_operators.indexing import taken
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []

_LEAF = "LEAF"
# of a mode, whether the threshold itself is below, and whether what exceeds it is the false side
_MODES = {
    "BRANCH_LEQ": (True, True),
    "BRANCH_LT": (False, True),
    "BRANCH_GT": (True, False),
    "BRANCH_GTE": (False, False),
}
_MAKES = (ops.Gather, ops.Slice, ops.Exceeds, ops.Conv, ops.Dense, ops.Pointwise, ops.Softmax)


@dataclass
class _Tree:
    """A tree: the questions of its inner nodes, and of each leaf the path to it.

    ``paths`` holds for each leaf the questions on it, with whether it asks for what exceeds, and
    ``worth`` what it adds to each of the results.
    """

    features: list[int] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    paths: list[list[tuple[int, bool]]] = field(default_factory=list)
    worth: list[dict[int, float]] = field(default_factory=list)


@importer("ai.onnx.ml.TreeEnsembleRegressor", makes=_MAKES, ignores=("nodes_hitrates",))
def _regressor(call: Call) -> Operand:
    how = call.text("aggregate_function", "SUM")
    if how not in ("SUM", "AVERAGE"):
        raise Refusal(f"aggregate_function {how!r} is not supported")
    trees = _trees(call, "target")
    share = 1 / len(trees) if how == "AVERAGE" else 1.0
    scores = _scores(call, trees, call.integer("n_targets", 1), share)
    return transformed(call, scores, call.text("post_transform", "NONE"))


@importer(
    "ai.onnx.ml.TreeEnsembleClassifier",
    makes=(*_MAKES, ops.ArgMax, ops.Concat),
    ignores=("nodes_hitrates",),
)
def _classifier(call: Call) -> Sequence[Operand]:
    labels = labels_of(call, "classlabels_int64s", "classlabels_strings")
    trees = _trees(call, "class")
    worth = [w for tree in trees for leaf in tree.worth for w in leaf.items()]
    targets = {target for target, _ in worth}
    if len(labels) == 2 and len(targets) == 1:
        if targets != {0}:
            raise Refusal("one score that is not the first is not supported")
        score = _scores(call, trees, 1, 1.0)
        is_share = all(value >= 0 for _, value in worth)
        rest: Expression = ("sub", 1.0, "x") if is_share else ("neg", "x")
        return of_two(call, score, labels, rest, above_half=is_share)
    scores = _scores(call, trees, len(labels), 1.0)
    places = call.emit(ops.ArgMax(1, keepdims=False), scores)
    if isinstance(places, Dynamic):
        places.bounds = (0, len(labels) - 1)
    function = call.text("post_transform", "NONE")
    return [labelled(call, places, labels), transformed(call, scores, function)]


def _scores(call: Call, trees: Sequence[_Tree], count: int, share: float) -> Operand:
    """What the reached leaves add up to, [N, count]."""
    x = call.floats_of(call.operand(0), "floats")
    if len(x.shape) != 2:
        raise ModelError(f"takes rows of features, not shape {list(x.shape)}")
    questions = max(1, *(len(tree.features) for tree in trees))
    leaves = max(len(tree.paths) for tree in trees)
    call.spend(len(trees) * leaves * (questions + count))
    features = np.zeros((len(trees), questions), np.int64)
    thresholds = np.zeros((len(trees), questions), np.float32)
    paths = np.zeros((len(trees), leaves, questions), np.float32)
    needed = np.zeros((len(trees), leaves), np.float32)
    worth = np.zeros((count, len(trees), leaves), np.float32)
    for t, tree in enumerate(trees):
        features[t, : len(tree.features)] = tree.features
        thresholds[t, : len(tree.features)] = tree.thresholds
        for leaf, (path, values) in enumerate(zip(tree.paths, tree.worth, strict=True)):
            for question, exceeds in path:
                paths[t, leaf, question] = 1 if exceeds else -1
            needed[t, leaf] = 1 - sum(exceeds for _, exceeds in path)
            for target, value in values.items():
                if not 0 <= target < count:
                    raise ModelError(f"a leaf adds to result {target} of {count}")
                worth[target, t, leaf] += share * value
    if features.max() >= x.shape[1] or features.min() < 0:
        raise ModelError(f"its trees ask for more than the {x.shape[1]} features that there are")
    if not np.isfinite(worth).all() or np.isnan(thresholds).any():
        raise ModelError("its weights or thresholds are not finite")
    base = np.asarray(call.reals("base_values") or (0.0,) * count, np.float32)
    if base.size != count:
        raise ModelError(f"it has {base.size} base values, not {count}")
    asked = taken(call, x, features.reshape(-1), 1)
    answers = call.emit(ops.Exceeds(), asked, call.constant(thresholds.reshape(-1), "thresholds"))
    answers = call.reshape(answers, (x.shape[0], 1, 1, features.size))
    weights = paths.reshape(len(trees) * leaves, 1, 1, questions)
    reached = call.emit(
        ops.Conv(group=len(trees), lo=0.0),
        answers,
        call.constant(weights, "paths"),
        call.constant(needed.reshape(-1), "needed"),
    )
    return call.emit(
        ops.Dense(),
        call.reshape(reached, (x.shape[0], len(trees) * leaves)),
        call.constant(worth.reshape(count, -1), "leaves"),
        call.constant(base, "base"),
    )


# ---- the trees of a node's attributes --------------------------------------------------------

_NODES = ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")


def _trees(call: Call, what: str) -> list[_Tree]:
    """The trees; ``what`` their leaves add to is a target or a class."""
    columns = [call.integers(f"nodes_{name}") or () for name in _NODES]
    modes, values = call.texts("nodes_modes") or (), call.reals("nodes_values") or ()
    leaves = [call.integers(f"{what}_{name}") or () for name in ("treeids", "nodeids", "ids")]
    weights = call.reals(f"{what}_weights") or ()
    call.integers("nodes_missing_value_tracks_true")  # no input is missing
    if not modes or {len(c) for c in (*columns, modes, values)} != {len(modes)}:
        raise ModelError("its nodes do not have as many attributes each")
    if {len(c) for c in leaves} != {len(weights)}:
        raise ModelError("its leaves do not have as many attributes each")
    places = {key: i for i, key in enumerate(zip(columns[0], columns[1], strict=True))}
    if len(places) != len(modes):
        raise ModelError("two of its nodes are the same")
    worth: dict[tuple[int, int], dict[int, float]] = {}
    for tree, node, target, weight in zip(*leaves, weights, strict=True):
        own = worth.setdefault((tree, node), {})
        own[target] = own.get(target, 0.0) + weight
    children = {
        (tree, child)
        for tree, *pair, mode in zip(columns[0], *columns[3:], modes, strict=True)
        for child in pair
        if mode != _LEAF
    }
    roots = [key for key in places if key not in children]
    if len(roots) != len(set(columns[0])):
        raise ModelError("each of its trees must have one root")
    ends, sizes = (
        Counter(t for t, m in zip(columns[0], modes, strict=True) if m == _LEAF),
        Counter(columns[0]),
    )
    call.spend(sum(count * (sizes[tree] - count) for tree, count in ends.items()))
    nodes = list(zip(*columns[2:], modes, values, strict=True))
    return [_walked(root, places, nodes, worth) for root in roots]


def _walked(
    root: tuple[int, int],
    places: dict[tuple[int, int], int],
    nodes: list[tuple[int, int, int, str, float]],
    worth: dict[tuple[int, int], dict[int, float]],
) -> _Tree:
    tree, seen = _Tree(), set()
    pending: list[tuple[int, list[tuple[int, bool]]]] = [(root[1], [])]
    while pending:
        name, path = pending.pop()
        key = (root[0], name)
        if key not in places or key in seen:
            raise ModelError(f"node {name} of tree {root[0]} is missing, or reached twice")
        seen.add(key)
        feature, if_true, if_false, mode, value = nodes[places[key]]
        if mode == _LEAF:
            tree.paths.append(path)
            tree.worth.append(worth.get(key, {}))
            continue
        if mode not in _MODES:
            raise Refusal(f"nodes of mode {mode!r} are not supported")
        belongs_below, false_exceeds = _MODES[mode]
        threshold = np.float32(value)
        if not belongs_below:
            threshold = np.nextafter(threshold, np.float32(-math.inf))
        question = len(tree.features)
        tree.features.append(feature)
        tree.thresholds.append(float(threshold))
        pending.append((if_false, [*path, (question, false_exceeds)]))
        pending.append((if_true, [*path, (question, not false_exceeds)]))
    return tree
