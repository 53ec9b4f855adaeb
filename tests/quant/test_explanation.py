"""Planted faults in small models: the right cause is named, and a remedy is worth what it says."""

import pytest

from edgeinfer.quant import quantize
from edgeinfer.quant.explanation import Cause, explain
from tests.quant.test_mixtures import chain


@pytest.mark.filterwarnings("ignore::edgeinfer.errors.EdgeInferWarning")
def test_a_channel_that_reaches_farther_than_all_others_dominates_its_range():
    graph, samples = chain(2)
    found = explain(graph, quantize(graph, samples), samples).findings[0]
    assert (found.cause, found.where) == (Cause.OUTLIERS, "y2")
    assert found.gain > 10
