"""Who runs a model beside edgeinfer: the contenders of a race, with the files that they load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeinfer.cli.onnx_int8 import fix_shapes, quantize_static, strip_float_edges
from edgeinfer.cli.peers import missing
from edgeinfer.cli.race import Contender, Gap
from edgeinfer.errors import InputError

__all__ = ["ACTIVATIONS", "litert_contender", "onnx_contenders"]

ACTIVATIONS = ("u8", "s8")
"""The two forms of int8 files: activations of uint8 and of int8."""

_ONNX_RUNTIMES = ("onnxruntime", "OpenVINO")


def onnx_contenders(
    model: Path,
    samples: Sequence[Mapping[str, np.ndarray]],
    folder: Path,
    *,
    constants: Mapping[str, float] | None = None,
    integer_edges: bool = False,
    done: Callable[[str, int, int | None], None],
) -> tuple[list[Contender], list[Gap]]:
    """Each runtime that takes ONNX files, in float32 and in int8.

    Parameters
    ----------
    model : Path
        The float model.
    samples : sequence of mapping
        What it is calibrated with, inputs by name; all of one shape.
    folder : Path
        Where the files are written that the contenders load.
    constants : mapping of str to float, optional
        Numbers by the inputs that always have them, which ``samples`` lack.
    integer_edges : bool
        Whether models take and give integers; then none computes in floats.
    done : callable
        Is told a stage, its count, its total.

    Raises
    ------
    InputError
        The model does not take such samples.
    """
    fixed = folder / "float32.onnx"
    fix_shapes(model, samples[0], fixed, constants)
    contenders: list[Contender] = []
    gaps: list[Gap] = []
    if not integer_edges:
        contenders += [Contender(f"{name} float32", name, fixed) for name in _ONNX_RUNTIMES]
        # the default is bfloat16 where the processor multiplies that
        contenders.append(Contender("OpenVINO f32 forced", "OpenVINO", fixed, precision="f32"))
    for i, form in enumerate(ACTIVATIONS):
        done("quantizing for the peers", i, len(ACTIVATIONS))
        file, reason = _int8_file(fixed, samples, folder, form, integer_edges)
        for name in _ONNX_RUNTIMES:
            label = f"{name} int8 ({form})"
            if file is None:
                gaps.append(Gap(label, reason))
            else:
                contenders.append(Contender(label, name, file, integer_edges))
    done("quantizing for the peers", len(ACTIVATIONS), len(ACTIVATIONS))
    return contenders, gaps


def _int8_file(
    fixed: Path,
    samples: Sequence[Mapping[str, np.ndarray]],
    folder: Path,
    form: str,
    integer_edges: bool,
) -> tuple[Path | None, str]:
    """The quantized file; or None and why there is none."""
    reason = missing("onnxruntime")
    if reason is not None:
        return None, f"onnxruntime, which makes the file, is {reason}"
    made = folder / f"{form}.onnx"
    try:
        if not made.exists():
            quantize_static(fixed, samples, made, unsigned=form == "u8")
        if not integer_edges:
            return made, ""
        stripped = folder / f"{form}.integer.onnx"
        strip_float_edges(made, stripped)
    except InputError as error:
        return None, str(error)
    except Exception as error:  # whatever the quantizer raises says that it cannot
        text = str(error).strip()
        return None, f"not quantized: {text.splitlines()[0] if text else type(error).__name__}"
    return stripped, ""


def litert_contender(model: Path, name: str | None = None) -> Contender:
    """LiteRT with a ``.tflite`` file, in and out as the file has it."""
    return Contender(name or f"LiteRT {model.name}", "LiteRT", model)
