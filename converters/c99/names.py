"""Names of a model as identifiers of C: safe, unique, and short enough for every compiler."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["identifier", "identifiers"]

# enough for readers; what follows a prefix comes on top
_LONGEST = 31
# fmt: off
_KEYWORDS = frozenset({
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else",
    "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
    "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef",
    "union", "unsigned", "void", "volatile", "while",
})
# headers of the system, in whose place a file of that name would be included
_HEADERS = frozenset({
    "assert", "complex", "ctype", "errno", "features", "fenv", "float", "inttypes", "iso646",
    "limits", "locale", "malloc", "math", "memory", "setjmp", "signal", "stdalign", "stdarg",
    "stdatomic", "stdbool", "stddef", "stdint", "stdio", "stdlib", "stdnoreturn", "string",
    "strings", "tgmath", "threads", "time", "uchar", "unistd", "wchar", "wctype",
})
# fmt: on


def identifier(name: str, longest: int = _LONGEST) -> str:
    """``name`` with what C does not take replaced by underscores."""
    made = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:longest].rstrip("_") or "model"
    if made[0].isdigit() or made.lower() in _KEYWORDS | _HEADERS:
        made = f"m_{made}"[:longest]
    return made


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """An identifier for each of ``names``, no two alike, whatever their case."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        made = identifier(name)
        number = 1
        while made.lower() in taken:
            number += 1
            made = f"{identifier(name, _LONGEST - 6)}_{number}"
        taken.add(made.lower())
        found[name] = made
    return found
