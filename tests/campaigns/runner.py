"""Tries mutants of files in child processes for as long as is given, and keeps what is found.

A mutant follows from the seed, the corpus and its number. The process that tries it has a limit of
memory beside what its packages take: a crash, an exception that is none of edgeinfer's, a wrong
number, ten seconds for a file to be read, two minutes without an answer are findings, and the
campaign goes on behind each. With the runtime built under sanitizers (``EDGEINFER_CFLAGS``, as
tests/runtime/test_sanitizers.py does) it finds what leaves no trace otherwise; these need
``--memory 0``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from edgeinfer.errors import EdgeInferWarning
from tests.memory_limit import limit_memory

PER_CHILD = 500
PATIENCE = 120
"""Seconds after which a process that says nothing is ended."""


@dataclass(frozen=True)
class Campaign:
    """A kind of file, how mutants of it are made, and what may become of one.

    Parameters
    ----------
    suffix : str
        Of the files that are kept.
    corpus : callable
        The files that are changed, of a seed; few of them for a sample, where it is told so.
    mutant : callable
        Of a source of chance and the corpus, the bytes of a file.
    outcome : callable
        In a word, what became of such bytes; what it raises is a finding.
    """

    suffix: str
    corpus: Callable[[int, bool], Sequence[Any]]
    mutant: Callable[[random.Random, Any], bytes]
    outcome: Callable[[bytes], str]


class _Run:
    def __init__(self, campaign: Campaign, options: argparse.Namespace) -> None:
        self.campaign, self.options = campaign, options
        self.corpus = campaign.corpus(options.seed, options.small)
        self.outcomes, self.findings = Counter[str](), 0
        self.until = time.monotonic() + 60 * options.minutes

    def go(self) -> None:
        context = multiprocessing.get_context("fork")
        number, end = self.options.first, self.options.first + self.options.count
        while number < end and time.monotonic() < self.until:
            numbers = range(number, min(number + PER_CHILD, end))
            listening, telling = context.Pipe(duplex=False)
            child = context.Process(target=self._work, args=(numbers, telling))
            child.start()
            telling.close()
            while listening.poll(PATIENCE):
                try:
                    at, outcome, trace = listening.recv()
                except EOFError:
                    break
                number = at + 1
                self._count(at, outcome, trace)
            else:
                child.kill()
            child.join()
            listening.close()
            if child.exitcode:
                self._count(number, "crashed", f"the process ended with {child.exitcode}\n")
                number += 1

    def _work(self, numbers: range, told: Connection) -> None:
        """Try mutants and tell of each: its number and outcome, or what went wrong."""
        if self.options.memory:
            limit_memory(self.options.memory << 20)
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", EdgeInferWarning)
        for number in numbers:
            if time.monotonic() > self.until:
                return
            try:
                outcome, trace = self.campaign.outcome(self.data_of(number)), ""
            except Exception as error:
                outcome, trace = type(error).__name__, traceback.format_exc(limit=-4)
            told.send((number, outcome, trace))

    def data_of(self, number: int) -> bytes:
        return self.campaign.mutant(random.Random(f"{self.options.seed} {number}"), self.corpus)

    def _count(self, number: int, outcome: str, trace: str) -> None:
        self.outcomes[outcome] += 1
        if not trace:
            return
        self.findings += 1
        self.options.keep.mkdir(parents=True, exist_ok=True)
        path = self.options.keep / f"{self.options.seed}-{number}{self.campaign.suffix}"
        path.write_bytes(self.data_of(number))
        path.with_suffix(".txt").write_text(trace)
        print(f"{path}: {trace.strip().splitlines()[-1]}", flush=True)


def main(campaign: Campaign, documentation: str | None) -> None:
    """The command of a campaign's module; it ends with 1 where something was found."""
    description, _, details = (documentation or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--count", type=int, default=1 << 60, help="of mutants at most")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--small", action="store_true", help="few files to change, as in a test")
    parser.add_argument(
        "--memory",
        type=int,
        default=1024,
        help="MiB beside what the packages take; 0 without a limit, as sanitizers need",
    )
    parser.add_argument("--keep", type=Path, default=Path("findings"), help="folder for findings")
    options = parser.parse_args()
    run, began = _Run(campaign, options), time.monotonic()
    run.go()
    tried = ", ".join(f"{count} {outcome}" for outcome, count in run.outcomes.most_common())
    seconds = time.monotonic() - began
    print(
        f"seed {options.seed}, {len(run.corpus)} files, {run.outcomes.total()} mutants "
        f"in {seconds:.0f} s"
    )
    print(tried or "none")
    print(f"{run.findings} findings")
    sys.exit(1 if run.findings else 0)
