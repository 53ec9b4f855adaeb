"""An ONNX file into a function of its inputs, by onnxruntime or onnx's own evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.errors import InputError

if TYPE_CHECKING:
    from edgeinfer.quant.judgement import Reference

__all__ = ["onnx_peer"]


def onnx_peer(path: Path, constants: Mapping[str, float]) -> Reference:
    """Outputs by name, computed by whichever of the two is installed.

    ``constants`` are the numbers that inputs have in each run.

    A run raises ``InputError`` where the peer cannot run the model.
    """

    def run(feed: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        try:
            return _run(path, feed, constants)
        except Exception as error:  # whatever the peer raises says that it cannot
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{path.name} cannot be run to compare with: {reason}") from error

    return run


def _run(
    path: Path, feed: Mapping[str, np.ndarray], constants: Mapping[str, float]
) -> Mapping[str, np.ndarray]:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return _evaluated(path, feed, constants)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # fused, quantized layers run on kernels that saturate on processors without VNNI
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(str(path), options)
    dtypes = {i.name: i.type for i in session.get_inputs()}
    shapes = {i.name: i.shape for i in session.get_inputs()}
    given = _filled(feed, constants, shapes)
    typed = {name: array.astype(_numpy(dtypes[name])) for name, array in given.items()}
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, typed), strict=True))


def _numpy(kind: str) -> Any:
    """The NumPy type of onnxruntime's ``tensor(float)``."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64", "bool": "bool"}.get(name, name))


def _filled(
    feed: Mapping[str, np.ndarray],
    constants: Mapping[str, float],
    shapes: Mapping[str, Sequence[int]],
) -> dict[str, np.ndarray]:
    """``feed`` and the constants in their inputs' shapes."""
    return {**feed, **{name: np.full(shapes[name], n) for name, n in constants.items()}}


def _evaluated(
    path: Path, feed: Mapping[str, np.ndarray], constants: Mapping[str, float]
) -> Mapping[str, np.ndarray]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx.load(path))
    dtypes = {
        i.name: onnx.helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type)
        for i in evaluator.proto_.graph.input
    }
    shapes = {
        i.name: [d.dim_value for d in i.type.tensor_type.shape.dim]
        for i in evaluator.proto_.graph.input
    }
    given = _filled(feed, constants, shapes)
    typed = {name: array.astype(dtypes[name]) for name, array in given.items()}
    return dict(zip(evaluator.output_names, evaluator.run(None, typed), strict=True))
