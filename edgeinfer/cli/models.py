"""A model file of either format into a Graph, and a Graph of either kind into a function."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from edgeinfer.converters import SOURCES, as_onnx
from edgeinfer.data.samples import samples_in
from edgeinfer.errors import InputError, OutputError
from edgeinfer.files.input_file import read_file
from edgeinfer.files.other_formats import other_format
from edgeinfer.graph import Graph

__all__ = [
    "Import",
    "Run",
    "check_made_from",
    "check_output",
    "check_sequences",
    "constants_of",
    "file_bytes",
    "import_model",
    "open_integer_model",
    "open_model",
    "open_pair",
    "read_labels",
    "runner",
    "scores_in",
    "with_first_output",
]

# formats that are not written, by the ends of their files' names
_OTHER_FORMATS = (".bin", ".engine", ".h5", ".keras", ".onnx", ".pb", ".pt", ".pth", ".tflite")
# those that are made of one
_EXPORTED_AS = {".onnx": "qdq", ".tflite": "tflite"}

Run: TypeAlias = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Import:
    """How an ONNX model is imported: the arguments of ``from_onnx``.

    Parameters
    ----------
    batch : int
        The extent of open first axes.
    shapes : mapping of str to tuple of int
        Whole shapes by input name.
    inputs, outputs : tuple of str
        Values at which the model is cut.
    allow_links : bool
        Whether external data may lie behind links.
    constants : mapping of str to float
        Numbers by the inputs that always have them.
    states : mapping of str to str, or "auto", optional
        Outputs by the inputs that they are in the next run.
    """

    batch: int = 1
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    allow_links: bool = False
    constants: Mapping[str, float] = field(default_factory=dict)
    states: Mapping[str, str] | Literal["auto"] | None = None

    def options(self) -> dict[str, Any]:
        """What models of every format are imported with."""
        return {
            "batch": self.batch,
            "input_shapes": self.shapes,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "constants": self.constants,
            "states": self.states,
        }


def open_model(path: Path, how: Import | None = None) -> Graph:
    """The Graph in ``path``, an ``.eqm``, or a model that is imported as ``how`` says.

    Raises
    ------
    InputError
        The file is missing or of another format, or an ``.eqm`` is to be cut or given states.
    ModelError
        It is damaged, or holds what edgeinfer cannot take.
    """
    if path.suffix.lower() == ".eqm":
        from edgeinfer.files.model_file import read

        if how is not None and (how.inputs or how.outputs):
            raise InputError(f"{path} cannot be cut: give the model that it was made from")
        if how is not None and (how.constants or how.states):
            raise InputError(
                f"{path} has the states and constants that it was made with: give the model that "
                "it was made from to choose others"
            )
        return read(path)
    return import_model(path, how)


def open_integer_model(path: Path) -> Graph:
    """The integer Graph in ``path``, for the NPU.

    Raises
    ------
    InputError
        It is a float one.
    """
    if path.suffix.lower() not in SOURCES:
        graph = open_model(path)
        if graph.is_integer:
            return graph
    raise InputError(f"the NPU runs integer models; quantize {path} first")


def open_pair(a: Path, b: Path) -> tuple[Graph, Graph]:
    """Two models with the same input shapes: an ``.onnx`` takes those that the ``.eqm`` has.

    Raises
    ------
    InputError
        One cannot be opened, or ``check_sequences`` refuses them.
    """
    if a.suffix.lower() == ".eqm":
        first = open_model(a)
        check_sequences(a, first, b)
        return first, _open_like(b, first)
    second = open_model(b)
    check_sequences(b, second, a)
    return _open_like(a, second), second


def check_sequences(path: Path, graph: Graph, other: Path) -> None:
    """Refuse an ``.onnx`` beside the ``graph`` in ``path`` that takes its sequences in steps.

    Raises
    ------
    InputError
        The two take different inputs.
    """
    steps = graph.provenance.get("stream")
    if steps is not None and other.suffix.lower() in SOURCES:
        raise InputError(
            f"{path} takes {steps} {'step' if steps == '1' else 'steps'} a run, and {other} whole "
            "sequences: give what quantize makes without --stream, which computes the same bits"
        )


def check_made_from(model: Path, quantized: Path, graph: Graph) -> None:
    """Refuse an ``.onnx`` from which the ``graph`` in ``quantized`` cannot have been made.

    Raises
    ------
    InputError
        It lacks what ``graph`` takes or gives, or takes it in another shape or in steps.
    """
    from edgeinfer.converters.onnx_inputs import declared_shapes
    from edgeinfer.converters.onnx_model import read_model, value_names

    check_sequences(quantized, graph, model)
    read = read_model(as_onnx(model))
    named, declared = value_names(read), declared_shapes(read.graph)
    shapes = {name: graph.types[name].shape for name in graph.sources}
    alike = all(
        name in named and (name not in declared or _fits(shape, declared[name]))
        for name, shape in shapes.items()
    )
    made = f"{quantized} was not made from {model}"
    if not alike:
        raise InputError(
            f"{made}: it takes {_listed(shapes)}, and {model.name} takes {_listed(declared)}"
        )
    lacking = [name for name in graph.results if name not in named]
    if lacking:
        outputs = ", ".join(repr(value.name) for value in read.graph.outputs)
        raise InputError(f"{made}: it gives {lacking[0]!r}, and {model.name} gives {outputs}")


def _fits(shape: Sequence[int], declared: Sequence[int | None] | None) -> bool:
    return declared is None or (
        len(shape) == len(declared)
        and all(b in (None, a) for a, b in zip(shape, declared, strict=True))
    )


def _listed(shapes: Mapping[str, Sequence[int | None] | None]) -> str:
    return ", ".join(
        f"{name!r} of any shape"
        if shape is None
        else f"{name!r} of shape {'x'.join('?' if n is None else str(n) for n in shape)}"
        for name, shape in shapes.items()
    )


def _open_like(path: Path, like: Graph) -> Graph:
    shapes = {name: like.types[name].shape for name in like.sources}
    batch = next(iter(shapes.values()))[0] if like.free_batch else 1
    if path.suffix.lower() not in SOURCES:
        return open_model(path)
    how = Import(
        batch,
        shapes,
        constants=constants_of(like),
        states={state.input: state.output for state in like.states} or None,
    )
    # the .eqm may have been made of a part, whose values bear the same names
    with suppress(InputError):
        return open_model(path, replace(how, inputs=like.sources, outputs=like.results))
    return open_model(path, how)


def constants_of(graph: Graph) -> dict[str, float]:
    """The numbers that inputs of its ``.onnx`` were given when ``graph`` was made of that."""
    from edgeinfer.converters.fixing import numbers_given

    return numbers_given(graph.provenance)


def import_model(path: Path, how: Import | None = None) -> Graph:
    """The float Graph of the model in ``path``, whose name ends as one of ``SOURCES``."""
    suffix = path.suffix.lower()
    if suffix == ".eqm":
        raise InputError(f"{path} is an .eqm file; give the model that it was made from")
    if suffix not in SOURCES:
        told = (
            other_format(path)
            or "is no model: that is an .onnx, .tflite, .pt2, .keras or .eqm file"
        )
        raise InputError(f"{path} {told}")
    from edgeinfer.converters import from_onnx

    how = Import() if how is None else how
    return from_onnx(as_onnx(path), allow_links=how.allow_links, **how.options())


def file_bytes(path: Path) -> int:
    """The size of a model that could be read, that of its external data included."""
    files = [path]
    if path.suffix.lower() == ".onnx":
        from edgeinfer.converters.onnx_model import external_files

        files += external_files(path)
    return sum(file.stat().st_size for file in files)


def check_output(path: Path) -> None:
    """Refuse the name of another format than the one that is written.

    Raises
    ------
    OutputError
        ``path`` ends as files of another format do.
    """
    if path.suffix.lower() in _OTHER_FORMATS:
        named = path.with_suffix(".eqm")
        target, meant = _EXPORTED_AS.get(path.suffix.lower()), ""
        if target is not None:
            command = ["edgeinfer", "export", str(named), "--to", target, "-o", str(path)]
            meant = f", and export that: {shlex.join(command)}"
        raise OutputError(
            f"cannot write {path}: what is written is an .eqm file, not {path.suffix}; "
            f"name it {named.name}{meant}"
        )


def runner(graph: Graph, *, threads: int = 1) -> Run:
    """Floats in, floats out by name: the Session of an integer Graph, or the float executor.

    The calls are one sequence: what states a run leaves, the next one takes.
    """
    if not graph.is_integer:
        from edgeinfer.meaning.float_executor import execute

        state: dict[str, np.ndarray] = {}
        return lambda feed: execute(graph, feed, state=state)
    from edgeinfer.runtime.session import Session

    stream = Session(graph, num_threads=threads).stream()

    def run(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        result = stream.run(dict(feed))
        return {graph.outputs[0]: result} if isinstance(result, np.ndarray) else dict(result)

    return run


def with_first_output(graph: Graph, name: str) -> Graph:
    """``graph`` with the output ``name`` before the others: the one that labels are about."""
    if name not in graph.outputs:
        raise InputError(
            f"{graph.name!r} has no output {name!r}; its outputs are: {', '.join(graph.outputs)}"
        )
    others = (other for other in graph.outputs if other != name)
    return replace(graph, outputs=(name, *others))


def scores_in(graph: Graph) -> int:
    """How many elements the first output has for each sample."""
    return graph.types[graph.outputs[0]].elements // samples_in(graph)


def read_labels(path: Path, graph: Graph) -> tuple[str, ...]:
    """The names of the classes of ``graph``'s first output in a text file, one a line."""
    try:
        lines = read_file(path).decode().splitlines()
    except UnicodeError as error:
        raise InputError(f"cannot read the labels in {path}: it is not UTF-8 text") from error
    while lines and not lines[-1].strip():
        lines.pop()
    classes = scores_in(graph)
    if len(lines) != classes:
        raise InputError(f"{path} holds {len(lines)} labels for {classes} classes")
    return tuple(line.strip() for line in lines)
