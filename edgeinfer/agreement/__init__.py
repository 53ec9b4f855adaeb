"""Whether each target computes the same bits of a model: ``verify``, and ``digest`` of the bits.

integer Graph, inputs ─► Session ─► every value ◄─ compared ─► every value ◄─ a target
"""

from edgeinfer.agreement.comparison import Agreement, digest, random_inputs, sealed, verify
from edgeinfer.agreement.shrinking import moved, smallest
from edgeinfer.agreement.targets import TARGETS

__all__ = [
    "TARGETS",
    "Agreement",
    "digest",
    "moved",
    "random_inputs",
    "sealed",
    "smallest",
    "verify",
]
