"""Which networks come through: imported, computed as onnxruntime does, made integer, how well.

    python benchmarks/coverage.py [--only PATTERN ...] [--models FOLDER] [-o FILE.json]
                                  [--markdown docs/coverage.md]

Builds the networks of architectures/ with drawn weights and exports them to ONNX; imports them,
compares float outputs with onnxruntime's, quantizes them in each scheme, and lets onnxruntime
quantize them with the same samples. Each in processes of their own, so that a crash ends nothing
else and peak memory is its own. Prints Markdown.

The frameworks come with `pip install -e ".[coverage]"`, on which PyTorch brings its CUDA packages.
FOLDER keeps the ONNX files: what lies there is not built again, and needs no framework. FILE.json
is added to: networks that it has and that are not asked for stay in it, and in the tables. All
networks take about two hours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import coverage_tables
import machine
from architectures import FAMILIES
from architectures.files import Exported
from checkout import commit
from coverage_worker import CALIBRATION, COMPARED, EVALUATION, EVALUATION_SMALL
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from edgeinfer.quant import SCHEMES

WORKER = Path(__file__).parent / "coverage_worker.py"
Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="networks or families that a shell pattern names; without it, all of them",
    )
    parser.add_argument(
        "--models", type=Path, metavar="FOLDER", help="where the ONNX files are kept"
    )
    parser.add_argument(
        "--schemes",
        nargs="+",
        choices=SCHEMES,
        default=list(SCHEMES),
        metavar="SCHEME",
        help=f"of {', '.join(SCHEMES)} (all)",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="networks at a time (%(default)s)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=1200,
        metavar="S",
        help="after how many seconds a process is ended (%(default)s)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="measure only what FILE.json does not have"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="keep all results")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="write the page there")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {arguments.jobs}")
    with _folder(arguments.models) as folder:
        names, absent = catalogue(folder)
        for reason in dict.fromkeys(absent.values()):
            kinds = ", ".join(kind for kind in absent if absent[kind] == reason)
            print(f"not built, {reason}: {kinds}", file=sys.stderr)
        asked = {
            name: kind
            for name, kind in names.items()
            if not arguments.only or any(_fits(name, kind, each) for each in arguments.only)
        }
        if not asked:
            parser.error(f"no network fits {' '.join(arguments.only) or 'here'}")
        report = read_report(arguments.output)
        if arguments.resume:
            asked = {name: kind for name, kind in asked.items() if name not in report["results"]}
        report |= {
            "commit": commit(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "processor": machine.processor(),
            "load": os.getloadavg()[0],
            "samples": {
                "calibration": CALIBRATION,
                "evaluation": EVALUATION,
                "evaluation_small": EVALUATION_SMALL,
                "compared": COMPARED,
            },
        }
        for result in measured(asked, folder, arguments):
            report["results"][result["name"]] = {**result, "commit": report["commit"]}
            if arguments.output is not None:
                text = json.dumps(report, indent=1) + "\n"
                arguments.output.write_text(text, encoding="utf-8")
    page = coverage_tables.page(report)
    if arguments.markdown is None:
        print(page)
    else:
        arguments.markdown.write_text(page, encoding="utf-8")


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def _fits(name: str, kind: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(kind, pattern)


def read_report(path: Path | None) -> dict[str, Any]:
    """What an earlier run left, or an empty one."""
    if path is None or not path.exists():
        return {"results": {}}
    return json.loads(path.read_text(encoding="utf-8"))


def catalogue(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The family of each network that can be built or lies in ``folder``; why families are absent.

    Another process imports the frameworks: what memory this one has had would count as that of the
    processes it starts.
    """
    with tempfile.TemporaryDirectory() as scratch:
        found = work("catalogue", {"scratch": scratch}, timeout=600)
    names: dict[str, str] = found.get("names", {})
    absent: dict[str, str] = found.get("absent", {})
    for path in sorted(folder.glob("*.json")):
        exported = Exported.read(folder, path.stem)
        names.setdefault(exported.name, exported.family)
    order = {name: place for place, name in enumerate(FAMILIES)}
    ordered = sorted(names, key=lambda name: (order.get(names[name], len(order)), name))
    return {name: names[name] for name in ordered}, absent


# ---- one network


def measured(
    asked: Mapping[str, str], folder: Path, arguments: argparse.Namespace
) -> Iterator[Result]:
    """Each network's result as soon as it is there, shown on the way."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(arguments.jobs) as pool,
    ):
        task = progress.add_task("networks", total=len(asked))
        futures = [
            pool.submit(network, name, kind, folder, arguments.schemes, arguments.timeout)
            for name, kind in asked.items()
        ]
        try:
            for future in as_completed(futures):
                result = future.result()
                console.print(
                    coverage_tables.line(result), markup=False, highlight=False, soft_wrap=True
                )
                progress.advance(task)
                yield result
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def network(name: str, kind: str, folder: Path, schemes: Sequence[str], timeout: float) -> Result:
    """Build it where it is not there, and measure it."""
    result: Result = {"name": name, "family": kind}
    with tempfile.TemporaryDirectory() as scratch:
        asked = {
            "name": name,
            "family": kind,
            "folder": str(folder),
            "scratch": scratch,
            "schemes": list(schemes),
        }
        exported = Exported.read(folder, name)
        if exported is None:
            result["build"] = work("build", asked, timeout)
            exported = Exported.read(folder, name)
        if exported is None:
            return result
        result |= {
            "origin": exported.origin,
            "exporters": list(exported.files),
            "errors": exported.errors,
        }
        if exported.files:
            result["peer"] = work("peer", asked, timeout)
            result["ours"] = work("ours", asked, timeout)
    return result


def work(task: str, asked: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """What a process of coverage_worker.py answers; ``ended`` says how it ended early."""
    scratch = Path(asked["scratch"])
    request, answer, log = (scratch / f"{task}.{end}" for end in ("request", "answer", "log"))
    request.write_text(json.dumps(asked), encoding="utf-8")
    start = time.perf_counter()
    with log.open("w", encoding="utf-8") as said:
        try:
            done = subprocess.run(
                [sys.executable, str(WORKER), task, str(request), str(answer)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                timeout=timeout,
            )
            ended = "" if done.returncode == 0 else f"exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"not done after {timeout:g} s"
    found = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}
    if ended:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        found["ended"] = f"{ended}: {lines[-1].strip()[:300]}" if lines else ended
    return found | {"all_seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
