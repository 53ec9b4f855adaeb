"""Silero's voice detector, as it comes from PyPI, hears in integers who speaks when.

    pip download --no-deps --dest $EDGEINFER_ORACLES/wheels silero-vad pyannote.audio

The first wheel carries the detector in several exports, the second half a minute of conversation,
which a file beside it says somebody begins at 6.69 seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.meaning.float_executor import execute
from tests.oracles.wheels import extract, member, needs_wheels

pytestmark = [pytest.mark.slow, needs_wheels("silero_vad", "pyannote_audio")]

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "stream_wav.py"
CONVERSATION = "pyannote/audio/sample/sample"
STATE = {"state": [2, 1, 128]}


def chunks(size: int, before: int) -> np.ndarray:
    """Each with the end of the one before it, as Silero's own program cuts them."""
    data = member("pyannote_audio", f"{CONVERSATION}.wav")
    sound = np.frombuffer(data[-30 * 16000 * 2 :], "<i2") / np.float32(1 << 15)
    sound = np.concatenate([np.zeros(before, "f4"), sound])[16000 * 6 :]
    return np.lib.stride_tricks.sliding_window_view(sound, before + size)[::size][:200, None]


@pytest.mark.parametrize(
    ("file", "rate", "shapes"),
    [
        ("silero_vad", 16000, STATE),
        ("silero_vad", 8000, STATE),
        ("silero_vad_16k_op15", 16000, STATE),
        ("silero_vad_op18_ifless", 16000, STATE),
        ("silero_vad_op18_ifless", 8000, STATE),
        ("silero_vad_half", None, STATE),
        ("silero_vad_openvino_16k", None, {}),
        ("silero_vad_16k_sequence", None, {}),
    ],
)
def test_a_stream_of_floats_is_onnxruntimes(file, rate, shapes):
    data = member("silero_vad", f"silero_vad/data/{file}.onnx")
    xs = chunks(256, 32) if rate == 8000 else chunks(512, 64)
    given = {} if rate is None else {"sr": rate}
    graph = from_onnx(
        data,
        constants=given,
        input_shapes={"input": xs[0].shape, **shapes},
        states="auto",
    )
    assert (graph.inputs, len(graph.outputs)) == (("input",), 1)
    peer = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    constants = {name: np.array(number) for name, number in given.items()}
    left = {s.input: np.zeros(graph.types[s.input].shape, "f4") for s in graph.states}
    kept: dict[str, np.ndarray] = {}
    for x in xs:
        names = [graph.outputs[0], *(s.output for s in graph.states)]
        wanted, *after = peer.run(names, {"input": x, **constants, **left})
        left = dict(zip(left, after, strict=True))
        found = execute(graph, {"input": x}, state=kept)[graph.outputs[0]]
        np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_the_example_hears_in_int8_what_floats_hear(tmp_path):
    extract("silero_vad", tmp_path / "packages")
    extract("pyannote_audio", tmp_path)
    done = subprocess.run(
        [sys.executable, EXAMPLE, tmp_path / f"{CONVERSATION}.wav"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "packages")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    heading, *changes, summary = done.stdout.splitlines()
    assert heading.split() == ["seconds", "float32", "int8"]
    alike, _, total = summary.split()[:3]
    assert int(alike) / int(total) > 0.97
    # the first who speaks begins at 6.69 seconds, and the last is interrupted by the end
    first, last = (line.split() for line in (changes[0], changes[-1]))
    assert 6.69 < float(first[0]) < 6.9
    assert last[1:] == ["speech", "speech"]
