"""Convolutions, dense layers, products and pools of a .tflite model."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.converters.same_pads import same_pads
from edgeinfer.converters.tflite.importing.call import Call, operator
from edgeinfer.errors import ModelError, UnsupportedError

__all__: list[str] = []

_SAME, _VALID = 0, 1


def _pads(
    call: Call,
    extents: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int] = (1, 1),
) -> list[int]:
    """What SAME or VALID pads before and after, as ONNX has it."""
    how = call.option("Padding")
    if how not in (_SAME, _VALID):
        raise ModelError(f"padding {how} is not known")
    if how == _VALID:
        return [0] * (2 * len(kernel))
    pads = list(map(same_pads, extents, kernel, strides, dilations))
    return [before for before, _ in pads] + [after for _, after in pads]


def _strides(call: Call) -> list[int]:
    strides = [call.option("StrideH"), call.option("StrideW")]
    if min(strides) < 1:
        raise ModelError(f"strides must be 1 or more, not {strides}")
    return strides


def _dilations(call: Call) -> list[int]:
    dilations = [call.option("DilationHFactor"), call.option("DilationWFactor")]
    if min(dilations) < 1:
        raise ModelError(f"dilations must be 1 or more, not {dilations}")
    return dilations


def _convolution(call: Call, weights: str, kernel: Sequence[int], group: int) -> str:
    extents, strides, dilations = call.shape(0, 4)[1:3], _strides(call), _dilations(call)
    y = call(
        "Conv",
        call.channels_first(call.value(0)),
        weights,
        *([call.value(2)] if call.has(2) else []),
        group=group,
        strides=strides,
        dilations=dilations,
        pads=_pads(call, extents, kernel, strides, dilations),
    )
    return call.channels_last(y)


@operator("CONV_2D")
def _conv_2d(call: Call) -> str:
    """Weights [O,kh,kw,I/group]."""
    _, *kernel, depth = call.shape(1, 4)
    channels = call.shape(0, 4)[3]
    if depth < 1 or channels % depth:
        raise ModelError(f"{channels} channels do not divide into groups of {depth}")
    weights = call.weights(1, (0, 3, 1, 2), 0)
    return _convolution(call, weights, kernel, channels // depth)


@operator("DEPTHWISE_CONV_2D")
def _depthwise_conv_2d(call: Call) -> str:
    """Weights [1,kh,kw,O]."""
    one, *kernel, _ = call.shape(1, 4)
    if one != 1:
        raise ModelError(f"input 1 must have one row of weights, not {one}")
    weights = call.weights(1, (3, 0, 1, 2), 0)
    return _convolution(call, weights, kernel, call.shape(0, 4)[3])


@operator("TRANSPOSE_CONV")
def _transpose_conv(call: Call) -> str:
    """The output's shape, weights [O,kh,kw,I], x, optional bias."""
    _, *kernel, _ = call.shape(1, 4)
    strides, extents, wanted = _strides(call), call.shape(2, 4)[1:3], call.result_shape(0, 4)[1:3]
    pads, more = [], []
    for extent, k, stride, size in zip(extents, kernel, strides, wanted, strict=True):
        total = (extent - 1) * stride + k - size
        pads.append(max(total, 0))
        more.append(max(-total, 0))
    before = [total // 2 for total in pads]
    after = [total - less for total, less in zip(pads, before, strict=True)]
    y = call(
        "ConvTranspose",
        call.channels_first(call.value(2)),
        call.weights(1, (3, 0, 1, 2), 1),
        *([call.value(3)] if call.has(3) else []),
        strides=strides,
        pads=before + after,
        output_padding=more,
    )
    return call.channels_last(y)


@operator("FULLY_CONNECTED")
def _fully_connected(call: Call) -> str:
    """Weights [O,I]."""
    if call.option("WeightsFormat"):
        raise UnsupportedError("its weights are shuffled")
    x, shape, width = call.value(0), call.shape(0), call.shape(1, 2)[1]
    if call.option("KeepNumDims"):
        if shape[-1:] != (width,):
            raise ModelError(f"weights of {width} columns do not fit shape {list(shape)}")
    elif len(shape) != 2 or shape[1] != width:
        x = call("Reshape", x, call.array([-1, width], "shape"))
    bias = [call.value(2)] if call.has(2) else []
    if call.input(1).data is None:
        turned = call("Transpose", call.value(1), perm=[1, 0])
    elif len(call.output(0).shape) == 2:
        return call("Gemm", x, call.weights(1, (0, 1), 0), *bias, transB=1)
    else:
        turned = call.weights(1, (1, 0), 1)
    y = call("MatMul", x, turned)
    return call("Add", y, *bias) if bias else y


@operator("BATCH_MATMUL")
def _batch_mat_mul(call: Call) -> str:
    operands = []
    for index, is_turned in enumerate((call.option("AdjX"), call.option("AdjY"))):
        value, order = call.value(index), list(range(len(call.shape(index))))
        if is_turned:
            order[-2:] = order[:-3:-1]
            value = call("Transpose", value, perm=order)
        operands.append(value)
    return call("MatMul", *operands)


@operator("AVERAGE_POOL_2D", "MAX_POOL_2D")
def _pool_2d(call: Call) -> str:
    kernel, strides = [call.option("FilterHeight"), call.option("FilterWidth")], _strides(call)
    if min(kernel) < 1:
        raise ModelError(f"windows must have 1 element or more, not {kernel}")
    y = call(
        "MaxPool" if call.name == "MAX_POOL_2D" else "AveragePool",
        call.channels_first(call.value(0)),
        kernel_shape=kernel,
        strides=strides,
        pads=_pads(call, call.shape(0, 4)[1:3], kernel, strides),
    )
    return call.channels_last(y)
