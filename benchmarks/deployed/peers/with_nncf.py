"""NNCF's post-training quantization: `PYTHON with_nncf.py FLOAT.onnx SAMPLES.npz INT8.onnx`.

Runs in an environment of its own (`pip install nncf onnxruntime`) and imports nothing of ours.
"""

import sys

import nncf
import numpy as np
import onnx

model, samples, out = sys.argv[1:]
((name, x),) = np.load(samples).items()
data = nncf.Dataset([{name: one[None]} for one in x])
quantized = nncf.quantize(
    onnx.load(model),
    data,
    subset_size=len(x),
    preset=nncf.QuantizationPreset.MIXED,
    fast_bias_correction=False,
)
onnx.save(quantized, out)
