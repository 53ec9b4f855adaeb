"""Arm's TOSA reference model as a program: an integer Graph's values, computed by TOSA's operators.

It comes with tosa-tools, whose pins exclude current packages of edgeinfer's: it is looked for on
PATH, and lives in an environment of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgeinfer.converters.tosa.lowering import Lowered, lowered
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph

__all__ = ["ReferenceModel", "reference_model"]

_PROGRAM = "tosa_reference_model"
_SCHEMA, _COMPILER = "tosa.fbs", "flatc"
# where pip puts the tools themselves: what it puts on PATH starts Python to start one
_PLACES = ("lib/python*/*-packages/bin", "Lib/site-packages/bin")
_SHOWN = 300


class ReferenceModel:
    """The reference model with a Graph in its folder; see ``reference_model``."""

    def __init__(self, made: Lowered, graph: Graph, tools: Path, folder: Path) -> None:
        self._made, self._graph, self._folder = made, graph, folder
        self._inputs = {name: f"x{place}.npy" for place, name in enumerate(made.takes)}
        self._outputs = {name: f"y{place}.npy" for place, name in enumerate(made.gives)}
        source, schema = folder / "graph.json", str(tools / _SCHEMA)
        source.write_text(json.dumps(made.document), encoding="utf-8")
        # once, as a run would read JSON of millions of weights for seconds
        _run([str(tools / _COMPILER), "--binary", "-o", str(folder), schema, str(source)])
        told = {
            "tosa_file": "graph.tosa",
            "ifm_name": [tensor.name for tensor in made.takes.values()],
            "ifm_file": list(self._inputs.values()),
            "ofm_name": [tensor.name for tensor in made.gives.values()],
            "ofm_file": list(self._outputs.values()),
            "expected_failure": False,
        }
        test = folder / "test.json"
        test.write_text(json.dumps(told), encoding="utf-8")
        program = str(tools / _PROGRAM)
        self._command = [program, "--test_desc", str(test), "--operator_fbs", schema]

    @property
    def gives(self) -> frozenset[str]:
        """The Graph's values that a run gives."""
        return frozenset(self._made.gives)

    @property
    def absent(self) -> Mapping[str, str]:
        """The Graph's values that TOSA has no operators for, each with the reason."""
        return self._made.absent

    def run(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All that it gives, by name.

        ``values`` are raw integers: the Graph's inputs, its states, and all that is absent.

        Raises
        ------
        UnsupportedError
            The reference model does not run the graph.
        """
        for name, file in self._inputs.items():
            dtype = self._made.takes[name].dtype.lower()
            np.save(self._folder / file, np.asarray(values[name], dtype, order="C"))
        results = {name: self._folder / file for name, file in self._outputs.items()}
        for path in results.values():
            path.unlink(missing_ok=True)
        said = _run(self._command)
        if not all(path.is_file() for path in results.values()):
            raise UnsupportedError(f"{_PROGRAM} gives no results: {said}")
        types = self._graph.types
        return {name: np.load(path).astype(types[name].dtype) for name, path in results.items()}


def _run(command: list[str]) -> str:
    """What a tool has said, without what it warns of in any case."""
    ended = subprocess.run(command, capture_output=True, check=False)
    lines = (ended.stdout + ended.stderr).decode(errors="replace").splitlines()
    told = " ".join(line.strip() for line in lines if not line.startswith("WARNING"))
    said = told.strip()[:_SHOWN] or "no message"
    if ended.returncode:
        raise UnsupportedError(f"{Path(command[0]).name} fails: {said}")
    return said


@contextmanager
def reference_model(graph: Graph) -> Iterator[ReferenceModel]:
    """``graph``, an integer one, in Arm's reference model.

    Raises
    ------
    InputError
        The program is not on PATH, or not as tosa-tools install it.
    UnsupportedError
        TOSA has a form for none of the Graph's operators.
    """
    tools = _tools()
    made = lowered(graph)
    with tempfile.TemporaryDirectory(prefix="edgeinfer-") as name:
        yield ReferenceModel(made, graph, tools, Path(name))


def _tools() -> Path:
    """The folder of tosa-tools' programs, of which one is on PATH, and of the schema."""
    program = shutil.which(_PROGRAM)
    if program is None:
        raise InputError(
            f"{_PROGRAM} is not on PATH; it needs an environment of its own: python3 -m venv tosa "
            "&& tosa/bin/pip install 'tosa-tools>=2026.8,<2027', and then: "
            'export PATH="$PWD/tosa/bin:$PATH"'
        )
    home = Path(program).resolve().parent
    for folder in (home, *(found for place in _PLACES for found in home.parent.glob(place))):
        if (folder / _SCHEMA).is_file() and all(
            shutil.which(tool, path=folder) for tool in (_PROGRAM, _COMPILER)
        ):
            return folder
    raise InputError(
        f"{program} is not of tosa-tools, which install it beside {_COMPILER} and {_SCHEMA}"
    )
