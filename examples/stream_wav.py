"""Hears when somebody speaks, 32 milliseconds at a time, in int8 beside float32.

    pip install -e ".[convert,audio]" && pip install --no-deps silero-vad
    python examples/stream_wav.py FILE.wav

The model is Silero's voice detector, whose LSTM hands its state from chunk to chunk through an
input and an output. FILE is a recording at 16 kHz, and here also what the ranges are chosen from;
for a product, choose them from other recordings. The extra ``examples`` brings all of it, and
PyTorch, which the detector's package asks for and which is not needed here.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile

from edgeinfer import Session
from edgeinfer.converters import from_onnx
from edgeinfer.float_executor import execute
from edgeinfer.quant import quantize

RATE = 16000
CHUNK, BEFORE = 512, 64  # the model takes a chunk behind the end of the one before


class Decision:
    """Speech from a probability of a half, until it has been below 0.35 for four chunks."""

    def __init__(self) -> None:
        self.speech, self._quiet = False, 0

    def take(self, probability: float) -> bool:
        """Whether there is speech, now that the next chunk has ``probability``."""
        if probability >= 0.5:
            self.speech, self._quiet = True, 0
        elif probability < 0.35:
            self._quiet += 1
            self.speech = self.speech and self._quiet < 4
        return self.speech


def chunks_of(path: Path) -> np.ndarray:
    """A recording as ``[count, 1, BEFORE + CHUNK]`` of float32; a last part of a chunk is left."""
    frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != RATE:
        sys.exit(f"{path} has {rate} frames a second; the model takes {RATE}")
    sound = np.concatenate([np.zeros(BEFORE, "float32"), frames.mean(1)])
    if len(sound) < BEFORE + CHUNK:
        sys.exit(f"{path} is shorter than the {CHUNK} frames of a chunk")
    windows = np.lib.stride_tricks.sliding_window_view(sound, BEFORE + CHUNK)
    return windows[::CHUNK, None]


def model_file() -> Path:
    """Silero's model for 16 kHz; its package is not imported, which would import PyTorch."""
    package = find_spec("silero_vad")
    if package is None or package.origin is None:
        sys.exit("silero-vad is not installed: pip install --no-deps silero-vad")
    return Path(package.origin).parent / "data" / "silero_vad_openvino_16k.onnx"


def main(path: Path) -> None:
    chunks = chunks_of(path)
    model = from_onnx(model_file(), states={"state": "stateN"})
    stream = Session(quantize(model, chunks)).stream()
    x, probability = np.empty((1, BEFORE + CHUNK), "float32"), np.empty((1, 1), "float32")
    bound = stream.bind(x, probability)

    state: dict[str, np.ndarray] = {}
    decisions = {"float32": Decision(), "int8": Decision()}
    shown, alike, taken = [False, False], 0, 0.0
    print("seconds  float32  int8")
    for i, chunk in enumerate(chunks):
        (exact,) = execute(model, {model.inputs[0]: chunk}, state=state).values()
        x[:] = chunk
        start = time.perf_counter()
        bound.run()
        taken += time.perf_counter() - start
        heard = [
            decisions["float32"].take(exact.item()),
            decisions["int8"].take(probability.item()),
        ]
        alike += heard[0] == heard[1]
        if heard != shown:
            shown = heard
            words = ["speech" if each else "-" for each in heard]
            print(f"{(i + 1) * CHUNK / RATE:7.2f}  {words[0]:7}  {words[1]}")
    print(
        f"{alike} of {len(chunks)} chunks are heard alike; "
        f"int8 took {taken / len(chunks) * 1e6:.0f} us for {CHUNK / RATE * 1e3:.0f} ms of sound"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
