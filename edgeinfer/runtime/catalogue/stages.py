"""How layers of int8 end, packed for their kernels: in the cheapest form that is proven."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

import numpy as np

from edgeinfer.arithmetic.accumulators import folded_bias, largest_sums, reach
from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import KernelSite
from edgeinfer.runtime.catalogue.proofs import constant_channels, float_stage, short_stage

__all__ = ["StageForm", "StageLayout", "led_stages", "packed_stages"]


# a factor of 16 bits
_MOST_LEAD = 14


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
    stages, form, _ = _packed(op, site, layout, group, repeats, may_lead=False)
    return stages, form


def led_stages(
    op: ops.QConv | ops.QDense, site: KernelSite, layout: StageLayout
) -> tuple[np.ndarray, StageForm, int]:
    """Those of a kernel that may shift its sums to the left, and by how many bits it is to."""
    return _packed(op, site, layout, 1, 1, may_lead=True)


def _packed(
    op: ops.QConv | ops.QDense,
    site: KernelSite,
    layout: StageLayout,
    group: int,
    repeats: int,
    *,
    may_lead: bool,
) -> tuple[np.ndarray, StageForm, int]:
    weights, bias, multiplier, shift = (
        site.constant(role) for role in ("weights", "bias", "multiplier", "shift")
    )
    spread = largest_sums(weights, np.zeros_like(bias), reach("int8", op.input_zero_point))
    constant = constant_channels(op, spread, (bias, multiplier, shift))
    # a channel that is constant may have a bias beyond all others
    largest = np.where(constant[0], 0, spread + np.abs(bias.astype(np.int64)))
    # partial sums and biases may wrap: the accumulator itself is proven
    begin = folded_bias(weights, bias, op.input_zero_point + layout.offset)
    form, ends, lead = _cheapest(layout, op, multiplier, shift, largest, constant, may_lead)
    begin = (begin + ends[0]) << lead
    rows = np.stack([begin.astype(np.int32), *(v.astype(np.int32) for v in ends[1:])])
    rows = np.tile(rows.reshape(4, group, -1), (1, 1, repeats))
    vectors = -(-rows.shape[2] // layout.lanes)
    padded = np.zeros((4, group, vectors * layout.lanes), np.int32)
    padded[:, :, : rows.shape[2]] = rows
    split = padded.reshape(4, group, vectors, layout.lanes).transpose(1, 2, 0, 3)
    return np.ascontiguousarray(split), form, lead


def _cheapest(
    layout: StageLayout,
    op: ops.QConv | ops.QDense,
    multiplier: np.ndarray,
    shift: np.ndarray,
    largest: np.ndarray,
    constant: tuple[np.ndarray, np.ndarray],
    may_lead: bool,
) -> tuple[StageForm, list[np.ndarray], int]:
    """The cheapest form that is proven: what the bias grows by and what the others are; and by how
    many bits all is shifted to the left before."""
    if layout.has_floats:
        floats = _in_floats(op, multiplier, shift, largest, constant)
        if floats is not None:
            return StageForm.FLOAT, floats, 0
    integers = _in_integers(op, multiplier, shift, largest, constant)
    if integers is not None:
        return StageForm.SHORT, integers, 0
    # R1(acc, M, S) = R1(acc 2^k, M, S + k)
    lead = 33 - int(shift[~constant[0]].min(initial=33))
    if may_lead and lead <= _MOST_LEAD and int(largest.max()) << lead < 1 << 31:
        integers = _in_integers(op, multiplier, shift + lead, largest << lead, constant)
        if integers is not None:
            return StageForm.SHORT, integers, lead
    nothing = np.zeros_like(multiplier)
    return StageForm.LONG, [nothing, multiplier, nothing, shift], 0


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
