"""An NPU's predicted cycles decide between mixtures; what it cannot run is left out."""

import pickle

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.demo import CALIBRATION, MODEL
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.hdl import compile
from edgeinfer.hdl.clock import NpuClock
from edgeinfer.quant import Goal, Options, Quantized, quantize, quantize_and_judge
from tests.refusals import refused

GRAPH = from_onnx(MODEL)
SAMPLES = np.load(CALIBRATION)["image"].astype(np.float32)[:40]


def mixed(goal: Goal, overrides: dict[str, str] | None = None) -> Quantized:
    options = Options("auto", "minmax", overrides or {}, rounding_weights="nearest", goal=goal)
    return quantize_and_judge(GRAPH, SAMPLES, options)


def cycles(made: Quantized, config: str) -> int:
    return compile(made.graph, config).program.prediction.cycles


def test_the_most_accurate_within_so_many_cycles_is_chosen():
    made = mixed(Goal(max_latency=10_000, clock=NpuClock("8x8-16")))
    chosen, points = made.mixture.chosen, made.mixture.points
    assert chosen.time == cycles(made, "8x8-16")
    # an NPU of 16 bits runs them all, in the same time
    assert made.mixture.left_out == ()
    assert {point.time for point in points} == {chosen.time} and len(points) > 4
    assert {point.latency for point in points} == {1.0}
    assert made.graph.provenance["scheme"] == "int16"
    limit = chosen.time - 1
    with refused(
        f"no mixture of 8 and 16 bits has at most {limit:,} cycles a run; the best, "
        f"{made.mixture.named(points[0])}, has {chosen.time:,} cycles",
        InputError,
    ):
        mixed(Goal(max_latency=limit, clock=NpuClock("8x8-16")))


def test_what_an_npu_of_8_bits_cannot_run_is_left_out():
    made = mixed(Goal(min_sqnr=20, clock=NpuClock("8x16")))
    (point,) = made.mixture.points
    assert (point.scheme, point.wide, point.time) == ("int8", 0, cycles(made, "8x16"))
    left_out = made.mixture.left_out
    assert len(left_out) > 4 and all("the NPU cannot run" in reason for reason in left_out)
    with refused(
        "no mixture of 8 and 16 bits has at least 60 dB; the best, int8, has "
        f"{point.quality.sqnr_db:.1f} dB; {len(left_out)} more do not run on the NPU 8x16",
        InputError,
    ):
        mixed(Goal(min_sqnr=60, clock=NpuClock("8x16")))


def test_an_npu_that_runs_no_mixture_says_why():
    overrides = {"relu*": "int16"}
    wide = quantize(
        GRAPH, SAMPLES, observer="minmax", overrides=overrides, rounding_weights="nearest"
    )
    with pytest.raises(UnsupportedError) as why:
        compile(wide, "8x16")
    with refused(str(why.value), UnsupportedError):
        mixed(Goal(min_sqnr=20, clock=NpuClock("8x16")), overrides)


def test_a_clock_is_of_an_npu_that_can_be():
    clock = NpuClock("8x8-16")
    assert pickle.loads(pickle.dumps(clock)) == clock
    assert (clock.unit, clock.where) == ("cycles", "the NPU 8x8-16")
    assert str(Goal(max_latency=5000, clock=clock)) == "at most 5,000 cycles a run"
    with refused("columns must be a power of two between 2 and 256, not 99", InputError):
        NpuClock("8x99")
