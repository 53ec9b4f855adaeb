"""Settings and parameters of REDUCE, for tests of it."""

from __future__ import annotations

import numpy as np

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.constant_image import wide_rows
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Reduction

__all__ = ["NO_NORM", "exponentials", "normalizing"]

NO_NORM = isa.SetNormalization(shift=2, zero_point=0, lo=0, hi=0)


def exponentials(config: NpuConfig, scale: float) -> bytes:
    """The rows of parameters of a softmax of values of ``scale``."""
    if config.width == 8:
        tables = [fixedpoint.exponential_table_8(scale)]
    else:
        tables = list(fixedpoint.exponential_table_16(scale))
    return b"".join(wide_rows(table[:, None], config) for table in tables)


def normalizing(
    config: NpuConfig, measure: Reduction, channels: int, epsilon: float, rng: np.random.Generator
) -> tuple[isa.SetNormalization, bytes]:
    """A setting, and the rows of as many channels' factors and offsets."""
    zero_point = int(rng.integers(-5, 6)) if config.width == 8 else 0
    number, exponent = fixedpoint.epsilon_and_exponent(epsilon)
    least = bool(rng.integers(2))
    normalizer = fixedpoint.Normalizer(
        measure.name.lower(), channels, zero_point, number, exponent, least
    )
    fraction = normalizer.largest_fraction((1 << config.width) - 1 + abs(zero_point))
    steps = 40.0 * 2.0 ** (config.width - 8)
    factors, offsets, shift = fixedpoint.affine_parameters(
        rng.normal(size=channels) * steps * 2.0**-fraction, rng.normal(size=channels) * steps
    )
    bound = 1 << (config.width - 1)
    setting = isa.SetNormalization(
        input_zero_point=zero_point,
        epsilon=number,
        exponent=exponent,
        is_least=least,
        fraction=fraction,
        shift=shift,
        zero_point=zero_point,
        lo=-bound + 3,
        hi=bound - 1,
    )
    wide = np.stack([factors, offsets & 0xFFFFFFFF, offsets >> 32], 1)
    return setting, wide_rows(wide, config)
