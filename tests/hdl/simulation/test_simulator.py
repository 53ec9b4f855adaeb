"""The simulator is the NPU's host: its registers, its memory, and eyes on what it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil, verilog
from amaranth.hdl import Cat, Module, Mux, Signal

from edgeinfer.errors import InputError, OutputError
from edgeinfer.hdl.config import preset
from edgeinfer.hdl.gateware.axi import INCREMENT
from edgeinfer.hdl.gateware.npu import Npu
from edgeinfer.hdl.simulation.build import TOOLS, build
from edgeinfer.hdl.simulation.simulator import Interval, SimulationError, Simulator
from tests.refusals import needs_full_device, refused

CONFIG = preset("4x4")
WORD = CONFIG.word_bytes
BUS = CONFIG.bus_bytes
START, SCRATCH, DEAF = 0, 4, 252
LATENCY = 20


class Copier(Npu):
    """The NPU's ports; START copies a beat of host memory from SCRATCH to the beat behind it.

    The beat is a word that is seen to be written to word 1 of the buffer, and its complement as
    an intermediate. Register DEAF never answers.
    """

    def elaborate(self, platform):
        m = Module()
        scratch, beat, running, done = Signal(32), Signal(8 * BUS), Signal(), Signal()
        start = Signal()

        writing = Signal()
        m.d.comb += [
            writing.eq(
                self.s_axil_awvalid
                & self.s_axil_wvalid
                & ~self.s_axil_bvalid
                & (self.s_axil_awaddr != DEAF)
            ),
            self.s_axil_awready.eq(writing),
            self.s_axil_wready.eq(writing),
            start.eq(writing & (self.s_axil_awaddr == START)),
            self.s_axil_arready.eq(~self.s_axil_rvalid & (self.s_axil_araddr != DEAF)),
        ]
        m.d.sync += self.s_axil_bvalid.eq(Mux(self.s_axil_bvalid, ~self.s_axil_bready, writing))
        with m.If(writing & (self.s_axil_awaddr == SCRATCH)):
            m.d.sync += scratch.eq(self.s_axil_wdata)
        with m.If(self.s_axil_rvalid):
            m.d.sync += self.s_axil_rvalid.eq(~self.s_axil_rready)
        with m.Elif(self.s_axil_arvalid & self.s_axil_arready):
            m.d.sync += [
                self.s_axil_rvalid.eq(1),
                self.s_axil_rdata.eq(Mux(self.s_axil_araddr == SCRATCH, scratch, 0xDEADBEEF)),
            ]

        m.d.comb += [
            self.m_axi_araddr.eq(scratch),
            self.m_axi_awaddr.eq(scratch + BUS),
            *(size.eq(BUS.bit_length() - 1) for size in (self.m_axi_arsize, self.m_axi_awsize)),
            *(kind.eq(INCREMENT) for kind in (self.m_axi_arburst, self.m_axi_awburst)),
            self.m_axi_wdata.eq(beat),
            self.m_axi_wstrb.eq(-1),
            self.m_axi_wlast.eq(1),
            self.probe_state.eq(Cat(running, 0)),
            self.probe_done.eq(done),
            self.probe_result_address.eq(1),
            self.probe_result_data.eq(beat),
            self.probe_intermediate_address.eq(1),
            self.probe_intermediate_data.eq(~beat),
        ]
        with m.FSM():
            with m.State("Idle"), m.If(start):
                m.d.sync += [running.eq(1), done.eq(0)]
                m.next = "Ask"
            with m.State("Ask"):
                m.d.comb += self.m_axi_arvalid.eq(1)
                with m.If(self.m_axi_arready):
                    m.next = "Take"
            with m.State("Take"):
                m.d.comb += self.m_axi_rready.eq(1)
                with m.If(self.m_axi_rvalid):
                    m.d.sync += beat.eq(self.m_axi_rdata)
                    m.next = "Show"
            with m.State("Show"):
                m.d.comb += [self.probe_result_enable.eq(1), self.probe_intermediate_enable.eq(1)]
                m.d.sync += self.probe_completed_activate.eq(self.probe_completed_activate + 1)
                m.next = "Announce"
            with m.State("Announce"):
                m.d.comb += self.m_axi_awvalid.eq(1)
                with m.If(self.m_axi_awready):
                    m.next = "Give"
            with m.State("Give"):
                m.d.comb += self.m_axi_wvalid.eq(1)
                with m.If(self.m_axi_wready):
                    m.next = "Settle"
            with m.State("Settle"):
                m.d.comb += self.m_axi_bready.eq(1)
                with m.If(self.m_axi_bvalid):
                    m.d.sync += [running.eq(0), done.eq(1)]
                    m.next = "Idle"
        return m


def copier(folder, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.delenv("EDGEINFER_SIMULATOR", raising=False)
        return build(
            lambda: verilog.convert(Copier(CONFIG, probes=True), name="npu", emit_src=False),
            "copier",
            "npu",
            rtlil=lambda: rtlil.convert(Copier(CONFIG, probes=True), name="npu", emit_src=False),
            **options,
        )


@pytest.fixture(scope="module", params=TOOLS)
def library(request, tmp_path_factory):
    return copier(tmp_path_factory.mktemp("cache"), tool=request.param)


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    return copier(tmp_path_factory.mktemp("cache"), tool="verilator", trace=True)


def copied(simulator, at=64):
    """Copy a beat; what it was."""
    beat = np.arange(1, BUS + 1, dtype=np.uint8)
    simulator.memory[at : at + BUS] = beat
    simulator.write(SCRATCH, at)
    simulator.write(START, 1)
    assert simulator.run(10_000)
    return beat


@pytest.mark.slow
def test_a_register_reads_as_written(library):
    with Simulator(library, CONFIG, 4096) as simulator:
        simulator.write(SCRATCH, 0x89ABCDEF)
        assert simulator.read(SCRATCH) == 0x89ABCDEF
        assert simulator.read(8) == 0xDEADBEEF


@pytest.mark.slow
def test_a_register_that_does_not_answer_wrong(library):
    with Simulator(library, CONFIG, 4096) as simulator:
        with refused("the write of register 0xfc was not answered", SimulationError):
            simulator.write(DEAF, 1)
        with refused("the read of register 0xfc was not answered", SimulationError):
            simulator.read(DEAF)


@pytest.mark.slow
@pytest.mark.parametrize("stalls", [0.0, 0.5, 0.9])
def test_memory_is_read_and_written(library, stalls):
    with Simulator(library, CONFIG, 4096, stalls=stalls) as simulator:
        for at in (64, 1024, 4096 - 2 * BUS):
            beat = copied(simulator, at)
            assert simulator.memory[at + BUS : at + 2 * BUS].tolist() == beat.tolist()


@pytest.mark.slow
def test_what_happens_is_seen(library):
    with Simulator(library, CONFIG, 4096, latency=LATENCY) as simulator:
        result = simulator.watch(1, 1, 1, intermediate=False)
        hidden = simulator.watch(1, 0, 2, intermediate=True)
        second = simulator.watch(2, 0, 1, intermediate=False)
        simulator.record(True)
        beat = copied(simulator).view(np.int8)[:WORD]
        simulator.record(False)
        assert result.tolist() == [beat.tolist()]
        assert hidden.tolist() == [[0] * CONFIG.columns, (~beat).tolist()]
        assert simulator.buffer()[1].tolist() == beat.tolist()
        assert len(simulator.reached()) == 2 and not second.any()
        (interval,) = simulator.intervals()
        # from the address to the beat, the beat, the word, and three for the write
        cycles = LATENCY + 1 + 1 + 3
        assert interval == Interval(0, False, interval.start, interval.start + cycles)
        assert interval.start < simulator.reached()[0] < interval.end <= simulator.cycle
        simulator.clear_watches()
        assert simulator.reached() == []


@pytest.mark.slow
def test_the_same_seed_stalls_in_the_same_cycles(library):
    cycles = []
    for seed in (1, 1, 2, 3, 4):
        with Simulator(library, CONFIG, 4096, stalls=0.9, seed=2 * seed) as simulator:
            copied(simulator)
            cycles.append(simulator.cycle)
    assert cycles[0] == cycles[1]
    assert len(set(cycles)) > 1


@pytest.mark.slow
def test_a_bus_that_is_broken_stalls_for_ever(library):
    with Simulator(library, CONFIG, 4096) as simulator:
        simulator.break_bus(beats=1)
        simulator.write(START, 1)
        before = simulator.cycle
        assert not simulator.run(1000)
        assert simulator.cycle == before + 1000


@pytest.mark.slow
def test_it_can_be_closed_twice(library):
    simulator = Simulator(library, CONFIG, 4096)
    simulator.close()
    simulator.close()
    assert simulator.memory.size == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.vcd", "Größe.vcd"])
def test_waveforms_are_complete(traced, tmp_path, name):
    path = tmp_path / name
    with Simulator(traced, CONFIG, 4096, trace=path) as simulator:
        copied(simulator)
        cycles = simulator.cycle
    lines = path.read_text().splitlines()
    times = [int(line[1:]) for line in lines if line.startswith("#")]
    # two edges a cycle from the end of the reset on
    assert times == list(range(2 * cycles))
    (clock,) = {line.split()[3] for line in lines if line.split()[4:5] == ["clk"]}
    assert sum(line == f"1{clock}" for line in lines) == cycles


@pytest.mark.slow
def test_waveforms_that_cannot_be_written_wrong(traced, tmp_path):
    path = tmp_path / "nowhere" / "out.vcd"
    message = f"cannot write {path}: there is no folder {path.parent}"
    with refused(message, OutputError):
        Simulator(traced, CONFIG, 4096, trace=path)


@pytest.mark.slow
@needs_full_device
@pytest.mark.parametrize("cycles", [0, 1_000_000])
def test_waveforms_on_a_full_disk_wrong(traced, cycles):
    message = "cannot write /dev/full: No space left on device"
    with (
        refused(message, OutputError),
        Simulator(traced, CONFIG, 4096, trace=Path("/dev/full")) as simulator,
    ):
        simulator.run(cycles)
        # a long run ends where it is noticed, a short one when it is closed
        assert cycles == 0


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "kept"), [(SimulationError, True), (KeyboardInterrupt, False)])
def test_waveforms_of_an_error_are_kept_and_those_of_an_interrupt_are_not(
    traced, tmp_path, ending, kept
):
    path = tmp_path / "out.vcd"
    path.write_text("old")
    with pytest.raises(ending), Simulator(traced, CONFIG, 4096, trace=path) as simulator:
        copied(simulator)
        raise ending
    assert (path.read_text() != "old") is kept
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_waveforms_take_their_name_when_they_are_complete(traced, tmp_path):
    path = tmp_path / "out.vcd"
    path.write_text("old")
    with Simulator(traced, CONFIG, 4096, trace=path) as simulator:
        copied(simulator)
        assert path.read_text() == "old"
    assert path.read_text() != "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_waveforms_of_a_library_without_wrong(library, tmp_path):
    path = tmp_path / "out.vcd"
    message = f"cannot write {path}: the simulator was built without waveforms"
    with refused(message, InputError):
        Simulator(library, CONFIG, 4096, trace=path)
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_none_wrong(tmp_path):
    path = tmp_path / "npu.so"
    path.write_text("")
    message = f"cannot load the simulator {path}: {path}: file too short"
    with refused(message, InputError):
        Simulator(path, CONFIG, 4096)
