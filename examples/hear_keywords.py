"""Hears keywords in a recording, or from the microphone, five times a second.

    python examples/train_keywords.py && python examples/hear_keywords.py keywords.eqm keywords.wav
    python examples/hear_keywords.py keywords.eqm microphone

The model takes a second of sound as 49 frames of 10 mel-frequency cepstrum coefficients, computed
as TensorFlow does for Arm's keyword spotters ("Hello Edge"), and gives the probabilities of its
labels, which ``edgeinfer quantize --labels`` keeps in the model.
"""

import sys
import wave
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

import edgeinfer

RATE = 16000
WINDOW, HOP, FFT = 640, 320, 1024  # 40 ms of sound, every 20 ms
BANDS, LOWEST, HIGHEST = 40, 20, 4000  # Hz
FRAMES, COEFFICIENTS = 49, 10  # of which the model takes a second
EVERY, SMOOTHED, LEAST = 10, 4, 0.6  # frames a decision; runs in a mean; the mean that decides

MEL = 1127 * np.log1p(np.arange(FFT // 2 + 1) * RATE / FFT / 700)  # of each bin of the transform
EDGES = np.linspace(*1127 * np.log1p(np.array([LOWEST, HIGHEST]) / 700), BANDS + 2)
RISE, FALL = (MEL[:, None] - EDGES[:-2], EDGES[2:] - MEL[:, None]) / np.diff(EDGES)[0]
TRIANGLES = np.maximum(np.minimum(RISE, FALL), 0)  # [bins, BANDS]
ANGLES = np.outer(np.arange(BANDS) + 0.5, np.arange(COEFFICIENTS)) * np.pi / BANDS
COSINES, HANN = np.cos(ANGLES) * np.sqrt(2 / BANDS), np.hanning(WINDOW + 1)[:-1]


def mfcc(sound: np.ndarray) -> np.ndarray:
    """Sound of -1 to 1, [..., WINDOW], into coefficients, [..., COEFFICIENTS]."""
    energies = np.abs(np.fft.rfft(sound * HANN, FFT)) @ TRIANGLES
    return np.log(np.maximum(energies, 1e-12)) @ COSINES


def recording(path: str) -> Iterator[bytes]:
    with wave.open(path) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
            sys.exit(f"{path} is not mono of 16 bits at {RATE} Hz")
        while len(block := file.readframes(HOP)) == 2 * HOP:
            yield block


def microphone() -> Iterator[bytes]:
    try:
        import sounddevice

        opened = sounddevice.RawInputStream(RATE, HOP, channels=1, dtype="int16")
    except Exception as error:  # no package, no PortAudio, which it calls, or no microphone
        sys.exit(f"no microphone: {error}; it takes PortAudio, and pip install sounddevice")
    with opened as stream:
        while True:
            yield bytes(stream.read(HOP)[0])


def main(model: str, source: str) -> None:
    session = edgeinfer.load(model, num_threads=1)
    if not session.labels:
        sys.exit(f"{model} has no labels: give edgeinfer quantize a file of them as --labels")
    blocks = microphone() if source == "microphone" else recording(source)
    sound, frames, runs = np.zeros(WINDOW), deque(maxlen=FRAMES), deque(maxlen=SMOOTHED)
    for count, block in enumerate(blocks, 1):
        sound = np.append(sound[HOP:], np.frombuffer(block, "<i2") / 32768)
        frames.append(mfcc(sound))
        if len(frames) < FRAMES or count % EVERY:
            continue
        x = np.array(frames, np.float32).reshape(session.inputs[0].shape)
        runs.append(session.run(x).ravel())
        scores = np.mean(runs, 0)
        best = scores.argmax()
        heard = session.labels[best] if scores[best] >= LEAST else "-"
        bar = "#" * round(40 * scores[best])
        print(f"{count * HOP / RATE:5.1f} s  {heard:10} {bar}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
