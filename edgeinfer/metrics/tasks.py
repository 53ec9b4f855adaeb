"""Labels and a model's first output into its task: how the one is read beside the other.

A reading turns the labels, outputs and inputs of some samples into a pair of arrays that metrics
understand: classes beside their scores, yes or no beside a score, numbers beside numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from edgeinfer.data.samples import is_batched, samples_in
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, TensorType

__all__ = [
    "Family",
    "Pair",
    "Reading",
    "Task",
    "has_classes",
    "is_reconstruction",
    "task_of",
]

Family = Literal["classes", "ranking", "numbers", "copies"]
Pair: TypeAlias = tuple[np.ndarray, np.ndarray]
Reading: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray], Pair]

_VOID = 255  # a pixel of no class, as PASCAL VOC and Cityscapes mark it


@dataclass(frozen=True)
class Task:
    """What the labels of a data set are to a model's first output.

    Parameters
    ----------
    about : str
        What the labels are, for messages.
    truth : numpy.ndarray or None
        The labels as the readings take them, with the samples along the first axis; None without.
    defaults : tuple of str
        The metrics that one wants to see first.
    readings : mapping of Family to callable
        Each takes the truth, outputs and inputs of some samples, with the samples along the first
        axis of all three, and gives for

        - ``classes``: the right classes, int64 [m], and the scores of all [m, classes], or the
          class that the output itself says, [m];
        - ``ranking``: whether each of k things holds, bool [m, k], and its score [m, k];
        - ``numbers``: right numbers and those given, float64 [n, numbers];
        - ``copies``: the inputs and what was to give them back, float64 [n, numbers].
    best : callable or None
        The best class of each sample or pixel of some outputs, int64 [m]; None without classes.
    """

    about: str
    truth: np.ndarray | None
    defaults: tuple[str, ...]
    readings: Mapping[Family, Reading]
    best: Callable[[np.ndarray], np.ndarray] | None = None


def is_reconstruction(graph: Graph) -> bool:
    """Whether the first output has the first input's shape, and its numbers are no classes."""
    given, taken = graph.types[graph.outputs[0]], graph.types[graph.inputs[0]]
    return given.elements > samples_in(graph) and given.shape == taken.shape and not graph.labels


def has_classes(graph: Graph) -> bool:
    """Whether the first output says a sample's class, or scores its classes, as far as shapes tell.

    One integer a sample is a class; one row of numbers a sample scores classes, unless it gives
    back the input. Rows of anything else, boxes say, are neither.
    """
    name = graph.outputs[0]
    kind = graph.types[name]
    shape = kind.shape[1:] if is_batched(graph, name) else kind.shape
    if math.prod(shape) == 1:
        return _is_index(kind)
    return max(shape) == math.prod(shape) and not is_reconstruction(graph)


def _is_index(kind: TensorType) -> bool:
    return kind.dtype != "float32" and kind.quantization is None


def task_of(graph: Graph, labels: np.ndarray | None) -> Task:
    """What ``labels`` say about the first output of ``graph``.

    Parameters
    ----------
    labels : numpy.ndarray or None
        Numbers, with the samples along the first axis.

    Raises
    ------
    InputError
        The labels' shape, type or values do not fit the output.
    """
    name = graph.outputs[0]
    kind = graph.types[name]
    shape = kind.shape[1:] if is_batched(graph, name) else kind.shape
    copies = is_reconstruction(graph)
    readings: dict[Family, Reading] = {"copies": _copies} if copies else {}
    if labels is None:
        best = None
        if has_classes(graph):
            best = partial(_best, None if math.prod(shape) == 1 else _class_axis(shape, ()))
        return Task("missing", None, ("reconstruction",) if copies else (), readings, best)
    if labels.dtype.kind not in "biuf":
        raise InputError(f"labels are numbers, not {labels.dtype}")
    if not labels.ndim:
        raise InputError("labels have an axis for samples, but this is one number")
    if not np.isfinite(labels).all():
        raise InputError("labels hold a value that is not finite")
    wholes = labels.dtype.kind != "f"
    binary = bool(np.isin(labels, (0, 1)).all())
    wanted = tuple(extent for extent in labels.shape[1:] if extent != 1)
    given = tuple(extent for extent in shape if extent != 1)
    if copies and not wanted and wholes and binary:
        readings["ranking"] = _anomalies
        return Task("0 and 1", labels, ("roc_auc", "average_precision", "reconstruction"), readings)
    if _is_index(kind) and wanted == given and wholes:
        return _classification(labels, None, None, readings)
    if wanted == given and len(given) < 2 and _one_hot(labels):
        best = labels.reshape(len(labels), -1).argmax(1)
        return _classification(best, _class_axis(shape, ()), None, readings)
    if wanted == given:
        if wholes and binary:
            readings["ranking"] = _each
            return Task("0 and 1", labels, ("roc_auc", "average_precision"), readings)
        readings["numbers"] = _numbers
        return Task("numbers", labels, ("mae", "rmse", "r2"), readings)
    axis = _class_axis(shape, labels.shape[1:])
    # of a table's or an array's floats
    wholes = wholes or bool((labels == np.rint(labels)).all())
    if axis is None or not wholes:
        raise InputError(
            f"labels of type {labels.dtype} and shape {list(labels.shape)} do not fit output "
            f"{name!r}, which gives {_shape(shape)} a sample"
        )
    return _classification(labels.astype(np.int64), axis, shape[axis - 1], readings)


