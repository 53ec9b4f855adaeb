"""Moves, cuts, joins, resizes and reductions of a .tflite model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.converters.tflite.importing.call import Call, operator
from edgeinfer.errors import ModelError, UnsupportedError

__all__: list[str] = []

_REDUCTIONS = {
    "MEAN": "ReduceMean",
    "REDUCE_MAX": "ReduceMax",
    "REDUCE_MIN": "ReduceMin",
    "REDUCE_PROD": "ReduceProd",
    "SUM": "ReduceSum",
}
_REFLECT = 0

# beyond the end of any axis
_FAR = 2**31 - 1


def _axis(number: int, rank: int) -> int:
    if not -rank <= number < rank:
        raise ModelError(f"axis {number} is none of {rank}")
    return number % rank


# ---- the same elements


@operator("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def _reshape(call: Call) -> str:
    """To the shape that the file says the output has."""
    return call.reshaped(call.value(0), call.output(0).shape)


@operator("TRANSPOSE")
def _transpose(call: Call) -> str:
    order, rank = call.integers(1), len(call.shape(0))
    if sorted(order) != list(range(rank)):
        raise ModelError(f"{order} is no order of {rank} axes")
    return call("Transpose", call.value(0), perm=order) if order else call.value(0)


@operator("SHAPE")
def _shape(call: Call) -> str:
    return call("Shape", call.value(0))


@operator("BROADCAST_TO")
def _broadcast_to(call: Call) -> str:
    return call("Expand", call.value(0), call.array(call.integers(1), "shape"))


@operator("TILE")
def _tile(call: Call) -> str:
    return call("Tile", call.value(0), call.array(call.integers(1), "repeats"))


@operator("REVERSE_V2")
def _reverse(call: Call) -> str:
    axes = call.integers(1)
    return call(
        "Slice",
        call.value(0),
        call.array([-1] * len(axes), "starts"),
        call.array([-_FAR] * len(axes), "ends"),
        call.array(axes, "axes"),
        call.array([-1] * len(axes), "steps"),
    )


@operator("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def _depth_and_space(call: Call) -> str:
    """Blocks lie before channels, as in DepthToSpace's mode DCR."""
    name = "DepthToSpace" if call.name == "DEPTH_TO_SPACE" else "SpaceToDepth"
    x = call.channels_first(call.value(0))
    return call.channels_last(call(name, x, blocksize=call.option("BlockSize")))


# ---- some of them


@operator("SLICE")
def _slice(call: Call) -> str:
    starts, sizes = call.integers(1), call.integers(2)
    shape = call.shape(0)
    if not len(starts) == len(sizes) == len(shape):
        raise ModelError(f"{len(starts)} starts and {len(sizes)} sizes are not {len(shape)}")
    ends = [
        extent if size == -1 else start + size
        for start, size, extent in zip(starts, sizes, shape, strict=True)
    ]
    return _sliced(call, call.value(0), starts, ends, [1] * len(starts))


@operator("STRIDED_SLICE")
def _strided_slice(call: Call) -> str:
    """As NumPy's indices, of which bits say what is an axis, or left out."""
    if call.option("EllipsisMask") or call.option("NewAxisMask"):
        raise UnsupportedError("an ellipsis and new axes are not supported")
    begins, ends, steps = (call.integers(i) for i in (1, 2, 3))
    if not len(begins) == len(ends) == len(steps) <= len(call.shape(0)):
        raise ModelError(f"{len(begins)} starts do not fit shape {list(call.shape(0))}")
    alone, starts, stops = [], [], []
    for axis, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        if step == 0:
            raise ModelError("a step of 0 leads nowhere")
        is_alone = bool(call.option("ShrinkAxisMask") >> axis & 1)
        if is_alone:
            alone.append(axis)
            # one behind the last is the end
            end, steps[axis] = begin + 1 or _FAR, 1
        else:
            if call.option("BeginMask") >> axis & 1:
                begin = 0 if step > 0 else _FAR
            if call.option("EndMask") >> axis & 1:
                end = _FAR if step > 0 else -_FAR
        starts.append(begin)
        stops.append(end)
    y = _sliced(call, call.value(0), starts, stops, steps)
    return call("Squeeze", y, call.array(alone, "axes")) if alone else y


def _sliced(
    call: Call, x: str, starts: Sequence[int], ends: Sequence[int], steps: Sequence[int]
) -> str:
    """Along the first axes; those that are taken whole are left out."""
    shape = call.shape(0)
    axes = [
        axis
        for axis, (start, end, step) in enumerate(zip(starts, ends, steps, strict=True))
        if (start, step) != (0, 1) or end < shape[axis]
    ]
    if not axes:
        return x
    chosen = {"starts": starts, "ends": ends, "axes": range(len(shape)), "steps": steps}
    arrays = (call.array([each[axis] for axis in axes], name) for name, each in chosen.items())
    return call("Slice", x, *arrays)


