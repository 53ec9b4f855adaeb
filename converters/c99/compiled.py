"""A printed model compiled for this machine, as a library whose every value can be read."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgeinfer.converters.c99.printing import Printed, printed
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph

__all__ = ["Compiled", "compiled"]

_FLAGS = ("-std=c99", "-O2", "-fPIC", "-shared")
_SHOWN = 300


class Compiled:
    """A library of ``compiled``; threads may not share it."""

    def __init__(self, library: ctypes.CDLL, made: Printed, graph: Graph) -> None:
        self._library, self._made, self._graph = library, made, graph

    def begin(self) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
        """``run``, of which the first begins with the first states."""
        getattr(self._library, f"{self._made.name}_reset")()
        return self.run

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every value that a run computes, by name, of its raw inputs.

        Raises
        ------
        InputError
            An index leaves its axis.
        """
        for name in self._graph.inputs:
            self._array(name)[...] = feeds[name]
        if getattr(self._library, f"{self._made.name}_run")():
            raise InputError("an index leaves its axis")
        return {
            name: self._array(name).copy() for node in self._graph.nodes for name in node.outputs
        }

    def _array(self, name: str) -> np.ndarray:
        place, kind = self._made.plan.places[name], self._graph.types[name]
        assert place.space == "arena"
        memory = getattr(self._library, f"{self._made.name}_memory")
        memory.restype = ctypes.c_void_p
        held = (ctypes.c_uint8 * place.nbytes).from_address(memory() + place.offset)
        return np.ctypeslib.as_array(held).view(kind.dtype).reshape(kind.shape)


@contextmanager
def compiled(graph: Graph) -> Iterator[Compiled]:
    """``graph`` in C99, compiled by the environment's CC, or the system's compiler.

    Raises
    ------
    InputError
        There is no compiler, or it fails.
    """
    try:
        given = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise InputError(f"the environment's CC is no command: {error}") from error
    known = (shutil.which(name) for name in ("cc", "gcc", "clang"))
    command = given or [path for path in known if path is not None][:1]
    if not command:
        raise InputError("the C needs a compiler, such as gcc; there is none on PATH")
    made = printed(graph, "model", keep_values=True)
    with tempfile.TemporaryDirectory(prefix="edgeinfer-") as name:
        folder = Path(name)
        library = folder / "model.so"
        arguments = [*command, *_FLAGS, str(made.write_sources(folder)), "-o", str(library)]
        try:
            ended = subprocess.run(arguments, cwd=folder, capture_output=True, check=False)
        except OSError as error:
            raise InputError(f"cannot run {command[0]}: {error.strerror}") from error
        if ended.returncode:
            told = ended.stderr.decode(errors="replace").strip()[:_SHOWN] or "no message"
            raise InputError(f"{Path(command[0]).name} failed to compile the C: {told}")
        yield Compiled(ctypes.CDLL(str(library)), made, graph)
