"""The whole NPU: host side, core and lanes, wired together, and its Verilog."""

from __future__ import annotations

import re
from itertools import count

from amaranth.back import rtlil, verilog
from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from edgeinfer import __version__
from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.activate import ActivateUnit
from edgeinfer.hdl.gateware.axi import AxiLite, AxiRead, AxiWrite, connect_pins
from edgeinfer.hdl.gateware.compute import Compute
from edgeinfer.hdl.gateware.host_reader import HostReader
from edgeinfer.hdl.gateware.interface import ADDRESS_BITS
from edgeinfer.hdl.gateware.load import LoadUnit
from edgeinfer.hdl.gateware.names import plain_rtlil, plain_verilog
from edgeinfer.hdl.gateware.parameters import Parameters
from edgeinfer.hdl.gateware.pipeline import later
from edgeinfer.hdl.gateware.reduce import ReduceUnit
from edgeinfer.hdl.gateware.registers import Registers
from edgeinfer.hdl.gateware.sequencer import COUNTER_BITS, Sequencer
from edgeinfer.hdl.gateware.store import StoreUnit
from edgeinfer.hdl.isa import Unit

__all__ = ["Npu", "npu_members", "to_rtlil", "to_verilog"]

UNITS = len(isa.Unit)

_HEADER = """\
// An NPU of edgeinfer {version}, in Verilog 2001 without any vendor's primitives; top module npu,
// AXI4-Lite and AXI4. What edgeinfer generates is its user's.
// {config}

"""


def _prefixed(
    prefix: str, signature: wiring.Signature, flow: wiring.Flow
) -> dict[str, wiring.Member]:
    """A bus's signals as ports of the top, named as everyone names them."""
    if flow is In:
        signature = signature.flip()
    return {f"{prefix}_{name}": member for name, member in signature.members.items()}


def npu_members(config: NpuConfig, *, probes: bool = False) -> dict[str, wiring.Member]:
    """The members of an Npu: its ports, without clock and reset."""
    members = {
        **_prefixed("s_axil", AxiLite(), In),
        **_prefixed("m_axi", AxiRead(config.bus_bytes), Out),
        **_prefixed("m_axi", AxiWrite(config.bus_bytes), Out),
        "interrupt": Out(1),
    }
    if probes:
        for name in ("result", "load", "intermediate"):
            members[f"probe_{name}_enable"] = Out(1)
            members[f"probe_{name}_address"] = Out(ADDRESS_BITS)
            members[f"probe_{name}_data"] = Out(8 * config.word_bytes)
        members["probe_state"] = Out(2 * UNITS)
        members["probe_completed_activate"] = Out(COUNTER_BITS)
        members["probe_done"] = Out(1)
    return members