@operator("SPLIT", "SPLIT_V")
def _split(call: Call) -> list[str]:
    """Into parts of one size, the axis first, or into parts of sizes, the axis last."""
    of, by = (1, 0) if call.name == "SPLIT" else (0, 2)
    rank = len(call.shape(of))
    axis = _axis(call.integer(by), rank)
    sizes = [call.result_shape(i, rank)[axis] for i in range(call.outputs)]
    array = call.array(sizes, "sizes")
    return call.several("Split", call.outputs, call.value(of), array, axis=axis)


@operator("UNPACK")
def _unpack(call: Call) -> list[str]:
    axis = _axis(call.option("Axis"), len(call.shape(0)))
    count = call.outputs
    parts = [call.value(0)]
    if count > 1:
        sizes = call.array([1] * count, "sizes")
        parts = call.several("Split", count, call.value(0), sizes, axis=axis)
    axes = call.array([axis], "axes")
    return [call("Squeeze", part, axes) for part in parts]


@operator("GATHER")
def _gather(call: Call) -> str:
    if call.options.get("BatchDims"):
        raise UnsupportedError("batch_dims are not supported")
    return call("Gather", call.value(0), call.value(1), axis=int(call.options.get("Axis", 0)))


# ---- more of them


@operator("CONCATENATION")
def _concatenation(call: Call) -> str:
    return call("Concat", *(call.value(i) for i in range(call.inputs)), axis=call.option("Axis"))


@operator("PACK")
def _pack(call: Call) -> str:
    axis = _axis(call.option("Axis"), len(call.shape(0)) + 1)
    axes = call.array([axis], "axes")
    parts = [call("Unsqueeze", call.value(i), axes) for i in range(call.inputs)]
    return call("Concat", *parts, axis=axis)


def _paddings(call: Call) -> str:
    """[axes, before and after] as ONNX has it."""
    numbers, rank = call.integers(1), len(call.shape(0))
    if len(numbers) != 2 * rank:
        raise ModelError(f"input 1 must hold 2 numbers for each of {rank} axes")
    around = np.array(numbers, np.int64).reshape(rank, 2)
    return call.array(around.T.reshape(-1), "pads")


@operator("PAD")
def _pad(call: Call) -> str:
    return call("Pad", call.value(0), _paddings(call))


@operator("PADV2")
def _pad_v2(call: Call) -> str:
    number = call.constant(2).reshape(-1)
    if number.size != 1:
        raise ModelError(f"it pads with {number.size} numbers")
    q, real = call.input(2).quantized, float(number[0])
    if q is not None:
        real = (real - float(q.zero_point[0])) * float(q.scale[0])
    return call("Pad", call.value(0), _paddings(call), call.array(real))


@operator("MIRROR_PAD")
def _mirror_pad(call: Call) -> str:
    if call.option("Mode") != _REFLECT:
        raise UnsupportedError("mode SYMMETRIC is not supported")
    return call("Pad", call.value(0), _paddings(call), mode="reflect")


@operator("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def _resize(call: Call) -> str:
    call.shape(0, 4)
    sizes = call.integers(1)
    if len(sizes) != 2:
        raise ModelError(f"it has {len(sizes)} sizes, not 2")
    how, rounds = "asymmetric", "floor"
    if call.option("AlignCorners"):
        how, rounds = "align_corners", "round_prefer_ceil"
    elif call.option("HalfPixelCenters"):
        how, rounds = "half_pixel", "round_prefer_ceil"
    is_linear = call.name == "RESIZE_BILINEAR"
    attributes = {"mode": "linear"} if is_linear else {"mode": "nearest", "nearest_mode": rounds}
    y = call(
        "Resize",
        call.channels_first(call.value(0)),
        "",
        "",
        call.array(sizes, "sizes"),
        axes=[2, 3],
        coordinate_transformation_mode=how,
        **attributes,
    )
    return call.channels_last(y)


# ---- of several, one


@operator(*_REDUCTIONS)
def _reduction(call: Call) -> str:
    rank = len(call.shape(0))
    axes = sorted({_axis(axis, rank) for axis in call.integers(1)})
    return call(
        _REDUCTIONS[call.name],
        call.value(0),
        call.array(axes, "axes"),
        keepdims=int(call.option("KeepDims")),
    )


@operator("ARG_MAX", "ARG_MIN")
def _place(call: Call) -> str:
    name = "ArgMax" if call.name == "ARG_MAX" else "ArgMin"
    axis = _axis(call.integer(1), len(call.shape(0)))
    return call(name, call.value(0), axis=axis, keepdims=0)
