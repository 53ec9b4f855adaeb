"""Quantized inference on integers only: one model, the same bits on every target.

    ONNX ─ converters ─► Graph (float) ─ quant ─► Graph (integer) ─ planner ─► Plan ─► Session

A program that only runs models needs this package, NumPy and safetensors:

    import edgeinfer

    session = edgeinfer.load("model.eqm")
    scores = session.run(image)

``edgeinfer.converters`` imports ONNX, ``edgeinfer.quant`` makes a Graph integer,
``edgeinfer.cython_kernels`` holds the compiled kernels, ``edgeinfer.hdl`` is for the accelerator;
none of them is imported from here before it is used.
"""

from edgeinfer.errors import EdgeInferError

__all__ = ["EdgeInferError", "__version__"]

__version__ = "0.1.0"
