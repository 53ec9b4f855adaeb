"""Metrics by name: each takes in the outputs of one run after another and gives numbers.

Curves, confusion and errors are scikit-learn's. The best classes are ranked here, as everywhere in
edgeinfer: of equal scores, which quantized outputs often have, the first class wins.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np

from edgeinfer.errors import InputError, MissingExtraError
from edgeinfer.metrics.tasks import Family, Task

__all__ = ["METRICS", "Metric", "UndefinedMetricError", "metrics_for"]

Result: TypeAlias = dict[str, Any]


class UndefinedMetricError(InputError):
    """The samples do not define a metric."""


class Metric(ABC):
    """Numbers about all samples that were added.

    Parameters
    ----------
    name : str
        What selects it, and the key of its result.
    """

    family: ClassVar[Family]

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def add(self, truth: np.ndarray, given: np.ndarray) -> None:
        """Take in some samples, as the family's reading gives them (``tasks.Task``)."""

    @abstractmethod
    def result(self) -> Result:
        """What was found, by name: numbers, or for several classes lists of them.

        Raises
        ------
        UndefinedMetricError
            The samples do not define it.
        """


# ---- classes ---------------------------------------------------------------------------------


class TopK(Metric):
    """The share of samples whose class is among the ``k`` best."""

    family = "classes"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._k = int(name.removeprefix("top"))
        self._right = 0
        self._seen = 0

    def add(self, truth: np.ndarray, given: np.ndarray) -> None:
        """Count the samples whose class is among the best."""
        if given.ndim == 1 and self._k > 1:
            raise InputError(f"{self.name} needs scores, but the output says only the best class")
        best = _best(given, self._k)
        self._right += int((best == truth[:, None]).any(1).sum())
        self._seen += len(truth)

    def result(self) -> Result:
        """The share, of 1."""
        return {self.name: self._right / self._seen if self._seen else float("nan")}


class Confusion(Metric):
    """How often each class was taken for each: rows are the right classes."""

    family = "classes"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._confused = _sklearn().confusion_matrix
        self.counts = np.zeros((0, 0), np.int64)

    def add(self, truth: np.ndarray, given: np.ndarray) -> None:
        """Count pairs of right and best classes."""
        if not len(truth):
            return
        best = _best(given, 1)[:, 0].astype(np.int64)
        scored = given.shape[1] if given.ndim == 2 else 0
        size = max(scored, len(self.counts), int(truth.max()) + 1, int(best.max()) + 1)
        grown = np.zeros((size, size), np.int64)
        grown[: len(self.counts), : len(self.counts)] = self.counts
        self.counts = grown + self._confused(truth, best, labels=np.arange(size))

    def result(self) -> Result:
        """The counts, [right][taken for]."""
        return {self.name: self.counts.tolist()}


class IntersectionOverUnion(Confusion):
    """Of each class, the share of all that is or was taken for it that is right."""

    def result(self) -> Result:
        """Of each class, none where it never occurred, and their mean."""
        right = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - right
        shares = [int(r) / int(u) if u else None for r, u in zip(right, union, strict=True)]
        known = [share for share in shares if share is not None]
        return {"mean_iou": float(np.mean(known)) if known else float("nan"), self.name: shares}


def _best(given: np.ndarray, k: int) -> np.ndarray:
    """The ``k`` best classes [m, k] of scores [m, classes], or of what says the class [m]."""
    if given.ndim == 1:
        return given[:, None]
    if k == 1:
        return given.argmax(1)[:, None]
    return np.argsort(-given, axis=1, kind="stable")[:, :k]


# ---- what needs all samples at once ----------------------------------------------------------


class _OfAll(Metric):
    """What scikit-learn computes of all pairs together."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._function: Callable[..., float] = getattr(_sklearn(), _FUNCTIONS[name])
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, truth: np.ndarray, given: np.ndarray) -> None:
        """Keep them."""
        self._pairs.append((truth, given))

    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        truth, given = zip(*self._pairs, strict=True)
        return np.concatenate(truth), np.concatenate(given)


class Ranking(_OfAll):
    """How well scores order what holds before what does not; the mean over several questions."""

    family = "ranking"

    def result(self) -> Result:
        """The number, of 1."""
        truth, given = self._all()
        # what all samples or none have cannot be ordered
        told = truth.any(0) & ~truth.all(0)
        if not told.any():
            raise UndefinedMetricError(f"{self.name} needs samples of at least two classes")
        values = [self._function(t, g) for t, g in zip(truth.T[told], given.T[told], strict=True)]
        return {self.name: float(np.mean(values))}


class Errors(_OfAll):
    """How far numbers are from the right ones."""

    family = "numbers"

    def result(self) -> Result:
        """The number."""
        truth, given = self._all()
        if self.name == "r2" and len(truth) < 2:
            raise UndefinedMetricError("r2 needs at least two samples")
        return {self.name: float(self._function(truth, given))}


class ReconstructionError(Metric):
    """The mean squared error with which a model gives back its input."""

    family = "copies"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._sum = 0.0
        self._count = 0

    def add(self, truth: np.ndarray, given: np.ndarray) -> None:
        """Sum the squares."""
        self._sum += float(((given - truth) ** 2).sum())
        self._count += truth.size

    def result(self) -> Result:
        """The mean."""
        return {self.name: self._sum / self._count}


# ---- by name ---------------------------------------------------------------------------------

METRICS: Mapping[str, type[Metric]] = {
    "top1": TopK,
    "top5": TopK,
    "confusion": Confusion,
    "iou": IntersectionOverUnion,
    "roc_auc": Ranking,
    "average_precision": Ranking,
    "mae": Errors,
    "rmse": Errors,
    "r2": Errors,
    "reconstruction": ReconstructionError,
}
"""What each name stands for; ``topK`` with any other K is a ``TopK`` too."""

_FUNCTIONS = {
    "roc_auc": "roc_auc_score",
    "average_precision": "average_precision_score",
    "mae": "mean_absolute_error",
    "rmse": "root_mean_squared_error",
    "r2": "r2_score",
}
_TOP = re.compile("top[1-9][0-9]{0,8}")

_FOR: Mapping[Family, str] = {
    "classes": "classes",
    "ranking": "classes, or 0 and 1",
    "numbers": "numbers",
    "copies": "models that give back their input",
}


def metrics_for(task: Task, names: Iterable[str] = ()) -> list[Metric]:
    """New metrics of these ``names``; without any, those that ``task`` is about.

    Raises
    ------
    InputError
        There is no metric of that name, or the task has no use for it.
    MissingExtraError
        It needs scikit-learn.
    """
    return [_metric(task, name) for name in dict.fromkeys(names) or task.defaults]


def _metric(task: Task, name: str) -> Metric:
    kind = TopK if _TOP.fullmatch(name) else METRICS.get(name)
    if kind is None:
        raise InputError(f"there is no metric {name!r}; there are {', '.join(METRICS)}")
    if kind.family not in task.readings:
        raise InputError(f"metric {name!r} is for {_FOR[kind.family]}; the labels are {task.about}")
    return kind(name)


def _sklearn() -> Any:
    try:
        from sklearn import metrics
    except ImportError as error:
        raise MissingExtraError("sklearn", "metrics") from error
    return metrics
