"""What matters at outputs is judged apart: groups of channels, and extremes that decide."""

import itertools

import numpy as np
import pytest

from edgeinfer.graph import Graph, GraphBuilder, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import OBSERVERS, Options, quantize, quantize_and_judge
from edgeinfer.quant.calibration import Run
from edgeinfer.quant.channel_groups import channel_groups
from edgeinfer.quant.choose_types import choose
from edgeinfer.quant.last_layers import LastLayers
from edgeinfer.quant.objective import Noise, Objective
from edgeinfer.quant.peaks import Peaks
from edgeinfer.runtime.session import Session

PLACES = 64


def detector() -> Graph:
    """``y`` [1, 2, 64] of ``x`` [1, 64]: at each place a box's width and a score.

    A feature h is 0.4 at most where nothing is. A box has its width there, and the score of an
    object rises beyond.
    """
    row, plane = TensorType((1, PLACES)), TensorType((1, 1, PLACES))
    weights = {"wh": 1.0, "wb": 300.0, "ws": 1.0}
    types = dict.fromkeys(weights, TensorType((PLACES, PLACES)))
    types |= dict.fromkeys(("x", "h", "c", "b", "s"), row)
    types |= {"boxes": plane, "scores": plane, "y": TensorType((1, 2, PLACES))}
    nodes = (
        Node("h", ops.Dense(lo=0.0), ("x", "wh"), ("h",)),
        Node("c", ops.Pointwise(("clip", "x", 0.0, 0.4)), ("h",), ("c",)),
        Node("b", ops.Dense(), ("c", "wb"), ("b",)),
        Node("s", ops.Dense(), ("h", "ws"), ("s",)),
        Node("boxes", ops.Reshape((1, 1, PLACES)), ("b",), ("boxes",)),
        Node("scores", ops.Reshape((1, 1, PLACES)), ("s",), ("scores",)),
        Node("y", ops.Concat(1), ("boxes", "scores"), ("y",)),
    )
    constants = {name: np.eye(PLACES, dtype="f4") * np.float32(w) for name, w in weights.items()}
    return Graph("detector", nodes, types, ("x",), ("y",), constants, free_batch=True)


def pictures() -> np.ndarray:
    """Background everywhere, and one object in the picture and the place 40."""
    x = np.random.default_rng(11).uniform(0, 0.4, (64, PLACES)).astype("f4")
    x[40, 40] = 1.0
    return x


@pytest.mark.parametrize("observer", ["auto", *OBSERVERS])
@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_one_detection_among_64_pictures_outlives_every_observer(observer, scheme):
    x = pictures()
    options = Options(scheme, observer, rounding_weights="nearest")
    made = quantize_and_judge(detector(), x, options)
    boxes, scores = Session(made.graph).run(x)[40]
    assert scores.argmax() == 40 and scores[40] > 0.95
    assert abs(boxes[40] - 120) < 2
    # entropy's own cut of h is at 0.42, and leaves the object that score
    spared = "the range of 'x' is not cut as entropy would"
    assert any(f.startswith(spared) for f in made.judgement.findings) == (
        (observer, scheme) == ("entropy", "int8")
    )


def test_boxes_and_scores_are_groups_along_any_axis_and_in_any_order():
    rng = np.random.default_rng(3)
    y = np.concatenate([rng.uniform(5, 640, (4, 50)), rng.uniform(0, 1, (3, 50))])
    runs = [(y * rng.uniform(0.5, 1, y.shape)).astype("f4")[None] for _ in range(5)]
    for axis in (0, 1, 2):
        arrays = [np.moveaxis(run, 1, axis) for run in runs]
        found = channel_groups(arrays)
        assert (found.axis, found.labels.tolist()) == (axis, [0, 0, 0, 0, 1, 1, 1])
        largest = [max(a[:, :4].max() for a in runs), max(a[:, 4:].max() for a in runs)]
        assert found.reaches.tolist() == largest
        split = found.split(arrays[0])
        assert [part.size for part in split] == [200, 150]
        assert np.allclose(found.sums(arrays[0]), [part.sum() for part in split])
        for order in itertools.islice(itertools.permutations(arrays), 0, 120, 17):
            again = channel_groups(order)
            assert again.axis == found.axis
            assert np.array_equal(again.labels, found.labels)
            assert np.array_equal(again.reaches, found.reaches)
    assert len(channel_groups(runs).joined()) == 1


@pytest.mark.parametrize(
    "reaches, labels",
    [
        ([1, 15.9], [0, 0]),
        ([1, 16.1], [1, 0]),
        ([640, 100, 39, 1], [0, 0, 1, 2]),
        ([640, 0, 1], [0, 1, 1]),
        ([1e9, 1], [0, 0]),
        ([0, 0], [0, 0]),
    ],
)
def test_channels_of_a_group_reach_less_than_16_times_as_far_as_each_other(reaches, labels):
    found = channel_groups([np.array([reaches], "f4"), np.array([reaches], "f4") / -2])
    assert found.labels.tolist() == (labels if max(labels) else [0])
    assert (found.axis is None) == (max(labels) == 0)


