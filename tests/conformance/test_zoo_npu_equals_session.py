"""Real models on real data: the simulated NPU's values are the CPU's, for sample after sample."""

from __future__ import annotations

import os

import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.hdl.simulation.simulation import Simulation
from edgeinfer.quant import quantize

SAMPLES = int(os.environ.get("EDGEINFER_NPU_SAMPLES", "10"))
"""Of each evaluation set; 0 for all of them."""

# must: cycles of one inference with inputs, outputs and weights on the chip
BOUNDS = {
    ("8x16", "ad_autoencoder"): 9_000,
    ("8x16", "kws_dscnn"): 35_000,
    ("8x16", "ic_resnet8"): 115_000,
    ("8x16", "vww_mobilenet"): 95_000,
    ("9x16", "ad_autoencoder"): 6_300,
    ("9x16", "kws_dscnn"): 24_000,
    ("9x16", "ic_resnet8"): 90_000,
    ("9x16", "vww_mobilenet"): 72_000,
    ("8x8", "ad_autoencoder"): 36_000,
    ("8x8", "kws_dscnn"): 65_000,
    ("8x8", "ic_resnet8"): 225_000,
    ("8x8", "vww_mobilenet"): 200_000,
}


def quantized(zoo, name: str, scheme: str):
    entry = zoo.load(name)
    return quantize(from_onnx(entry.model), entry.calib, scheme=scheme), entry


@pytest.mark.slow
@pytest.mark.parametrize("config", ["8x8", "8x16", "9x16"])
@pytest.mark.parametrize(
    "name", ["ad_autoencoder", "kws_dscnn", "ic_resnet8", "vww_mobilenet", "cifar10_resnet20"]
)
def test_every_value_of_a_real_model_within_its_cycles(zoo, name, config):
    graph, entry = quantized(zoo, name, "int8")
    with Simulation(graph, config) as simulation:
        simulation.run(entry.x[:1])
        assert [str(each) for each in simulation.mismatches()] == []
        report = simulation.report()
    assert report.cycles <= BOUNDS.get((config, name), report.cycles)
    assert abs(report.predicted - report.cycles) <= 0.05 * report.cycles


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kws_dscnn", "ic_resnet8"])
def test_every_sample_of_an_evaluation_set(zoo, name):
    graph, entry = quantized(zoo, name, "int8")
    with Simulation(graph, "8x16") as simulation:
        for index in range(SAMPLES or len(entry.x)):
            simulation.run(entry.x[index : index + 1])
            assert [str(each) for each in simulation.mismatches()] == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["int16", "int16x8"])
@pytest.mark.parametrize("name", ["kws_dscnn", "ic_resnet8"])
def test_samples_of_a_16_bit_model(zoo, name, scheme):
    graph, entry = quantized(zoo, name, scheme)
    with Simulation(graph, "8x8-16") as simulation:
        for index in range(min(3, SAMPLES or 20)):
            simulation.run(entry.x[index : index + 1])
            assert [str(each) for each in simulation.mismatches()] == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_a_recurrent_model_with_its_state_and_weights_on_the_chip(zoo, scheme):
    graph, entry = quantized(zoo, "mnist_lstm", scheme)
    with Simulation(graph, "8x8-16") as simulation:
        for index in range(2):
            simulation.run(entry.x[index : index + 1])
            assert [str(each) for each in simulation.mismatches()] == []
        report = simulation.report()
    # with a copy of the weights for each step it took 77,523; a fifth of what is left is copies of
    # gates, whose products are one layer for the sake of the CPU
    assert report.cycles <= 55_000
    assert abs(report.predicted - report.cycles) <= 0.05 * report.cycles
