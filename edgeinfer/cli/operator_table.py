"""What becomes of every ONNX operator and which targets take it, as the stages' registries say."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from edgeinfer.converters import operator_bodies
from edgeinfer.converters.onnx_import import OLDEST_OPSET
from edgeinfer.converters.onnx_operators import IMPORTERS
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler import takes
from edgeinfer.meaning import float_executor
from edgeinfer.quant.rules import integer_operators

__all__ = ["TARGETS", "Imported", "answer", "as_markdown", "imported_operators"]

Kind = type[ops.Operator]


@dataclass(frozen=True)
class Imported:
    """An ONNX operator that the import takes.

    Parameters
    ----------
    name : str
        ONNX's name of it.
    first, last : int or None
        The opsets that have it; None where the newest does.
    makes : tuple of operator classes
        What it may become in a float Graph; nothing where it only passes its input on.
    """

    name: str
    first: int
    last: int | None
    makes: tuple[Kind, ...]

    @property
    def opsets(self) -> str:
        """The opsets in words: ``7+`` or ``7-9``."""
        return f"{self.first}+" if self.last is None else f"{self.first}-{self.last}"


def imported_operators() -> list[Imported]:
    """All ONNX operators that have an importer, by name."""
    history: dict[str, dict[int, bool]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        name = f"{schema.domain}.{schema.name}" if schema.domain else schema.name
        history.setdefault(name, {})[schema.since_version] = schema.deprecated
    found = []
    for name in sorted(IMPORTERS):
        # what onnxruntime adds to the operators is of no opset
        versions = history.get(name, {1 if "." in name else OLDEST_OPSET: False})
        alive = max(version for version, deprecated in versions.items() if not deprecated)
        gone = [version for version in versions if version > alive]
        first = min(versions) if "." in name else max(OLDEST_OPSET, min(versions))
        last = min(gone) - 1 if gone else None
        found.append(Imported(name, first, last, IMPORTERS[name].makes))
    return found


def _on_npu(kind: Kind) -> bool:
    return all(takes(each).runs for each in _in_integers(kind))


def _in_integers(kind: Kind) -> tuple[Kind, ...]:
    return (kind,) if issubclass(kind, ops.IntegerOperator) else integer_operators(kind)


def _in_floats(kind: Kind) -> bool:
    return not issubclass(kind, ops.IntegerOperator) and (
        float_executor.evaluate.dispatch(kind) is not float_executor.evaluate.dispatch(object)
    )


TARGETS: Mapping[str, Callable[[Kind], bool]] = {
    "float": _in_floats,
    "int8": lambda kind: bool(_in_integers(kind)),
    "int16": lambda kind: bool(_in_integers(kind)),
    "NPU": lambda kind: bool(_in_integers(kind)) and _on_npu(kind),
}
"""Whether a target takes an operator of a class, or those that stand for it in integers."""


def answer(target: str, kinds: Iterable[Kind]) -> str:
    """``yes`` where ``target`` takes all ``kinds``, ``some`` where it takes one, else ``no``."""
    taken = [TARGETS[target](kind) for kind in kinds]
    return "yes" if all(taken) else "some" if any(taken) else "no"


def as_markdown() -> str:
    """The document ``docs/operators.md``."""
    onnx_rows = [
        (
            op.name,
            op.opsets,
            ", ".join(f"`{kind.__name__}`" for kind in op.makes) or "its input",
            *(answer(target, op.makes) for target in TARGETS),
        )
        for op in imported_operators()
    ]
    graph_rows = [
        (
            f"`{name}`",
            _kind(kind),
            (kind.__doc__ or "").splitlines()[0].replace("``", "`"),
            ", ".join(f"`{made.__name__}`" for made in _in_integers(kind)) or "none yet",
            _npu(kind),
        )
        for name, kind in ops.OPERATORS.items()
    ]
    return _DOCUMENT.format(
        oldest=OLDEST_OPSET,
        microsoft=textwrap.fill(
            ", ".join(
                sorted(name.removeprefix("com.microsoft.") for name in operator_bodies.OPERATORS)
            ),
            99,
        ),
        onnx=_table(("ONNX", "opsets", "becomes", *TARGETS), onnx_rows),
        graph=_table(("operator", "of", "what it gives", "in integers", "NPU"), graph_rows),
    )


def _npu(kind: Kind) -> str:
    """What the NPU does with an operator of ``kind``, or with those that stand for it."""
    if issubclass(kind, ops.FloatOperator):
        return answer("NPU", [kind])
    taken = takes(kind)
    return f"{'yes' if taken.runs else 'no'}{taken.why and f': {taken.why}'}"


def _kind(kind: Kind) -> str:
    if issubclass(kind, ops.FloatOperator):
        return "floats"
    return "integers" if issubclass(kind, ops.IntegerOperator) else "either"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


_DOCUMENT = """\
# Operators

Written by `edgeinfer operators --markdown` from what each stage has registered; a test holds this
file to it. What an integer operator computes is in [arithmetic.md](arithmetic.md), how one is added
in [architecture.md](architecture.md#to-add-an-operator).

## From ONNX

Opsets {oldest} to the newest that the installed `onnx` knows. *becomes* is what an operator may
become in a Graph, beside a Reshape or Transpose on the way. A target's `yes` means that it takes
all of these, `some` that it takes some; a node can still be refused for its attributes or shapes,
by a message that names it and the reason, which `edgeinfer inspect` shows.

How many of ONNX's own tests of each operator are imported and computed right, and why others are
not, is in [onnx-tests.md](onnx-tests.md).

Whatever is computed from constants alone becomes a constant, also by operators that are not listed;
`If` becomes the branch that is always taken, `Shape`, `Size` and `Constant` become numbers. What
ONNX itself defines by others, such as Attention and RotaryEmbedding, is taken as these, and so is
what onnxruntime's optimizer leaves, of the domain com.microsoft:
{microsoft}.

Truth values that a run computes, and integers that it makes of floats, are floats in a Graph, 0 and
1 or whole numbers, also where they are outputs; so is an input of bool. Token ids and places of
largest elements are int64. Labels that are words come out as their places, and the Graph names its
classes.

{onnx}

## Of the Graph

*in integers* is what the quantizer makes of an operator, beside a `Rescale` where widths or scales
meet. Every one of these runs on the CPU with int8, int16 and mixtures of them; *NPU* says of them
what the compiler for [the NPU](npu.md) does, and what it asks.

{graph}
"""
