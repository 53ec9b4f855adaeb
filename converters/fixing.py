"""Gives inputs of an ONNX model their values once and for all, such as a sample rate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike

from edgeinfer.errors import InputError, ModelFileError

__all__ = ["fix_inputs", "given_numbers", "numbers_given"]

_GIVEN = "input "  # before names of inputs in a Graph's provenance


def fix_inputs(model: ir.Model, values: Mapping[str, ArrayLike]) -> None:
    """Make inputs of the main graph constants, in place.

    Parameters
    ----------
    model : onnx_ir.Model
        The model, without functions.
    values : mapping of str to array_like
        By the name of an input its value: of its shape, or what is broadcast to that.

    Raises
    ------
    InputError
        A name is that of no input, or a value does not fit the input's type or shape.
    """
    graph = model.graph
    inputs = {str(v.name): v for v in graph.inputs if v.name not in graph.initializers}
    for name, given in values.items():
        if name not in inputs:
            raise InputError(
                f"a value is given for {name!r}, which is no input of the model; "
                f"its inputs are: {', '.join(inputs)}"
            )
        value = inputs[name]
        array = _fitted(value, given)
        graph.inputs.remove(value)
        value.const_value = ir.tensor(array, name=name)
        value.shape = ir.Shape(array.shape)
        graph.register_initializer(value)


def given_numbers(values: Mapping[str, ArrayLike]) -> dict[str, str]:
    """What a Graph's provenance says of ``values``: those that are single numbers."""
    arrays = {name: np.asarray(value) for name, value in values.items()}
    return {f"{_GIVEN}{n}": repr(a.item()) for n, a in arrays.items() if a.size == 1}


def numbers_given(provenance: Mapping[str, str]) -> dict[str, float]:
    """The numbers that ``given_numbers`` noted in a Graph's provenance, by input.

    Raises
    ------
    ModelFileError
        What stands there is no number.
    """
    try:
        return {
            key.removeprefix(_GIVEN): float(text)
            for key, text in provenance.items()
            if key.startswith(_GIVEN)
        }
    except ValueError:
        raise ModelFileError(
            "the provenance names a value of an input, which is no number"
        ) from None


def _fitted(value: ir.Value, given: ArrayLike) -> np.ndarray:
    """``given`` in the type and shape of the input ``value``."""
    array = np.asarray(given)
    if value.dtype is None or array.dtype.kind not in "biuf":
        raise InputError(f"input {value.name!r} cannot be {given!r}: only numbers are given")
    dtype = value.dtype.numpy()
    with np.errstate(invalid="ignore", over="ignore"):
        typed = array.astype(dtype)
    if dtype.kind in "biu" and not np.array_equal(typed, array):
        raise InputError(f"input {value.name!r} holds {value.dtype}, which cannot be {given!r}")
    if value.shape is None:
        return typed
    declared = list(value.shape)
    extents = [extent if isinstance(extent, int) else None for extent in declared]
    shape = typed.shape
    if None not in extents:
        try:
            return np.broadcast_to(typed, [int(n or 0) for n in extents]).copy()
        except ValueError:
            pass
    elif len(shape) == len(extents) and all(
        wanted in (None, n) for wanted, n in zip(extents, shape, strict=True)
    ):
        return typed
    shown = ", ".join("?" if n is None else str(n) for n in extents)
    raise InputError(f"input {value.name!r} has shape [{shown}], not {list(shape)}")
