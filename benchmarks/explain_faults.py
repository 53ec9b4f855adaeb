"""Faults planted in real models: which of them ``explain`` names, and which ``--fix`` repairs.

    EDGEINFER_ZOO=DIR python benchmarks/explain_faults.py [--seed N] [--drawn N]
        [--rows FILE] [-o docs/explain-faults.md]

Beside those that are always the same, as many are drawn by the seed, or N of ``--drawn``.
``tests/accuracy/planting`` plants and judges them. Prints a row as soon as it is measured, and
writes the page at the end. With ``--rows`` each is kept in a file, and what is there already is not
measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from zoo_folder import load

sys.path.append(str(Path(__file__).parents[1]))

from tests.accuracy.planting.faults import FIXED, LEAST_LOSS, NoFaultError, Plant, drawn, plant
from tests.accuracy.planting.subjects import EXPORTED, ZOO, subject
from tests.accuracy.planting.verdict import LOOKED_AT, WITHIN_DB, judge

PAGE = """\
# Planted faults

{count} faults, each planted in a model whose int8 file then loses {least:.0f} dB at least: what
`edgeinfer explain` says of them, and what `--fix` makes of them. It is given the float model, the
spoilt file and a hundred good samples, and is told nothing of the fault. {fixed} of the faults are
always the same, the other {drawn} are the first that seed {seed} draws. The page is written by

    EDGEINFER_ZOO=DIR python benchmarks/explain_faults.py --seed {seed} --drawn {drawn} \\
        -o docs/explain-faults.md

A fault is *named* where one of the first {looked} findings has a right cause at the right place. It
is *repaired* where the fixed model's SQNR, on a hundred more samples that nothing has seen, is at
most {within:.0f} dB below that of the model without the fault, quantized by the same good samples.
All SQNR are of the last layers' results, in dB. Which causes are right for a kind of fault, and
what is planted, `tests/accuracy/planting/faults.py` says.

**{named} of {count} are named, {first} of them by the first finding; {repaired} are repaired.**

| kind | planted | named | repaired |
|---|---|---|---|
{kinds}

{rows}
"""

HEADING = """\
| fault | model | where | without | with | fixed | first finding | named as | repaired by |
|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Row:
    """What was found of one fault."""

    kind: str
    model: str
    text: str
    sound_db: float
    spoilt_db: float
    fixed_db: float
    first: str
    place: int | None
    is_named: bool
    is_repaired: bool
    taken: str
    details: str

    def __str__(self) -> str:
        named = f"{self.place}." if self.is_named else "**not named**"
        repaired = self.taken if self.is_repaired else f"**not**, by {self.taken}"
        numbers = (f"{db:.1f}" for db in (self.sound_db, self.spoilt_db, self.fixed_db))
        cells = (self.kind, self.model, self.text, *numbers, self.first, named, repaired)
        return "| " + " | ".join(cells) + " |"


def judged(wanted: Plant) -> Row | None:
    """What was found of the fault; None where it costs too little to be one."""
    try:
        fault = plant(wanted, subject(wanted.model, load))
    except NoFaultError:
        return None
    verdict = judge(fault)
    findings = verdict.explanation.findings
    return Row(
        wanted.kind,
        f"{wanted.model} ({wanted.seed})",
        fault.text,
        float(fault.sound_db),
        float(fault.spoilt_db),
        float(verdict.fixed_db),
        findings[0].cause.value if findings else "none",
        verdict.place,
        verdict.is_named,
        bool(verdict.is_repaired),
        "; ".join(remedy.action.value for remedy in verdict.fixed.remedies) or "nothing",
        str(verdict),
    )


class Kept:
    """Rows by plant, in a file of a JSON object a line if one is named."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: dict[str, Row | None] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                found = json.loads(line)
                self._rows[found["plant"]] = Row(**found["row"]) if found["row"] else None

    def row(self, wanted: Plant) -> Row | None:
        """What was found of it, now or in an earlier run."""
        name = str(wanted)
        if name not in self._rows:
            row = self._rows[name] = judged(wanted)
            if self._path is not None:
                line = {"plant": name, "row": None if row is None else asdict(row)}
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        return self._rows[name]


def page(rows: dict[str, list[Row]], seed: int) -> str:
    everything = [row for some in rows.values() for row in some]
    kinds = Counter(row.kind for row in everything)

    def counted(attribute: str, kind: str = "") -> int:
        return sum(getattr(row, attribute) for row in everything if kind in ("", row.kind))

    return PAGE.format(
        least=LEAST_LOSS,
        seed=seed,
        fixed=len(rows["fixed"]),
        drawn=len(rows["drawn"]),
        looked=LOOKED_AT,
        within=WITHIN_DB,
        named=counted("is_named"),
        count=len(everything),
        first=sum(row.place == 1 for row in everything),
        repaired=counted("is_repaired"),
        kinds="\n".join(
            f"| {kind} | {count} | {counted('is_named', kind)} | {counted('is_repaired', kind)} |"
            for kind, count in sorted(kinds.items())
        ),
        rows="\n\n".join(
            "\n".join([f"## Those that are {half}\n", HEADING, *map(str, some)])
            for half, some in rows.items()
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=18, help="draws the others")
    parser.add_argument("--rows", type=Path, help="where rows are kept from run to run")
    parser.add_argument("--drawn", type=int, default=len(FIXED), help="how many are drawn")
    parser.add_argument("-o", "--out", type=Path, help="the page to write")
    arguments = parser.parse_args()
    plants = {"fixed": iter(FIXED), "drawn": drawn(arguments.seed, ZOO + EXPORTED)}
    counts = {"fixed": len(FIXED), "drawn": arguments.drawn}
    rows: dict[str, list[Row]] = {half: [] for half in counts}
    kept = Kept(arguments.rows)
    for half, some in rows.items():
        found = (row for each in plants[half] if (row := kept.row(each)) is not None)
        for row in islice(found, counts[half]):
            some.append(row)
            print(row, flush=True)
            if not (row.is_named and row.is_repaired):
                print(row.details, file=sys.stderr, flush=True)
    everything = [row for some in rows.values() for row in some]
    print(
        f"{sum(row.is_named for row in everything)} named and "
        f"{sum(row.is_repaired for row in everything)} repaired of {len(everything)}"
    )
    if arguments.out is not None:
        arguments.out.write_text(page(rows, arguments.seed), encoding="utf-8")


if __name__ == "__main__":
    main()
