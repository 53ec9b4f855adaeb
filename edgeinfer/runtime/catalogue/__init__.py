"""The catalogue: for each integer operator the kernels that compute it; the best is called.

call           what a kernel is called with       layers        convolutions, dense layers
pools          windows without weights            pairs         two operands, broadcast
elementwise    one operand, element by element    reductions    along axes
matrices       products of two values             moves         what only moves elements
memory         bytes of packed constants     chains        elementwise operators in one call

Layers on packed weights: ``rows``, ``winograd`` where that pays and, of depthwise ones, ``lines``;
``packing`` what kernels want of them, ``stages`` how those of int8 end, ``wide`` what those of
int16 are. ``proofs`` finds the cheaper forms of all of them.
"""

from edgeinfer.runtime.catalogue import (
    elementwise,
    layers,
    matrices,
    moves,
    pairs,
    pools,
    reductions,
)
from edgeinfer.runtime.catalogue.call import (
    CACHE_BYTES,
    KernelCall,
    KernelSite,
    Parameters,
    fields,
    having,
    lower,
)
from edgeinfer.runtime.catalogue.chains import joined
from edgeinfer.runtime.catalogue.memory import packed_bytes

__all__ = [
    "CACHE_BYTES",
    "KernelCall",
    "KernelSite",
    "Parameters",
    "elementwise",
    "fields",
    "having",
    "joined",
    "layers",
    "lower",
    "matrices",
    "moves",
    "packed_bytes",
    "pairs",
    "pools",
    "reductions",
]
