"""Turns ONNX's GridSample by a grid that is known into one weighted sum of neighbours each.

The neighbours of all places are gathered, and multiplied by their weights as batches of matrices of
one row, so that each sum is rounded once. What is nearest is gathered alone.
"""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import importer
from edgeinfer.converters.onnx_operators.values import Operand
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []

# ONNX's names of the modes, before opset 20 and from it on
_MODES = {
    "bicubic": "cubic",
    "bilinear": "linear",
    "cubic": "cubic",
    "linear": "linear",
    "nearest": "nearest",
}
_PADDINGS = ("border", "reflection", "zeros")

# of cubic convolution, as PyTorch has it
_CUBIC = -0.75


@importer("GridSample", makes=(ops.Pad, ops.Gather, ops.MatMul))
def _grid_sample(call: Call) -> Operand:
    x, grid = call.operand(0), call.static(1, "grid")
    rank = len(x.shape) - 2
    if grid is None or rank < 1 or len(grid.shape) != rank + 2 or grid.shape[-1] != rank:
        raise ModelError("its grid does not have a place on each axis of its input")
    samples, *extents = x.shape[0], *x.shape[2:]
    if grid.shape[0] != samples or not np.isfinite(grid.astype(np.float64)).all():
        raise ModelError(f"its grid {list(grid.shape)} does not fit {samples} samples, or is NaN")
    mode, padding = call.text("mode", "linear"), call.text("padding_mode", "zeros")
    if mode not in _MODES or padding not in _PADDINGS:
        raise ModelError(f"there is no mode {mode!r} with padding_mode {padding!r}")
    aligned = bool(call.integer("align_corners", 0))
    places, wanted = grid.shape[1:-1], math.prod(grid.shape[1:-1])
    call.spend(samples * wanted * 4**rank)
    # the last axis comes first in a grid
    axes = [
        _along(coordinates, extent, _MODES[mode], padding, aligned)
        for coordinates, extent in zip(
            np.moveaxis(grid.astype(np.float64), -1, 0)[::-1].reshape(rank, samples, wanted),
            extents,
            strict=True,
        )
    ]
    neighbours, weights = axes[0]
    for (further, more), extent in zip(axes[1:], extents[1:], strict=True):
        neighbours = neighbours[..., :, None] * extent + further[..., None, :]
        weights = weights[..., :, None] * more[..., None, :]
        neighbours, weights = (a.reshape(samples, wanted, -1) for a in (neighbours, weights))
    pixels = math.prod(extents)
    x = call.transpose(x, (0, *range(2, rank + 2), 1), f"{x.name}@channels last")
    rows = call.reshape(x, (samples, pixels, x.shape[-1]))
    y = _sums(call, rows, neighbours, weights)
    y = call.reshape(y, (samples, *places, x.shape[-1]))
    return call.transpose(y, (0, rank + 1, *range(1, rank + 1)))


def _along(
    coordinates: np.ndarray, extent: int, mode: str, padding: str, aligned: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The elements [N,P,k] of an axis beside each coordinate, from -1 to 1, and their weights."""
    low, high = (0.0, extent - 1.0) if aligned else (-0.5, extent - 0.5)
    x = low + (coordinates + 1) / 2 * (high - low)
    if mode == "nearest":
        x = np.rint(x)
    if mode != "cubic":
        x = _inside(x, low, high, padding)
    first = np.floor(x)
    beyond = (x - first)[..., None]
    match mode:
        case "nearest":
            offsets, weights = np.arange(1), np.ones_like(beyond)
        case "linear":
            offsets, weights = np.arange(2), np.concatenate([1 - beyond, beyond], -1)
        case _:
            offsets = np.arange(-1, 3)
            weights = _cubic(np.abs(beyond - offsets))
    neighbours = first[..., None] + offsets
    outside = (neighbours < 0) | (neighbours > extent - 1)
    if padding == "zeros":
        weights = np.where(outside, 0, weights)
    neighbours = np.clip(_inside(neighbours, low, high, padding), 0, extent - 1)
    return neighbours.astype(np.int64), weights


def _inside(x: np.ndarray, low: float, high: float, padding: str) -> np.ndarray:
    """Coordinates beyond the borders as those whose element they take."""
    if padding == "border":
        return np.clip(x, low, high)
    if padding == "zeros" or high == low:
        return x
    turns, rest = np.divmod(x - low, high - low)
    turned = np.where(turns % 2, high - rest, low + rest)
    return np.where((x < low) | (x > high), turned, x)


def _cubic(distance: np.ndarray) -> np.ndarray:
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance - 4
    return np.where(distance <= 1, near, _CUBIC * far)


def _sums(call: Call, rows: Operand, neighbours: np.ndarray, weights: np.ndarray) -> Operand:
    """[N,P,C] of rows [N,S,C]: the sums of ``neighbours`` [N,P,k] times ``weights``."""
    samples, pixels, channels = rows.shape
    count = neighbours.shape[-1]
    if count == 1 and not weights.all():
        # what lies outside is a row of zeros behind the others
        rows = call.emit(ops.Pad((0, 0, 0), (0, 1, 0)), rows)
        neighbours, pixels = np.where(weights == 0, pixels, neighbours), pixels + 1
    alike = (neighbours == neighbours[:1]).all() and (weights == weights[:1]).all()
    if alike:
        neighbours, weights = neighbours[0], weights[0]
    else:
        rows = call.reshape(rows, (samples * pixels, channels))
        neighbours = neighbours + np.arange(samples)[:, None, None] * pixels
    found = call.emit(ops.Gather(1 if alike else 0), rows, call.constant(neighbours, "neighbours"))
    if count == 1:
        return found
    factors = call.constant(weights[..., None, :].astype(np.float32), "weights")
    return call.emit(ops.MatMul(), factors, found)
