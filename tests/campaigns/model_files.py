"""Mutated model files for as long as is given: each is refused, or computes the reference's bits.

    python -m tests.campaigns.model_files --seed 1 --minutes 60

A mutant follows from the seed and its number alone. It is tried in a child process with a limit of
memory: a crash is a finding like any other, and the campaign goes on behind it. What is found is
written to ``--keep`` as files that ``edgeinfer.load`` takes; the exit code is 1 then. With the
runtime built under sanitizers (``EDGEINFER_CFLAGS``, as tests/runtime/test_sanitizers.py does) it
finds what leaves no trace otherwise.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import sys
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from tests.model_file import mutants

PER_CHILD = 500
GRAPHS_PER_MINUTE, MOST_GRAPHS = 20, 400


def data_of(seed: int, number: int, files: list[mutants.ModelFile]) -> bytes:
    return mutants.mutant(random.Random(f"{seed} {number}"), files)


def work(
    seed: int,
    numbers: range,
    files: list[mutants.ModelFile],
    limit: int,
    until: float,
    told: Connection,
) -> None:
    """Try mutants and tell of each: its number and outcome, or what went wrong."""
    if limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in numbers:
        if time.monotonic() > until:
            return
        try:
            told.send((number, mutants.outcome(data_of(seed, number, files)), ""))
        except Exception as error:
            told.send((number, type(error).__name__, traceback.format_exc(limit=-4)))


def campaign(options: argparse.Namespace) -> int:
    """Run it; how many findings there are."""
    graphs = min(MOST_GRAPHS, max(GRAPHS_PER_MINUTE, int(options.minutes * GRAPHS_PER_MINUTE)))
    files = mutants.corpus(options.seed, graphs)
    context, outcomes, findings = multiprocessing.get_context("fork"), Counter[str](), 0
    began, number = time.monotonic(), options.first
    until, end = began + 60 * options.minutes, options.first + options.count
    while number < end and time.monotonic() < until:
        numbers = range(number, min(number + PER_CHILD, end))
        listening, telling = context.Pipe(duplex=False)
        child = context.Process(
            target=work, args=(options.seed, numbers, files, options.memory << 20, until, telling)
        )
        child.start()
        telling.close()
        while True:
            try:
                at, outcome, trace = listening.recv()
            except EOFError:
                break
            number = at + 1
            outcomes[outcome] += 1
            if trace:
                findings += 1
                keep(options, at, files, trace)
        child.join()
        if child.exitcode:
            outcomes["crashed"] += 1
            findings += 1
            keep(options, number, files, f"the process ended with {child.exitcode}\n")
            number += 1
    seconds = time.monotonic() - began
    tried = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    print(f"seed {options.seed}, {len(files)} files, {outcomes.total()} mutants in {seconds:.0f} s")
    print(tried or "none")
    print(f"{findings} findings")
    return findings


def keep(
    options: argparse.Namespace, number: int, files: list[mutants.ModelFile], said: str
) -> None:
    """The mutant as a file, and what it did beside it."""
    options.keep.mkdir(parents=True, exist_ok=True)
    path = options.keep / f"{options.seed}-{number}.eqm"
    path.write_bytes(data_of(options.seed, number, files))
    path.with_suffix(".txt").write_text(said)
    print(f"{path}: {said.strip().splitlines()[-1]}", flush=True)


def main() -> None:
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--count", type=int, default=1 << 60, help="of mutants at most")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument(
        "--memory",
        type=int,
        default=4096,
        help="MiB for the process; 0 without a limit, as sanitizers need",
    )
    parser.add_argument("--keep", type=Path, default=Path("findings"), help="folder for findings")
    sys.exit(1 if campaign(parser.parse_args()) else 0)


if __name__ == "__main__":
    main()
