"""Each stage says for every operator class what it does with it, or that it does nothing."""

import pytest

from edgeinfer.converters.passes import axes
from edgeinfer.graph import batching, cost, operator_checks, shapes
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler import rules as npu_rules
from edgeinfer.meaning import float_executor, reference
from edgeinfer.quant import rules
from edgeinfer.runtime import catalogue

STAGES = {
    "shapes": shapes.shape_rule,
    "checks": operator_checks.check,
    "cost": cost.macs,
    "batching": batching.follow,
    "float meaning": float_executor.evaluate,
    "integer meaning": reference.evaluate,
    "kernels": catalogue.lower,
    "quantization": rules.lower,
    "transposes": axes.reindexed,
    "NPU": npu_rules.lower,
}


@pytest.mark.parametrize("operator", ops.OPERATORS)
@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_has_forgotten_an_operator(stage, operator):
    table = STAGES[stage]
    assert table.dispatch(ops.OPERATORS[operator]) is not table.dispatch(object)


def test_a_stage_that_has_forgotten_an_operator_is_noticed():
    class Forgotten(ops.Operator, family=True):
        """In no family, and registered nowhere."""

    for table in STAGES.values():
        assert table.dispatch(Forgotten) is table.dispatch(object)
