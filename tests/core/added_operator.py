"""The steps of docs/architecture.md that add an operator, and a model with it through every stage.

A program of its own, as classes and rules that are registered stay.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from edgeinfer.arithmetic.pointwise import FUNCTIONS
from edgeinfer.converters import from_onnx
from edgeinfer.converters.onnx_operators.registry import importer
from edgeinfer.errors import UnsupportedError
from edgeinfer.files.model_file import read, save
from edgeinfer.graph import operators as ops
from edgeinfer.graph.operators.attributes import Axis
from edgeinfer.graph.shapes import shape_rule
from edgeinfer.hdl import compile
from edgeinfer.meaning import float_executor, reference
from edgeinfer.meaning.either import move
from edgeinfer.quant import quantize
from edgeinfer.runtime import catalogue
from edgeinfer.runtime.catalogue.call import strides_of
from edgeinfer.runtime.catalogue.moves import copy
from edgeinfer.runtime.session import Session

# ---- what moves elements: five edits ------------------------------------------------------------


@dataclass(frozen=True)
class Reverse(ops.Moving):
    """x with its elements along ``axis`` in the other order."""

    axis: Axis


@shape_rule.register
def _shape_of_reverse(op: Reverse, x: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return (x,)


@move.register
def _reverse(op: Reverse, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.flip(x, op.axis),)


@importer("ReverseSequence", makes=(Reverse,), ignores=("batch_axis",))
def _import_reverse(call):
    """Where all sequences are as long as the axis."""
    return call.emit(Reverse(call.integer("time_axis", 0)), call.operand(0))


@catalogue.lower.register
def _reversed_copy(op: Reverse, site: catalogue.KernelSite) -> list[catalogue.KernelCall]:
    shape = site.shape("x")
    steps = list(strides_of(shape))
    start = (shape[op.axis] - 1) * steps[op.axis]
    steps[op.axis] = -steps[op.axis]
    return [copy(site, shape, steps, in_start=start)]


# ---- a function of one variable: two edits ------------------------------------------------------

FUNCTIONS["shrink"] = (
    3,
    lambda x, bias, limit: np.where(x < -limit, x + bias, np.where(x > limit, x - bias, 0)),
)


@importer("Shrink", makes=(ops.Pointwise,))
def _import_shrink(call):
    parameters = (call.real("bias", 0.0), call.real("lambd", 0.5))
    return call.pointwise(("shrink", "x", *parameters), call.operand(0))


def main() -> None:
    nodes = [
        helper.make_node("Shrink", ["x"], ["s"], bias=0.5, lambd=0.5),
        helper.make_node("ReverseSequence", ["s", "lengths"], ["y"], batch_axis=0, time_axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "added",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 5, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5, 3])],
        [helper.make_tensor("lengths", TensorProto.INT64, [1], [5])],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    peer = onnxruntime.InferenceSession(model.SerializeToString())
    x = np.random.default_rng(0).normal(0, 2, (64, 1, 5, 3)).astype("f4")

    floats = from_onnx(model)
    for sample in x:
        (expected,) = peer.run(None, {"x": sample})
        found = float_executor.execute(floats, {"x": sample})["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    for scheme in ("int8", "int16x8", "int16"):
        integers = quantize(floats, x[:, 0], scheme=scheme)
        assert any(isinstance(node.op, Reverse) for node in integers.nodes)
        with tempfile.TemporaryDirectory() as folder:
            save(integers, Path(folder) / "added.eqm")
            integers = read(Path(folder) / "added.eqm")
        session = Session(integers)
        for sample in x:
            raw = integers.types["x"].quantization.quantize(sample, integers.types["x"].dtype)
            wanted = reference.execute(integers, {"x": raw})["y"]
            np.testing.assert_array_equal(session.run(raw), wanted, strict=True)
            assert np.abs(session.run(sample) - peer.run(None, {"x": sample})[0]).max() < 0.3
    try:
        compile(quantize(floats, x[:, 0]), "8x8")
    except UnsupportedError as error:
        print(error)


main()
