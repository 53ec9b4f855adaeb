"""What ``--scheme auto`` measures and chooses on the zoo, beside data that it has not seen.

    EDGEINFER_ZOO=DIR python benchmarks/zoo_mixtures.py [ENTRY ...] [--all]

Prints Markdown. Of each entry every mixture on the ladder is held against float32 on the evaluation
set, and timed beside int8 in turn with all others, on one thread: ratios of medians, so that a
machine that does other things as well serves. The first table has what was found, the second, with
``--all``, each mixture: as predicted by the model of costs and as timed, as calibration judged it
and as it is. Takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from zoo_accuracy import ENTRIES, agreement, float_outputs, sqnr_db
from zoo_folder import load

from edgeinfer.converters import from_onnx
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph
from edgeinfer.quant import Goal, Mixture, Options, quantize_and_judge
from edgeinfer.quant.lowering import Lowering
from edgeinfer.quant.mixtures import Point
from edgeinfer.runtime.session import Session

AGREEMENT, RATIO = 0.998, 1.3
ROUNDS, ROUND_SECONDS = 25, 0.01


@dataclass(frozen=True)
class Measured:
    """A mixture on the evaluation set: ``agreement`` is None where outputs are no classes, and
    ``ratio`` how many times int8's latency."""

    point: Point
    name: str
    agreement: float | None
    sqnr_db: float
    ratio: float


def outputs(session: Session, graph: Graph, x: np.ndarray) -> np.ndarray:
    if graph.free_batch:
        return session.run(x)
    size = session.inputs[0].shape[0]
    return np.concatenate([session.run(part) for part in np.split(x, len(x) // size)])


def medians(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Seconds of each call, all of them in turn, in another order each time."""
    rounds: list[list[float]] = [[] for _ in calls]
    draw = random.Random(0)
    for _ in range(ROUNDS):
        for index in draw.sample(range(len(calls)), len(calls)):
            rounds[index].append(statistics.median(_spans(calls[index])))
    return [statistics.median(found) for found in rounds]


def _spans(call: Callable[[], object]) -> Iterator[float]:
    """Seconds of one run after another, for a while."""
    call()
    end = time.perf_counter() + ROUND_SECONDS
    now = 0.0
    while now < end:
        begun = time.perf_counter()
        call()
        now = time.perf_counter()
        yield now - begun


def measured(entry, graph: Graph, mixture: Mixture) -> list[Measured]:
    """All mixtures, by the model's latency."""
    reference = float_outputs(entry.model, entry.input, entry.x)
    integers = [
        Lowering(graph, weights=p.rounded.weights).graph_of(p.choice.types) for p in mixture.points
    ]
    sessions = [Session(integer) for integer in integers]
    results = [outputs(s, g, entry.x) for s, g in zip(sessions, integers, strict=True)]
    x = entry.x[: sessions[0].inputs[0].shape[0]]

    def call(session: Session) -> Callable[[], object]:
        out = session.run(x)
        return lambda: session.run(x, out)

    took = medians([call(session) for session in sessions])
    plain = next(t for p, t in zip(mixture.points, took, strict=True) if is_int8(p))
    return [
        Measured(
            point,
            mixture.short(point),
            None if entry.metric == "auc" else agreement(reference, y),
            sqnr_db(reference, y),
            each / plain,
        )
        for point, y, each in zip(mixture.points, results, took, strict=True)
    ]


def is_int8(point: Point) -> bool:
    return point.scheme == "int8" and not point.wide


def chosen(mixture: Mixture, goal: Goal) -> Point | None:
    try:
        return replace(mixture, goal=goal).chosen
    except InputError:
        return None


def cells(each: Measured | None) -> str:
    if each is None:
        return "none | "
    share = "" if each.agreement is None else f"{100 * each.agreement:.2f} %, "
    return f"{each.name} | {share}{each.sqnr_db:.1f} dB, {each.ratio:.2f}x"


def summary(name: str, mixture: Mixture, found: Sequence[Measured]) -> str:
    """int8, the best within 1.3 times, the fastest with 99.8 %, and what --max-drop 0% takes."""
    of: Mapping[int, Measured] = {id(each.point): each for each in found}
    int8 = next(each for each in found if is_int8(each.point))
    within = [each for each in found if each.ratio < RATIO]
    best = max(within, key=lambda each: (each.agreement or 0.0, each.sqnr_db))
    enough = [each for each in found if (each.agreement or 0.0) >= AGREEMENT]
    fastest = min(enough, key=lambda each: each.ratio, default=None)
    goal = Goal(max_drop=0.0) if int8.agreement is not None else Goal(min_sqnr=45)
    pick = chosen(mixture, goal)
    picked = None if pick is None else of[id(pick)]
    row = (name, cells(int8).split("| ")[1], cells(best), cells(fastest), cells(picked))
    return "| " + " | ".join(row) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("entries", nargs="*", default=ENTRIES)
    parser.add_argument("--all", action="store_true", help="a row for each mixture, too")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows, details = [], []
    for name in arguments.entries:
        entry = load(name)
        graph = from_onnx(entry.model)
        # a goal that all meet: the whole ladder is measured whatever is asked for
        options = Options("auto", goal=Goal(min_sqnr=-100.0))
        mixture = quantize_and_judge(graph, entry.calib, options).mixture
        assert mixture is not None
        found = measured(entry, graph, mixture)
        rows.append(summary(name, mixture, found))
        for each in found:
            seen = each.point.quality
            counts = f"{seen.differing}/{seen.samples}, {seen.all_differing}/{seen.all_samples}"
            details.append(
                f"| {name} | {cells(each)} | {each.point.latency:.2f}x | {seen.sqnr_db:.1f} dB, "
                f"{counts} |"
            )
        print(f"{name}: {len(found)} mixtures", flush=True)
        if arguments.all:
            print("\n".join(details), flush=True)
            details.clear()
    print("| | int8 | best under 1.3x | | fastest with 99.8 % | | `--max-drop 0%` | |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
