"""An integer Graph as C99: its Plan for plain loops, printed.

Graph ─► Plan (scalar, least scratch) ─► constants, parameters and steps as tables ─► templates
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.converters.c99.names import identifier, identifiers
from edgeinfer.converters.c99.sources import kernel_sources
from edgeinfer.converters.exporting import check_exportable
from edgeinfer.errors import MissingExtraError
from edgeinfer.graph import Graph
from edgeinfer.runtime.catalogue import fields
from edgeinfer.runtime.planner import Edge, Place, Plan, plan
from edgeinfer.runtime.session import Session
from edgeinfer.version import __version__

try:
    import jinja2
except ImportError as _error:
    raise MissingExtraError("jinja2", "c") from _error

__all__ = ["Printed", "printed"]

# of the model's own check: the second begins with the states of the first
_CHECK_RUNS = 2

_TEMPLATES = Path(__file__).with_name("templates")
# by template, where what it makes stands; NAME is the model's
_FILES = {
    "README.md.j2": "README.md",
    "CMakeLists.txt.j2": "CMakeLists.txt",
    "library.properties.j2": "library.properties",
    "model.h.j2": "src/NAME.h",
    "model.c.j2": "src/NAME.c",
    "model_kernels.h.j2": "src/NAME_kernels.h",
    "model_check.c.j2": "src/NAME_check.c",
    "check.c.j2": "check/check.c",
    "check.ino.j2": "examples/check/check.ino",
}
_WIDTH = 99
_INT64 = 2**63
_INT32 = 2**31
# of a processor of 32 bits, and of a step of model.c.j2
_WORD_BYTES, _STEP_WORDS = 4, 7


@dataclass(frozen=True)
class Printed:
    """A model in C.

    Parameters
    ----------
    name : str
        With which its identifiers and files begin.
    files : dict of str to bytes
        What belongs to it, by paths in its folder.
    ram_bytes, constant_bytes : int
        What its arena and states take, and its weights and tables on 32 bits.
    kernels : tuple of str
        Those that it calls.
    inputs : tuple of str
        The functions that say where the Graph's inputs are, in their order.
    plan : Plan
        What it does.
    """

    name: str
    files: dict[str, bytes]
    ram_bytes: int
    constant_bytes: int
    kernels: tuple[str, ...]
    inputs: tuple[str, ...]
    plan: Plan

    def write_sources(self, folder: Path) -> Path:
        """Write the C into ``folder``; the file to compile, without the model's own check."""
        for path, content in self.files.items():
            if path.startswith("src/"):
                (folder / path).parent.mkdir(exist_ok=True)
                (folder / path).write_bytes(content)
        return folder / "src" / f"{self.name}.c"


def printed(graph: Graph, name: str, *, keep_values: bool = False) -> Printed:
    """``graph`` in C99, with ``name``, or the Graph's, before all that it defines.

    With ``keep_values`` every value has a place of its own in the arena, which NAME_memory gives.

    Raises
    ------
    InputError
        It holds floats.
    """
    check_exportable(graph)
    made = plan(graph, keep_values=keep_values, cache_bytes=None)
    printer = _Printer(graph, made, name or graph.name)
    prefix, context = printer.prefix, printer.context(memory=keep_values)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # of which a cell of a table, or a span of code, would end
    environment.filters["code"] = lambda text: text.replace("`", "'").replace("|", "\\|")
    files = {
        path.replace("NAME", prefix): environment.get_template(template).render(context).encode()
        for template, path in _FILES.items()
    }
    return Printed(
        prefix,
        files,
        ram_bytes=context["arena"] + sum(state["bytes"] for state in context["states"]),
        constant_bytes=context["constant_bytes"],
        kernels=tuple(kernel["name"] for kernel in context["kernels"]),
        inputs=tuple(end["function"] for end in context["inputs"]),
        plan=made,
    )


