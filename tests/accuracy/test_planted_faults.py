"""Of faults planted in real models, ``explain`` names the causes and its remedies repair them.

``benchmarks/explain_faults.py`` plants more; its page is docs/explain-faults.md. Here are a few.
"""

import secrets
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from edgeinfer.data.samples import runs
from edgeinfer.meaning.float_executor import Executor
from edgeinfer.quant.explanation import Cause
from tests.accuracy.planting.faults import FIXED, NoFaultError, Plant, drawn, plant
from tests.accuracy.planting.subjects import EXPORTED, ZOO, subject
from tests.accuracy.planting.verdict import judge

QUICK = [
    Plant("scaled channel by 100", "raw_pixels", 1),
    Plant("faint channels", "plain_cnn", 1),
    Plant("one class", "digits", 1),
]

# of so many drawn at random, so many at least are named and repaired; nearly all are, but chance
# must not fail the test
DRAWN, LEAST_NAMED, LEAST_REPAIRED = 5, 4, 2


@pytest.mark.parametrize("wanted", QUICK, ids=str)
def test_a_fault_is_named_and_repaired(wanted):
    assert wanted in FIXED
    fault = plant(wanted, subject(wanted.model))
    verdict = judge(fault)
    assert verdict.is_named and verdict.is_repaired, str(verdict)
    # what is right is no matter of taste: another place, or another cause, is wrong
    ((cause, places),) = fault.expected
    elsewhere = replace(fault, expected=((cause, frozenset({"elsewhere"})),))
    assert not replace(verdict, fault=elsewhere).is_named
    other = replace(fault, expected=((Cause.TABLE, places),))
    assert not replace(verdict, fault=other).is_named
    assert not replace(verdict, fixed_db=fault.sound_db - 1.1).is_repaired


@pytest.mark.slow
def test_of_faults_drawn_at_random_most_are_named_and_repaired():
    seed = secrets.randbelow(2**31)

    def faults():
        for wanted in drawn(seed, EXPORTED):
            try:
                yield plant(wanted, subject(wanted.model))
            except NoFaultError:
                continue

    verdicts = [judge(fault) for fault in islice(faults(), DRAWN)]
    wrong = "\n".join(str(v) for v in verdicts if not (v.is_named and v.is_repaired))
    assert sum(v.is_named for v in verdicts) >= LEAST_NAMED, f"seed {seed}:\n{wrong}"
    assert sum(v.is_repaired for v in verdicts) >= LEAST_REPAIRED, f"seed {seed}:\n{wrong}"


@pytest.mark.slow
def test_a_fault_of_a_trained_network_is_named_and_repaired(zoo):
    wanted = Plant("range of input too narrow", "kws_dscnn", 1)
    assert wanted in FIXED and wanted.model in ZOO
    verdict = judge(plant(wanted, subject(wanted.model, zoo.load)))
    assert verdict.is_named and verdict.is_repaired, str(verdict)


@pytest.mark.parametrize("kind", ["scaled channel by 100", "faint channels"])
def test_channels_are_scaled_without_changing_the_function(kind):
    of = subject("raw_pixels")
    fault = plant(Plant(kind, of.name, 1), of)
    assert fault.spoilt_db < fault.sound_db - 3
    for feed in runs(of.graph, of.fresh[:4]):
        (before,) = Executor(of.graph).run(feed).values()
        (after,) = Executor(fault.graph).run(feed).values()
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)


def test_what_costs_too_little_is_no_fault():
    of = subject("digits")
    with pytest.raises(NoFaultError, match=r"^its samples have no colours$"):
        plant(Plant("swapped colours", of.name, 1), of)
