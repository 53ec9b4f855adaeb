"""Where the quantization rules are registered, and which operators have one.

``rule`` registers one by operator class; a class without a rule is refused by name before any
calibration.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any, TypeAlias

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops
from edgeinfer.quant.fragment import Fragment

__all__ = ["integer_operators", "is_supported", "lower", "rule"]


@singledispatch
def lower(op: ops.Operator, node: Node, to: Fragment) -> None:
    """Emit the integer nodes for ``node`` into ``to``."""
    raise NotImplementedError(type(op).__name__)


@lower.register
def refuse(op: ops.FloatOperator, node: Node, to: Fragment) -> None:
    """The rule of the float operators that have none yet."""
    raise QuantizationError("has no integer meaning yet")


@lower.register
def _integer_operator(op: ops.IntegerOperator, node: Node, to: Fragment) -> None:
    raise QuantizationError("is an integer operator already; quantize takes a float graph")


def is_supported(op: ops.Operator) -> bool:
    """Whether ``op`` has a rule, or needs none."""
    return lower.dispatch(type(op)) is not refuse


Rule: TypeAlias = Callable[[Any, Node, Fragment], None]

_MAKES: dict[Rule, tuple[type[ops.Operator], ...]] = {}


def rule(
    *classes: type[ops.Operator], makes: tuple[type[ops.Operator], ...]
) -> Callable[[Rule], Rule]:
    """Register the rule of ``classes``, which ``makes`` these operators, and a Rescale beside."""

    def register(function: Rule) -> Rule:
        for kind in classes:
            lower.register(kind, function)
        _MAKES[function] = makes
        return function

    return register


def integer_operators(kind: type[ops.Operator]) -> tuple[type[ops.Operator], ...]:
    """What may stand for an operator of ``kind`` in an integer Graph, beside a Rescale.

    None where the quantizer refuses it. An operator that only selects stands for itself.
    """
    made = _MAKES.get(lower.dispatch(kind), ())
    return (kind,) if issubclass(kind, made) else made
