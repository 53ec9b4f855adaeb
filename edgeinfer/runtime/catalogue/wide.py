"""Layers of int16 x: their sums in 32 bits, or in planes and parts that fit 32 (wide_sums.h)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeinfer.arithmetic.accumulators import folded_bias, largest_sums, reach
from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import KernelSite
from edgeinfer.runtime.catalogue.proofs import ShortStage, constant_channels, short_stage
from edgeinfer.runtime.catalogue.stages import StageForm

__all__ = ["MOST_BYTE_PRODUCTS", "WideLayer", "wide_layer"]

# with bytes of x, sums of so many products with bytes fit 32 bits: of unsigned ones they are below
# 255^2 times that, beside a byte of bias; two of mixed ones below 255 * 128 times that, beside 2^30
MOST_BYTE_PRODUCTS = 16000

# the largest magnitude of an element of x as it stands
_REACH = 1 << 15
# products of a part, below which two planes in fewer parts cost less
_LEAST_PART = 64


@dataclass(frozen=True)
class WideLayer:
    """A layer's constants, and the form in which kernels take them.

    Parameters
    ----------
    planes : numpy.ndarray
        Integers [P, O, ...]: the weights, or their low and high bytes, w = 256 high + low; low is
        signed where kernels' weights have 16 bits, else unsigned.
    bias : numpy.ndarray
        int32 [P, O]: what each plane's sums begin with.
    part_rows, part_steps : int
        Rows of the kernel and steps of a row whose products, with the bias, fit 32 bits.
    factor : numpy.ndarray
        float64 [O]: ``M 2^-S``.
    short : ShortStage or None
        Where all sums fit 32 bits and have the short form.
    constant : bytes
        Which channels lost their weights, as they give one integer always.
    """

    planes: np.ndarray
    bias: np.ndarray
    part_rows: int
    part_steps: int
    factor: np.ndarray
    short: ShortStage | None
    constant: bytes

    @property
    def how(self) -> tuple[object, ...]:
        """What ``planes`` depend on beside the weights."""
        return len(self.planes), self.constant

    @property
    def parameters(self) -> dict[str, int]:
        """The fields of a kernel's parameters that say so."""
        return {
            "form": StageForm.LONG if self.short is None else StageForm.SHORT,
            "planes": len(self.planes),
            "part_rows": self.part_rows,
            "part_steps": self.part_steps,
        }

    def stages(self, lanes: int, group: int, repeats: int = 1) -> np.ndarray:
        """Stages, int32 [group][vector][plane][4][lane]; with ``repeats``, all channels that many
        times over. Where they are not short, factors take the place of two vectors."""

        def vectors(array: np.ndarray) -> np.ndarray:
            """[..., O] as [..., group, vector, lane]."""
            split = array.reshape(*array.shape[:-1], group, -1)
            split = np.concatenate([split] * repeats, axis=-1)
            padding = -split.shape[-1] % lanes
            split = np.pad(split, [(0, 0)] * (split.ndim - 1) + [(0, padding)])
            return split.reshape(*split.shape[:-1], -1, lanes)

        bias = np.moveaxis(vectors(self.bias), 0, 2)
        stages = np.zeros((*bias.shape[:3], 4, lanes), np.int32)
        stages[:, :, :, 0] = bias
        if self.short is None:
            # one after another in memory
            factors = np.ascontiguousarray(vectors(self.factor))[:, :, None].view(np.int32)
            stages[:, :, :, 1:3] = factors.reshape(*factors.shape[:3], 2, lanes)
        else:
            form = self.short
            for slot, values in enumerate((form.multiplier, form.rounding, form.shift), 1):
                stages[:, :, 0, slot] = vectors(values)
        return stages


