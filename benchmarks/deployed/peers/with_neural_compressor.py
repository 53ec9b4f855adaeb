"""Neural Compressor's part for ONNX: `PYTHON with_neural_compressor.py FLOAT.onnx SAMPLES.npz OUT`.

Runs in an environment of its own (`pip install onnx-neural-compressor`) and imports nothing of
ours. neural-compressor itself quantizes models of PyTorch, JAX and TensorFlow only.
"""

import sys

import numpy as np
from onnx_neural_compressor import data_reader
from onnx_neural_compressor.quantization import QuantFormat, QuantType, config, quantize

model, samples, out = sys.argv[1:]
((name, x),) = np.load(samples).items()


class Samples(data_reader.CalibrationDataReader):
    def __init__(self) -> None:
        self.rewind()

    def get_next(self):
        return next(self.rest, None)

    def rewind(self) -> None:
        self.rest = iter([{name: one[None]} for one in x])


quantize(
    model,
    out,
    config.StaticQuantConfig(
        Samples(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    ),
)
