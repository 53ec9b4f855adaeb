"""Networks as other tools export them run on the simulated NPU, every value the CPU's."""

from __future__ import annotations

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
}


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "config"), [("int8", "8x16"), ("int16", "8x8-16")])
@pytest.mark.parametrize("name", MODELS)
def test_an_exported_network(name, scheme, config):
    model = MODELS[name]()
    calibration = samples(model, 8, seed=1)
    graph = quantize(from_onnx(model), calibration, scheme=scheme, observer="minmax")
    with Simulation(graph, config, host_ops=name not in WHOLE) as simulation:
        simulation.run(samples(model, 1, seed=2))
        assert [str(each) for each in simulation.mismatches()] == []
