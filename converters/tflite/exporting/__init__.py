"""An integer Graph as a .tflite file: ``to_tflite``.

    Graph (integer) ─ rules ─► GraphWriter ─► Model ─ writing ─► bytes

Each operator is TensorFlow Lite's of integers. One compiled with ``rounding="double"`` computes the
same bits there as here (docs/arithmetic.md, "Models for double rounding").
"""

from edgeinfer.converters.tflite.exporting.export import to_tflite

__all__ = ["to_tflite"]
