"""Exported networks import, quantize with the defaults and keep 15 dB and more."""

import numpy as np
import onnxruntime
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.accuracy.exported_models import MODELS, samples
from tests.accuracy.sqnr import sqnr_db

# what 8-bit activations, and 16-bit activations with 8- or 16-bit weights, must keep of any model
LEAST_SQNR_DB = {"int8": 15.0, "int16x8": 25.0, "int16": 50.0}

# models full of functions, half a dB below what they were measured at, with nearest weights: how
# these are rounded moves four outputs of 16 samples by more than that
GATED = {
    ("squeeze_excite_hard_swish", "int16"): 75.9,
    ("hard_swish_in_primitives", "int16"): 76.6,
    ("efficientnet_silu", "int16"): 80.0,
    ("gelu_mixer_by_erf", "int16"): 75.4,
    ("mlp_of_many_activations", "int8"): 36.8,
    ("mlp_of_many_activations", "int16"): 80.8,
}


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("name", MODELS)
def test_a_quantized_export_keeps_its_outputs(name, scheme):
    model = MODELS[name]()
    graph = from_onnx(model)
    gated = GATED.get((name, scheme))
    way = "auto" if gated is None else "nearest"
    integer = quantize(graph, samples(model, 32, seed=1), scheme=scheme, rounding_weights=way)
    x = samples(model, 16, seed=2)
    peer = onnxruntime.InferenceSession(model.SerializeToString())
    expected = [
        np.concatenate(parts)
        for parts in zip(*(peer.run(None, {"x": x[i : i + 1]}) for i in range(len(x))), strict=True)
    ]
    session = Session(integer)
    runs = [session.run(x[i : i + 1]) for i in range(len(x))]
    for index, output in enumerate(session.outputs):
        values = [run[output.name] if isinstance(run, dict) else run for run in runs]
        least = LEAST_SQNR_DB[scheme] if gated is None else gated
        assert sqnr_db(expected[index], np.concatenate(values)) >= least
