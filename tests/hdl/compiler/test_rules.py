"""The NPU says of every operator class whether it runs, what it asks, or why it does not."""

from __future__ import annotations

import pytest

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler import compile, takes
from tests.authored import Author


@pytest.mark.parametrize("name", ops.OPERATORS)
def test_what_does_not_run_has_a_reason(name):
    taken = takes(ops.OPERATORS[name])
    assert taken.runs or taken.why


def test_a_condition_stands_beside_what_runs():
    assert takes(ops.QConv).runs
    assert takes(ops.QConv).why == ""
    assert takes(ops.Concat).runs
    assert takes(ops.Concat).why == "along height, width or channels"


def test_the_reason_is_that_of_the_refusal():
    author = Author(1, 4, 4, 8)
    graph = author.graph(author.node(ops.ReduceMin((3,)), author.conv("x", 8, 1)))
    with pytest.raises(UnsupportedError) as refusal:
        compile(graph, "8x8")
    assert str(refusal.value) == (
        f"the NPU cannot run ReduceMin 'n1': {takes(ops.ReduceMin).why}. "
        "edgeinfer hdl simulate --host-ops leaves these to the CPU"
    )
