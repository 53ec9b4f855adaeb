"""The noise that each group of values adds at the outputs by having 8 bits, on the integer Graph.

All others have 16 bits meanwhile, so that the noise is this group's and adds up: of two groups in 8
bits it is about the sum. Turned round, each group alone in 16 bits, it would be the small
difference of two large numbers, and on models such as armkws_ds_cnn_s it has the wrong sign: cuts
that suit a noisy input clip an exact one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from edgeinfer.graph import Graph
from edgeinfer.graph.cost import cost
from edgeinfer.pools import HERE, Pool
from edgeinfer.quant.calibration import Calibration, Run, evenly
from edgeinfer.quant.objective import Judge, Objective

__all__ = ["sensitivities"]

_log = logging.getLogger(__name__)

# runs that judge a group, and multiply-accumulates of all of them
_MOST_RUNS, _LEAST_RUNS = 32, 4
_BUDGET = 4 * 10**10


def sensitivities(
    seen: Calibration,
    groups: Sequence[str],
    build: Callable[[str | None], Graph],
    judged: Callable[[Sequence[Run]], Objective],
    progress: Callable[[int, int], None],
    pool: Pool = HERE,
) -> tuple[float, Mapping[str, float]]:
    """The noise where all have 16 bits, and how much more there is with each group in 8.

    Parameters
    ----------
    seen : Calibration
        Its kept runs judge: at most 32, and fewer where the model is large.
    groups : sequence of str
        Representatives.
    build : callable
        The integer Graph in which this group alone has 8 bits; None for none.
    judged : callable
        What the outputs of runs should be.
    progress : callable
        Called as ``progress(measured, groups)``.
    pool : Pool
        Who measures.
    """
    work = max(1, cost(build(None)).macs) * (len(groups) + 1)
    runs = evenly(seen.kept, max(_LEAST_RUNS, min(_MOST_RUNS, _BUDGET // work)))
    noises = pool.map(Judge(build, judged(runs)), [None, *groups], "measuring layers")
    least = next(noises).whole
    found = {}
    for index, (root, noise) in enumerate(zip(groups, noises, strict=True), start=1):
        found[root] = max(0.0, noise.whole - least)
        progress(index, len(groups))
    _log.info("measured %d groups in 8 bits on %d runs each", len(groups), len(runs))
    return least, found
