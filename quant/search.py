"""Ranges into the ranges with the least error at the model's outputs, tried on the integer Graph.

No rule that looks at one value alone serves every model: cutting an input's rare extremes gives up
much of the input's energy, and may halve the error of the outputs or double it. So the rules
propose and calibration samples decide: first one rule for all values, then value by value in the
order of the flow, as far as a fixed budget of multiply-accumulates goes. What they favour must also
help samples that were held back, by ranges that do not know these.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from edgeinfer.graph import Graph
from edgeinfer.graph.cost import cost
from edgeinfer.pools import HERE, Pool
from edgeinfer.quant.bounds import Ranges
from edgeinfer.quant.calibration import Calibration, Progress, Run, evenly
from edgeinfer.quant.objective import Judge, Objective

__all__ = ["MAX_RUNS", "MIN_RUNS", "Judges", "judges", "search", "spared"]

_log = logging.getLogger(__name__)

# how many calibration runs judge a proposal, at most; fewer than so many are no evidence
MAX_RUNS, MIN_RUNS = 128, 16

# multiply-accumulates of all proposals together: seconds on one core
_BUDGET = 4 * 10**10

# the budget is for so many proposals: fewer runs judge where a model is large, and even where it
# is small there is an end
_PROPOSALS, _MAX_PROPOSALS = 24, 128

# What must be left of the noise, or less, for a proposal to be taken: on all runs that judge, so
# that it is no luck, and on those held back alone, which are few.
_SHARE, _SHARE_UNSEEN = 0.7, 0.95

_SHRINKS = (0.85, 0.7, 0.5, 0.35, 0.25)


@dataclass(frozen=True)
class Judges:
    """The runs that judge, and how many proposals they may be asked about."""

    runs: list[Run]
    tries: int

    @property
    def reason(self) -> str:
        """Why they are asked about nothing."""
        if len(self.runs) < MIN_RUNS:
            return f"{len(self.runs)} runs are too few to judge others"
        return f"the model is too large to try others on {len(self.runs)} runs"


def judges(calibration: Calibration, integer: Graph) -> Judges:
    """Those that the budget allows for a Graph as large as ``integer``; no try of too few runs."""
    if len(calibration.kept) < MIN_RUNS:
        return Judges(calibration.kept, 0)
    work = max(1, cost(integer).macs)
    affordable = _BUDGET // (_PROPOSALS * work)
    runs = evenly(calibration.kept, max(MIN_RUNS, min(MAX_RUNS, affordable)))
    return Judges(runs, min(_MAX_PROPOSALS, _BUDGET // (work * len(runs))))


def search(
    calibration: Calibration,
    proposals: Mapping[str, Ranges],
    build: Callable[[Ranges], Graph],
    trial: Callable[[Ranges], Graph],
    objective: Callable[[Sequence[Run]], Objective],
    progress: Progress | None = None,
    pool: Pool = HERE,
) -> Ranges:
    """The best ranges found; ``minmax`` where the runs are too few, or too long, to be evidence.

    Parameters
    ----------
    calibration : Calibration
        The runs that judge, and those of them that are held back.
    proposals : mapping of str to ranges
        What each rule proposes, in the order of the flow; ``minmax`` is the one to beat.
    build, trial : callable
        From ranges to the integer Graph, and to that of the ranges as they are without the runs
        that are held back.
    objective : callable
        What the outputs of runs should be.
    progress : callable
        Called as ``progress("searching", tried, proposals)``.
    pool : Pool
        Who tries proposals. Each is held against the best before it; where several are tried at
        once, and one becomes the best, those behind it are tried anew.
    """
    best = proposals["minmax"]
    judging = judges(calibration, build(best))
    runs = judging.runs
    if judging.tries < len(proposals):
        _log.info("minmax, as %s", judging.reason)
        return best
    seen, unseen = Judge(build, objective(runs)), Judge(trial, objective(calibration.held_back))
    least, least_unseen = seen(best), unseen(best)
    tried = taken = refused = 0
    changes = list(itertools.islice(_changes(proposals), judging.tries))
    while tried < len(changes):
        others = [{**best, **change} for change in changes[tried:]]
        new = (ranges for ranges in others if ranges != best)
        with closing(pool.map(seen, new, "searching")) as noises:
            for ranges in others:
                tried += 1
                if progress is not None:
                    progress("searching", tried, len(changes))
                if ranges == best:
                    continue
                noise = next(noises)
                if not noise.is_better_than(least, _SHARE):
                    continue
                # what helps the runs that made the ranges must help those that had no part in them
                noise_unseen = unseen(ranges)
                if noise_unseen.is_better_than(least_unseen, _SHARE_UNSEEN):
                    best, least, least_unseen = ranges, noise, noise_unseen
                    taken += 1
                    break
                refused += 1
    _log.info(
        "tried %d other ranges on %d runs, and took %d; %d more did not help the %d held back",
        len(changes),
        len(runs),
        taken,
        refused,
        len(calibration.held_back),
    )
    return best


def spared(
    calibration: Calibration,
    whole: Ranges,
    cut: Ranges,
    build: Callable[[Ranges], Graph],
    objective: Callable[[Sequence[Run]], Objective],
) -> tuple[Ranges, list[str]]:
    """The ranges that a rule cut, but whole where a cut takes the extremes of an output.

    What decides by a threshold loses them else, as a detector its detections: rules look at a value
    alone, and one object in a hundred pictures is rare.

    Parameters
    ----------
    calibration : Calibration
        Its kept runs judge.
    whole, cut : ranges
        Of the same groups.
    build : callable
        From ranges to the integer Graph.
    objective : callable
        What the outputs of runs should be.

    Returns
    -------
    ranges, list of str
        And the groups that stayed whole.
    """
    judged = objective(calibration.kept)
    base = judged.noise(build(whole))
    if judged.noise(build(cut)).keeps_extremes(base):
        return cut, []
    kept, found = [], dict(whole)
    for root, range_ in cut.items():
        if range_ == whole[root]:
            continue
        tried = {**found, root: range_}
        if judged.noise(build(tried)).keeps_extremes(base):
            found = tried
        else:
            kept.append(root)
    return found, kept


def _changes(proposals: Mapping[str, Ranges]) -> Iterator[Ranges]:
    """One rule for all values; then for each value each rule's range, and plain shrinkings."""
    yield from proposals.values()
    for name, (low, high) in proposals["minmax"].items():
        yield from ({name: ranges[name]} for ranges in proposals.values())
        yield from ({name: (low * share, high * share)} for share in _SHRINKS)
