"""Quantizes some models and prints a digest of each file, for processes that compute differently.

``python -m tests.quant.written_bytes`` from the checkout's folder; with ``digits``, of that alone.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from edgeinfer import demo
from edgeinfer.converters import from_onnx
from edgeinfer.errors import EdgeInferWarning
from edgeinfer.files.model_file import save
from edgeinfer.graph import Graph
from edgeinfer.quant import quantize
from tests.converters.onnx_agreement import model, node
from tests.keyword_transformers import keyword_transformer
from tests.recurrent_models import recurrent

__all__ = ["convolutions", "digest", "digits"]


def digest(graph: Graph) -> str:
    """Of the file that ``graph`` is saved as."""
    with tempfile.TemporaryDirectory() as folder:
        save(graph, Path(folder) / "model.eqm")
        return hashlib.sha256((Path(folder) / "model.eqm").read_bytes()).hexdigest()


def digits() -> tuple[Graph, np.ndarray]:
    """The demo's model, and its samples."""
    with np.load(demo.CALIBRATION) as file:
        return from_onnx(demo.MODEL), next(iter(file.values())).astype(np.float32)


def convolutions() -> onnx.ModelProto:
    """Layers of several kinds with functions between them, and weights that fold at import."""
    rng = np.random.default_rng(11)

    def normal(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype("f4")

    constants = {
        "w1": normal(16, 3, 3, 3),
        "w2": normal(16, 1, 3, 3),
        "left": normal(32, 40),
        "right": normal(40, 16) * 3,
        "taps": np.array([32, 16, 1, 1]),
        "up": normal(32, 8, 2, 2),
        "turns": np.linspace(0, 9, 8, dtype="f4").reshape(8, 1, 1),
        "b1": normal(16, 16)[0],
    }
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Sigmoid", ["c1"], ["s1"]),
        node("Mul", ["c1", "s1"], ["m1"]),
        node("Conv", ["m1", "w2"], ["c2"], group=16, pads=[1, 1, 1, 1]),
        node("Tanh", ["c2"], ["t2"]),
        node("MatMul", ["left", "right"], ["folded"]),
        node("Reshape", ["folded", "taps"], ["w3"]),
        node("Conv", ["t2", "w3"], ["c3"]),
        node("ConvTranspose", ["c3", "up"], ["c4"], strides=[2, 2]),
        node("Sin", ["turns"], ["sines"]),
        node("Exp", ["sines"], ["exponentials"]),
        node("Mul", ["c4", "exponentials"], ["m4"]),
        node("Softplus", ["m4"], ["p4"]),
        node("GlobalAveragePool", ["p4"], ["y"]),
    ]
    return model(nodes, (1, 3, 12, 12), constants)


def _samples(graph: Graph, count: int = 24) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    return [
        {name: rng.normal(size=graph.types[name].shape).astype("f4") for name in graph.inputs}
        for _ in range(count)
    ]


def _quantized() -> Iterator[tuple[str, Graph]]:
    graph, samples = digits()
    yield "digits", quantize(graph, samples)
    if sys.argv[1:] == ["digits"]:
        return
    others = {
        "convolutions": convolutions(),
        "gru": recurrent("GRU", "b", sizes=(1, 20, 24, 10), opset=14),
        "lstm": recurrent("LSTM", "b", sizes=(1, 20, 24, 10), opset=14),
        "transformer": keyword_transformer(frames=16, width=32, heads=2, blocks=1),
    }
    for name, proto in others.items():
        graph = from_onnx(proto)
        for scheme in ("int8", "int16"):
            yield f"{name} {scheme}", quantize(graph, _samples(graph), scheme=scheme)


if __name__ == "__main__":
    warnings.simplefilter("ignore", EdgeInferWarning)
    for title, quantized in _quantized():
        print(f"{title}: {digest(quantized)}")
