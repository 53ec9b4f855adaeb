"""Metrics give what their definitions give, whatever runs the samples come in."""

import numpy as np
import pytest
from sklearn import metrics as judge

from edgeinfer.errors import InputError
from edgeinfer.metrics import UndefinedMetricError, metrics_for, task_of
from tests.metrics.test_tasks import giving
from tests.refusals import refused

RNG = np.random.default_rng(0)


def measured(graph, labels, outputs, *names, inputs=None, run=7) -> dict:
    """The results of ``outputs`` that come in runs of a few samples."""
    task = task_of(graph, labels)
    metrics = metrics_for(task, names)
    inputs = np.zeros((len(outputs), 1)) if inputs is None else inputs
    for start in range(0, len(outputs), run):
        some = slice(start, start + run)
        truth = outputs[some] if task.truth is None else task.truth[some]
        for metric in metrics:
            metric.add(*task.readings[metric.family](truth, outputs[some], inputs[some]))
    return {name: value for metric in metrics for name, value in metric.result().items()}


def test_the_best_classes_and_their_confusion_are_counted():
    scores = RNG.normal(size=(100, 6)).astype("f4")
    labels = RNG.integers(0, 6, 100)
    found = measured(giving((1, 6), taking=(1, 9)), labels, scores, "top1", "top3", "confusion")
    best = scores.argmax(1)
    assert found["top1"] == judge.accuracy_score(labels, best)
    assert found["top3"] == judge.top_k_accuracy_score(labels, scores, k=3)
    assert found["confusion"] == judge.confusion_matrix(labels, best).tolist()


def test_of_equal_scores_the_first_class_wins():
    scores = np.array([[1, 1, 0], [0, 1, 1]], "f4")
    graph = giving((1, 3))
    assert measured(graph, np.array([0, 1]), scores)["top1"] == 1.0
    assert measured(graph, np.array([1, 2]), scores)["top1"] == 0.0
    assert measured(graph, np.array([1, 2]), scores, "top2")["top2"] == 1.0


@pytest.mark.parametrize("shape", [(6,), (6, 1, 1), (1, 1, 6)])
def test_classes_may_be_one_hot_and_their_axis_any(shape):
    scores, labels = RNG.normal(size=(40, 6)), RNG.integers(0, 6, 40)
    given = scores.reshape(40, *shape)
    found = measured(giving((1, *shape), taking=(1, 9)), np.eye(6)[labels], given, "top1")
    assert found["top1"] == judge.accuracy_score(labels, scores.argmax(1))


def test_an_output_that_is_the_class_has_a_top1_and_a_confusion_but_no_top2():
    graph = giving((1,), dtype="int64")
    labels, given = np.array([0, 1, 3]), np.array([0, 2, 3])
    found = measured(graph, labels, given, "top1", "confusion")
    assert found["top1"] == 2 / 3
    assert np.array(found["confusion"]).shape == (4, 4)
    assert found["confusion"][1][2] == 1
    with refused("top2 needs scores, but the output says only the best class", InputError):
        measured(graph, labels, given, "top2")


@pytest.mark.parametrize("axis", [1, 3])
def test_maps_of_classes_overlap_by_class_and_void_pixels_do_not_count(axis):
    labels = RNG.integers(0, 4, (9, 5, 6))
    labels[:, 0, 0] = 255
    scores = np.moveaxis(RNG.normal(size=(9, 5, 6, 5)).astype("f4"), -1, axis)
    graph = giving((1, *scores.shape[1:]))
    found = measured(graph, labels, scores, "iou", "top1")
    best, known = scores.argmax(axis), labels != 255
    expected = judge.jaccard_score(labels[known], best[known], average=None, labels=range(5))
    assert found["iou"] == pytest.approx(expected.tolist())
    assert found["mean_iou"] == pytest.approx(expected.mean())
    assert found["top1"] == judge.accuracy_score(labels[known], best[known])


def test_a_class_that_never_occurs_has_no_overlap():
    scores = np.zeros((2, 3, 2, 2), "f4")
    scores[:, 0] = 1
    found = measured(giving((1, 3, 2, 2)), np.zeros((2, 2, 2), int), scores)
    assert found == {"mean_iou": 1.0, "iou": [1.0, None, None]}


def test_yes_or_no_is_ranked_by_the_only_score_and_by_the_second_of_two():
    labels = RNG.integers(0, 2, 60)
    score = (labels + RNG.normal(size=60)).astype("f4")
    expected = {
        "roc_auc": judge.roc_auc_score(labels, score),
        "average_precision": judge.average_precision_score(labels, score),
    }
    names = tuple(expected)
    one = measured(giving((1, 1)), labels, score[:, None], *names)
    two = measured(giving((1, 2)), labels, np.stack([-score, score], 1), *names)
    assert one == two == pytest.approx(expected)


def test_several_classes_are_ranked_one_against_the_rest():
    labels, scores = RNG.integers(0, 4, 80), RNG.normal(size=(80, 4))
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    found = measured(giving((1, 4)), labels, shares, "roc_auc")
    assert found["roc_auc"] == pytest.approx(judge.roc_auc_score(labels, shares, multi_class="ovr"))


def test_what_all_samples_have_is_left_out_of_a_mean_over_several():
    labels = RNG.integers(0, 2, (50, 3))
    labels[:, 1] = 1
    scores = RNG.normal(size=(50, 3))
    found = measured(giving((1, 3)), labels, scores, "roc_auc")
    kept = [judge.roc_auc_score(labels[:, i], scores[:, i]) for i in (0, 2)]
    assert found["roc_auc"] == pytest.approx(np.mean(kept))


def test_samples_of_one_class_cannot_be_ranked():
    with refused("roc_auc needs samples of at least two classes", UndefinedMetricError):
        measured(giving((1, 1)), np.ones(5, int), np.ones((5, 1)))


def test_numbers_have_errors():
    labels, outputs = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 3))
    assert measured(giving((1, 3)), labels, outputs) == pytest.approx(
        {
            "mae": judge.mean_absolute_error(labels, outputs),
            "rmse": judge.root_mean_squared_error(labels, outputs),
            "r2": judge.r2_score(labels, outputs),
        }
    )


def test_one_sample_has_no_r2():
    with refused("r2 needs at least two samples", UndefinedMetricError):
        measured(giving((1, 1)), np.array([0.5]), np.array([[0.5]]))


def test_a_copy_has_its_error_and_shows_what_is_odd():
    inputs = RNG.normal(size=(30, 6))
    labels = RNG.integers(0, 2, 30)
    outputs = inputs + RNG.normal(size=inputs.shape) * (1 + labels[:, None])
    error = ((outputs - inputs) ** 2).mean(1)
    graph = giving((1, 6))
    found = measured(graph, None, outputs, inputs=inputs)
    assert found == pytest.approx({"reconstruction": error.mean()})
    found = measured(graph, labels, outputs, inputs=inputs)
    assert found["roc_auc"] == pytest.approx(judge.roc_auc_score(labels, error))