class Npu(wiring.Component):
    """An NPU with AXI4 to the host's memory and AXI4-Lite to its registers.

    Parameters
    ----------
    config : NpuConfig
    probes : bool
        Ports that let a simulation see what is written to the buffer and what the units do.

    Members
    -------
    s_axil_* : AxiLite
    m_axi_* : AxiRead and AxiWrite
    interrupt : Out(1)
    probe_result_*, probe_load_*, probe_intermediate_* : Out
        ``enable``, ``address`` and ``data`` of words written by the lanes and by the load unit, and
        of first operands that are not written.
    probe_state : Out(10)
        Bits 2 u and 2 u + 1: unit u is busy, and waiting.
    probe_completed_activate : Out(16)
        Groups that ACTIVATE has completed.
    probe_done : Out(1)
    """

    def __init__(self, config: NpuConfig, *, probes: bool = False) -> None:
        self.config, self.probes = config, probes
        super().__init__(npu_members(config, probes=probes))

    def elaborate(self, platform: object) -> Module:
        """Whatever has no transfer of the host's on its way begins each run afresh."""
        m = Module()
        config = self.config
        abort, reset = Signal(), Signal()

        def resettable(component: wiring.Component) -> object:
            return ResetInserter(reset)(component)

        m.submodules.registers = registers = Registers(config)
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.reader = reader = HostReader(config.bus_bytes)
        m.submodules.store = store = StoreUnit(config)
        load, compute, activate = LoadUnit(config), Compute(config), ActivateUnit(config)
        outer: ActivateUnit | ReduceUnit = activate
        parameters = Parameters(config)
        m.submodules.load = resettable(load)
        m.submodules.compute = resettable(compute)
        m.submodules.activate = resettable(activate)
        if config.reductions:
            outer = ReduceUnit(config)
            m.submodules.reduce = resettable(outer)
            for name in ("control", "parameters", "residual", "result"):
                wiring.connect(m, getattr(activate, name), getattr(outer, f"lanes_{name}"))
        m.submodules.parameters = parameters

        connect_pins(m, self, "s_axil", registers.bus)
        connect_pins(m, self, "m_axi", reader.bus)
        connect_pins(m, self, "m_axi", store.bus)
        wiring.connect(m, sequencer.request, reader.fetch)
        wiring.connect(m, reader.fetched, sequencer.beats)
        wiring.connect(m, load.request, reader.load)
        wiring.connect(m, load.weights, compute.weight_write)
        wiring.connect(m, load.parameters, parameters.write)
        wiring.connect(m, load.buffer, compute.load)
        wiring.connect(m, outer.parameters, parameters.read)
        wiring.connect(m, activate.accumulators, compute.accumulators)
        wiring.connect(m, outer.residual, compute.residual)
        wiring.connect(m, outer.result, compute.result)
        wiring.connect(m, store.read, compute.store)
        table_out_of_range = Signal()
        if config.tables:
            wiring.connect(m, load.table, activate.table)
            m.d.comb += table_out_of_range.eq(activate.table_out_of_range)
        # what comes after a fault is nobody's
        m.d.comb += [
            abort.eq(sequencer.abort),
            reset.eq(sequencer.reset),
            reader.stop.eq(abort),
            store.stop.eq(abort),
            load.beats.payload.eq(reader.loaded.payload),
            load.beats.valid.eq(reader.loaded.valid),
            reader.loaded.ready.eq(load.beats.ready | abort),
            load.base.eq(registers.base),
            store.base.eq(registers.base),
            sequencer.start.eq(registers.start),
            sequencer.clear.eq(registers.clear),
            sequencer.stop.eq(registers.stop),
            sequencer.program.eq(registers.program),
            sequencer.length.eq(registers.length),
            sequencer.watchdog.eq(registers.watchdog),
            registers.busy.eq(sequencer.busy),
            registers.done.eq(sequencer.done),
            registers.fault.eq(sequencer.fault),
            registers.fault_at.eq(sequencer.fault_at),
            self.interrupt.eq(registers.interrupt),
            sequencer.quiet.eq(~reader.busy & ~store.control.busy),
            sequencer.bus_failed.eq(reader.failed | store.failed),
            sequencer.out_of_range.eq(
                compute.out_of_range | parameters.out_of_range | table_out_of_range
            ),
        ]

        controls = {
            Unit.LOAD: load.control,
            Unit.STORE: store.control,
            Unit.WEIGHTS: compute.weights,
            Unit.CONVOLVE: compute.convolve,
            Unit.ACTIVATE: outer.control,
        }
        ordered = [controls[unit] for unit in Unit]
        for control, command in zip(ordered, sequencer.commands, strict=True):
            wiring.connect(m, command, control.command)
        busy, waiting = Signal(UNITS), Signal(UNITS)
        m.d.comb += [
            busy.eq(Cat(c.busy for c in ordered)),
            waiting.eq(Cat(c.waiting for c in ordered)),
            sequencer.completed.eq(Cat(c.completed for c in ordered)),
            sequencer.idle.eq(~busy),
            registers.active.eq(busy),
            registers.waiting.eq(waiting),
            sequencer.progress.eq(
                later(m, busy & ~waiting, "working").any() | (reader.bus.rvalid & reader.bus.rready)
            ),
        ]
        if self.probes:
            self._connect_probes(m, load, activate, outer, sequencer, busy, waiting)
        return m

    def _connect_probes(
        self,
        m: Module,
        load: LoadUnit,
        activate: ActivateUnit,
        outer: ActivateUnit | ReduceUnit,
        sequencer: Sequencer,
        busy: Signal,
        waiting: Signal,
    ) -> None:
        for name, port, enable in (
            ("result", outer.result, outer.result.enable),
            ("load", load.buffer, load.buffer.valid & load.buffer.ready),
            ("intermediate", activate.intermediate, activate.intermediate.enable),
        ):
            m.d.comb += [
                getattr(self, f"probe_{name}_enable").eq(enable),
                getattr(self, f"probe_{name}_address").eq(port.address),
                getattr(self, f"probe_{name}_data").eq(port.data),
            ]
        m.d.comb += [
            self.probe_state.eq(Cat(Cat(busy[u], waiting[u]) for u in range(UNITS))),
            self.probe_completed_activate.eq(sequencer.counters[Unit.ACTIVATE]),
            self.probe_done.eq(sequencer.done),
        ]


def to_rtlil(config: NpuConfig, *, probes: bool = False) -> str:
    """The NPU in Yosys's own language, its top module named ``npu``."""
    return plain_rtlil(rtlil.convert(Npu(config, probes=probes), name="npu", emit_src=False))


def to_verilog(config: NpuConfig, *, probes: bool = False) -> str:
    """The NPU's Verilog (2001, no vendor's primitives), its top module named ``npu``."""
    npu = Npu(config, probes=probes)
    text = verilog.convert(npu, name="npu", emit_src=False, strip_internal_attrs=True)
    return _HEADER.format(version=__version__, config=config.text) + _looped(plain_verilog(text))


def _looped(text: str) -> str:
    """Memories cleared by a loop, not by a line for each word, most of what there is to read."""

    numbers = count()

    def loop(block: re.Match[str]) -> str:
        memory, zero = block[1], block[2]
        depth = block[0].count("\n") - 2
        return (
            f"  initial begin : initialize_{next(numbers)}\n    integer i;\n"
            f"    for (i = 0; i < {depth}; i = i + 1) {memory}[i] = {zero};\n  end\n"
        )

    return re.sub(
        r"(?m)^  initial begin\n    (\w+)\[0\] = (\d+'[hd]0+);\n"
        r"(?:    \1\[\d+\] = \2;\n)*  end\n",
        loop,
        text,
    )
