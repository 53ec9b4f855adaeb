"""The zoo of trained models, in the folder that the environment's EDGEINFER_ZOO names.

The folder holds a module ``zoo`` whose ``load(name)`` gives an entry: ``model``, the path of an
.onnx; ``input``, the name of its input; ``calib`` and ``x``, float32 samples to calibrate with and
to evaluate on, batch first; ``y``, labels; ``score(outputs)``. Beside it lie ``NAME.int8.tflite``,
for Vela. Entries that the benchmarks ask for: ic_resnet8, kws_dscnn, vww_mobilenet, ad_autoencoder
of MLPerf Tiny, armkws_ds_cnn_s, armkws_gru_s and armkws_lstm_s of Arm's model zoo,
cifar10_resnet20, and TensorFlow Lite Micro's mnist_lstm.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


class NoZooError(SystemExit):
    """There is no zoo; a benchmark that cannot do without ends with it."""


def folder() -> Path:
    """The folder; without one the benchmark ends."""
    if "EDGEINFER_ZOO" not in os.environ:
        raise NoZooError("EDGEINFER_ZOO names no folder with the zoo")
    return Path(os.environ["EDGEINFER_ZOO"])


def load(name: str) -> Any:
    """An entry: its model, its calibration and its evaluation data."""
    if str(folder()) not in sys.path:
        sys.path.insert(0, str(folder()))
    try:
        import zoo
    except ModuleNotFoundError as error:
        if error.name != "zoo":
            raise
        raise NoZooError(
            f"EDGEINFER_ZOO names {folder()}, which holds no zoo.py: benchmarks/zoo_folder.py says "
            "what belongs there"
        ) from None
    return zoo.load(name)
