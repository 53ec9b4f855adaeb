"""AIMET: equalized channels, weights by channel: `PYTHON with_aimet.py FLOAT.onnx SAMPLES.npz OUT`.

Runs in an environment of its own (`pip install aimet-onnx torch`) and imports nothing of ours.
"""

import sys

import aimet_onnx
import numpy as np
import onnx
from aimet_onnx.cross_layer_equalization import equalize_model

model, samples, out = sys.argv[1:]
((name, x),) = np.load(samples).items()
loaded = onnx.load(model)
equalize_model(loaded)
feeds = [{name: one[None]} for one in x]
sim = aimet_onnx.QuantizationSimModel(
    loaded, param_type=aimet_onnx.int8, activation_type=aimet_onnx.int8
)
sim.compute_encodings(feeds)
onnx.save(sim.to_onnx_qdq(), out)
