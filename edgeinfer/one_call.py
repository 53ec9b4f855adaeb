"""A model's file and samples into an integer Graph, in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeinfer.graph import Graph

if TYPE_CHECKING:
    import onnx
    from numpy.typing import ArrayLike

    from edgeinfer.data.samples import Data

__all__ = ["quantize"]


def quantize(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
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
    model : path, bytes, onnx.ModelProto or Graph
        An ONNX model, the path of a .tflite one, or a float Graph.
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
    from edgeinfer.converters import from_onnx, from_tflite
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
        if isinstance(model, str | os.PathLike) and Path(model).suffix.lower() == ".tflite":
            model = from_tflite(model, **how)
        else:
            model = from_onnx(model, allow_links=allow_links, **how)
    return make_integer(model, data, **options)
