"""edgeinfer.quantize is the import and the quantization in one call."""

import numpy as np
import onnx

import edgeinfer
from edgeinfer.converters import from_onnx
from edgeinfer.demo import CALIBRATION, MODEL
from edgeinfer.files.model_file import to_bytes
from edgeinfer.quant import quantize


def test_a_file_and_a_graph_become_the_same_integers(tmp_path):
    with np.load(CALIBRATION) as data:
        samples = data["image"]
    graph = from_onnx(MODEL)
    wanted = to_bytes(quantize(graph, samples, scheme="int16x8"))
    for model in (MODEL, str(MODEL), MODEL.read_bytes(), onnx.load(MODEL), graph):
        assert to_bytes(edgeinfer.quantize(model, samples, scheme="int16x8")) == wanted
    edgeinfer.save(graph, tmp_path / "float.eqm")
    assert to_bytes(edgeinfer.read(tmp_path / "float.eqm")) == to_bytes(graph)


def test_a_file_is_cut_in_the_same_call():
    with np.load(CALIBRATION) as data:
        samples = data["image"]
    name = next(n.output[0] for n in onnx.load(MODEL).graph.node if n.op_type == "Conv")
    assert edgeinfer.quantize(MODEL, samples, outputs=[name]).outputs == (name,)
