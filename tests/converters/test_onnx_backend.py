"""What the importer takes of the tests that ONNX ships for its operators, it computes right."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeinfer.converters import from_onnx
from edgeinfer.converters.onnx_operators import IMPORTERS
from edgeinfer.errors import EdgeInferError
from edgeinfer.meaning.float_executor import execute

# the importer folds these, or takes them apart
FOLDED = {"Constant", "ConstantOfShape", "Shape", "Size", "If"}

# onnxruntime aligns the corners of the extent that there is, not of a fractional one
DIFFERENT = {f"test_resize_downsample_scales_{mode}_align_corners" for mode in ("linear", "cubic")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # NumPy's, where onnx makes its expectations
def test_what_is_taken_of_onnxs_own_tests_is_computed_right():
    from onnx.backend.test.loader import load_model_tests

    computed = 0
    for case in load_model_tests(kind="node"):
        names = {node.op_type for node in case.model.graph.node}
        # a bfloat16 expectation is rounded to 8 bits, the Graph computes in float32
        if case.name in DIFFERENT or "bfloat16" in case.name.lower():
            continue
        if names <= IMPORTERS.keys() | FOLDED:
            results = [
                is_right(proto, inputs, outputs, case.name)
                for inputs, outputs in case.data_sets
                for proto in (case.model, with_known_parameters(case.model, inputs))
            ]
            computed += any(results)
    assert computed > 400


def is_right(proto: onnx.ModelProto, inputs: list[Any], outputs: list[Any], name: str) -> bool:
    """Whether the model was taken; then its outputs are asserted."""
    try:
        graph = from_onnx(proto)
    except EdgeInferError:
        return False
    given = dict(zip((value.name for value in proto.graph.input), map(array, inputs), strict=False))
    if any(given[i].shape != graph.types[i].shape for i in graph.inputs):
        return False  # an open batch that was not bound to this one
    feeds = {i: given[i].astype(graph.types[i].dtype) for i in graph.inputs}
    found = execute(graph, feeds)
    for output, expected in zip(graph.outputs, map(array, outputs), strict=True):
        assert found[output].shape == expected.shape, name
        expected = expected.astype(found[output].dtype)
        np.testing.assert_allclose(found[output], expected, rtol=1e-3, atol=1e-5, err_msg=name)
    return True


def with_known_parameters(proto: onnx.ModelProto, inputs: list[Any]) -> onnx.ModelProto:
    """The model with all inputs but the first as initializers, as a real one has its weights."""
    known = onnx.ModelProto()
    known.CopyFrom(proto)
    for value, given in list(zip(proto.graph.input, inputs, strict=False))[1:]:
        if value.type.HasField("tensor_type"):
            tensor = numpy_helper.from_array(array(given), value.name)
            known.graph.initializer.append(tensor)
    return known


def array(value: Any) -> np.ndarray:
    return (
        numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    )
