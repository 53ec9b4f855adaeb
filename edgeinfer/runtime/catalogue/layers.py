"""Convolutions and dense layers into calls of their kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgeinfer.arithmetic.accumulators import folded_bias, largest_sums, reach
from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue import lines, rows, winograd
from edgeinfer.runtime.catalogue.call import KernelCall, KernelSite, lower, output_stage, window

__all__: list[str] = []

# What loops_conv.h and loops_depthwise.h are written for.
_CHANNELS, _PIXELS, _LANES, _DEPTHWISE_BLOCK = 4, 2, 8, 64
_MAX_TILE = 64
# Fewer products between widenings than this cost more than a second pass over the patch.
_MIN_BLOCK = 64


def _fits_32(site: KernelSite, zero_point: int, weights: np.ndarray, bias: np.ndarray) -> bool:
    """Whether every accumulator is proven below 2^31; partial sums may wrap."""
    x = site.type("x").dtype
    if x == "int8":
        return True
    return int(largest_sums(weights, bias, reach(x, zero_point)).max()) < 2**31


def _folded(weights: np.ndarray, bias: np.ndarray, zero_point: int, narrow: bool) -> np.ndarray:
    """The bias for sums over x itself; 32 bits of it, modulo 2^32, where ``narrow``."""
    folded = folded_bias(weights, bias, zero_point)
    return folded.astype(np.int32) if narrow else folded


def _packed(weights: np.ndarray, group: int) -> np.ndarray:
    """[O, taps] as [group, O / group, taps] for loops_conv.h, padded there with zeros."""
    grouped = weights.reshape(group, len(weights) // group, -1)
    rows = -grouped.shape[1] % _CHANNELS
    taps = -grouped.shape[2] % _LANES
    packed: np.ndarray = np.pad(grouped, ((0, 0), (0, rows), (0, taps)))
    return packed


def _block(largest: int) -> int:
    """How many products of any int16 and weights of at most ``largest`` in magnitude surely fit 32
    bits together, in whole vectors."""
    return (2**31 - 1) // (max(largest, 1) << 15) // _LANES * _LANES


def _planes(packed: np.ndarray, narrow: bool) -> np.ndarray:
    """Packed weights with a new axis 1: as they are where accumulators are ``narrow`` or many
    products fit 32 bits; else the bytes ``low``, without a sign, and ``high``."""
    largest = int(np.abs(packed.astype(np.int64)).max())
    if narrow or _block(largest) >= min(_MIN_BLOCK, packed.shape[-1]):
        return packed[:, None]
    return np.stack([packed & 0xFF, packed >> 8], 1).astype(np.uint8).view(np.int8)


def _convolution(
    site: KernelSite,
    op: ops.QConv | ops.QDense,
    geometry: Mapping[str, int],
    pixels: int,
    group: int,
) -> KernelCall:
    weights, bias, multiplier, shift = (
        site.constant(role) for role in ("weights", "bias", "multiplier", "shift")
    )
    narrow = _fits_32(site, op.input_zero_point, weights, bias)

    def planes_of_groups(weights: np.ndarray) -> np.ndarray:
        return _planes(_packed(weights, group), narrow)

    packed = site.packed("weights", planes_of_groups, group, narrow)
    outputs, (planes, row_count, taps) = len(weights) // group, packed.shape[1:]
    largest = int(np.abs(packed.astype(np.int64)).max()) if planes == 1 else 0xFF
    tile = min(max(site.cache_bytes // (2 * taps), _PIXELS), _MAX_TILE, pixels)
    tiles = -(-pixels // tile)
    # few pixels leave only the channels to share, in parts that outweigh the patch's repetition
    splits = max(1, min(8, row_count // 32)) if tiles == 1 else 1
    x = "s8" if site.itemsize("x") == 1 else "s16_acc32" if narrow else "s16_acc64"
    return KernelCall(
        f"conv_{x}",
        (
            site.node.input("x"),
            packed,
            _folded(weights, bias, op.input_zero_point, narrow),
            multiplier.astype(np.int32),
            shift.astype(np.int8),
            site.node.output,
        ),
        {
            **geometry,
            **output_stage(op),
            "pixels": pixels,
            "group": group,
            "depth": math.prod(weights.shape[3:]) if weights.ndim == 4 else weights.shape[1],
            "outputs": outputs,
            "taps": taps,
            "tile": tile,
            "splits": splits,
            "planes": planes,
            "weight_bytes": packed.itemsize,
            "block": min(_block(largest), taps),
            "input_zero_point": op.input_zero_point,
            "out_bytes": site.output.itemsize,
        },
        units=tiles * splits,
        work=pixels * weights.size,
        scratch=2 * taps * tile,
    )


def _taps_of_channels(weights: np.ndarray) -> np.ndarray:
    """[C, kh, kw, 1] as [kh, kw, C], for loops_depthwise.h."""
    return np.ascontiguousarray(weights[..., 0].transpose(1, 2, 0))


def _depthwise(site: KernelSite, op: ops.QConv, geometry: Mapping[str, int]) -> KernelCall:
    weights, bias, multiplier, shift = (
        site.constant(role) for role in ("weights", "bias", "multiplier", "shift")
    )
    narrow = _fits_32(site, op.input_zero_point, weights, bias)
    x = "s8" if site.itemsize("x") == 1 else "s16_acc32" if narrow else "s16_acc64"
    return KernelCall(
        f"depthwise_{x}",
        (
            site.node.input("x"),
            site.packed("weights", _taps_of_channels),
            _folded(weights, bias, op.input_zero_point, narrow),
            multiplier.astype(np.int32),
            shift.astype(np.int8),
            site.node.output,
        ),
        {
            **geometry,
            **output_stage(op),
            "channels": len(weights),
            "weight_bytes": weights.itemsize,
            "input_zero_point": op.input_zero_point,
            "out_bytes": site.output.itemsize,
        },
        units=site.output.shape[0] * site.output.shape[1],
        work=site.elements * math.prod(weights.shape[1:]),
        scratch=_DEPTHWISE_BLOCK * site.itemsize("x"),
    )


@lower.register
def _q_conv(op: ops.QConv, site: KernelSite) -> list[KernelCall]:
    x, weights, out = site.shape("x"), site.shape("weights"), site.output.shape
    geometry = window(x, out, weights[1:3], op.strides, op.pads, op.dilations)
    if op.group == x[3] == out[3]:
        return [lines.depthwise_call(op, site) or _depthwise(site, op, geometry)]
    found = winograd.conv_call(op, site) or rows.conv_call(op, site)
    return [found or _convolution(site, op, geometry, math.prod(out[:3]), op.group)]


@lower.register
def _q_dense(op: ops.QDense, site: KernelSite) -> list[KernelCall]:
    pixels = math.prod(site.shape("x")[:-1])
    row = (1, 1, pixels, 1)
    geometry = window(row, row, (1, 1), (1, 1), (0, 0), (1, 1))
    return [rows.dense_call(op, site) or _convolution(site, op, geometry, pixels, 1)]
