"""A .tflite model as plain tensors and operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["HANDLE", "Model", "Operator", "Quantized", "Tensor"]

HANDLE = np.dtype("V")
"""The type of a tensor that holds no numbers: it says which variable is meant."""


@dataclass(frozen=True)
class Quantized:
    """Which numbers a tensor's integers stand for.

    Parameters
    ----------
    scale : numpy.ndarray
        float32, one or one a channel.
    zero_point : numpy.ndarray
        int64, of the same shape.
    axis : int
        That of the channels.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int


@dataclass(frozen=True)
class Tensor:
    """A tensor; a constant one has ``data``.

    Parameters
    ----------
    name : str
        The first of those that the file has for what was fused into it; empty, or another's too,
        as it may be.
    shape : tuple of int
        Its shape.
    dtype : numpy.dtype
        The type of its elements.
    is_open : bool
        Whether the first axis has any extent.
    quantized : Quantized, optional
        Of a tensor of integers that stand for other numbers.
    data : numpy.ndarray, optional
        What a constant holds.
    is_variable : bool
        Whether a run leaves it to the next one.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_open: bool
    quantized: Quantized | None
    data: np.ndarray | None
    is_variable: bool = False


@dataclass(frozen=True)
class Operator:
    """An operator of TensorFlow Lite's.

    Parameters
    ----------
    name : str
        As the schema has it: CONV_2D.
    options : mapping of str to number or str
        The numbers and strings among its options, by their names in the schema: StrideW.
    inputs, outputs : tuple of int
        Places in the model's tensors; -1 where an optional one is left out.
    """

    name: str
    options: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Model:
    """The graph of a file that each run computes.

    Parameters
    ----------
    name : str
        The graph's.
    tensors : list of Tensor
        All of it.
    operators : list of Operator
        In order.
    inputs, outputs : tuple of int
        Places of the tensors that a caller gives, and gets.
    labels : dict of int to str
        Names that a signature gives to inputs and outputs.
    once : dict of int to Model
        Graphs of the file that run before the first run, by their places in it.
    """

    name: str
    tensors: list[Tensor]
    operators: list[Operator]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    labels: dict[int, str]
    once: dict[int, Model] = field(default_factory=dict)
