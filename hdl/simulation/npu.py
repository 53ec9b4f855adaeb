"""An NPU in simulation as a driver sees it: registers, and memory that it shares with the host."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from edgeinfer.hdl import gateware, isa
from edgeinfer.hdl.config import NpuConfig, configuration
from edgeinfer.hdl.gateware.npu import to_rtlil, to_verilog
from edgeinfer.hdl.simulation.build import build
from edgeinfer.hdl.simulation.simulator import Simulator

__all__ = ["npu_library", "simulated_npu"]


def simulated_npu(
    config: NpuConfig | str, memory_bytes: int, *, base: int = 0, tool: str | None = None
) -> Simulator:
    """An NPU that nobody has given a model yet, for who writes a driver or a compiler.

    Its clock runs while a register is read or written. The simulator of a configuration is built
    once, which takes half a minute, and kept in the user's cache.

    Parameters
    ----------
    config : NpuConfig or str
        Or its text, such as ``8x16``.
    memory_bytes : int
        Of memory that the NPU shares with the host: the ``memory`` of what is given back, an array
        of uint8.
    base : int
        The address at which the NPU sees the first of them.
    tool : str or None
        ``verilator`` or ``cxxrtl``; None takes what is there.

    Raises
    ------
    InputError
        There is no such configuration, or what the simulation needs is not installed.
    OutputError
        The user's cache cannot be written.
    """
    chosen = configuration(config) if isinstance(config, str) else config
    return Simulator(npu_library(chosen, tool=tool), chosen, memory_bytes, base=base)


def npu_library(config: NpuConfig, *, tool: str | None = None, trace: bool = False) -> Path:
    """The library that simulates an NPU of ``config``; see ``build``."""
    return build(
        lambda: to_verilog(config, probes=True),
        _source(config),
        "npu",
        rtlil=lambda: to_rtlil(config, probes=True),
        tool=tool,
        trace=trace,
    )


def _source(config: NpuConfig) -> str:
    """What an NPU's Verilog follows from: the configuration, the gateware, Amaranth."""
    files = sorted(Path(gateware.__file__).parent.glob("*.py"))
    texts = [file.read_text() for file in (*files, Path(isa.__file__))]
    return "\0".join([repr(config), version("amaranth"), *texts])
