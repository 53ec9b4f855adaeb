"""The float executor agrees with onnxruntime on trained models and on published topologies.

The topologies come with the onnx package, without weights; here they get seeded He-initialised
ones and varied batch-norm statistics, so that their values differ from place to place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.converters.onnx_agreement import agreement, operators
from tests.zoo_entries import FEED_FORWARD, RECURRENT

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
# over 200 MB of weights each
LARGE = ("light_bvlc_alexnet", "light_vgg19", "light_zfnet512")
TOPOLOGIES = [
    pytest.param(path.stem, marks=pytest.mark.slow if path.stem in LARGE else ())
    for path in sorted(LIGHT.glob("*.onnx"))
]


@pytest.mark.parametrize("name", [*FEED_FORWARD, *RECURRENT])
def test_a_trained_model_agrees_value_by_value(zoo, name):
    entry = zoo.load(name)
    proto = onnx.load(entry.model)
    sample = {entry.input: entry.x[:1]}
    agreement(proto, feeds=sample, intermediate=True)
    samples = {entry.input: entry.x[:3]}
    if proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value != 1:
        agreement(proto, feeds=samples, batch=3)


@pytest.mark.parametrize("name", ["ic_resnet8", "kws_dscnn", "vww_mobilenet", "ad_autoencoder"])
def test_a_tensorflow_export_keeps_no_transpose(zoo, name):
    graph = agreement(onnx.load(zoo.load(name).model))
    assert "Transpose" not in operators(graph)
    assert graph.free_batch


def test_matmul_mul_add_chains_become_dense_layers(zoo):
    assert operators(agreement(onnx.load(zoo.load("ad_autoencoder").model))) == ["Dense"] * 10


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_published_topology_agrees_value_by_value(name):
    proto = with_random_weights(onnx.load(LIGHT / f"{name}.onnx"))
    graph = agreement(proto, intermediate=True)
    if "shufflenet" not in name:
        assert operators(graph).count("Transpose") <= 1  # of the input, from channels first
    assert "BatchNormalization" not in operators(graph)


def with_random_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its ConstantOfShape weights replaced."""
    rng = np.random.default_rng(7)
    graph = proto.graph
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    statistics = {
        name: kind
        for node in graph.node
        if node.op_type == "BatchNormalization"
        for kind, name in zip(("scale", "bias", "mean", "variance"), node.input[1:], strict=True)
    }
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape, name = tuple(known[node.input[0]]), node.output[0]
        match statistics.get(name):
            case "scale" | "variance":
                array = rng.uniform(0.5, 1.5, shape)
            case "bias" | "mean":
                array = rng.normal(0, 0.2, shape)
            case None if len(shape) == 1:
                array = rng.normal(0, 0.1, shape)
            case None:
                array = rng.standard_normal(shape, "f4")
                array *= np.sqrt(2 / np.prod(shape[1:]), dtype="f4")
        graph.initializer.append(numpy_helper.from_array(array.astype("f4", copy=False), name))
    del graph.node[:]
    graph.node.extend(kept)
    return proto
