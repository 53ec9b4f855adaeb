"""A function of one variable as ONNX nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.converters.qdq.writer import ModelWriter
from edgeinfer.errors import UnsupportedError

__all__ = ["write_expression"]

# by function: ONNX's operator for it, of as many inputs as the function has arguments
_SAME = {
    "abs": "Abs",
    "acos": "Acos",
    "acosh": "Acosh",
    "add": "Add",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "ceil": "Ceil",
    "clip": "Clip",
    "cos": "Cos",
    "cosh": "Cosh",
    "div": "Div",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "gelu": "Gelu",
    "hard_swish": "HardSwish",
    "log": "Log",
    "max": "Max",
    "min": "Min",
    "mish": "Mish",
    "mul": "Mul",
    "neg": "Neg",
    "pow": "Pow",
    "reciprocal": "Reciprocal",
    "relu": "Relu",
    "round": "Round",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "sqrt": "Sqrt",
    "sub": "Sub",
    "tan": "Tan",
    "tanh": "Tanh",
}

# by function whose further arguments are numbers: the operator, and the attributes that they are
_ATTRIBUTES = {
    "celu": ("Celu", ("alpha",)),
    "elu": ("Elu", ("alpha",)),
    "hard_sigmoid": ("HardSigmoid", ("alpha", "beta")),
    "leaky_relu": ("LeakyRelu", ("alpha",)),
    "selu": ("Selu", ("alpha", "gamma")),
    "thresholded_relu": ("ThresholdedRelu", ("alpha",)),
}


def write_expression(expression: Expression, x: str, to: ModelWriter) -> str:
    """The tensor of the function's values of the tensor ``x``.

    Raises
    ------
    UnsupportedError
        ONNX has no operator for a function.
    """
    if expression == "x":
        return x
    if isinstance(expression, float | int):
        return to.constant(np.array(expression, np.float32), "number")
    function, *arguments = expression
    if function in _ATTRIBUTES and all(isinstance(a, float | int) for a in arguments[1:]):
        operator, names = _ATTRIBUTES[function]
        attributes: dict[str, Any] = dict(zip(names, map(float, arguments[1:]), strict=True))
        return to.node(operator, write_expression(arguments[0], x, to), **attributes)
    if function == "gelu_tanh":
        return to.node("Gelu", write_expression(arguments[0], x, to), approximate="tanh")
    if function not in _SAME:
        raise UnsupportedError(f"the function {function} has no operator of ONNX's")
    return to.node(_SAME[function], *(write_expression(a, x, to) for a in arguments))
