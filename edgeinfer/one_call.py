"""A model's file and samples into an integer Graph, in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.files.file_name import as_path
from edgeinfer.graph import Graph
from edgeinfer.shortage import tells_shortage

if TYPE_CHECKING:
    import onnx
    from numpy.typing import ArrayLike

    from edgeinfer.data.samples import Data

__all__ = ["quantize"]


@tells_shortage
def quantize(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph | Any,
    data: Data,
    *,
    batch: int = 1,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    allow_links: bool = False,
    constants: Mapping[str, ArrayLike] | None = None,
    states: Mapping[str, str] | Literal["auto"] | None = None,
    **options: Any,
) -> Graph:
    """Import ``model`` and make all of it integer.

    Parameters
    ----------
    model : path, bytes, onnx.ModelProto, Graph, or a model of PyTorch, Keras or scikit-learn
        An ONNX model; the path of a .tflite, .pt2 or .keras file; a float Graph; a torch.nn.Module,
        a keras.Model or an estimator.
    data : array, dict of arrays, or iterable of either
        Calibration samples as the model takes them, a hundred or so.
    batch, input_shapes, inputs, outputs, allow_links, constants, states
        How the model is imported: the options of ``edgeinfer.converters.from_onnx``.
    options
        Those of ``edgeinfer.quant.quantize``: ``scheme``, ``overrides`` and others.

    Raises
    ------
    EdgeInferError
        As ``edgeinfer.converters.from_onnx`` and ``edgeinfer.quant.quantize`` do.
    """
    # what only runs models needs neither
    from edgeinfer.quant import quantize as make_integer

    if not isinstance(model, Graph):
        how: dict[str, Any] = {
            "batch": batch,
            "input_shapes": input_shapes,
            "inputs": inputs,
            "outputs": outputs,
            "constants": constants,
            "states": states,
        }
        model = _imported(model, data, allow_links, how)
    return make_integer(model, data, **options)


def _imported(model: Any, data: Data, allow_links: bool, how: dict[str, Any]) -> Graph:
    """By what ``model`` is: a file by its name, an object by whose class it has."""
    from edgeinfer import converters

    if isinstance(model, str | os.PathLike):
        model = converters.as_onnx(as_path(model))
    elif not isinstance(model, bytes):
        packages = {base.__module__.split(".")[0] for base in type(model).__mro__}
        if "keras" in packages:
            return converters.from_keras(model, **how)
        if "torch" in packages:
            return converters.from_pytorch(model, _first(data), **how)
        if "sklearn" in packages:
            return converters.from_sklearn(model, **how)
    return converters.from_onnx(model, allow_links=allow_links, **how)


def _first(data: Data) -> Any:
    """The first sample, which a module of PyTorch is exported with."""
    match data:
        case np.ndarray():
            return data[:1]
        case Mapping():
            return {name: np.asarray(array)[:1] for name, array in data.items()}
        case [first, *_]:
            return _first(first)
    raise InputError("a module of PyTorch is exported with the first sample: give arrays or a list")
