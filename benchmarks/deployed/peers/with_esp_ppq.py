"""ESP-PPQ for the ESP32-P4: `PYTHON with_esp_ppq.py FLOAT.onnx SAMPLES.npz INT8.onnx`.

Scales of that chip are powers of two, one a tensor. What is written has QuantizeLinear and
DequantizeLinear, and no chip's format. Runs in an environment of its own (`pip install esp-ppq
torch`) and imports nothing of ours.
"""

import sys

import numpy as np
import torch
from esp_ppq import TargetPlatform
from esp_ppq.api import espdl_quantize_onnx, export_ppq_graph

model, samples, out = sys.argv[1:]
((_, x),) = np.load(samples).items()
graph = espdl_quantize_onnx(
    onnx_import_file=model,
    espdl_export_file=out,
    calib_dataloader=[torch.from_numpy(one[None]) for one in x],
    calib_steps=len(x),
    input_shape=[1, *x.shape[1:]],
    target="esp32p4",
    num_of_bits=8,
    error_report=False,
    skip_export=True,
)
export_ppq_graph(graph, TargetPlatform.ONNXRUNTIME, out)
