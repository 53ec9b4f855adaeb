"""Runs give the same bits in every mode of floats that a caller may have set, and leave it so."""

import ctypes
import platform
import sys

import numpy as np
import pytest

from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.graph import Quantization
from edgeinfer.graph import operators as ops
from edgeinfer.runtime.session import Session
from tests.runtime.runtime_graphs import chain

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="sets MXCSR in the fenv_t of x86-64's C library",
)

PLAIN, FLUSHED, ROUNDINGS = 0x1F80, 0x8040, (0x2000, 0x4000, 0x6000)


class Environment(ctypes.Structure):
    """fenv_t: that of the x87, and MXCSR."""

    _fields_ = (("x87", ctypes.c_uint8 * 28), ("mxcsr", ctypes.c_uint32))


def set_mode(mxcsr):
    """Give this thread a mode; return the one that it had, without the flags of what happened."""
    libm, now = ctypes.CDLL("libm.so.6"), Environment()
    libm.fegetenv(ctypes.byref(now))
    had, now.mxcsr = now.mxcsr, mxcsr
    libm.fesetenv(ctypes.byref(now))
    return had & ~0x3F


@pytest.mark.parametrize("isa", SUPPORTED)
@pytest.mark.parametrize("scale", [2e-38, 0.05, 3e38])
@pytest.mark.parametrize("mode", [PLAIN | FLUSHED, *(PLAIN | rounding for rounding in ROUNDINGS)])
def test_the_callers_mode_changes_no_bit_and_stays(isa, scale, mode):
    q = Quantization.per_tensor(float(np.float32(scale)), -3)
    graph = chain((1, 4096), (ops.Lookup(), np.arange(-128, 128).astype(np.int8)), q=q)
    # around halves, and subnormal numbers where the scale has them
    steps = np.random.default_rng(0).uniform(-1.1, 1.1, (1, 4096))
    steps[0, :256] = np.arange(-128, 128) / 255 + 1 / 510
    x = (np.clip(steps * 130 * q.step, -3.4e38, 3.4e38)).astype(np.float32)
    session, found = Session(graph, isa=isa), np.empty_like(x)
    expected = session.run(x)
    set_mode(mode)
    try:
        session.run(x, out=found)
    finally:
        after = set_mode(PLAIN)
    assert found.tobytes() == expected.tobytes()
    assert after == mode
