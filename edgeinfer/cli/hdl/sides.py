"""Which operators, or nodes of a model, run on the NPU, which the host does, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from textwrap import wrap

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report
from edgeinfer.cli.models import open_integer_model
from edgeinfer.graph import operators as ops

__all__ = ["of_model", "of_operators"]

# a space at which no line ends
_TOGETHER = "\N{NO-BREAK SPACE}"


def of_operators() -> Report:
    """All operators that an integer Graph may have."""
    from edgeinfer.hdl.compiler import takes

    kinds = {n: k for n, k in ops.OPERATORS.items() if not issubclass(k, ops.FloatOperator)}
    taken = {name: takes(kind) for name, kind in kinds.items()}
    return Report(
        {
            "operators": [
                {"name": name, "on_npu": each.runs, "why": each.why} for name, each in taken.items()
            ]
        },
        [
            "on the NPU, where an operator asks for no more than stands beside it",
            *_listed((name, each.why) for name, each in taken.items() if each.runs),
            "",
            "on the host",
            *_listed((name, each.why) for name, each in taken.items() if not each.runs),
        ],
    )


def of_model(path: Path, config: str) -> Report:
    """The nodes of a model on an NPU of ``config``."""
    from edgeinfer.hdl.compiler import sides
    from edgeinfer.hdl.config import configuration

    chosen = configuration(config)
    found = sides(open_integer_model(path), chosen)
    counts = Counter((each.on_npu, each.at_edge, each.why, each.operator) for each in found)

    def lines(*, on_npu: bool, at_edge: bool) -> list[str]:
        return _listed(
            (f"{count}{_TOGETHER}{operator}", why)
            for (npu, edge, why, operator), count in sorted(counts.items())
            if (npu, edge) == (on_npu, at_edge)
        )

    shown = [f"{sum(each.on_npu for each in found)} of {len(found)} nodes run on {config}"]
    for title, on_npu, at_edge in (
        ("on the NPU", True, False),
        ("on the host, at the model's edges", False, True),
        ("on the host, between the NPU's segments (--host-ops)", False, False),
    ):
        if listed := lines(on_npu=on_npu, at_edge=at_edge):
            shown += ["", title, *listed]
    return Report(
        {
            "model": str(path),
            "config": chosen.text,
            "nodes": [
                {
                    "name": each.node.name,
                    "operator": each.operator,
                    "on_npu": each.on_npu,
                    "at_edge": each.at_edge,
                    "why": each.why,
                }
                for each in found
            ],
        },
        [*shown],
    )


def _listed(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Lines that name together what has one reason."""
    named: dict[str, list[str]] = {}
    for name, why in reasons:
        named.setdefault(why, []).append(name)
    room = min(screen.width(), 80)
    return [
        line.replace(_TOGETHER, " ")
        for why, names in named.items()
        for line in wrap(
            ", ".join(names) + (f": {why}" if why else ""),
            room,
            initial_indent="  ",
            subsequent_indent="      ",
            break_on_hyphens=False,
        )
    ]
