"""Which function imports an ONNX operator, and what such a function says where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import onnx_ir as ir

from edgeinfer.converters.onnx_operators.values import Operand
from edgeinfer.graph import operators as ops

if TYPE_CHECKING:
    from edgeinfer.converters.onnx_operators.call import Call

__all__ = ["IMPORTERS", "Entry", "Importer", "Refusal", "importer", "qualified"]


class Refusal(Exception):  # noqa: N818 - it never leaves the import: the walk collects them
    """Why one ONNX node cannot be imported, in a few words that go into the full list."""


def qualified(node: ir.Node) -> str:
    """The node's operator, with its domain where that is not ONNX's own."""
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


class Importer(Protocol):
    """A function that imports one ONNX operator."""

    def __call__(self, call: Call, /) -> Operand | Sequence[Operand]:
        """Emit what ``call`` means and give back the values of its outputs."""


@dataclass(frozen=True)
class Entry:
    """How an ONNX operator is imported.

    Parameters
    ----------
    function : Importer
        What imports it.
    integers : bool
        It takes integers and truth values that a run computes, not only floats.
    ignores : tuple of str
        Attributes that do not change its result in a run.
    makes : tuple of operator classes
        What it may become, beside the Reshapes and Transposes on the way.
    """

    function: Importer
    integers: bool
    ignores: tuple[str, ...]
    makes: tuple[type[ops.Operator], ...]


IMPORTERS: dict[str, Entry] = {}


def importer(
    *names: str,
    makes: tuple[type[ops.Operator], ...] = (),
    integers: bool = False,
    ignores: tuple[str, ...] = (),
) -> Callable[[Importer], Importer]:
    """Register a function for the ONNX operators ``names``; see ``Entry``."""

    def register(function: Importer) -> Importer:
        for name in names:
            IMPORTERS[name] = Entry(function, integers, ignores, makes)
        return function

    return register
