"""How layers of int8 end, packed for their kernels: in the cheapest form that is proven."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

import numpy as np

from edgeinfer.arithmetic.accumulators import folded_bias, largest_sums, reach
from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import KernelSite
from edgeinfer.runtime.catalogue.proofs import constant_channels, float_stage, short_stage

__all__ = ["StageForm", "StageLayout", "packed_stages"]


class StageForm(IntEnum):
    """How the stages of a layer end its sums, as conv_tile.h numbers it."""

    LONG = 0
    SHORT = 1
    FLOAT = 2


class StageLayout(Protocol):
    """What of a kernel's layout its stages depend on; see ``weight_layout`` in kernels.h."""

    @property
    def lanes(self) -> int:
        """Channels of a vector."""

    @property
    def offset(self) -> int:
        """What is added to each element of x."""

    @property
    def has_floats(self) -> int:
        """1 where stages may have the form in floats."""


def packed_stages(
    op: ops.QConv | ops.QDense,
    site: KernelSite,
    layout: StageLayout,
    group: int,
    repeats: int = 1,
) -> tuple[np.ndarray, StageForm]:
    """Stages, int32 [group][vector][4][lane], and their form.

    The four are bias, multiplier, rounding and shift, or bias and the bits of float32 multiplier,
    offset and remainder; see stage_avx512.h. Lanes without a channel are zeros. With ``repeats``,
    all channels that many times over.
    """
    weights, bias, multiplier, shift = (
        site.constant(role) for role in ("weights", "bias", "multiplier", "shift")
    )
    spread = largest_sums(weights, np.zeros_like(bias), reach("int8", op.input_zero_point))
    constant = constant_channels(op, spread, (bias, multiplier, shift))
    # a channel that is constant may have a bias beyond all others
    largest = np.where(constant[0], 0, spread + np.abs(bias.astype(np.int64)))
    # partial sums and biases may wrap: the accumulator itself is proven
    begin = folded_bias(weights, bias, op.input_zero_point + layout.offset)
    form, ends = _cheapest(layout, op, multiplier, shift, largest, constant)
    rows = np.stack([(begin + ends[0]).astype(np.int32), *(v.astype(np.int32) for v in ends[1:])])
    rows = np.tile(rows.reshape(4, group, -1), (1, 1, repeats))
    vectors = -(-rows.shape[2] // layout.lanes)
    padded = np.zeros((4, group, vectors * layout.lanes), np.int32)
    padded[:, :, : rows.shape[2]] = rows
    split = padded.reshape(4, group, vectors, layout.lanes).transpose(1, 2, 0, 3)
    return np.ascontiguousarray(split), form


def _cheapest(
    layout: StageLayout,
    op: ops.QConv | ops.QDense,
    multiplier: np.ndarray,
    shift: np.ndarray,
    largest: np.ndarray,
    constant: tuple[np.ndarray, np.ndarray],
) -> tuple[StageForm, list[np.ndarray]]:
    """The cheapest form that is proven: what the bias grows by and what the others are."""
    if layout.has_floats:
        floats = _in_floats(op, multiplier, shift, largest, constant)
        if floats is not None:
            return StageForm.FLOAT, floats
    integers = _in_integers(op, multiplier, shift, largest, constant)
    if integers is not None:
        return StageForm.SHORT, integers
    nothing = np.zeros_like(multiplier)
    return StageForm.LONG, [nothing, multiplier, nothing, shift]


def _in_integers(
    op: ops.QConv | ops.QDense,
    multiplier: np.ndarray,
    shift: np.ndarray,
    largest: np.ndarray,
    constant: tuple[np.ndarray, np.ndarray],
) -> list[np.ndarray] | None:
    """What the bias grows by, multiplier, rounding and shift."""
    form = None
    if op.rounding == "single":
        form = short_stage(multiplier, shift, op.output_zero_point, largest)
    if form is None:
        return None
    is_constant, value = constant
    rounding = np.where(is_constant, value << form.shift, form.rounding)
    return [np.zeros(len(value), np.int64), form.multiplier, rounding, form.shift]


def _in_floats(
    op: ops.QConv | ops.QDense,
    multiplier: np.ndarray,
    shift: np.ndarray,
    largest: np.ndarray,
    constant: tuple[np.ndarray, np.ndarray],
) -> list[np.ndarray] | None:
    """What the bias grows by, and the bits of multiplier, offset and remainder."""
    form = float_stage(op, multiplier, shift, largest, constant)
    if form is None:
        return None
    floats = form.multiplier, form.offset, form.remainder
    return [form.bias, *(values.view(np.int32) for values in floats)]
