"""The process of one contender of a race: it loads a model, and times a round whenever told to.

Requests come as lines of JSON on stdin, answers go out on stdout. The first request says what to
load, and is answered with the runtime's version; each further one how many seconds a round takes,
and is answered with its times. What fails is answered with an ``error``.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.cli.peers import RUNTIMES, Bound

_READING = 50e-6  # seconds: far above what the clock takes


def main() -> None:
    """Answer until stdin ends."""
    # what a runtime prints is no answer
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bound: Bound | None = None
    calls = 1
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if bound is None:
                bound = _load(request)
                calls = _warm_up(bound.run)
                answer = {"version": bound.version, "note": bound.note}
            else:
                answer = _round(bound, calls, request["seconds"])
        except Exception as error:  # whatever a runtime raises says that it cannot
            answer = {"error": _reason(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _reason(error: Exception) -> str:
    """The last line of what ``error`` says; lines before it say where in the runtime it arose."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _load(request: dict[str, Any]) -> Bound:
    if request["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, request["cores"])
    with np.load(request["feed"]) as feed:
        arrays = {name: feed[name] for name in feed.files}
    return RUNTIMES[request["runtime"]](
        Path(request["path"]),
        arrays,
        request["threads"],
        request["integer_edges"],
        request["precision"],
    )


def _warm_up(run: Callable[[], object]) -> int:
    """Run for a while; gives how many calls make one reading of the clock."""
    fastest = float("inf")
    end = time.perf_counter() + 0.1
    count = 0
    while count < 3 or time.perf_counter() < end:
        fastest = min(fastest, _reading(run, 1))
        count += 1
    return max(1, round(_READING / max(fastest, 1e-9)))


def _round(bound: Bound, calls: int, seconds: float) -> dict[str, Any]:
    readings: list[float] = []
    end = time.perf_counter() + seconds
    bound.run()
    while not readings or time.perf_counter() < end:
        readings.append(_reading(bound.run, calls))
    inside = None
    if bound.inside is not None:
        spans: list[float] = []
        end = time.perf_counter() + seconds / 2
        while not spans or time.perf_counter() < end:
            spans.append(bound.inside())
        inside = statistics.median(spans) * 1e6
    return {"median_us": statistics.median(readings) * 1e6, "inside_us": inside}


def _reading(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


if __name__ == "__main__":
    main()
