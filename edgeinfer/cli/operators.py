"""``edgeinfer operators``: which operators the import, the quantizer and each target take."""

from __future__ import annotations

import click

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command

__all__ = ["operators"]

_ROOM = 21  # for what an operator becomes, beside the longest names in 80 columns


@command(example="edgeinfer operators conv")
@click.argument("pattern", metavar="[NAME]", default="")
@click.option("--markdown", is_flag=True, help="Print all of them as docs/operators.md has them.")
def operators(pattern: str, markdown: bool) -> Report:
    """Show the ONNX operators that can be imported, or those whose names hold NAME.

    For each the opsets that have it, the operators of a Graph that it may become, and whether the
    integer runtime and the NPU take these. What an operator asks of its attributes and shapes is
    in the message of its refusal: edgeinfer inspect MODEL shows that.
    """
    from edgeinfer.cli.operator_table import TARGETS, answer, as_markdown, imported_operators

    if markdown:
        return Report({"markdown": as_markdown()}, as_markdown().splitlines())
    found = [op for op in imported_operators() if pattern.lower() in op.name.lower()]
    if not found:
        raise click.BadParameter(
            f"no ONNX operator that can be imported has {pattern!r} in its name",
            param_hint="'NAME'",
        )
    # whatever is imported has a meaning in floats
    targets = [target for target in TARGETS if target != "float"]
    rows = [
        (
            op.name,
            op.opsets,
            _listed([kind.__name__ for kind in op.makes]) or "its input",
            *(answer(target, op.makes) for target in targets),
        )
        for op in found
    ]
    return Report(
        {
            "operators": [
                {
                    "name": op.name,
                    "first_opset": op.first,
                    "last_opset": op.last,
                    "becomes": [kind.__name__ for kind in op.makes],
                    "targets": {target: answer(target, op.makes) for target in TARGETS},
                }
                for op in found
            ]
        },
        [screen.table(("ONNX operator", "opsets", "becomes", *targets), rows, left=3)],
    )


def _listed(names: list[str]) -> str:
    """As many of ``names`` as have room, and how many more there are."""
    for count in range(len(names), 0, -1):
        rest = f" +{len(names) - count}" if count < len(names) else ""
        shown = ", ".join(names[:count]) + rest
        if len(shown) <= _ROOM:
            return shown
    return ", ".join(names[:1])
