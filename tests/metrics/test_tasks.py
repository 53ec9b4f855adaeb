"""What labels are to an output follows from their shapes, types and values, or is refused."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from edgeinfer.errors import InputError, MissingExtraError
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.metrics import has_classes, is_reconstruction, metrics_for, task_of
from tests.refusals import refused


def giving(shape, *, taking=(1, 6), dtype="float32") -> Graph:
    """A Graph that takes and gives values of these shapes; nothing here runs it."""
    types = {"x": TensorType(taking), "out": TensorType(shape, dtype)}
    node = Node("n", ops.Reshape(shape), ("x",), ("out",))
    return Graph("g", (node,), types, ("x",), ("out",), {}, free_batch=True)


ONE_HOT = np.eye(4)[[2, 0, 1]]


@pytest.mark.parametrize(
    "graph, labels, about, defaults",
    [
        (giving((1, 4)), [2, 0, 3], "classes", ("top1",)),
        (giving((1, 4, 1, 1)), [2, 0, 3], "classes", ("top1",)),
        (giving((1, 4)), [2.0, 0.0, 3.0], "classes", ("top1",)),
        (giving((1, 4)), ONE_HOT, "classes", ("top1",)),
        (giving((1, 4)), ONE_HOT.astype(int), "classes", ("top1",)),
        (giving((1, 1, 1, 4)), ONE_HOT, "classes", ("top1",)),
        (giving((1,), dtype="int64"), [2, 0, 9], "classes", ("top1",)),
        (giving((1, 4, 2, 3)), np.zeros((3, 2, 3), int), "maps of classes", ("iou",)),
        (giving((1, 2, 3, 4)), np.zeros((3, 2, 3), int), "maps of classes", ("iou",)),
        (giving((1, 2, 3), dtype="int64"), np.ones((3, 2, 3), int), "maps of classes", ("iou",)),
        (giving((1, 1)), [0, 1, 1], "0 and 1", ("roc_auc", "average_precision")),
        (giving((1, 4)), [[0, 1, 1, 0]] * 3, "0 and 1", ("roc_auc", "average_precision")),
        (giving((1, 1)), [0.5, 1.5, 2.5], "numbers", ("mae", "rmse", "r2")),
        (giving((1, 1)), [3, 7, 9], "numbers", ("mae", "rmse", "r2")),
        (giving((1, 4)), np.full((3, 4), 0.5), "numbers", ("mae", "rmse", "r2")),
        (giving((1, 6)), None, "missing", ("reconstruction",)),
        (giving((1, 6)), [0, 1, 1], "0 and 1", ("roc_auc", "average_precision", "reconstruction")),
        (giving((1, 4)), None, "missing", ()),
    ],
)
def test_shapes_and_values_tell_what_labels_are(graph, labels, about, defaults):
    task = task_of(graph, None if labels is None else np.asarray(labels))
    assert (task.about, task.defaults) == (about, defaults)


@pytest.mark.parametrize(
    "graph, labels, message",
    [
        (
            giving((1, 4)),
            np.array([0, 1, 0.5]),
            "labels of type float64 and shape [3] do not fit output 'out', which gives "
            "4 numbers a sample",
        ),
        (
            giving((1, 1)),
            np.zeros((3, 2)),
            "labels of type float64 and shape [3, 2] do not fit output 'out', which gives "
            "one number a sample",
        ),
        (
            giving((1, 20, 5)),
            np.zeros(3, int),
            "labels of type int64 and shape [3] do not fit output 'out', which gives "
            "20x5 numbers a sample",
        ),
        (giving((1, 1)), np.array([0.5, np.nan]), "labels hold a value that is not finite"),
        (giving((1, 4)), np.array([0, 4]), "labels go from 0 to 4, but classes from 0 to 3"),
        (giving((1, 4)), np.array([-1, 2]), "labels go from -1 to 2, but classes from 0 to 3"),
        (
            giving((1,), dtype="int64"),
            np.array([-1, 2]),
            "labels go from -1 to 2, but classes from 0",
        ),
        (giving((1, 4)), np.array(["cat"]), "labels are numbers, not <U3"),
        (
            giving((1, 4)),
            np.array(3),
            "labels have an axis for samples, but this is one number",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(graph, labels, message):
    with refused(message, InputError):
        task_of(graph, labels)


def test_an_output_of_the_input_s_shape_is_a_reconstruction_unless_classes_are_named():
    graph = giving((1, 6))
    assert (is_reconstruction(graph), has_classes(graph)) == (True, False)
    named = replace(graph, labels=tuple("abcdef"))
    assert (is_reconstruction(named), has_classes(named)) == (False, True)


@pytest.mark.parametrize(
    "graph, expected",
    [
        (giving((1, 4)), True),
        (giving((1, 4, 1, 1)), True),
        (giving((1,), dtype="int64"), True),
        (giving((1, 1)), False),
        (giving((1, 20, 5)), False),
    ],
)
def test_a_row_of_scores_or_an_index_is_a_class(graph, expected):
    assert has_classes(graph) is expected


@pytest.mark.parametrize(
    "labels, name, message",
    [
        ([0, 1], "mae", "metric 'mae' is for numbers; the labels are classes"),
        (
            None,
            "top1",
            "metric 'top1' is for classes; the labels are missing",
        ),
        (
            [[0.5] * 4] * 2,
            "roc_auc",
            "metric 'roc_auc' is for classes, or 0 and 1; the labels are numbers",
        ),
        (
            [0, 1],
            "reconstruction",
            "metric 'reconstruction' is for models that give back their input; "
            "the labels are classes",
        ),
        (
            [0, 1],
            "top0",
            "there is no metric 'top0'; there are top1, top5, confusion, iou, roc_auc, "
            "average_precision, mae, rmse, r2, reconstruction",
        ),
    ],
)
def test_a_metric_that_a_task_has_no_use_for_is_refused(labels, name, message):
    task = task_of(giving((1, 4)), None if labels is None else np.asarray(labels))
    with refused(message, InputError):
        metrics_for(task, [name])


def test_a_missing_scikit_learn_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    task = task_of(giving((1, 1)), np.array([0.5, 2]))
    message = "sklearn is not installed; install it with: pip install 'edgeinfer[metrics]'"
    with refused(message, MissingExtraError):
        metrics_for(task)
