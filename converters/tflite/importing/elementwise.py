"""Functions and arithmetic of a .tflite model, element by element or along one axis."""

from __future__ import annotations

from onnx import TensorProto

from edgeinfer.converters.tflite.importing.call import Call, operator

__all__: list[str] = []

_SAME_IN_ONNX = {
    "ABS": "Abs",
    "ADD": "Add",
    "CEIL": "Ceil",
    "COS": "Cos",
    "DIV": "Div",
    "ELU": "Elu",
    "EQUAL": "Equal",
    "EXP": "Exp",
    "FLOOR": "Floor",
    "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterOrEqual",
    "HARD_SWISH": "HardSwish",
    "LESS": "Less",
    "LESS_EQUAL": "LessOrEqual",
    "LOG": "Log",
    "LOGICAL_AND": "And",
    "LOGICAL_NOT": "Not",
    "LOGICAL_OR": "Or",
    "LOGISTIC": "Sigmoid",
    "MAXIMUM": "Max",
    "MINIMUM": "Min",
    "MUL": "Mul",
    "NEG": "Neg",
    "POW": "Pow",
    "PRELU": "PRelu",
    "RELU": "Relu",
    "ROUND": "Round",
    "SELECT_V2": "Where",
    "SIGN": "Sign",
    "SIN": "Sin",
    "SQRT": "Sqrt",
    "SUB": "Sub",
    "TANH": "Tanh",
}


@operator(*_SAME_IN_ONNX)
def _same(call: Call) -> str:
    return call(_SAME_IN_ONNX[call.name], *(call.value(i) for i in range(call.inputs)))


@operator("ADD_N")
def _sum(call: Call) -> str:
    return call("Sum", *(call.value(i) for i in range(call.inputs)))


@operator("NOT_EQUAL")
def _not_equal(call: Call) -> str:
    return call("Not", call("Equal", call.value(0), call.value(1)))


@operator("SELECT")
def _select(call: Call) -> str:
    """By row, where the condition is a vector."""
    condition, rank = call.value(0), len(call.shape(1))
    if len(call.shape(0)) == 1 < rank:
        condition = call("Reshape", condition, call.array([-1] + [1] * (rank - 1), "shape"))
    return call("Where", condition, call.value(1), call.value(2))


@operator("SQUARE")
def _square(call: Call) -> str:
    return call("Mul", call.value(0), call.value(0))


@operator("SQUARED_DIFFERENCE")
def _squared_difference(call: Call) -> str:
    difference = call("Sub", call.value(0), call.value(1))
    return call("Mul", difference, difference)


@operator("RSQRT")
def _rsqrt(call: Call) -> str:
    return call("Reciprocal", call("Sqrt", call.value(0)))


@operator("RELU6")
def _relu6(call: Call) -> str:
    return call("Clip", call.value(0), call.array(0.0), call.array(6.0))


@operator("RELU_N1_TO_1")
def _relu_1(call: Call) -> str:
    return call("Clip", call.value(0), call.array(-1.0), call.array(1.0))


@operator("RELU_0_TO_1")
def _relu_0_to_1(call: Call) -> str:
    return call("Clip", call.value(0), call.array(0.0), call.array(1.0))


@operator("LEAKY_RELU")
def _leaky_relu(call: Call) -> str:
    return call("LeakyRelu", call.value(0), alpha=float(call.option("Alpha")))


@operator("GELU")
def _gelu(call: Call) -> str:
    how = "tanh" if call.option("Approximate") else "none"
    return call("Gelu", call.value(0), approximate=how)


@operator("SOFTMAX")
def _softmax(call: Call) -> str:
    x, beta = call.value(0), float(call.option("Beta"))
    if beta != 1:
        x = call("Mul", x, call.array(beta))
    return call("Softmax", x, axis=-1)


@operator("LOG_SOFTMAX")
def _log_softmax(call: Call) -> str:
    return call("LogSoftmax", call.value(0), axis=-1)


@operator("L2_NORMALIZATION")
def _l2_normalization(call: Call) -> str:
    return call("LpNormalization", call.value(0), axis=-1, p=2)


@operator("CAST")
def _cast(call: Call) -> str:
    to = {"f": TensorProto.FLOAT, "b": TensorProto.BOOL}
    return call("Cast", call.value(0), to=to.get(call.output(0).dtype.kind, TensorProto.INT64))


@operator("DEQUANTIZE", "QUANTIZE")
def _same_numbers(call: Call) -> str:
    """The numbers that integers stand for; how they are rounded, the output's type says."""
    return call.value(0)
