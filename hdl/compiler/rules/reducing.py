"""The NPU's rules of what a pixel's channels have in common: softmax and normalization."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.layers import Reduced
from edgeinfer.hdl.compiler.rules.computing import bounds
from edgeinfer.hdl.compiler.rules.registry import NpuSite, rule
from edgeinfer.hdl.isa import Reduction

_WHERE = "over the channels, on NPUs with reductions"
_MOST = isa.fields(isa.Reduce)["channels"].high
_KINDS = {
    "variance": Reduction.VARIANCE,
    "squares": Reduction.SQUARES,
    "magnitudes": Reduction.MAGNITUDES,
}


@rule(ops.QSoftmax, where=_WHERE)
def _softmax(op: ops.QSoftmax, site: NpuSite) -> None:
    _check(site, "divides by a sum", {op.axis})
    if site.type("x").dtype != f"int{site.config.width}":
        raise site.refuse("takes int8; a 16-bit configuration divides sums of int16 alone")
    tables = site.constant("table").astype(np.int64).reshape(-1, 256)
    _add(site, Reduced(Reduction.SOFTMAX, None, tuple(table[:, None] for table in tables)))


@rule(ops.QNormalization, where=_WHERE)
def _normalization(op: ops.QNormalization, site: NpuSite) -> None:
    _check(site, "divides by a root", set(op.axes))
    factors, offsets = (
        site.constant(role).astype(np.int64).repeat(op.inner) for role in ("multiplier", "bias")
    )
    channels = site.shape("x")[-1]
    if channels % len(factors):
        raise site.refuse("has other factors in each pixel")
    wide = np.stack([factors, offsets, offsets >> 32], 1)
    try:
        setting = isa.SetNormalization(
            input_zero_point=op.input_zero_point,
            epsilon=op.epsilon,
            exponent=op.exponent,
            is_least=op.is_least,
            fraction=op.fraction,
            shift=op.shift,
            zero_point=op.output_zero_point,
            lo=op.lo,
            hi=op.hi,
        )
    except InputError as error:
        raise site.refuse(f"asks for more than an instruction can say ({error})") from error
    entries = np.tile(wide, (channels // len(factors), 1))
    _add(site, Reduced(_KINDS[op.measure], setting, (entries,)))


def _check(site: NpuSite, does: str, axes: set[int]) -> None:
    """Refuse what is not over all channels of a pixel, and where there is no unit for it."""
    config, shape = site.config, site.shape("x")
    if not config.reductions:
        raise site.refuse(f"{does}; take a configuration with reductions=1")
    own = {axis % len(shape) for axis in axes}
    others = math.prod(shape[axis] for axis in own - {len(shape) - 1})
    if len(shape) - 1 not in own or others != 1:
        raise site.refuse(f"{does} over other axes than the channels")
    if shape[-1] > _MOST:
        raise site.refuse(f"{does} over {shape[-1]} channels; the NPU takes {_MOST} at most")


def _add(site: NpuSite, reduced: Reduced) -> None:
    """The layer that passes the elements on, and what is then made of them in place."""
    config = site.config
    rows = config.steps + sum(
        -(-len(each) // config.lanes) * -(-each.shape[1] // 2) for each in reduced.entries
    )
    if rows > config.parameter_rows:
        raise site.refuse(
            f"takes {rows} rows of parameters, {config.name} has {config.parameter_rows}; take "
            "more parameter_rows"
        )
    lo, hi = bounds(site.type("x"))
    site.add(site.filter(lo=lo, hi=hi, reduced=reduced))
