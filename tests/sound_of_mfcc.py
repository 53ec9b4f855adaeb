"""Sound that has given mel-frequency cepstrum coefficients, for tests of what computes these.

The coefficients are TensorFlow's for Arm's keyword spotters, defined here anew: 49 frames of 40 ms,
one every 20 ms, at 16 kHz; magnitudes of a transform of 1024 under a periodic Hann window; 40
triangles between 20 Hz and 4 kHz on the mel scale; logarithms; the first 10 of their DCT-II.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import idct

__all__ = ["RATE", "sound_of"]

RATE = 16000
_WINDOW, _HOP, _FFT, _BANDS, _ROUNDS = 640, 320, 1024, 40, 20


def sound_of(coefficients: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A second of noise, filtered until its coefficients are nearly ``coefficients``, [49, 10]."""
    # in an orthonormal transform the first basis vector is shorter
    orthonormal = coefficients / np.array([np.sqrt(2), *[1] * 9])
    wanted = np.exp(idct(orthonormal, n=_BANDS, norm="ortho"))
    triangles, hann = _triangles(), 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    sound = rng.normal(size=RATE)
    for _ in range(_ROUNDS):
        filtered, weights = np.zeros(RATE), np.full(RATE, 1e-3)
        for i, energies in enumerate(wanted):
            place = slice(i * _HOP, i * _HOP + _WINDOW)
            spectrum = np.fft.rfft(sound[place] * hann, _FFT)
            spectrum *= energies / (triangles @ np.abs(spectrum)) @ triangles
            filtered[place] += np.fft.irfft(spectrum)[:_WINDOW]
            weights[place] += hann
        sound = filtered / weights
    return sound


def _triangles() -> np.ndarray:
    """What each band weighs the bins of the transform with, [bands, bins]."""
    edges = np.linspace(_mel(20), _mel(4000), _BANDS + 2)
    bins = _mel(np.arange(_FFT // 2 + 1) * RATE / _FFT)
    return np.stack([np.interp(bins, edges[i : i + 3], [0, 1, 0]) for i in range(_BANDS)])


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return 1127 * np.log(1 + np.asarray(hertz) / 700)
