"""What each integer operator is in TOSA: operators that give the same bits by definition."""

from edgeinfer.converters.tosa.rules import elements, layers, moving, windows  # noqa: F401
from edgeinfer.converters.tosa.rules.registry import lower

__all__ = ["lower"]