def _classification(
    labels: np.ndarray, axis: int | None, count: int | None, readings: dict[Family, Reading]
) -> Task:
    """Of each sample, or of each pixel of a map, one of ``count`` classes."""
    of_maps = math.prod(labels.shape[1:]) > 1
    known = labels[labels != _VOID] if of_maps else labels
    if known.size and (known.min() < 0 or (count is not None and known.max() >= count)):
        raise InputError(
            f"labels go from {known.min()} to {known.max()}, but classes from 0"
            + ("" if count is None else f" to {count - 1}")
        )
    readings["classes"] = partial(_classes, axis)
    best = partial(_best, axis)
    if axis is not None and not of_maps:
        readings["ranking"] = partial(_each_class, axis)
    if of_maps:
        return Task("maps of classes", labels, ("iou",), readings, best)
    return Task("classes", labels, ("top1",), readings, best)


def _one_hot(labels: np.ndarray) -> bool:
    rows = labels.reshape(len(labels), -1)
    return rows.shape[1] > 1 and bool(
        (np.count_nonzero(rows, axis=1) == 1).all() and (rows.sum(1) == 1).all()
    )


def _class_axis(shape: tuple[int, ...], wanted: tuple[int, ...]) -> int | None:
    """The axis of classes in a batch of outputs: what is left of ``shape`` is ``wanted``."""
    for axis in range(len(shape)):
        rest = shape[:axis] + shape[axis + 1 :]
        if shape[axis] > 1 and [e for e in rest if e != 1] == [e for e in wanted if e != 1]:
            return axis + 1
    return None


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) + " numbers" if math.prod(shape) > 1 else "one number"


# ---- readings --------------------------------------------------------------------------------


def _classes(axis: int | None, labels: np.ndarray, outputs: np.ndarray, inputs: np.ndarray) -> Pair:
    """Classes and scores; of maps, those of the pixels that have a class."""
    truth, scores = labels.reshape(-1).astype(np.int64), _scores(axis, outputs)
    if len(truth) > len(labels):
        kept = truth != _VOID
        truth, scores = truth[kept], scores[kept]
    return truth, scores


def _scores(axis: int | None, outputs: np.ndarray) -> np.ndarray:
    if axis is None:
        return outputs.reshape(-1)
    rows = np.moveaxis(outputs, axis, -1)
    return rows.reshape(-1, rows.shape[-1])


def _best(axis: int | None, outputs: np.ndarray) -> np.ndarray:
    scores = _scores(axis, outputs)
    return scores if axis is None else scores.argmax(1)


def _each_class(axis: int, labels: np.ndarray, outputs: np.ndarray, inputs: np.ndarray) -> Pair:
    """Each class against the rest; of two classes the second."""
    truth, scores = _classes(axis, labels, outputs, inputs)
    if scores.shape[1] == 2:
        return truth[:, None] == 1, scores[:, 1:] - scores[:, :1]
    return truth[:, None] == np.arange(scores.shape[1]), scores


def _each(labels: np.ndarray, outputs: np.ndarray, inputs: np.ndarray) -> Pair:
    """Each number of a row by itself; those of a map all together."""
    columns = labels.shape[1] if labels.ndim == 2 else 1
    return labels.reshape(-1, columns) != 0, outputs.reshape(-1, columns)


def _anomalies(labels: np.ndarray, outputs: np.ndarray, inputs: np.ndarray) -> Pair:
    """Whether a sample is odd, and the squared error with which an autoencoder gives it back."""
    taken, given = _copies(labels, outputs, inputs)
    return labels.reshape(-1, 1) != 0, ((given - taken) ** 2).mean(1, keepdims=True)


def _numbers(labels: np.ndarray, outputs: np.ndarray, inputs: np.ndarray) -> Pair:
    return _flat(labels), _flat(outputs)


def _copies(labels: np.ndarray | None, outputs: np.ndarray, inputs: np.ndarray) -> Pair:
    return _flat(inputs), _flat(outputs)


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1).astype(np.float64)
