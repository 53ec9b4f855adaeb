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

class PlainEdge:
    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        has_floats: bool,
        float_dtype: np.dtype,
        raw_dtype: np.dtype,
    ) -> None: ...

class PlainRuns:
    def _prepare(
        self,
        program: Program,
        ndarray: type,
        empty: Callable[..., np.ndarray],
        sources: Sequence[PlainEdge],
        results: Sequence[PlainEdge],
    ) -> None: ...
    def run(
        self,
        x: np.ndarray | Mapping[str, np.ndarray],
        out: np.ndarray | Mapping[str, np.ndarray] | None = None,
    ) -> np.ndarray | dict[str, np.ndarray]: ...

def fields_of(name: str) -> list[tuple[str, bool]]: ...
def peak(isa: str) -> float: ...
def round_in_turn(moments: np.ndarray, weights: np.ndarray, top: float) -> None: ...

__all__ = [
    "EDGE_LOOPS",
    "ISAS",
    "KERNELS",
    "LAYOUTS",
    "SUPPORTED",
    "BoundRuns",
    "PlainEdge",
    "PlainRuns",
    "Program",
    "RunError",
    "fields_of",
    "peak",
    "round_in_turn",
]
