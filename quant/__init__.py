"""A float Graph and calibration data into an integer Graph, and what that cost.

data ──► calibration ──► observers ──► ranges ─┐
Graph (float) ─────────────────────────────────┴─► lowering ──► Graph (integer) ──► compare
"""

from edgeinfer.quant.compare import Difference, LayerError, compare, raised_channels
from edgeinfer.quant.observers import OBSERVERS
from edgeinfer.quant.post_training import DEFAULT_OBSERVER, quantize
from edgeinfer.quant.prune import prune_constant_channels
from edgeinfer.quant.schemes import SCHEMES

__all__ = [
    "DEFAULT_OBSERVER",
    "OBSERVERS",
    "SCHEMES",
    "Difference",
    "LayerError",
    "compare",
    "prune_constant_channels",
    "quantize",
    "raised_channels",
]