class _Printer:
    """The tables of one Plan."""

    def __init__(self, graph: Graph, plan: Plan, title: str) -> None:
        self.graph, self.plan, self.title = graph, plan, title
        self.prefix = identifier(title).lower()
        self.constants: dict[Place, str] = {}
        self.extra: list[np.ndarray] = []

    def context(self, *, memory: bool) -> dict[str, Any]:
        """What the templates print."""
        graph, prefix = self.graph, self.prefix
        edges = {edge.name: edge for edge in (*self.plan.inputs, *self.plan.outputs)}
        asked = [*(("input", name) for name in graph.inputs)]
        asked += [("output", name) for name in dict.fromkeys(graph.outputs)]
        names = identifiers(role if role == name else f"{role}_{name}" for role, name in asked)
        ends = [
            self._end(role, edges[name], made)
            for (role, name), made in zip(asked, names.values(), strict=True)
        ]
        states = list(self._states(edges))
        steps, narrow, wide, operands = self._steps()
        kernels = sorted({step.kernel for step in self.plan.steps})
        tables = [_table(name, self._constant(place)) for place, name in self.constants.items()]
        tables += [_table(f"first_{n}", array) for n, array in enumerate(self.extra)]
        table_bytes = 4 * len(narrow) + 8 * len(wide) + sum(a.nbytes for a in self.extra)
        table_bytes += _WORD_BYTES * (_STEP_WORDS * len(steps) + len(operands))
        values = max((s.scratch.offset + s.scratch.nbytes for s in self.plan.steps), default=0)
        return {
            "version": __version__,
            "title": _comment(self.title),
            "p": prefix,
            "P": prefix.upper(),
            "inputs": [end for end in ends if end["role"] == "input"],
            "outputs": [end for end in ends if end["role"] == "output"],
            "scaled": [end for end in ends if end["scale"]],
            "renamed": [(end["name"], end["id"]) for end in ends if end["name"] != end["id"]],
            "labels": [_string(label) for label in graph.labels],
            "states": states,
            "kernels": [
                {"name": kernel, "macro": f"{prefix}_{kernel}".upper()} for kernel in kernels
            ],
            "sources": kernel_sources(kernels),
            "max_rank": self._max_rank(),
            "constants": tables,
            "constant_bytes": sum(place.nbytes for place in self.constants) + table_bytes,
            "narrow": _lines(map(str, narrow)),
            "narrow_count": len(narrow),
            "wide": _lines(map(_int64, wide)),
            "wide_count": len(wide),
            "operands": _lines(operands),
            "steps": steps,
            "most_fields": max((step["count"] for step in steps), default=1),
            "arena": max(self.plan.arena_bytes, values, 1),
            "scratch": max((step.scratch.nbytes for step in self.plan.steps), default=0),
            "memory": memory,
            "check_runs": _CHECK_RUNS,
            "expected": self._expected(),
        }

    def _end(self, role: str, edge: Edge, name: str) -> dict[str, Any]:
        kind = self.graph.types[edge.name]
        return {
            "role": role,
            "name": _comment(edge.name),
            "id": name if name == role else name.removeprefix(f"{role}_"),
            "macro": f"{self.prefix}_{name}".upper(),
            "function": f"{self.prefix}_{name}",
            "type": _type(kind.dtype),
            "shape": " x ".join(map(str, kind.shape)) or "one number",
            "elements": kind.elements,
            "bytes": kind.itemsize,
            "largest": 2 ** (8 * kind.itemsize - 1) - 1,
            "scale": _float(edge.scale) if edge.scale else "",
            "zero_point": edge.zero_point,
            "pointer": f"({'' if role == 'input' else 'const '}{_type(kind.dtype)} *)"
            f"({self._pointer(edge.place)})",
        }

    def _states(self, edges: Mapping[str, Edge]) -> Iterator[dict[str, Any]]:
        for state in self.graph.states:
            kind = self.graph.types[state.input]
            first = np.asarray(self.graph.constants[state.first], kind.dtype)
            alike = bool((first == first.flat[0]).all())
            found: dict[str, Any] = {
                "type": _type(kind.dtype),
                "elements": kind.elements,
                "bytes": kind.nbytes,
                "input": self._pointer(edges[state.input].place),
                "output": self._pointer(edges[state.output].place),
                "value": int(first.flat[0]) if alike else None,
                "first": "",
            }
            if not alike:
                found["first"] = self._kept(first)
            yield found

    def _kept(self, array: np.ndarray) -> str:
        """The name of a table of its own, which no step reads."""
        self.extra.append(array)
        return f"first_{len(self.extra) - 1}"

    def _pointer(self, place: Place) -> str:
        if place.space == "arena":
            return f"arena.bytes + {place.offset}"
        name = self.constants.setdefault(place, f"constant_{len(self.constants)}")
        return f"(void *){name}"

    def _constant(self, place: Place) -> np.ndarray:
        end = place.offset + place.nbytes
        return self.plan.constants[place.offset : end].view(self.plan.dtypes[place])

    def _steps(self) -> tuple[list[dict[str, Any]], list[int], list[int], list[str]]:
        """Steps, and the parameters and operands that they begin in."""
        narrow: list[int] = []
        wide: list[int] = []
        operands: list[str] = []
        known: dict[tuple[int, ...], tuple[str, str]] = {}
        rank = self._max_rank()
        steps = []
        for step in self.plan.steps:
            numbers = tuple(fields(step.kernel, step.parameters, rank))
            if numbers not in known:
                fits = all(-_INT32 <= number < _INT32 for number in numbers)
                table = narrow if fits else wide
                at = f"{'narrow' if fits else 'wide'} + {len(table)}"
                table.extend(numbers)
                known[numbers] = (at, "NULL") if fits else ("NULL", at)
            at_narrow, at_wide = known[numbers]
            steps.append(
                {
                    "node": _comment(step.node),
                    "macro": f"{self.prefix}_{step.kernel}".upper(),
                    "narrow": at_narrow,
                    "wide": at_wide,
                    "count": len(numbers),
                    "units": step.units,
                    "operands": len(operands),
                    "scratch": step.scratch.offset,
                }
            )
            operands += map(self._pointer, step.operands)
        return steps, narrow, wide, operands

    def _max_rank(self) -> int:
        values = (v for step in self.plan.steps for v in step.parameters.values())
        return max((len(v) for v in values if isinstance(v, tuple)), default=1)

    def _expected(self) -> int:
        """What the outputs of the check's runs sum up to."""
        seed, total = 1, 2166136261
        session = Session(self.graph)
        runs = session.stream() if self.graph.states else session
        for _ in range(_CHECK_RUNS):
            given = {}
            for name in self.graph.inputs:
                kind = self.graph.types[name]
                if kind.quantization is None:
                    given[name] = np.zeros(kind.shape, kind.dtype)
                    continue
                drawn, seed = _drawn(seed, kind.elements)
                shifted = (drawn >> np.uint64(32 - 8 * kind.itemsize)).astype(f"u{kind.itemsize}")
                given[name] = shifted.view(kind.dtype).reshape(kind.shape)
            out = {
                name: np.empty(self.graph.types[name].shape, self.graph.types[name].dtype)
                for name in dict.fromkeys(self.graph.outputs)
            }
            runs.run(given, out)
            for array in out.values():
                for value in (array.ravel().astype(np.int64) & 0xFFFFFFFF).tolist():
                    total = (total ^ value) * 16777619 & 0xFFFFFFFF
        return total


