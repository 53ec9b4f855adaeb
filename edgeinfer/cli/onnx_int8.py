"""An ONNX model into the int8 one that onnxruntime makes of it, and that without float edges."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.errors import InputError, ModelFileError

if TYPE_CHECKING:
    import onnx

__all__ = ["MOVING", "fix_shapes", "quantize_static", "strip_float_edges"]

MOVING = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators of ONNX that compute nothing."""


def fix_shapes(
    model: Path,
    feed: Mapping[str, np.ndarray],
    out: Path,
    constants: Mapping[str, float] | None = None,
) -> None:
    """Write to ``out`` the ``model`` that takes arrays of the shapes in ``feed``, and no others.

    Inputs in ``constants`` are these numbers in it, and no inputs.

    Raises
    ------
    InputError
        The model takes other inputs than ``feed`` has, or none of such shapes.
    ModelFileError
        It is damaged.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        loaded = onnx.load(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ModelFileError(f"{model} is no ONNX file, or a damaged one") from error
    for value in [*loaded.graph.input]:
        if constants and value.name in constants:
            loaded.graph.input.remove(value)
            loaded.graph.initializer.append(_filled(value, constants[value.name]))
    known = {tensor.name for tensor in loaded.graph.initializer}
    inputs = [value for value in loaded.graph.input if value.name not in known]
    names = {value.name for value in inputs}
    if names != set(feed):
        raise InputError(
            f"{model} takes the inputs {', '.join(sorted(names))}; the .eqm takes "
            f"{', '.join(sorted(feed))}"
        )
    for value in inputs:
        dims, shape = value.type.tensor_type.shape.dim, feed[value.name].shape
        written = [dim.dim_value or None for dim in dims]
        fits = len(written) == len(shape) and all(
            extent in (None, wanted) for extent, wanted in zip(written, shape, strict=True)
        )
        if not fits:
            shown = "x".join("?" if extent is None else str(extent) for extent in written)
            raise InputError(
                f"input {value.name!r} of {model} has shape {shown}; the .eqm's is "
                f"{'x'.join(map(str, shape))}"
            )
        for dim, extent in zip(dims, shape, strict=True):
            dim.dim_value = extent
    # what was written of other values may have held for open extents only
    del loaded.graph.value_info[:]
    onnx.save(loaded, out)


def _filled(value: onnx.ValueInfoProto, number: float) -> onnx.TensorProto:
    """A constant of the type of ``value`` that is ``number`` everywhere."""
    from onnx import helper, numpy_helper

    kind = value.type.tensor_type
    # what is open has held one number
    shape = [dim.dim_value or 1 for dim in kind.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return numpy_helper.from_array(np.full(shape, number, dtype), value.name)


def quantize_static(
    model: Path,
    samples: Sequence[Mapping[str, np.ndarray]],
    out: Path,
    *,
    unsigned: bool,
    calibrator: str = "MinMax",
) -> None:
    """Write to ``out`` what onnxruntime's static quantization makes of ``model``.

    QuantizeLinear and DequantizeLinear around every operator, weights of int8 by channel.

    Parameters
    ----------
    model : Path
        An ONNX model with fixed shapes.
    samples : sequence of mapping
        Inputs by name to calibrate with.
    out : Path
        The file to write.
    unsigned : bool
        Whether activations are uint8; else they are int8 with a zero point of 0, without which
        OpenVINO takes none.
    calibrator : str
        What gives activations their ranges: ``MinMax``, ``Entropy`` or ``Percentile``.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest = iter(samples)

        def get_next(self) -> Mapping[str, np.ndarray] | None:
            return next(self._rest, None)

    with tempfile.TemporaryDirectory() as folder, _silenced():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        kind = quantization.QuantType.QUInt8 if unsigned else quantization.QuantType.QInt8
        quantization.quantize_static(
            str(prepared),
            str(out),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=kind,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod[calibrator],
            extra_options={"ActivationSymmetric": not unsigned},
        )


def strip_float_edges(model: Path, out: Path) -> None:
    """Write to ``out`` the quantized ``model`` with integers in and out.

    Raises
    ------
    InputError
        An input is not quantized first, or an output not dequantized last.
    """
    import onnx

    loaded = onnx.load(model)
    graph = loaded.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for value in graph.input:
        name = value.name
        readers = _readers(graph, name)
        # what may come before an input is quantized
        while [node.op_type in MOVING for node in readers] == [True]:
            name = readers[0].output[0]
            readers = _readers(graph, name)
        if [node.op_type for node in readers] != ["QuantizeLinear"]:
            raise InputError(f"{model.name}: input {value.name!r} is read as floats, too")
        _retype(value, readers[0], constants)
        # under the name of what it quantized, which feeds go by
        _rename(graph, readers[0].output[0], name)
        graph.node.remove(readers[0])
    for value in graph.output:
        writer = next(node for node in graph.node if value.name in node.output)
        if writer.op_type != "DequantizeLinear":
            raise InputError(f"{model.name}: output {value.name!r} is computed in floats")
        _retype(value, writer, constants)
        name = writer.input[0]
        graph.node.remove(writer)
        _rename(graph, name, value.name)
    del graph.value_info[:]
    onnx.save(loaded, out)


def _readers(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if name in node.input]


def _retype(
    value: onnx.ValueInfoProto, node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]
) -> None:
    """Give ``value`` the type of the zero point that ``node`` has."""
    value.type.tensor_type.elem_type = constants[node.input[2]].data_type


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new


@contextmanager
def _silenced() -> Iterator[None]:
    """Without onnxruntime's advice on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
