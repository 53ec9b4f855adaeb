"""TensorFlow Lite's files: read and written, made of a Graph, and a Graph made of them.

bytes ─ reading ─► Model ─ importing ─► ONNX ─► Graph
bytes ◄─ writing ─ Model ◄─ exporting ───────── Graph
"""
