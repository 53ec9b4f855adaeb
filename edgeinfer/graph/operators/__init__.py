"""The operators: frozen dataclasses that hold attributes and nothing else.

What a stage does with an operator stands in that stage, registered by class or by family: shapes
in ``shapes.py``, float meaning in ``float_executor.py``, integer meaning in ``reference.py``, and
so on; ``docs/architecture.md`` lists the steps that add one. There are three kinds:

    floats.py      Conv, Dense, Pointwise, Add ...      the importer makes them
    either.py      MaxPool, Concat, Reshape ...         they move or order elements, or compute
                                                        with indices: one meaning serves both
    integers.py    QConv, QDense, Lookup ...            the quantizer makes them; zero points,
                                                        multipliers and clamps are theirs, and no
                                                        float is left

Spatial operators take NHWC values and OHWI weights; pads are (top, left, bottom, right).
"""

from edgeinfer.graph.operators import either, floats, integers
from edgeinfer.graph.operators.attributes import Rounding
from edgeinfer.graph.operators.either import *  # noqa: F403
from edgeinfer.graph.operators.families import (
    OPERATORS,
    AlongAxis,
    Broadcasting,
    Clamped,
    Elementwise,
    FloatOperator,
    IntegerOperator,
    Joining,
    Moving,
    Normalizing,
    Operator,
    Recurrent,
    Reducing,
    Requantizing,
    Role,
    Selecting,
    Weighted,
    Windowed,
)
from edgeinfer.graph.operators.floats import *  # noqa: F403
from edgeinfer.graph.operators.integers import *  # noqa: F403

__all__ = [
    "OPERATORS",
    "AlongAxis",
    "Broadcasting",
    "Clamped",
    "Elementwise",
    "FloatOperator",
    "IntegerOperator",
    "Joining",
    "Moving",
    "Normalizing",
    "Operator",
    "Recurrent",
    "Reducing",
    "Requantizing",
    "Role",
    "Rounding",
    "Selecting",
    "Weighted",
    "Windowed",
    *either.__all__,
    *floats.__all__,
    *integers.__all__,
]