def wide_layer(
    op: ops.QConv | ops.QDense, site: KernelSite, taps: int, weight_bytes: int
) -> WideLayer:
    """The layer at ``site`` for kernels that take ``taps`` products of a row in a step.

    Where their weights have one byte, they take x in bytes as well, and MOST_BYTE_PRODUCTS at most.
    """
    constant, (weights, bias, multiplier, shift) = _without_constants(op, site)
    folded = folded_bias(weights, bias, op.input_zero_point)
    factor = np.ldexp(multiplier.astype(np.float64), -shift.astype(np.int32))
    planes, biases = weights[None], folded[None]
    part: tuple[int, int] | None = _rows_and_steps(planes, taps)
    largest = largest_sums(weights, bias, reach("int16", op.input_zero_point))
    short = None
    if largest.max() < 2**31:
        # partial sums and biases may wrap: the accumulator itself is proven
        short = short_stage(multiplier, shift, op.output_zero_point, largest)
        biases = biases.astype(np.int32)
    if weight_bytes == 1:
        if weights.dtype != np.int8 or (short is None and np.abs(folded).max() > 2**30):
            planes, biases = _bytes(weights, folded, 0)
            short = None
    elif largest.max() >= 2**31:
        part = _part(planes, biases, taps)
        if part is None:
            planes, biases = _bytes(weights, folded, 128)
            part = _part(planes, biases, taps)
    assert part is not None, "a plane's bias is below 2^30, and 64 of its products below 2^29"
    return WideLayer(planes, biases.astype(np.int32), *part, factor, short, constant)


def _bytes(weights: np.ndarray, bias: np.ndarray, less: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as [2, ...], low and high with ``256 high + low``, low from ``-less`` on."""
    planes = []
    for whole in weights.astype(np.int32), bias:
        low = (whole + less & 255) - less
        planes.append(np.stack([low, (whole - low) >> 8]))
    return planes[0], planes[1]


def _without_constants(
    op: ops.QConv | ops.QDense, site: KernelSite
) -> tuple[bytes, list[np.ndarray]]:
    """Which channels give one integer whatever x is; weights, bias, multiplier and shift with
    nothing else left of these, as their biases may be large beyond all others."""
    weights, bias, multiplier, shift = layer = [
        site.constant(role) for role in ("weights", "bias", "multiplier", "shift")
    ]
    spread = largest_sums(weights, np.zeros_like(bias), reach("int16", op.input_zero_point))
    constant, value = constant_channels(op, spread, (bias, multiplier, shift))
    if constant.any():
        weights = np.where(constant.reshape(-1, *[1] * (weights.ndim - 1)), 0, weights)
        # R1(8 v, 2^30, 33) is v
        bias = np.where(constant, 8 * (value - op.output_zero_point), bias)
        multiplier, shift = np.where(constant, 2**30, multiplier), np.where(constant, 33, shift)
        layer = [weights, bias, multiplier, shift]
    return np.packbits(constant).tobytes(), layer


def _rows_and_steps(planes: np.ndarray, taps: int) -> tuple[int, int]:
    """Of a kernel [P, O, kh, ...], or [P, O, D] for one row."""
    rows = planes.shape[2] if planes.ndim == 5 else 1
    return rows, -(-math.prod(planes.shape[2:]) // rows // taps)


def _part(planes: np.ndarray, biases: np.ndarray, taps: int) -> tuple[int, int] | None:
    """The most rows of the kernel, or else steps of one, whose products with any int16 surely fit
    32 bits beside the bias; None where parts would be small."""
    rows, steps = _rows_and_steps(planes, taps)
    magnitudes = np.abs(planes.reshape(*planes.shape[:2], rows, -1).astype(np.int32))
    room = 2**31 - 1 - np.abs(biases)[..., None]
    if room.min() <= 0:
        return None
    of_rows = magnitudes.sum(3, dtype=np.int64) * _REACH
    for parts in range(1, rows + 1):
        part = -(-rows // parts)
        if (np.add.reduceat(of_rows, range(0, rows, part), axis=2) <= room).all():
            return part, steps
    run = magnitudes.shape[3]
    # the largest of some parts is at least their mean
    fewest = int(np.ceil(of_rows / room).max())
    for parts in range(max(2, fewest), run // _LEAST_PART + 1):
        part = -(-steps // parts)
        starts = range(0, run, part * taps)
        sums = np.add.reduceat(magnitudes, starts, axis=3, dtype=np.int64) * _REACH
        if (sums <= room[..., None]).all():
            return 1, part
    return None
