from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgeinfer.runtime.planner import Plan

EDGE_LOOPS: tuple[str, ...]
ISAS: tuple[str, ...]
KERNELS: dict[str, tuple[str, ...]]
LAYOUTS: dict[tuple[str, str], tuple[int, int, int, int, int, int, int]]
SUPPORTED: tuple[str, ...]

class RunError(Exception):
    reason: str
    where: int
    def __init__(self, reason: str, where: int) -> None: ...

class Program:
    def __init__(self, plan: Plan, threads: int) -> None: ...
    @property
    def memory_bytes(self) -> int: ...
    def run(
        self,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        slices: int,
        memory: np.ndarray | None = None,
        nanoseconds: np.ndarray | None = None,
    ) -> None: ...

class BoundRuns:
    def _hold(
        self,
        program: Program,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        slices: int,
    ) -> None: ...
    def run(self) -> None: ...

class PlainRuns:
    def _prepare(
        self,
        program: Program,
        ndarray: type,
        empty: Callable[..., np.ndarray],
        name: str,
        x: tuple[tuple[int, ...], float | None, np.dtype, np.dtype],
        y: tuple[tuple[int, ...], float | None, np.dtype, np.dtype],
    ) -> None: ...
    def run(
        self,
        x: np.ndarray | Mapping[str, np.ndarray],
        out: np.ndarray | Mapping[str, np.ndarray] | None = None,
    ) -> np.ndarray | dict[str, np.ndarray]: ...

def peak(isa: str) -> float: ...

__all__ = [
    "EDGE_LOOPS",
    "ISAS",
    "KERNELS",
    "LAYOUTS",
    "SUPPORTED",
    "BoundRuns",
    "PlainRuns",
    "Program",
    "RunError",
    "peak",
]
