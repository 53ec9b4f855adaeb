"""What a model's outputs are worth: labels and outputs into accuracies, errors and curves."""

from edgeinfer.metrics.metrics import METRICS, Metric, UndefinedMetricError, metrics_for
from edgeinfer.metrics.tasks import Task, has_classes, is_reconstruction, task_of

__all__ = [
    "METRICS",
    "Metric",
    "Task",
    "UndefinedMetricError",
    "has_classes",
    "is_reconstruction",
    "metrics_for",
    "task_of",
]
