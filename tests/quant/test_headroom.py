"""A value reaches farther than was seen: so far that its error is least on other runs."""

from collections.abc import Callable

import numpy as np
import pytest

from edgeinfer.quant.headroom import headroom
from edgeinfer.quant.reaches import Reaches

DRAWS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "lognormal": lambda rng, shape: rng.lognormal(size=shape),
}
FIXED = (1.0, 1.25, 1.5)


def reaches_of(runs: np.ndarray) -> Reaches:
    found = Reaches()
    for run in runs:
        found.add(run)
    return found


def noise(seen: np.ndarray, others: np.ndarray, times: float) -> float:
    """Of a run of ``others``: what is rounded, and what is clipped."""
    low, high = times * min(seen.min(), 0), times * seen.max()
    clipped = (others - np.clip(others, low, high)) ** 2
    return float(clipped.sum(1).mean() + seen.shape[1] * ((high - low) / 255) ** 2 / 12)


def test_it_is_near_the_best_of_fixed_factors_whatever_the_distribution():
    rng = np.random.default_rng(0)
    behind: dict[str | float, list[float]] = {}
    for draw in DRAWS.values():
        for runs, elements in ((8, 4), (8, 4096), (32, 4), (32, 256), (100, 32), (100, 4096)):
            found = dict.fromkeys(("chosen", *FIXED), 0.0)
            for _ in range(20):
                seen, others = draw(rng, (runs, elements)), draw(rng, (100, elements))
                span = float(seen.max() - min(seen.min(), 0))
                chosen = headroom(reaches_of(seen), elements, span / 255)
                for name in found:
                    times = chosen if name == "chosen" else name
                    found[name] += noise(seen, others, times)
            best = min(found.values())
            for name, value in found.items():
                behind.setdefault(name, []).append(10 * np.log10(value / best))
    most = {name: max(each) for name, each in behind.items()}
    assert most.pop("chosen") < 2
    assert min(most.values()) > 5


def test_what_reaches_equally_far_in_all_runs_ends_there():
    assert headroom(Reaches([2.0] * 9), 4, 4 / 255) == 1.0
    assert headroom(Reaches([]), 4, 4 / 255) == 1.0


@pytest.mark.parametrize("runs", [1, 2, 8, 100])
def test_fewer_elements_and_fewer_runs_need_more(runs):
    seen = np.linspace(0.5, 1, runs)[:, None]
    found = [headroom(reaches_of(seen), elements, 1 / 255) for elements in (1, 16, 256, 10**6)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.2
    assert found[-1] == 1.0
    assert found[0] > headroom(reaches_of(np.repeat(seen, 10, axis=0)), 1, 1 / 255)
