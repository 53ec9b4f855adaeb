"""Networks as other tools export them run on the simulated NPU, every value the CPU's."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.hdl.simulation.simulation import Simulation
from edgeinfer.quant import quantize
from tests.accuracy.exported_models import MODELS, samples

# what runs without help: the families that the NPU was made for
WHOLE = {
    "plain_cnn",
    "resnet_with_unfolded_batch_norm",
    "preactivation_resnet",
    "mobilenet_v1_relu6",
    "mobilenet_v2_inverted_residuals",
    "densenet_concats",
    "squeezenet_fire",
    "depthwise_keyword_spotting",
    "dense_autoencoder_with_mul_and_add",
    "one_dimensional_convolutions",
    "stereo_regression_with_sub_and_mul",
    "squeeze_excite_hard_swish",
    "hard_swish_in_primitives",
    "efficientnet_silu",
    "mlp_of_many_activations",
    "gelu_mixer_by_erf",
    "torch_flatten_by_shape_arithmetic",
    "raw_pixels",
    "shufflenet_channel_shuffle",
    "upsampling_decoder",
    "prelu_face_embedding",
    "unet_of_transposed_convolutions",
    "unet_of_linear_resizes",
}

# their states have 16 bits in every scheme
WHOLE_ON_16_BITS = {"keyword_spotting_by_stacked_grus"}


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "config"), [("int8", "8x16"), ("int16", "8x8-16")])
@pytest.mark.parametrize("name", MODELS)
def test_an_exported_network(name, scheme, config):
    model = MODELS[name]()
    calibration = samples(model, 8, seed=1)
    graph = quantize(from_onnx(model), calibration, scheme=scheme, observer="minmax")
    whole = WHOLE | WHOLE_ON_16_BITS if config == "8x8-16" else WHOLE
    with Simulation(graph, config, host_ops=name not in whole) as simulation:
        simulation.run(samples(model, 1, seed=2))
        assert [str(each) for each in simulation.mismatches()] == []


@pytest.mark.slow
def test_mobilenet_v3_small_on_small_images(monkeypatch, tmp_path):
    """Squeeze-and-excite and hard-swish, in all of its blocks and with all of its channels."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import networks

    model = onnx.load(networks.network("mobilenet_v3_small", tmp_path).model)
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 48
    graph = quantize(from_onnx(model), samples(model, 4, seed=1), observer="minmax")
    with Simulation(graph, "8x16") as simulation:
        simulation.run(samples(model, 1, seed=2))
        assert [str(each) for each in simulation.mismatches()] == []
        report = simulation.report()
    assert abs(report.predicted - report.cycles) <= 0.05 * report.cycles
