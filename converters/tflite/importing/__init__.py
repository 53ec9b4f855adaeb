"""A .tflite model on its way to a Graph, by way of ONNX: ``to_onnx``.

    Model ─ model, with layers, elementwise and shaping ─► onnx.ModelProto

What TensorFlow Lite quantized stands in ONNX between QuantizeLinear and DequantizeLinear, and so
keeps its integers. Operators' meaning, shapes and refusals are then those of the ONNX import.
"""

from edgeinfer.converters.tflite.importing.model import to_onnx

__all__ = ["to_onnx"]