def test_whole_numbers_are_one_group():
    assert len(channel_groups([np.array([[1, 1000]])])) == 1


def noise(by_group: list[list[float]], missing: float = 0.0) -> Noise:
    return Noise(np.array(by_group), np.ones(1), np.array([missing]))


def test_a_group_that_loses_speaks_against_what_helps_another():
    whole = noise([[1.0, 1.0], [2.0, 1.0]])
    assert noise([[0.5, 1.0], [1.0, 1.0]]).is_better_than(whole, 0.85)
    assert not noise([[0.5, 1.3], [1.0, 1.3]]).is_better_than(whole, 0.85)
    assert not noise([[0.95, 0.95], [1.9, 0.95]]).is_better_than(whole, 0.85)
    assert noise([[0.1, 1.3], [0.2, 1.3]]).is_clearly_worse_than(whole)


def test_extremes_that_are_missing_speak_against_it_but_for_those_that_were():
    whole, better = noise([[1.0], [1.0]]), [[0.5], [0.5]]
    assert noise(better, 0.04).is_better_than(whole, 0.85)
    assert not noise(better, 0.06).is_better_than(whole, 0.85)
    assert noise(better, 0.06).is_better_than(noise([[1.0], [1.0]], 0.06), 0.85)


def test_extremes_are_the_largest_and_the_least_of_all_runs():
    arrays = [np.array([[1.0, -5, 2], [0, 3, 0]], "f4"), np.array([[4.0, 0, 0], [0, -2, 1]], "f4")]
    groups = channel_groups(arrays)
    high, low = (Peaks.of(arrays, 0, groups, sign) for sign in (1, -1))
    assert (high.values.tolist(), high.runs.tolist()) == ([4, 3], [1, 0])
    assert (low.values.tolist(), low.runs.tolist()) == ([-5, -2], [0, 1])
    missing = np.zeros(2)
    for run, y in enumerate((np.full((2, 3), 2.5), np.full((2, 3), 3.0))):
        high.note_missing(run, y, missing)
    assert missing.tolist() == [1 / 5, 0.5 / 5]


def test_scores_are_as_large_a_part_of_the_noise_as_boxes():
    """Each group's noise is counted as a share of its own signal."""
    graph, x = detector(), pictures()
    runs = [Run(i, {"x": row[None]}, execute(graph, {"x": row[None]})) for i, row in enumerate(x)]
    objective = Objective(runs)
    made = quantize_and_judge(graph, x, Options(rounding_weights="nearest")).graph
    found = objective.noise(made).by_group
    y = np.stack([Session(made).run(row[None])[0] for row in x]).astype(float)
    expected = np.stack([run.outputs["y"][0] for run in runs]).astype(float)
    squares = ((y - expected) ** 2).sum(2) / (expected**2).sum(2).mean(0)
    assert np.allclose(found, squares, atol=2e-9)


def test_what_a_softmax_takes_is_judged_in_its_place():
    kind = TensorType((1, 8))
    types = {"x": kind, "w": TensorType((8, 8)), "l": kind, "y": kind}
    nodes = (
        Node("l", ops.Dense(), ("x", "w"), ("l",)),
        Node("y", ops.Softmax(1), ("l",), ("y",)),
    )
    weights = {"w": np.random.default_rng(1).normal(size=(8, 8)).astype("f4")}
    graph = Graph("classes", nodes, types, ("x",), ("y",), weights, free_batch=True)
    x = np.random.default_rng(2).normal(size=(40, 8)).astype("f4")
    choice = choose(graph, x, Options(rounding_weights="nearest"))
    objective = LastLayers(graph, choice.reference).objective(choice.seen.held_back)
    made = quantize_and_judge(graph, x, Options(rounding_weights="nearest")).graph
    logits = made.with_outputs(("l",))
    rows = np.concatenate([run.feed["x"] for run in choice.seen.held_back])
    error = Session(logits).run(rows).astype(float) - rows @ weights["w"].T
    signal = ((rows @ weights["w"].T) ** 2).sum(1).mean()
    assert np.allclose(objective.noise(made).by_group[:, 0], (error**2).sum(1) / signal, rtol=0.1)


@pytest.mark.parametrize("outputs", [("logits", "shares"), ("shares", "logits")])
def test_what_a_softmax_takes_may_be_an_output_beside_it(outputs):
    rng = np.random.default_rng(3)
    b = GraphBuilder("both")
    w = b.constant("w", rng.normal(size=(8, 16)).astype("f4"))
    logits = b.add(ops.Dense(), b.input("x", TensorType((1, 16))), w, output="logits")
    b.add(ops.Softmax(1), logits, output="shares")
    data = list(rng.normal(size=(64, 1, 16)).astype("f4"))
    integer = quantize(b.graph(*outputs), data)
    assert integer.outputs == outputs
    found = Session(integer).run(data[0])
    exact = execute(b.graph(*outputs), {"x": data[0]})
    np.testing.assert_allclose(found["logits"], exact["logits"], atol=0.15)
    np.testing.assert_allclose(found["shares"], exact["shares"], atol=0.05)
