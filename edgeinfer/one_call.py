"""An ONNX file and samples into an integer Graph, in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeinfer.data.samples import Data
    from edgeinfer.graph import Graph

__all__ = ["quantize"]


def quantize(
    model: str | os.PathLike[str] | Graph,
    data: Data,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    **options: Any,
) -> Graph:
    """Import ``model`` and make all of it integer.

    Parameters
    ----------
    model : path or Graph
        An ONNX file, or a float Graph.
    data : array, dict of arrays, or iterable of either
        Calibration samples as the model takes them, a hundred or so.
    input_shapes : mapping of str to sequence of int, optional
        Whole shapes by input name, where a file leaves axes open.
    options
        Those of ``edgeinfer.quant.quantize``: ``scheme``, ``overrides`` and others.

    Raises
    ------
    EdgeInferError
        As ``edgeinfer.converters.from_onnx`` and ``edgeinfer.quant.quantize`` do.
    """
    # what only runs models needs neither
    from edgeinfer.converters import from_onnx
    from edgeinfer.quant import quantize as make_integer

    if isinstance(model, str | os.PathLike):
        model = from_onnx(model, input_shapes=input_shapes)
    return make_integer(model, data, **options)
