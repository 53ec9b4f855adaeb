"""A .tflite model's variables, which one run leaves for the next, as inputs and outputs."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from edgeinfer.converters.tflite.model import Tensor
from edgeinfer.errors import ModelError
from edgeinfer.graph.names import DistinctNames

__all__ = ["Variable", "Variables"]


@dataclass
class Variable:
    """A variable, once it is read.

    Parameters
    ----------
    tensor : Tensor
        Its type and shape.
    input, output : str
        What holds it before a run, and after.
    value : str
        What it is where the nodes that are made so far end.
    """

    tensor: Tensor
    input: str
    output: str
    value: str


class Variables:
    """All of them, by what identifies each.

    Parameters
    ----------
    names : DistinctNames
        Those of the model's values.
    """

    def __init__(self, names: DistinctNames) -> None:
        self._names = names
        self._values: dict[Hashable, str] = {}
        self._read: dict[Hashable, Variable] = {}

    @property
    def kept(self) -> list[Variable]:
        """Those that are read before they are assigned, in that order."""
        for key, variable in self._read.items():
            variable.value = self._values[key]
        return list(self._read.values())

    def read(self, key: Hashable, tensor: Tensor, name: str) -> str:
        """The value of a variable, called ``name``, whose type and shape are those of ``tensor``.

        Raises
        ------
        ModelError
            It has been read in another shape or type.
        """
        if key not in self._values:
            source = self._names.claim(self._names.made(name or "variable"))
            result = self._names.claim(self._names.made(f"{source}/next"))
            self._read[key] = Variable(tensor, source, result, source)
            self._values[key] = source
        known = self._read.get(key)
        if known is not None and (known.tensor.shape, known.tensor.dtype) != (
            tensor.shape,
            tensor.dtype,
        ):
            raise ModelError(f"variable {name!r} has several types")
        return self._values[key]

    def assign(self, key: Hashable, value: str) -> None:
        """Let a variable be ``value`` from here on."""
        self._values[key] = value
