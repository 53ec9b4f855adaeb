"""A Python function, named ``module:function``, into samples: what it returns or yields."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.data.arrays import LABELS
from edgeinfer.errors import EdgeInferError, InputError
from edgeinfer.graph import Graph

__all__ = ["FunctionError", "FunctionSamples", "is_function"]

_FORM = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class FunctionError(InputError):
    """A function that was named is not there, or raised an error."""


def is_function(name: str) -> bool:
    """Whether ``name`` has the form ``module:function``."""
    return _FORM.fullmatch(name) is not None


class FunctionSamples:
    """What a function gives, called anew each time that the samples are iterated.

    It takes nothing and gives an array, a dict of arrays by input name with labels under ``y``,
    a pair of an array and its labels, or any iterable of such.

    Parameters
    ----------
    name : str
        ``module:function``; the module may lie in the current folder.
    graph : Graph
        Whose inputs the samples are for.

    Raises
    ------
    FunctionError
        There is no such function; while iterating also: it raises an error.
    """

    def __init__(self, name: str, graph: Graph) -> None:
        self._name = name
        self._graph = graph
        self._function = self._found()

    def labelled(self) -> Iterator[tuple[Any, np.ndarray | None]]:
        """Every batch of inputs with its labels."""
        with self._blamed():
            made = self._function()
            # a list of two is two batches, unless it comes from something that yields batches
            single = isinstance(made, np.ndarray | Mapping | tuple)
            batches = iter([made] if single else made)
        while True:
            with self._blamed():
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                inputs, labels = self._split(batch)
            yield inputs, labels

    def __iter__(self) -> Iterator[Any]:
        return (inputs for inputs, _ in self.labelled())

    def _split(self, batch: Any) -> tuple[Any, np.ndarray | None]:
        if isinstance(batch, Mapping):
            arrays = {key: np.asarray(value) for key, value in batch.items()}
            return arrays, None if LABELS in self._graph.inputs else arrays.pop(LABELS, None)
        if isinstance(batch, tuple | list) and len(batch) == 2:
            return np.asarray(batch[0]), np.atleast_1d(batch[1])
        return np.asarray(batch), None

    def _found(self) -> Callable[[], Any]:
        module, _, attribute = self._name.partition(":")
        with self._blamed():
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                    raise
                raise FunctionError(
                    f"there is neither a file {self._name} nor a module {module}"
                ) from error
            function = getattr(found, attribute, None)
        if not callable(function):
            raise FunctionError(f"module {module} has no function {attribute}")
        return function

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Code of the module's own, which finds its neighbours and is named for its errors."""
        here = str(Path.cwd())
        sys.path.insert(0, here)
        try:
            yield
        except EdgeInferError:
            raise
        except Exception as error:
            raise FunctionError(
                f"{self._name} raised {type(error).__name__}: {error} (--debug shows where)"
            ) from error
        finally:
            sys.path.remove(here)
