"""Calibration's data beside others: whether they are alike, and what would make them so.

Of each input the runs' means and standard deviations by channel are compared as vectors, by
Hotelling's two-sample statistic with each sample's own covariance (H. Hotelling, "The
generalization of Student's ratio", 1931): how many standard errors apart the two are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeinfer.quant.calibration_summary import InputSummary, Summary

__all__ = ["Unlikeness", "unlikenesses"]

# squared standard errors a number, beyond which two samples differ: of the zoo's calibration and
# evaluation data it is 7 at most, but for machines that were recorded broken
_APART = 12.0

# and by so many deviations of a run at least, or it does not matter
_MATTERS = 0.25

# by so much less of the statistic an order of channels is the more likely one
_MORE_LIKELY = 1.5

# a divisor differs from 1 by so much, or nobody normalizes by it
_NORMALIZED = 0.2

# fewer runs have no covariance
_FEWEST_RUNS = 8

# the largest numbers reach so many times as far, while all else is alike
_FARTHER = 2.0

# one class has nearly all samples here, and not there
_ONE_CLASS, _MANY_CLASSES = 0.9, 0.6


@dataclass(frozen=True)
class Unlikeness:
    """One way in which calibration's data were others.

    Parameters
    ----------
    input : str
        The input; empty where outputs tell it.
    text : str
        What differs, and what would make them alike where that is known.
    reaches : bool
        Only the largest numbers differ.
    """

    input: str
    text: str
    reaches: bool = False


def unlikenesses(then: Summary, now: Summary) -> list[Unlikeness]:
    """How the data of ``then``, which a file was calibrated on, differ from those of ``now``."""
    found = []
    for name, a in then.inputs.items():
        b = now.inputs.get(name)
        if b is None or b.axis != a.axis or b.channels != a.channels:
            continue
        text = _apart(a, then.runs, b, now.runs)
        if text is not None:
            found.append(Unlikeness(name, f"input {name!r}: {text}"))
        elif max(-a.low, a.high) > _FARTHER * max(-b.low, b.high) > 0:
            found.append(
                Unlikeness(
                    name,
                    f"calibration's data reach from {a.low:.4g} to {a.high:.4g} in input {name!r}, "
                    f"and these from {b.low:.4g} to {b.high:.4g}; most of them are alike",
                    True,
                )
            )
    return [*found, *_classes(then.classes, now.classes)]


def _classes(then: Mapping[str, int], now: Mapping[str, int]) -> list[Unlikeness]:
    most, total = _largest(then)
    share = _largest(now)[0][1] / max(1, _largest(now)[1])
    if total < _FEWEST_RUNS or most[1] < _ONE_CLASS * total or share > _MANY_CLASSES:
        return []
    return [
        Unlikeness(
            "",
            f"{most[1]} of {total} samples that calibration kept have class {most[0]}; these have "
            f"{len(now)}{' or more' if len(now) > 15 else ''} classes",
        )
    ]


def _largest(classes: Mapping[str, int]) -> tuple[tuple[str, int], int]:
    most = max(classes.items(), key=lambda item: item[1], default=("", 0))
    return most, sum(classes.values())


def _apart(a: InputSummary, runs_a: int, b: InputSummary, runs_b: int) -> str | None:
    """What differs, where it is more than the luck of a draw."""
    if min(runs_a, runs_b) < _FEWEST_RUNS:
        return None
    mean_a, mean_b = np.array(a.mean), np.array(b.mean)
    cov_a, cov_b = np.array(a.covariance), np.array(b.covariance)
    c = a.channels
    there = _statistic(mean_a, cov_a / runs_a, mean_b, cov_b / runs_b)
    means = f"calibration's data have {_listed(mean_a, c)}, these {_listed(mean_b, c)}"
    if c > 1:
        order = [*range(c)][::-1] + [*range(c, 2 * c)][::-1]
        reverse = cov_b[np.ix_(order, order)] / runs_b
        other = _statistic(mean_a, cov_a / runs_a, mean_b[order], reverse)
        if other < _APART and max(other + _MORE_LIKELY, 2 * other) < there:
            return f"{means}; they are alike with the channels in reverse order"
    deviations = np.sqrt(np.maximum(np.diag(cov_a), np.diag(cov_b))) + 1e-30
    if there < _APART or (np.abs(mean_a - mean_b) / deviations).max() < _MATTERS:
        return None
    scaled = _scaled(mean_a, cov_a, mean_b, cov_b, c)
    return means if scaled is None else f"{means}; {scaled}"


def _statistic(a: np.ndarray, cov_a: np.ndarray, b: np.ndarray, cov_b: np.ndarray) -> float:
    """The squared distance in standard errors, a number."""
    cov = cov_a + cov_b
    # what hardly varies at all must not count as if it were known for sure
    cov = cov + np.eye(len(a)) * (1e-3 * np.trace(cov) / len(a) + 1e-30)
    difference = a - b
    return float(difference @ np.linalg.solve(cov, difference)) / len(a)


def _scaled(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray, c: int
) -> str | None:
    """Whether calibration's are these minus a number, divided by another."""
    if (mean_a[c:] <= 0).any():
        return None
    divisor = mean_b[c:] / mean_a[c:]
    if np.abs(divisor - 1).max() < _NORMALIZED:
        return None
    minus = mean_b[:c] - mean_a[:c] * divisor
    spread_a = np.sqrt(np.diag(cov_a)) * np.concatenate([divisor, divisor])
    spread_b = np.sqrt(np.diag(cov_b))
    # how runs differ among each other is scaled alike where it is the same data
    ratio = spread_a / np.maximum(spread_b, 1e-30)
    if not ((ratio > 0.6) & (ratio < 1.6)).all():
        return None
    shown = ", ".join(
        f"(x {'-' if m >= 0 else '+'} {abs(m):.4g}) / {d:.4g}"
        for m, d in zip(minus, divisor, strict=True)
    )
    return f"these made {shown} are like them, as if calibration's were normalized once more"


def _listed(mean: np.ndarray, c: int) -> str:
    means, deviations = mean[:c], mean[c:]
    return (
        f"means {', '.join(f'{x:.4g}' for x in means)} and deviations "
        f"{', '.join(f'{x:.4g}' for x in deviations)}"
        if c > 1
        else f"mean {means[0]:.4g} and deviation {deviations[0]:.4g}"
    )
