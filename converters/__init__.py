"""Turns models of other formats into a float Graph, and an integer one into others' formats.

    bytes ─ onnx_model ─► onnx_ir model ─ onnx_import ─► Graph ─ passes ─► canonical Graph
              ▲                               │
     tflite, frameworks                 onnx_operators, one function an operator

The packages that read files are imported when one is called, so that a program without them can
still import this module.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeinfer.errors import InputError, MissingExtraError
from edgeinfer.graph import Graph
from edgeinfer.graph.verification import verify
from edgeinfer.shortage import tells_shortage

if TYPE_CHECKING:
    import onnx
    from numpy.typing import ArrayLike

__all__ = [
    "SOURCES",
    "as_onnx",
    "from_keras",
    "from_onnx",
    "from_pytorch",
    "from_sklearn",
    "from_tflite",
    "to_c",
    "to_tflite",
]

SOURCES = (".keras", ".onnx", ".pt2", ".tflite")
"""The ends of the names of files that are imported."""

_log = logging.getLogger(__name__)


@tells_shortage
def from_onnx(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    batch: int = 1,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    allow_links: bool = False,
    constants: Mapping[str, ArrayLike] | None = None,
    states: Mapping[str, str] | Literal["auto"] | None = None,
) -> Graph:
    """Read an ONNX model into a canonical float Graph.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        The model. Only a path may have external data, in files of the model's own folder.
    batch : int
        The extent of a first axis that the model leaves open.
    input_shapes : mapping of str to sequence of int, optional
        Whole shapes by input name, for inputs that leave other axes open, or whose first axis is
        no batch of samples.
    inputs, outputs : sequence of str
        Values of the model that are to be its inputs, or its only outputs: it is cut there. Its own
        inputs stay where the outputs need them; none means that it is not cut.
    allow_links : bool
        Read external data behind links too, wherever they lead. Without it, who wrote the model
        cannot make this program read files of another folder.
    constants : mapping of str to array_like, optional
        Values by input name, for inputs that are always the same, as a sample rate is: they are
        inputs no more.
    states : mapping of str to str, or "auto", optional
        By the name of an input, the output that it is in the next run: both become a state, which
        ``Session.stream`` keeps, and which is zeros at first. ``auto`` finds those of one type
        whose names differ by their role alone, as ``h0`` and ``hn`` do.

    Returns
    -------
    Graph
        Static shapes, constants folded, NHWC for spatial operators, batch norm folded, activations
        fused; its inputs and outputs keep the model's names, shapes and axis order.

    Raises
    ------
    InputError
        The file cannot be read; ``batch``, ``input_shapes``, ``inputs``, ``outputs`` or
        ``constants`` do not fit the model; or an axis is open that is not proven to be a batch.
    ModelFileError
        The file is damaged, or reaches outside of its folder.
    UnsupportedError
        Operators that cannot be imported, each named.
    ModelError
        The model contradicts itself: shapes that do not fit, weights that are not finite.
    MissingExtraError
        The onnx packages are not installed.
    """
    _require("convert", "onnx", "onnx_ir")
    from edgeinfer.converters.cutting import cut_model
    from edgeinfer.converters.fixing import fix_inputs, given_numbers
    from edgeinfer.converters.onnx_import import import_model
    from edgeinfer.converters.onnx_model import read_model, value_names
    from edgeinfer.converters.passes import canonicalize
    from edgeinfer.converters.states import StatedStates, with_states
    from edgeinfer.graph.likely_states import likely_states

    # one name is what a string is, not its letters
    inputs, outputs = ((names,) if isinstance(names, str) else names for names in (inputs, outputs))
    model = read_model(source, allow_links=allow_links)
    if constants:
        fix_inputs(model, constants)
    stated = StatedStates.of(model.metadata_props)
    if inputs or outputs:
        if outputs:
            stated = replace(stated, shown=tuple(n for n in stated.shown if n in outputs))
            kept = (name for name in stated.pairs.values() if name not in outputs)
            outputs = (*outputs, *kept)
        cut_model(model, inputs=inputs, outputs=outputs)
    imported = import_model(model, batch=batch, input_shapes=input_shapes)
    graph = canonicalize(imported, value_names(model))
    if constants:
        graph = replace(graph, provenance={**graph.provenance, **given_numbers(constants)})
    if states == "auto":
        states = likely_states(graph)
        if not states:
            raise InputError(
                "no input looks like what an output was in the run before; the inputs are: "
                f"{', '.join(graph.inputs)}; the outputs are: {', '.join(graph.outputs)}"
            )
    if stated.pairs or states is not None:
        graph = with_states(graph, {} if states is None else states, stated)
    verify(graph)
    _log.info("imported %r: %d operators", graph.name, len(graph.nodes))
    return graph


@tells_shortage
def from_tflite(source: str | os.PathLike[str] | bytes, **options: Any) -> Graph:
    """Read a TensorFlow Lite model into a canonical float Graph.

    Of a model that is quantized the Graph says which integers it has, and
    ``edgeinfer.quant.as_stated`` makes them of it; with ``rounding="double"`` these compute what
    TensorFlow Lite Micro does (docs/arithmetic.md, "Models for double rounding").

    Parameters
    ----------
    source : path or bytes
        The model.
    options
        Those of ``from_onnx``, but for ``allow_links``. Inputs, outputs and values have the names
        of the file's tensors; of several names that one has, the first.

    Raises
    ------
    EdgeInferError
        As ``from_onnx`` does.
    """
    return from_onnx(_tflite_as_onnx(source), **options)


@tells_shortage
def from_pytorch(model: Any, example: Any = None, **options: Any) -> Graph:
    """Read a model of PyTorch into a canonical float Graph, by its exporter (``torch.onnx``).

    Parameters
    ----------
    model : torch.nn.Module, torch.export.ExportedProgram or path
        The model, or a ``.pt2`` file, as ``torch.export.save`` writes it.
    example : array, or sequence or mapping of arrays, optional
        Inputs of one run, which a module is exported with.
    options
        Those of ``from_onnx``, but for ``allow_links``.

    Raises
    ------
    EdgeInferError
        As ``from_onnx`` does; UnsupportedError where the exporter does not take the model.
    """
    return from_onnx(_pytorch_as_onnx(model, example), **options)


@tells_shortage
def from_keras(model: Any, **options: Any) -> Graph:
    """Read a model of Keras into a canonical float Graph, by its own exporter.

    Parameters
    ----------
    model : keras.Model or path
        The model, or a ``.keras`` file. Code that a file carries is not run.
    options
        Those of ``from_onnx``, but for ``allow_links``.

    Raises
    ------
    EdgeInferError
        As ``from_onnx`` does; UnsupportedError where the exporter does not take the model.
    """
    return from_onnx(_keras_as_onnx(model), **options)


@tells_shortage
def from_sklearn(model: Any, features: int | None = None, **options: Any) -> Graph:
    """Read an estimator or pipeline of scikit-learn into a canonical float Graph, by skl2onnx.

    Parameters
    ----------
    model : sklearn estimator
        It is fitted.
    features : int, optional
        How many it takes; without it what it says itself (``n_features_in_``).
    options
        Those of ``from_onnx``, but for ``allow_links``.

    Raises
    ------
    EdgeInferError
        As ``from_onnx`` does; UnsupportedError where the exporter does not take the model.
    """
    _require("sklearn", "onnx", "onnx_ir", "skl2onnx")
    from edgeinfer.converters.frameworks import sklearn_to_onnx

    count = features or getattr(model, "n_features_in_", None)
    if count is None:
        raise InputError("the model does not say how many features it takes: give them")
    return from_onnx(sklearn_to_onnx(model, count), **options)


@tells_shortage
def to_tflite(graph: Graph) -> bytes:
    """An integer Graph as a .tflite file of integer operators; the same Graph as the same bytes.

    Its labels, and how images become its input, stand in the file as metadata (``edgeinfer``).

    Raises
    ------
    UnsupportedError
        TensorFlow Lite has no integer operator for some: all are named.
    InputError
        It is a float Graph.
    MissingExtraError
        The package ``tflite`` is not installed.
    """
    _require("tflite", "tflite")
    from edgeinfer.converters.tflite.exporting import to_tflite as exported

    return exported(graph)


@tells_shortage
def to_c(graph: Graph, name: str = "") -> dict[str, bytes]:
    """An integer Graph as C99 for a device without an operating system; the same as the same bytes.

    Parameters
    ----------
    graph : Graph
        An integer one, which may keep states.
    name : str
        With which all identifiers and files begin, once C takes it; without, the Graph's.

    Returns
    -------
    dict of str to bytes
        Files by their paths in a folder, of which README.md says what they are.

    Raises
    ------
    InputError
        It is a float Graph.
    MissingExtraError
        The package ``jinja2`` is not installed.
    """
    from edgeinfer.converters.c99 import printed

    return printed(graph, name).files


def as_onnx(path: Path) -> Path | onnx.ModelProto:
    """The model in ``path``, whose name ends as one of ``SOURCES``, as ``from_onnx`` takes it.

    Raises
    ------
    EdgeInferError
        As ``from_tflite``, ``from_pytorch`` and ``from_keras`` do.
    """
    match path.suffix.lower():
        case ".keras":
            return _keras_as_onnx(path)
        case ".pt2":
            return _pytorch_as_onnx(path, None)
        case ".tflite":
            return _tflite_as_onnx(path)
    return path


def _tflite_as_onnx(source: str | os.PathLike[str] | bytes) -> onnx.ModelProto:
    _require("tflite", "onnx", "onnx_ir", "tflite")
    from edgeinfer.converters.tflite.importing import to_onnx

    return to_onnx(source)


def _pytorch_as_onnx(model: Any, example: Any) -> onnx.ModelProto:
    _require("pytorch", "onnx", "onnx_ir", "torch", "onnxscript")
    from edgeinfer.converters.frameworks import pytorch_to_onnx

    return pytorch_to_onnx(model, example)


def _keras_as_onnx(model: Any) -> onnx.ModelProto:
    _require("keras", "onnx", "onnx_ir", "keras", "tf2onnx")
    from edgeinfer.converters.frameworks import keras_to_onnx

    return keras_to_onnx(model)


def _require(extra: str, *packages: str) -> None:
    for package in packages:
        try:
            __import__(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            raise MissingExtraError(package, extra) from None
