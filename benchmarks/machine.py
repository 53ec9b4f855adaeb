"""What this machine is and can do: its processor's name, the bytes a second of one core."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import numpy as np

MIB = 1 << 20
COPIES = {"memory": 256 * MIB, "second-level cache": MIB // 2}
"""Where what is copied lies, and how many bytes it is; half is read, half is written."""


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        fields = dict(
            line.split(":", 1) for line in info.read_text().splitlines() if line.count(":")
        )
        named = {key.strip(): value.strip() for key, value in fields.items()}
        if "model name" in named:
            return f"{named['model name']}, model {named.get('model', '?')}"
    return platform.processor() or platform.machine()


def bandwidths() -> dict[str, float]:
    """Bytes a second that one core reads and writes as it copies, by where they lie."""
    return {where: _copied(size) for where, size in COPIES.items()}


def _copied(size: int) -> float:
    source = np.ones(size // 2, np.uint8)
    target = np.zeros_like(source)
    times = max(1, 64 * MIB // size)
    best = float("inf")
    for _ in range(15):
        start = time.perf_counter()
        for _ in range(times):
            np.copyto(target, source)
        best = min(best, (time.perf_counter() - start) / times)
    return size / best
