"""Models of PyTorch, Keras and scikit-learn into a Graph, by the exporter that each keeps for ONNX.

torch.nn.Module, .pt2 ─ torch.onnx ─┐
Keras model, .keras ─ Keras' own ───┼─► onnx.ModelProto ─ from_onnx ─► Graph
scikit-learn ─ skl2onnx ────────────┘
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.files.file_name import as_path
from edgeinfer.files.input_file import check_file

__all__ = ["keras_to_onnx", "pytorch_to_onnx", "sklearn_to_onnx"]

_NAMED = 300


def pytorch_to_onnx(model: Any, example: Any) -> onnx.ModelProto:
    """What PyTorch's exporter makes of a module, an exported program, or the path of a ``.pt2``.

    Parameters
    ----------
    model : torch.nn.Module, torch.export.ExportedProgram or path
        The model. A module is exported as it is evaluated, and is left as it was.
    example : array, or sequence or mapping of arrays
        Inputs of one run; a program has its own, and None will do.

    Raises
    ------
    InputError
        ``example`` is missing, or the file cannot be read.
    UnsupportedError
        The exporter does not take the model; what it says.
    """
    import torch

    if isinstance(model, str | os.PathLike):
        path = as_path(model)
        check_file(path)
        with _refusals(f"{path} cannot be read by PyTorch"):
            model = torch.export.load(path)
    if not isinstance(model, torch.nn.Module):
        with _refusals("PyTorch's exporter does not take the model"):
            return torch.onnx.export(model, dynamo=True, verbose=False).model_proto
    if example is None:
        raise InputError(
            "a module of PyTorch is exported by what it does with an example: give one"
        )
    arguments, named = _tensors(example)
    trains = model.training
    model.eval()
    try:
        with _refusals("PyTorch's exporter does not take the model"):
            made = torch.onnx.export(model, arguments, kwargs=named, dynamo=True, verbose=False)
    finally:
        model.train(trains)
    return made.model_proto


def _tensors(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional arguments, and named ones."""
    import torch

    def tensor(value: Any) -> Any:
        return value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))

    if isinstance(example, Mapping):
        return (), {name: tensor(value) for name, value in example.items()}
    if isinstance(example, torch.Tensor | np.ndarray):
        return (tensor(example),), {}
    return tuple(tensor(value) for value in example), {}


def keras_to_onnx(model: Any) -> onnx.ModelProto:
    """What Keras' exporter makes of a model, or of the path of a ``.keras`` file.

    Raises
    ------
    InputError
        The file cannot be read.
    UnsupportedError
        The exporter does not take the model; what it says.
    """
    import keras

    if isinstance(model, str | os.PathLike):
        path = as_path(model)
        check_file(path)
        # code that a file carries is not run
        with _refusals(f"{path} cannot be read by Keras"):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        # one that was read from a file is exported when it has been called
        with _refusals("Keras' exporter does not take the model"):
            zeros = [keras.ops.zeros([n or 1 for n in x.shape], x.dtype) for x in model.inputs]
            model(zeros if len(zeros) > 1 else zeros[0])
            model.export(path, format="onnx", verbose=False)
        return onnx.load(path)


def sklearn_to_onnx(model: Any, features: int) -> onnx.ModelProto:
    """What skl2onnx makes of an estimator that was fitted to as many ``features``.

    Raises
    ------
    UnsupportedError
        The exporter does not take the model; what it says.
    """
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType

    types = [("x", FloatTensorType([None, features]))]
    # probabilities as an array, not as a list of mappings
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    with _refusals("skl2onnx does not take the model"):
        return skl2onnx.convert_sklearn(model, initial_types=types, options=options)


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """An exporter's failure as one line; what it prints on the way is not heard."""
    quiet = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(quiet):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # exporters raise whatever they raise
        said = next((line for line in str(error).splitlines() if line.strip()), "")
        raise UnsupportedError(
            f"{what}: {said.strip()[:_NAMED] or type(error).__name__}"
        ) from error
