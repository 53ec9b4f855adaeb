"""A model timed beside the files of other runtimes: ``bench --against``, as numbers and a table."""

from __future__ import annotations

import os
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import RenderableType

from edgeinfer.cli import screen
from edgeinfer.cli.models import constants_of
from edgeinfer.errors import InputError

if TYPE_CHECKING:
    from edgeinfer.cli.race import Gap, Timing
    from edgeinfer.graph import Graph

__all__ = ["Rivalry", "check_files", "race_against"]

_OURS = "edgeinfer"
_ROUND_SECONDS = 0.1


@dataclass(frozen=True)
class Rivalry:
    """What a race has shown, the fastest first, and who could not take part."""

    timings: Sequence[Timing]
    gaps: Sequence[Gap]
    rounds: int

    def as_json(self, calibration: str) -> dict[str, Any]:
        """For reports; ``calibration`` says with what the peers' int8 was calibrated."""
        return {
            "rounds": self.rounds,
            "calibration": calibration,
            "timings": [each.as_json() for each in self.timings],
            "gaps": [{"name": gap.name, "reason": gap.reason} for gap in self.gaps],
        }

    def shown(self, calibration: str) -> list[RenderableType]:
        """The same as a table and notes."""
        (ours,) = (each for each in self.timings if each.contender.name == _OURS)
        rows = []
        for each in self.timings:
            low, high = (screen.milliseconds(q / 1e6) for q in each.quartiles)
            rows.append(
                (
                    each.contender.name,
                    screen.milliseconds(each.median / 1e6),
                    f"{low} to {high}",
                    f"{each.median / ours.median:.2f}",
                )
            )
        versions = {each.contender.runtime: each.version for each in self.timings}
        held = os.environ.get("EDGEINFER_ISA")
        notes = [
            f"rounds in turn: {self.rounds}; peers' int8 calibrated with {calibration}",
            *([f"EDGEINFER_ISA holds edgeinfer to {held}, and no other runtime"] if held else []),
            ", ".join(f"{runtime} {version}" for runtime, version in versions.items()),
            *(f"{each.contender.name}: {each.note}" for each in self.timings if each.note),
            *(f"no {gap.name}: {gap.reason}" for gap in self.gaps),
        ]
        heading = ("runtime", "median", "half of the rounds", "to edgeinfer's")
        wrapped = (textwrap.wrap(note, screen.width(), subsequent_indent="  ") for note in notes)
        return [screen.table(heading, rows), *chain.from_iterable(wrapped)]


def check_files(rivals: Sequence[Path]) -> None:
    """Refuse what no other runtime takes.

    Raises
    ------
    InputError
        A file is missing or of another format.
    """
    for path in rivals:
        if path.suffix.lower() not in (".onnx", ".tflite"):
            raise InputError(
                f"{path} is neither an .onnx nor a .tflite file, which --against takes"
            )
        if not path.is_file():
            raise InputError(f"there is no file {path}")


def race_against(
    rivals: Sequence[Path],
    model: Path,
    graph: Graph,
    samples: Sequence[Mapping[str, np.ndarray]],
    *,
    rounds: int,
    threads: int,
    done: Callable[[str, int, int | None], None],
) -> Rivalry:
    """Time the ``graph`` in ``model`` beside ``rivals``, on the first of ``samples``.

    Raises
    ------
    InputError
        A rival takes other inputs, or the model itself cannot be timed.
    """
    from edgeinfer.cli.field import litert_contender, onnx_contenders
    from edgeinfer.cli.race import Contender, race

    # what other runtimes take as inputs, and models are imported with zeros at first
    states = {
        state.input: np.zeros(graph.types[state.input].shape, np.float32) for state in graph.states
    }
    feeds = [states | dict(each) for each in samples]
    contenders = [Contender(_OURS, "edgeinfer", model)]
    gaps: list[Gap] = []
    with tempfile.TemporaryDirectory() as folder:
        for i, path in enumerate(rivals):
            if path.suffix.lower() == ".tflite":
                contenders.append(litert_contender(path))
                continue
            place = Path(folder) / str(i)
            place.mkdir()
            made, lacking = onnx_contenders(
                path, feeds, place, constants=constants_of(graph), done=done
            )
            contenders += made
            gaps += lacking
        timings, failed = race(
            contenders,
            feeds[0],
            rounds=rounds,
            seconds=_ROUND_SECONDS,
            threads=threads,
            done=done,
        )
    for gap in failed:
        if gap.name == _OURS:
            raise InputError(f"{model} cannot be timed beside others: {gap.reason}")
    ranked = sorted(timings, key=lambda each: each.median)
    return Rivalry(ranked, [*gaps, *failed], rounds)
