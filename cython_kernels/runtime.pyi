from collections.abc import Sequence

import numpy as np

from edgeinfer.runtime.planner import Plan

KERNELS: dict[str, tuple[str, ...]]
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

__all__ = ["KERNELS", "SUPPORTED", "Program", "RunError"]
