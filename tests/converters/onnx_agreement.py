"""Builds small ONNX models and holds the float executor's values against onnxruntime's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from edgeinfer.converters import from_onnx
from edgeinfer.graph import Graph
from edgeinfer.meaning.float_executor import execute

__all__ = ["NEWEST", "agreement", "model", "node", "onnxruntime_values", "operators"]

TOLERANCE = 1e-4
# what onnxruntime guarantees to run; the importer takes what onnx knows
NEWEST = 23

node = helper.make_node


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str | None] | None = (1, 4, 6, 5),
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
    inputs: Mapping[str, Sequence[int | str | None]] | None = None,
    outputs: Sequence[str] = ("y",),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model from input ``x`` of ``shape`` to ``outputs``; float64 constants become float32."""
    arrays = {name: np.asarray(value) for name, value in (constants or {}).items()}
    initializers = [
        numpy_helper.from_array(a.astype("f4") if a.dtype == np.float64 else a, name)
        for name, a in arrays.items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "test",
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, extents)
            for name, extents in (inputs or {"x": shape}).items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        initializers,
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(f.domain, 1) for f in functions]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)


def operators(graph: Graph) -> list[str]:
    """The operators of a Graph, in order."""
    return [type(n.op).__name__ for n in graph.nodes]


def agreement(
    proto: onnx.ModelProto,
    *,
    feeds: Mapping[str, np.ndarray] | None = None,
    intermediate: bool = False,
    seed: int = 1,
    **options: Any,
) -> Graph:
    """Import ``proto``, run it on random inputs, assert onnxruntime's values; gives the Graph."""
    graph = from_onnx(proto, **options)
    rng = np.random.default_rng(seed)
    if feeds is None:
        feeds = {
            name: rng.normal(size=graph.types[name].shape).astype("f4") for name in graph.inputs
        }
    seen: dict[str, np.ndarray] = {}
    found = execute(graph, feeds, observe=seen.__setitem__)
    outputs = [value.name for value in proto.graph.output]
    assert list(found) == outputs
    computed = {name for n in proto.graph.node for name in n.output}
    between = [n for n in seen if n in computed and n not in outputs] if intermediate else []
    expected = onnxruntime_values(proto, feeds, outputs + between)
    for name in outputs:
        assert found[name].shape == expected[name].shape, name
        assert _error(found[name], expected[name]) <= TOLERANCE, name
    for name in between:
        assert _error_in_some_order(seen[name], expected[name]) <= TOLERANCE, name
    return graph


def onnxruntime_values(
    proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """What onnxruntime computes for the values ``names``, be they outputs or between."""
    known = {value.name for value in proto.graph.output}
    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    watched.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in names if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options)
    return dict(zip(names, session.run(list(names), dict(feeds)), strict=True))


def _error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest magnitude; NaN where either has one."""
    largest = max(float(np.abs(expected).max()), 1e-6)
    return float(np.abs(found.astype("f8") - expected.astype("f8")).max()) / largest


def _error_in_some_order(found: np.ndarray, expected: np.ndarray) -> float:
    """The error of a value whose axes may be in another order, or of extent 1 and gone.

    Where the model has flattened them, only the elements can be compared, sorted.
    """
    long = [n for n in found.shape if n > 1]
    wanted = tuple(n for n in expected.shape if n > 1)
    orders = [
        order
        for order in itertools.permutations(range(len(long)))
        if tuple(long[a] for a in order) == wanted
    ]
    if not orders:
        return _error(np.sort(found, axis=None), np.sort(expected, axis=None))
    squeezed = found.reshape(long)
    return min(_error(squeezed.transpose(order), expected.reshape(wanted)) for order in orders)
