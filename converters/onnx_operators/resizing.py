"""Turns ONNX's Resize and Upsample into explicit source rows and columns, and their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.spatial import apply_nhwc
from edgeinfer.converters.onnx_operators.values import Operand
from edgeinfer.converters.onnx_operators.volumes import apply_to_volume
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []

_MAX_EXTENT = 2**20


@dataclass(frozen=True)
class _Axis:
    """How one axis is resized: extents before and after, the scale, the region of interest."""

    before: int
    after: int
    scale: np.float32
    region: tuple[float, float]


# each concerns some modes alone, and none is read where nothing is resized
_IGNORED = (
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "antialias",
    "coordinate_transformation_mode",
    "mode",
    "nearest_mode",
)


@importer(
    "Resize",
    "Upsample",
    makes=(ops.ResizeNearest, ops.Resize),
    integers=True,
    ignores=_IGNORED,
)
def _resize(call: Call) -> Operand:
    x = call.operand(0)
    axes = _resized_axes(call, x)
    rank = len(x.shape)
    moved = {a for a, axis in enumerate(axes) if axis != _kept(axis.before)}
    if not moved:
        return x
    if rank in (3, 4) and moved <= {2, rank - 1}:
        height = _kept(1) if rank == 3 else axes[2]
        return apply_nhwc(call, _operator(call, height, axes[-1]), x)
    if rank == 4 and moved <= {1, 2}:
        return call.emit(_operator(call, axes[1], axes[2]), x)
    if rank == 5 and moved <= {2, 3, 4}:
        return apply_to_volume(
            call,
            None if moved == {2} else _operator(call, axes[3], axes[4]),
            _operator(call, axes[2], _kept(1)) if 2 in moved else None,
        )
    raise Refusal(
        f"only depth, height and width can be resized, not axes {sorted(moved)} of {rank}"
    )


def _kept(extent: int) -> _Axis:
    return _Axis(extent, extent, np.float32(1), (0.0, 1.0))


def _operator(call: Call, height: _Axis, width: _Axis) -> ops.Operator:
    mode = call.text("mode", "nearest")
    if mode == "nearest":
        return ops.ResizeNearest(_nearest(call, height), _nearest(call, width))
    if mode not in ("linear", "bilinear", "cubic"):
        raise Refusal(f"mode {mode!r} is not supported: export it as nearest, linear or cubic")
    return ops.Resize(_weighted(call, height), _weighted(call, width))


# ---- extents ---------------------------------------------------------------------------------


def _resized_axes(call: Call, x: Operand) -> list[_Axis]:
    """What becomes of each axis of ``x``."""
    rank = len(x.shape)
    scales, sizes, roi = _parameters(call)
    given = call.integers("axes")
    chosen = [call.axis(a, rank) for a in given] if given is not None else list(range(rank))
    numbers = scales if scales is not None else sizes
    if numbers is None or len(numbers) != len(chosen):
        raise ModelError(f"needs a scale or a size for each of {len(chosen)} axes")
    crop = roi if roi is not None and roi.size == 2 * len(chosen) else None
    result = [_kept(n) for n in x.shape]
    policy = call.text("keep_aspect_ratio_policy", "stretch")
    if policy not in ("stretch", "not_larger", "not_smaller"):
        raise ModelError(f"there is no keep_aspect_ratio_policy {policy!r}")
    ratios = [np.float32(s) / np.float32(x.shape[a]) for s, a in zip(numbers, chosen, strict=True)]
    for i, a in enumerate(chosen):
        before = x.shape[a]
        region = (float(crop[i]), float(crop[len(chosen) + i])) if crop is not None else (0.0, 1.0)
        if scales is not None:
            scale = np.float32(scales[i])
            # of a crop too: onnxruntime and onnx's reference take the whole extent
            grown = float(np.float32(before) * scale)
            after = math.floor(grown) if math.isfinite(grown) else 0
        elif policy == "stretch":
            scale, after = ratios[i], int(numbers[i])
        else:
            scale = min(ratios) if policy == "not_larger" else max(ratios)
            after = math.floor(float(scale) * before + 0.5)
        if not 1 <= after <= _MAX_EXTENT or not scale > 0:
            raise ModelError(f"it would resize an axis of {before} to {after}")
        result[a] = _Axis(before, after, scale, region)
    return result


def _parameters(
    call: Call,
) -> tuple[Sequence[float] | None, Sequence[int] | None, np.ndarray | None]:
    """Scales, sizes and the region of interest, wherever the opset has them."""
    if call.operator == "Upsample" or call.version < 11:
        attribute = call.reals("scales")
        array = call.static(1, "scales")
        return attribute if array is None else array.reshape(-1).tolist(), None, None
    roi, scales, sizes = (
        call.static(i, what) for i, what in ((1, "roi"), (2, "scales"), (3, "sizes"))
    )
    if sizes is not None and sizes.size:
        if sizes.dtype.kind not in "iu":
            raise ModelError(f"its sizes must be integers, not {sizes.dtype}")
        return None, sizes.reshape(-1).tolist(), roi
    return None if scales is None else scales.reshape(-1).tolist(), None, roi


# ---- coordinates -----------------------------------------------------------------------------


def _crops(call: Call) -> bool:
    return call.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"


def _coordinates(call: Call, axis: _Axis) -> np.ndarray:
    """Where each output index lies on the input's axis, in float32 as onnxruntime has it."""
    x = np.arange(axis.after, dtype=np.float32)
    half, one = np.float32(0.5), np.float32(1)
    default = "half_pixel" if call.version >= 11 and call.operator == "Resize" else "asymmetric"
    mode = call.text("coordinate_transformation_mode", default)
    if axis.scale == 1 and axis.before == axis.after and mode != "tf_crop_and_resize":
        return x
    match mode:
        case "asymmetric":
            return x / axis.scale
        case "half_pixel":
            return (x + half) / axis.scale - half
        case "pytorch_half_pixel":
            return (x + half) / axis.scale - half if axis.after > 1 else np.zeros_like(x)
        case "tf_half_pixel_for_nn":
            return (x + half) / axis.scale
        case "align_corners":
            if axis.after == 1:
                return np.zeros_like(x)
            return x * np.float32(axis.before - 1) / np.float32(axis.after - 1)
        case "half_pixel_symmetric":
            adjusted = np.float32(axis.after) / (axis.scale * np.float32(axis.before))
            offset = np.float32(axis.before) / 2 * (one - adjusted)
            return offset + (x + half) / axis.scale - half
        case "tf_crop_and_resize":
            return _cropped(axis, x)
    raise Refusal(f"coordinate_transformation_mode {mode!r} is not supported")


