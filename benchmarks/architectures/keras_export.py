"""A Keras model into an ONNX file, by tf2onnx."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf2onnx

from architectures.files import Exported
from architectures.inputs import Input, feeds

_OPSET = 18
_BATCH = 8
# as in weights.py
_SHIFT = 0.8


@dataclass(frozen=True)
class KerasModel:
    """What to export.

    Parameters
    ----------
    model : keras.Model
        With weights of any kind, which are drawn anew.
    inputs : sequence of Input
        What it takes, with the names of its inputs, channels last.
    """

    model: Any
    inputs: Sequence[Input]

    def export(self, name: str, family: str, folder: Path) -> Exported:
        """Write NAME.tf2onnx.onnx to ``folder``."""
        runs = feeds(self.inputs, _BATCH, seed=1)
        batch = [np.concatenate([run[i.name] for run in runs]) for i in self.inputs]
        randomize(self.model, batch if len(batch) > 1 else batch[0])
        origin = f"keras {keras.__version__}, tf2onnx {tf2onnx.__version__}"
        exported = Exported(name, family, list(self.inputs), origin=origin)
        path = folder / f"{name}.tf2onnx.onnx"
        signature = [tf.TensorSpec(i.shape, i.dtype, name=i.name) for i in self.inputs]

        @tf.function(input_signature=signature)
        def run(*arrays):
            return self.model(list(arrays) if len(arrays) > 1 else arrays[0], training=False)

        try:
            tf2onnx.convert.from_function(
                run, input_signature=signature, opset=_OPSET, output_path=str(path)
            )
            exported.files["tf2onnx"] = path.name
        except Exception as error:  # whatever the exporter raises says that it cannot
            path.unlink(missing_ok=True)
            exported.errors["tf2onnx"] = f"{type(error).__name__}: {str(error).strip()[:300]}"
        return exported


def randomize(model: Any, batch: Any) -> None:
    """Draw what begins as ones and zeros, then let ``batch`` set the batch norms' statistics."""
    rng = np.random.default_rng(0)

    def normal(shape: Sequence[int], std: float) -> np.ndarray:
        return rng.normal(0, std, tuple(shape)).astype(np.float32)

    norms = []
    for layer in _layers(model):
        if isinstance(layer, keras.layers.Normalization):
            # tensors would become inputs of the ONNX model that nobody gives
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
        if isinstance(layer, keras.layers.BatchNormalization):
            norms.append(layer)
        for variable in layer.weights if not hasattr(layer, "layers") else ():
            kind = variable.name.rsplit("/")[-1].removesuffix(":0")
            if kind == "gamma":
                variable.assign(1 + normal(variable.shape, 0.2))
            elif kind == "beta":
                shift = _SHIFT * isinstance(layer, keras.layers.BatchNormalization)
                variable.assign(shift + normal(variable.shape, 0.2))
            elif kind == "bias":
                variable.assign(normal(variable.shape, 0.1))
            elif "kernel" in kind and len(variable.shape) > 1:
                spread = np.exp(normal(variable.shape[-1:], 0.3))
                variable.assign(np.asarray(variable) * 1.4 * spread)
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        model(batch, training=True)
    for norm in norms:
        spread = np.sqrt(np.asarray(norm.moving_variance))
        moved = np.asarray(norm.moving_mean) + spread * normal(spread.shape, 0.1)
        norm.moving_mean.assign(moved)
        norm.moving_variance.assign(spread**2 * np.exp(normal(spread.shape, 0.2)))


def _layers(model: Any) -> list[Any]:
    """All layers, those of models within the model too."""
    found = []
    for layer in model.layers:
        found += [layer, *(_layers(layer) if hasattr(layer, "layers") else ())]
        found += [inner for inner in (getattr(layer, "layer", None),) if inner is not None]
    return found
