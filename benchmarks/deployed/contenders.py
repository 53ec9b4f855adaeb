"""Who makes integers of a model: this project, onnxruntime, and quantizers with a Python of theirs.

Each has the same float model and the same calibration samples. What others write is ONNX with
QuantizeLinear and DequantizeLinear, and onnxruntime runs it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import unfused

from deployed.judging import Outputs
from edgeinfer.cli.onnx_int8 import quantize_static
from edgeinfer.converters import from_onnx
from edgeinfer.quant import SCHEMES, quantize
from edgeinfer.runtime.session import Session

CALIBRATORS = ("MinMax", "Entropy", "Percentile")
PEERS = {
    "nncf": "with_nncf.py",
    "esp-ppq": "with_esp_ppq.py",
    "aimet-onnx": "with_aimet.py",
    "onnx-neural-compressor": "with_neural_compressor.py",
}
"""The name of each peer's folder with a Python environment, and its script."""
WHO = (*(f"edgeinfer {s}" for s in SCHEMES), *(f"onnxruntime {c}" for c in CALIBRATORS), *PEERS)
_MOST = 240  # characters of a message
_SCRIPTS = Path(__file__).parent / "peers"


class FailedError(Exception):
    """A quantizer made nothing of a model; says what it said."""


def onnx_outputs(model: Path, x: np.ndarray) -> list[Outputs]:
    """By onnxruntime, of one sample after another; what is quantized, on floats that stand for
    it."""
    session = unfused.session(model)
    name = session.get_inputs()[0].name
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(names, {name: one[None]}), strict=True)) for one in x]


def outputs(
    who: str, model: Path, calibration: Path, x: np.ndarray, peers: Path | None, seconds: float
) -> list[Outputs]:
    """What integers made by ``who``, one of ``WHO``, give for ``x``.

    ``calibration`` is a .npz of samples, ``seconds`` after how long a peer's process is ended.

    Raises
    ------
    FailedError
        It cannot, or ``peers`` has no Python of its.
    """
    kind, _, way = who.partition(" ")
    written = model.with_suffix(f".{who.replace(' ', '_')}.onnx")
    if kind == "edgeinfer":
        ((_, samples),) = np.load(calibration).items()
        session = Session(quantize(from_onnx(model), samples, scheme=way))
        return [_by_name(session.run(one[None]), session.outputs[0].name) for one in x]
    if kind == "onnxruntime":
        _by_onnxruntime(model, calibration, written, way)
    else:
        _by_peer(who, model, calibration, written, peers, seconds)
    try:
        return onnx_outputs(written, x)
    except Exception as error:  # whatever onnxruntime raises says that the file is none
        said = _last(str(error).replace(f"{written.parent}/", ""))
        raise FailedError(f"onnxruntime on what it wrote: {said}") from error


def _by_name(given: np.ndarray | dict[str, np.ndarray], name: str) -> Outputs:
    return given if isinstance(given, dict) else {name: given}


def _by_onnxruntime(model: Path, calibration: Path, out: Path, calibrator: str) -> None:
    ((name, samples),) = np.load(calibration).items()
    feeds = [{name: x[None]} for x in samples]
    try:
        quantize_static(model, feeds, out, unsigned=True, calibrator=calibrator)
    except Exception as error:  # whatever it raises says that it cannot
        raise FailedError(f"{type(error).__name__}: {_last(str(error))}") from error


def _by_peer(
    who: str, model: Path, calibration: Path, out: Path, peers: Path | None, seconds: float
) -> None:
    python = None if peers is None else peers / who / "bin" / "python"
    if python is None or not python.exists():
        raise FailedError(f"{python or who} is not there")
    command: Sequence[object] = (python, _SCRIPTS / PEERS[who], model, calibration, out)
    try:
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise FailedError(f"ended after {seconds:.0f} s") from None
    if done.returncode:
        said = _last(done.stderr.replace(f"{model.parent}/", ""))
        raise FailedError(said or f"ended with {done.returncode}")


def _last(text: str) -> str:
    """The last line of what a process or an exception says."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_MOST] if lines else ""
