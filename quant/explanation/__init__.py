"""Why an integer Graph differs from its float one: each cause measured by undoing it alone.

``explain`` says where and why, ``explain_and_fix`` also makes what the remedies that pay give.
"""

from edgeinfer.quant.explanation.causes import (
    Action,
    Cause,
    Explanation,
    Finding,
    Layer,
    Measured,
    Remedy,
)
from edgeinfer.quant.explanation.explaining import Fixed, explain, explain_and_fix

__all__ = [
    "Action",
    "Cause",
    "Explanation",
    "Finding",
    "Fixed",
    "Layer",
    "Measured",
    "Remedy",
    "explain",
    "explain_and_fix",
]