def _drawn(seed: int, count: int) -> tuple[np.ndarray, int]:
    """The next ``count`` numbers of 32 bits, and the last of them."""
    found = np.empty(count, np.uint64)
    for place in range(count):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        found[place] = seed
    return found, seed


def _table(name: str, array: np.ndarray) -> dict[str, Any]:
    written = _int64 if array.itemsize == 8 else str
    return {
        "name": name,
        "type": _type(array.dtype.name),
        "count": array.size,
        "numbers": _lines(map(written, array.ravel().tolist())),
    }


def _type(dtype: str) -> str:
    return "uint8_t" if dtype == "bool" else f"{dtype}_t"


def _int64(value: int) -> str:
    """C has no literal for the least."""
    return "-INT64_C(9223372036854775807) - 1" if value == -_INT64 else f"INT64_C({value})"


def _float(value: float) -> str:
    """As float32 reads it, with a point."""
    text = repr(float(np.float32(value)))
    return text if any(mark in text for mark in ".en") else f"{text}.0"


def _comment(text: str) -> str:
    """``text`` where a comment cannot end, in ASCII."""
    safe = text.encode("ascii", "backslashreplace").decode()
    return re.sub(r"[\x00-\x1f\x7f]", " ", safe).replace("*/", "* /").replace("/*", "/ *")[:80]


def _string(text: str) -> str:
    """A literal: bytes that are not ASCII as octal, of which three digits always end."""
    quoted = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "surrogatepass")
    )
    return f'"{quoted}"'


def _lines(numbers: Iterable[str]) -> str:
    """Numbers with commas, as many to a line as fit."""
    lines: list[str] = []
    line: list[str] = []
    length = 4
    for number in numbers:
        if line and length + len(number) + 2 > _WIDTH:
            lines.append("    " + ", ".join(line) + ",")
            line, length = [], 4
        line.append(number)
        length += len(number) + 2
    lines.append("    " + ", ".join(line))
    return "\n".join(lines)
