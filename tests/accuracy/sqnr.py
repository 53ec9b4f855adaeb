"""The signal-to-quantization-noise ratio, once more and apart from the package's own."""

import numpy as np


def sqnr_db(reference: np.ndarray, y: np.ndarray) -> float:
    noise = float(((reference - y).astype("f8") ** 2).sum())
    return 10 * np.log10(float((reference.astype("f8") ** 2).sum()) / noise) if noise else np.inf
