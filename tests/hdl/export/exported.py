"""An exported folder of the digits model, and an NPU in simulation behind its drivers."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from edgeinfer.cli.models import import_model
from edgeinfer.data import load_data
from edgeinfer.demo import CALIBRATION, MODEL
from edgeinfer.files.new_folder import write_new_folder
from edgeinfer.graph import Graph
from edgeinfer.hdl.export import export
from edgeinfer.hdl.simulation.simulator import Simulator
from edgeinfer.quant import quantize


@functools.cache
def digits() -> Graph:
    floats = import_model(MODEL)
    return quantize(floats, load_data(CALIBRATION, floats).samples)


@functools.cache
def files(config: str = "4x4") -> dict[str, bytes]:
    return export(digits(), config, name="digits")


def write(folder: Path, config: str = "4x4") -> Path:
    write_new_folder(folder, files(config))
    return folder


class Registers:
    """A simulated NPU's registers as an array of words; time passes while STATUS is read."""

    def __init__(self, npu: Simulator) -> None:
        self.npu = npu

    def __getitem__(self, index: int) -> int:
        return self.npu.read(4 * index)

    def __setitem__(self, index: int, value: int) -> None:
        self.npu.write(4 * index, int(value))


def samples(count: int) -> list[dict[str, np.ndarray]]:
    """Random integers for the NPU's inputs."""
    rng = np.random.default_rng(3)
    return [
        {"image@nhwc": rng.integers(-128, 128, (1, 8, 8, 1)).astype(np.int8)} for _ in range(count)
    ]