def _cropped(axis: _Axis, x: np.ndarray) -> np.ndarray:
    start, end = map(np.float32, axis.region)
    last = np.float32(axis.before - 1)
    if axis.after > 1:
        places = start * last + x * (end - start) * last / np.float32(axis.after - 1)
    else:
        places = np.full_like(x, np.float32(0.5) * (start + end) * last)
    return places


def _nearest(call: Call, axis: _Axis) -> tuple[int, ...]:
    x = _coordinates(call, axis)
    if _beyond(call, axis, x).any():
        raise Refusal("a roi that leaves the input is not supported for the nearest elements")
    if call.operator == "Upsample" or call.version < 11:
        places = np.ceil(x) if axis.scale < 1 and call.operator == "Resize" else np.floor(x)
    else:
        match mode := call.text("nearest_mode", "round_prefer_floor"):
            case "round_prefer_floor":
                places = np.ceil(x - np.float32(0.5))
            case "round_prefer_ceil":
                places = np.floor(x + np.float32(0.5))
            case "floor":
                places = np.floor(x)
            case "ceil":
                places = np.ceil(x)
            case _:
                raise Refusal(f"nearest_mode {mode!r} is not supported")
    return tuple(np.clip(places, 0, axis.before - 1).astype(int).tolist())


def _beyond(call: Call, axis: _Axis, x: np.ndarray) -> np.ndarray:
    """Which coordinates a crop has filled in, as they lie beyond the input."""
    return ((x < 0) | (x > axis.before - 1)) & _crops(call)


# ---- weights ---------------------------------------------------------------------------------


def _weighted(call: Call, axis: _Axis) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """For each output index the first of its neighbours on the input's axis, and all weights."""
    if axis == _kept(axis.before):
        return tuple((i, (1.0,)) for i in range(axis.before))
    x = _coordinates(call, axis).astype(np.float64)
    radius, kernel = (2, _cubic(call)) if call.text("mode", "") == "cubic" else (1, _triangle)
    # with antialias, an axis that shrinks sees as much farther as it shrinks
    squeeze = min(float(axis.scale), 1.0) if call.integer("antialias", 0) else 1.0
    reach = math.ceil(radius / squeeze)
    places = np.floor(x)[:, None].astype(int) + np.arange(1 - reach, reach + 1)
    weights = kernel(np.abs(places - x[:, None]) * squeeze)
    if call.integer("exclude_outside", 0):
        weights *= (places >= 0) & (places < axis.before)
    weights /= weights.sum(1, keepdims=True)
    beyond = _beyond(call, axis, x)
    if beyond.any() and call.real("extrapolation_value", 0.0) != 0:
        raise Refusal("an extrapolation_value other than 0 is not supported")
    weights[beyond] = 0
    return _joined(places, weights, axis.before)


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - distance, 0)


def _cubic(call: Call) -> Callable[[np.ndarray], np.ndarray]:
    """Keys' kernel: R. Keys, "Cubic convolution interpolation for digital image processing"."""
    a = call.real("cubic_coeff_a", -0.75)

    def kernel(d: np.ndarray) -> np.ndarray:
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0.0))

    return kernel


def _joined(
    places: np.ndarray, weights: np.ndarray, extent: int
) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """Weights of neighbours inside the axis: those outside count for the last one inside."""
    inside = np.clip(places, 0, extent - 1)
    used = np.where(weights != 0, inside, extent)
    first = np.minimum(used.min(1), extent - 1)
    taps = int(np.where(weights != 0, inside - first[:, None], 0).max()) + 1
    first = np.minimum(first, extent - taps)
    result = np.zeros((len(places), taps))
    index, tap = np.nonzero(weights)
    np.add.at(result, (index, inside[index, tap] - first[index]), weights[index, tap])
    rows = result.astype(np.float32).tolist()
    return tuple(zip(first.tolist(), map(tuple, rows), strict=True))
