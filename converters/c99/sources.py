"""The kernels' own sources, cut down to what some of them need, in one piece of C99.

The plain loops of ``cython_kernels`` are one translation unit. It is read as a row of definitions,
and those stay that a kernel reaches by name, in their order.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import takewhile

__all__ = ["kernel_sources"]

_PACKAGE = "edgeinfer.cython_kernels"
_UNIT = "loops_scalar.c"
_INTEGERS_ONLY = "#ifdef INTEGERS_ONLY\n"
# which the exported code includes, or does without
_HEADERS = {f"#include <{name}.h>\n" for name in ("math", "stddef", "stdint", "string")}
# of which the exported code has its own
_REPLACED = {"EACH_ELEMENT", "KERNEL", "MAX_RANK"}

_WORD = re.compile(r"\b[A-Za-z_]\w*\b")
_INCLUDE = re.compile(r'^#include "(.+)"')
_GUARDED = re.compile(
    r"^#ifndef (EDGEINFER_\w+_H)\n#define \1\n(.*)^#endif\n\Z", re.DOTALL | re.MULTILINE
)
_PASTED = re.compile(r"\w+(?:##\w+)+")
_CALLED = re.compile(r"\b(\w+)\(")
_FUNCTION = re.compile(r"^(?!typedef)\w[^;{}=]*?\b([a-z]\w+)\(", re.MULTILINE)
# what else a definition is called, by how it begins
_NAMED = (
    re.compile(r"^#define (\w+)", re.MULTILINE),
    re.compile(r"^PARAMETERS\((\w+)"),
    re.compile(r"^typedef [^;{]*\(\*(\w+)\)\("),
    re.compile(r"^typedef [^;{]*?(\w+)(?: __attribute__\(.*\))?;", re.MULTILINE),
    re.compile(r"^} (\w+);", re.MULTILINE),
    re.compile(r"^static const \w+ (\w+)\[", re.MULTILINE),
)
# a macro that makes the head of a function, or all of it
_HEAD = re.compile(r"^[A-Z_0-9]+\((\w+)[,)]")
_INVOKED = re.compile(r"^([A-Z_0-9]+)\(([^()]*(?:\(\w*\)[^()]*)*)\);?$", re.DOTALL)
_MACRO = re.compile(r"^#define (\w+)\(([^)]*)\)(.*)", re.DOTALL)
_KERNEL = re.compile(r"KERNEL\(LOOP\(([\w#]+)\)\)")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class _Definition:
    """A stretch of source at the outermost level, with the comment before it: the functions and
    other names that it defines, and the functions and words that it uses."""

    text: str
    functions: frozenset[str]
    names: frozenset[str]
    calls: frozenset[str]
    words: frozenset[str]


@cache
def _unit() -> tuple[_Definition, ...]:
    """All definitions, in order."""
    seen: set[str] = set()
    found: list[_Definition] = []
    macros: dict[str, tuple[list[str], str]] = {}
    for text in _stretches("".join(_lines(_UNIT, seen))):
        code = _COMMENT.sub("", text).strip()
        if macro := _MACRO.match(code):
            macros[macro[1]] = [p.strip() for p in macro[2].split(",")], macro[3]
        functions = set(_FUNCTION.findall(code))
        functions |= {f"{kernel}_scalar" for kernel in _KERNEL.findall(code)}
        names = {match[1] for pattern in _NAMED for match in pattern.finditer(code)}
        words, calls = set(_WORD.findall(code)), set(_CALLED.findall(code))
        if (head := _HEAD.match(code)) and head[1] not in macros:
            functions.add(head[1])
        for used in (calls & macros.keys()) if macro is None else ():
            for arguments in re.findall(rf"\b{used}\(((?:[^()]|\(\w*\))*)\)", code):
                body = _with(macros[used], arguments)
                made = {_joined(kernel) + "_scalar" for kernel in _KERNEL.findall(body)}
                pasted = set(map(_joined, _PASTED.findall(body)))
                given = [argument.strip() for argument in arguments.split(",")]
                calls |= {*given, *pasted}
                if _INVOKED.match(code) and given[0] not in macros:
                    functions |= pasted | made
        if code.startswith("enum"):
            names |= words - {"enum"}
        found.append(_Definition(text, *map(frozenset, (functions, names, calls, words))))
    return tuple(found)


def _read(name: str) -> str:
    return (files(_PACKAGE) / name).read_text()


def _lines(name: str, seen: set[str]) -> Iterator[str]:
    """The lines of a file, with those of what it includes in their place, each once."""
    text = _read(name)
    if guarded := _GUARDED.search(text):
        text = text[: guarded.start()] + guarded[2]
    lines = iter(text.splitlines(keepends=True))
    for line in lines:
        if line == _INTEGERS_ONLY:
            yield from takewhile(lambda each: not each.startswith("#el"), lines)
            deque(takewhile(lambda each: not each.startswith("#endif"), lines), 0)
        elif included := _INCLUDE.match(line):
            if included[1] not in seen:
                seen.add(included[1])
                yield from _lines(included[1], seen)
        elif line not in _HEADERS:
            yield line


def _stretches(source: str) -> Iterator[str]:
    """Definitions with the comments before them."""
    kept: list[str] = []
    lines = source.split("\n")
    at = 0
    while at < len(lines):
        start = at
        line = lines[at]
        if not line.strip():
            at += 1
            kept = [] if any(line.startswith("/* ----") for line in kept) else kept
            continue
        if line.startswith("/*"):
            while "*/" not in lines[at]:
                at += 1
            at += 1
            kept = [] if "clang-format" in line else lines[start:at]
            continue
        at = _end(lines, at)
        yield "\n".join([*kept, *lines[start:at]]) + "\n"
        kept = []


def _end(lines: list[str], at: int) -> int:
    """The line after the definition that begins ``at``."""
    if lines[at].startswith("#if"):
        depth = 0
        while True:
            depth += lines[at].startswith("#if") - lines[at].startswith("#endif")
            at += 1
            if not depth:
                return at
    if lines[at].startswith("#"):
        while lines[at].endswith("\\"):
            at += 1
        return at + 1
    depth = 0
    while True:
        code = re.sub(r"/\*.*?\*/|'.'", "", lines[at])
        depth += sum(map(code.count, "({")) - sum(map(code.count, ")}"))
        at += 1
        ended = code.rstrip().endswith((";", "}", ")"))
        if depth == 0 and ended and not lines[at : at + 1][0].startswith("{"):
            return at


def _with(macro: tuple[list[str], str], arguments: str) -> str:
    """What a macro stands for, but for what is pasted together."""
    body = macro[1]
    for parameter, argument in zip(macro[0], arguments.split(","), strict=False):
        if parameter:
            body = re.sub(rf"\b{parameter}\b", argument.strip(), body)
    return body


def _joined(pasted: str) -> str:
    return pasted.replace("##", "")


def kernel_sources(kernels: Iterable[str]) -> str:
    """The definitions that ``kernels`` need, with themselves as ``NAME_scalar``.

    EACH_ELEMENT, KERNEL and MAX_RANK must stand before them; there is no float in them.
    """
    definitions = _unit()
    makers: dict[tuple[str, bool], list[int]] = {}
    for place, definition in enumerate(definitions):
        if definition.names & _REPLACED:
            continue
        for name in definition.functions:
            makers.setdefault((name, True), []).append(place)
        for name in definition.names:
            makers.setdefault((name, False), []).append(place)
    kept: set[int] = set()
    # a variable may be called as some function is
    asked = [(f"{kernel}_scalar", True) for kernel in kernels]
    while asked:
        for place in makers.get(asked.pop(), ()):
            if place not in kept:
                kept.add(place)
                asked += ((name, True) for name in definitions[place].calls)
                asked += ((name, False) for name in definitions[place].words)
    return "\n".join(definitions[place].text for place in sorted(kept))
