"""An integer Graph into a program for the NPU, a simulation of it, Verilog.

    Graph --compile--> Program --+--> golden.GoldenSimulator     instructions one after another
                                 +--> Simulation                 the hardware, cycle by cycle
    NpuConfig --gateware--> Verilog --+
                                      +--> simulated_npu         the same for a driver of one's own

``docs/npu.md`` is the user's guide, ``docs/npu-design.md`` says how it works and why. Simulation
needs ``pip install 'edgeinfer[hdl]'`` and a C++ compiler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeinfer.errors import MissingExtraError
from edgeinfer.hdl.compiler import Compiled, Program, compile
from edgeinfer.hdl.config import PRESETS, NpuConfig, preset

if TYPE_CHECKING:
    from edgeinfer.hdl.simulation.npu import simulated_npu
    from edgeinfer.hdl.simulation.simulation import Simulation

__all__ = [
    "PRESETS",
    "Compiled",
    "NpuConfig",
    "Program",
    "Simulation",
    "compile",
    "preset",
    "simulated_npu",
]


def __getattr__(name: str) -> Any:
    # amaranth is needed only by those who simulate
    if name not in ("Simulation", "simulated_npu"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from edgeinfer.hdl.simulation.npu import simulated_npu
        from edgeinfer.hdl.simulation.simulation import Simulation
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("amaranth", "filelock", "platformdirs"):
            raise
        raise MissingExtraError(package, "hdl") from None
    return Simulation if name == "Simulation" else simulated_npu
