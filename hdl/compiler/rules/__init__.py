"""What every operator is on the NPU: the rule that makes layers of it, or why there is none."""

from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler.rules import (  # noqa: F401
    aggregating,
    composed,
    computing,
    moving,
    reducing,
)
from edgeinfer.hdl.compiler.rules.registry import NpuSite, Taken, lower, refused, takes

__all__ = ["NpuSite", "Taken", "lower", "takes"]

refused("computes in floats; the NPU runs integer Graphs", ops.FloatOperator)
refused("moves elements in a way that the NPU has no layer for", ops.Moving)
refused("divides by a value; the host does so at inputs and outputs alone", ops.QDiv)
refused("needs a root, which the array cannot find", ops.QReduceL2)
refused(
    "looks for a place; the host does so at outputs alone",
    ops.ArgMax,
    ops.NonMaxSuppression,
    ops.TopIndices,
)
refused("computes with indices; the host does so", ops.IndexArithmetic)
refused("takes the least of elements; the array has a greatest alone", ops.ReduceMin)
refused("compares two values; the lanes add and multiply alone", ops.Maximum, ops.Minimum)
