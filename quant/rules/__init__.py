"""What stands for every float operator in an integer Graph: one rule an operator, by families.

Every value already has its integer type when the rules run, and a rule sees only its node's
(``fragment.py``).
"""

from edgeinfer.quant.rules import (
    functions,
    layers,
    moving,
    normalizing,
    pairs,
    powers,
    recurrent,
    reducing,
)
from edgeinfer.quant.rules.registry import integer_operators, is_supported, lower, rule

__all__ = [
    "functions",
    "integer_operators",
    "is_supported",
    "layers",
    "lower",
    "moving",
    "normalizing",
    "pairs",
    "powers",
    "recurrent",
    "reducing",
    "rule",
]
