"""Cheaper forms of the arithmetic, each with the proof that no result changes, or None.

stages         how layers end: in 32 bits     float_stages   the same in floats
pairs          two operands, added or multiplied
quotients      floats into integers, where a model begins
"""

from edgeinfer.runtime.catalogue.proofs.float_stages import FloatStage, float_stage
from edgeinfer.runtime.catalogue.proofs.pairs import (
    LinearSum,
    ShortProduct,
    ShortSum,
    linear_sum,
    short_product,
    short_products,
    short_sum,
)
from edgeinfer.runtime.catalogue.proofs.quotients import short_quotient
from edgeinfer.runtime.catalogue.proofs.stages import (
    ShortStage,
    constant_channels,
    short_rescale,
    short_stage,
)

__all__ = [
    "FloatStage",
    "LinearSum",
    "ShortProduct",
    "ShortStage",
    "ShortSum",
    "constant_channels",
    "float_stage",
    "linear_sum",
    "short_product",
    "short_products",
    "short_quotient",
    "short_rescale",
    "short_stage",
    "short_sum",
]
