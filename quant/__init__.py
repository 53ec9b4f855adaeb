"""A float Graph and calibration data into an integer Graph, and what that cost.

data ──► calibration ──► observers ──► ranges ──► IntegerTypes ─┐
Graph (float) ──────────────────────────────────────────────────┴─► lowering ──► Graph (integer)

``choose_types`` is the first half, ``lower_to_integers`` the second, ``quantize`` both.
"""

from edgeinfer.quant.choose_types import choose_types
from edgeinfer.quant.compare import Difference, LayerError, compare, raised_channels
from edgeinfer.quant.goals import Goal
from edgeinfer.quant.integer_types import IntegerTypes, given_type
from edgeinfer.quant.judgement import Judgement, OutputQuality
from edgeinfer.quant.lowering import lower_to_integers
from edgeinfer.quant.mixtures import Mixture
from edgeinfer.quant.observers import OBSERVERS
from edgeinfer.quant.options import DEFAULT_OBSERVER, DEFAULT_ROUNDING, Options
from edgeinfer.quant.post_training import Quantized, quantize, quantize_and_judge
from edgeinfer.quant.prune import prune_constant_channels
from edgeinfer.quant.rounding import WAYS
from edgeinfer.quant.rounding.choice import Rounded
from edgeinfer.quant.schemes import SCHEMES
from edgeinfer.quant.stated import as_stated, states_integers
from edgeinfer.quant.weights import GivenWeights

__all__ = [
    "DEFAULT_OBSERVER",
    "DEFAULT_ROUNDING",
    "OBSERVERS",
    "SCHEMES",
    "WAYS",
    "Difference",
    "GivenWeights",
    "Goal",
    "IntegerTypes",
    "Judgement",
    "LayerError",
    "Mixture",
    "Options",
    "OutputQuality",
    "Quantized",
    "Rounded",
    "as_stated",
    "choose_types",
    "compare",
    "given_type",
    "lower_to_integers",
    "prune_constant_channels",
    "quantize",
    "quantize_and_judge",
    "raised_channels",
    "states_integers",
]
