"""Operators on a .tflite model's variables."""

from __future__ import annotations

import numpy as np

from edgeinfer.converters.tflite.importing.call import Call, operator
from edgeinfer.converters.tflite.model import Model, Operator
from edgeinfer.errors import ModelError, UnsupportedError

__all__: list[str] = []


@operator("CALL_ONCE")
def _call_once(call: Call) -> tuple[()]:
    """What fills variables before the first run: zeros, with which a state begins, and no more."""
    index = int(call.option("InitSubgraphIndex"))
    if index not in call.form.model.once:
        raise ModelError(f"there is no graph {index} to be called once")
    first = call.form.model.once[index]
    for node in first.operators:
        if node.name == "ASSIGN_VARIABLE":
            _check_zeros(first, node)
        elif node.name != "VAR_HANDLE":
            raise UnsupportedError(f"{node.name} in a graph that is called once is not supported")
    return ()


@operator("VAR_HANDLE")
def _var_handle(call: Call) -> str:
    return "/".join(call.option(part) for part in ("Container", "SharedName"))


@operator("READ_VARIABLE")
def _read_variable(call: Call) -> str:
    handle = call.handle(0)
    return call.form.variables.read(handle, call.output(0), handle.split("/", 1)[1])


@operator("ASSIGN_VARIABLE")
def _assign_variable(call: Call) -> tuple[()]:
    call.form.variables.assign(call.handle(0), call.value(1))
    return ()


def _check_zeros(graph: Model, node: Operator) -> None:
    if len(node.inputs) != 2 or node.inputs[1] < 0:
        raise ModelError("ASSIGN_VARIABLE takes a handle and a value")
    tensor = graph.tensors[node.inputs[1]]
    if tensor.data is None:
        raise UnsupportedError("what a variable is first must be constant")
    zero_point = 0 if tensor.quantized is None else tensor.quantized.zero_point
    if np.any(tensor.data != zero_point):
        raise UnsupportedError(
            f"a variable that begins at other numbers than 0 ({tensor.name!r}) is not supported"
        )
