"""A model on a simulated NPU: every value compared with the CPU's, every cycle accounted for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.graph import Graph
from edgeinfer.hdl.compiler import Compiled, Program, Watch, compile
from edgeinfer.hdl.compiler.host_image import HostImage
from edgeinfer.hdl.compiler.timing import predict
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.registers import COUNTERS, REGISTERS, Status
from edgeinfer.hdl.gateware.sequencer import Fault
from edgeinfer.hdl.isa import Unit
from edgeinfer.hdl.mismatch import Mismatch
from edgeinfer.hdl.simulation.npu import npu_library
from edgeinfer.hdl.simulation.simulator import Interval, SimulationError, Simulator
from edgeinfer.runtime.session import Arrays, Session

__all__ = ["InferenceReport", "LayerReport", "Simulation", "UnitReport"]

_SECTIONS = ("setup", "load", "infer", "store")
_PAGE = 4096
_BASE = 0xA5_8000_0000
"""Of host memory: all bytes of an address matter."""
_PATIENCE = 100
"""Times the predicted cycles after which a run is given up."""


@dataclass(frozen=True)
class LayerReport:
    """What a layer took.

    Parameters
    ----------
    name, operator, output : str
    macs : int
        Multiply-accumulates of the model.
    start, end : int
        Cycles at which the layer before and this one were complete.
    predicted : int
        Cycles that the compiler predicted.
    waiting : dict of str to int
        Cycles that each unit spent waiting in between.
    """

    name: str
    operator: str
    output: str
    macs: int
    start: int
    end: int
    predicted: int
    waiting: dict[str, int]

    @property
    def cycles(self) -> int:
        """From the end of the layer before."""
        return self.end - self.start


@dataclass(frozen=True)
class UnitReport:
    """What a unit did in a run, in cycles."""

    busy: int
    waiting: int


@dataclass(frozen=True)
class InferenceReport:
    """One inference.

    Parameters
    ----------
    cycles : int
        From START to done, inputs and outputs in the buffer.
    predicted : int
        What the compiler said.
    macs : int
        Multiply-accumulates of the model's layers on the NPU.
    utilization : float
        Of the array's multipliers.
    layers : tuple of LayerReport
    units : dict of str to UnitReport
    intervals : tuple of Interval
        When the units were busy.
    """

    cycles: int
    predicted: int
    macs: int
    utilization: float
    layers: tuple[LayerReport, ...]
    units: dict[str, UnitReport]
    intervals: tuple[Interval, ...]


class Simulation:
    """An NPU that runs one model, in compiled simulation of its Verilog; a context manager.

    The simulator of a configuration is built once, which takes half a minute, and kept in the
    user's cache.

    Parameters
    ----------
    graph : Graph
        An integer Graph with a batch of 1.
    config : NpuConfig or str
        Or its text, such as ``8x16``.
    host_ops : bool
        Let the CPU run what the NPU cannot.
    stream_weights : bool
        Bring all weights from host memory in every run.
    latency : int
        Cycles in which host memory answers a read.
    stalls : float
        The share of cycles in which each channel of its bus holds back, at random.
    seed : int
        Of these stalls.
    vcd : Path or None
        Where to write waveforms; segments after the first add their numbers to the name.
    tool : str or None
        ``verilator`` or ``cxxrtl``; None takes what is there.

    Raises
    ------
    UnsupportedError
        The NPU cannot run the model, or not this configuration.
    InputError
        An option does not fit, or what the simulation needs is not installed.
    """

    def __init__(
        self,
        graph: Graph,
        config: NpuConfig | str = "8x16",
        *,
        host_ops: bool = False,
        stream_weights: bool = False,
        latency: int = 20,
        stalls: float = 0.0,
        seed: int = 1,
        vcd: Path | None = None,
        tool: str | None = None,
    ) -> None:
        if not 0 <= stalls <= 0.9:
            raise InputError(f"stalls must be between 0 and 0.9, not {stalls}")
        if not 1 <= latency <= 1_000_000:
            raise InputError(f"latency must be between 1 and 1000000 cycles, not {latency}")
        self.graph = graph
        self._session = Session(graph, keep_values=True)
        self.compiled: Compiled = compile(
            graph, config, host_ops=host_ops, stream_weights=stream_weights
        )
        self.config = self.compiled.config
        library = npu_library(self.config, tool=tool, trace=vcd is not None)
        self.waveforms: tuple[Path, ...] = ()
        self._machines: list[_Machine | Session] = []
        self._values: dict[str, np.ndarray] = {}
        with ExitStack() as simulators:
            for part, program in self.compiled.segments:
                if program is None:
                    self._machines.append(Session(part, keep_values=True))
                    continue
                trace = vcd
                if vcd is not None:
                    number = len(self.waveforms) + 1
                    trace = vcd if number == 1 else vcd.with_stem(f"{vcd.stem}_{number}")
                    self.waveforms += (trace,)
                memory = HostImage.of(program, *_SECTIONS)
                simulator = Simulator(
                    library,
                    program.config,
                    memory.size,
                    base=_BASE,
                    latency=latency,
                    stalls=stalls,
                    seed=seed,
                    trace=trace,
                )
                simulators.push(simulator)
                self._machines.append(_Machine(program, memory, simulator))
            self._simulators = simulators.pop_all()
        self._reports: list[InferenceReport] = []

    def __enter__(self) -> Simulation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._simulators.__exit__(kind, value, traceback)

    def close(self) -> None:
        """End the simulation; waveforms are complete then.

        Raises
        ------
        OutputError
            They could not be written.
        """
        self._simulators.close()

    def run(self, x: Arrays) -> np.ndarray | dict[str, np.ndarray]:
        """The NPU's outputs for one input, as ``Session.run`` gives the CPU's.

        Raises
        ------
        InputError
            ``x`` does not fit.
        SimulationError
            The NPU did not finish, or ended with an error.
        """
        expected = self._session.run(x)
        names = self.graph.outputs
        single = isinstance(expected, np.ndarray)
        results = {names[0]: expected} if isinstance(expected, np.ndarray) else dict(expected)
        for name in names:
            if results[name].shape != self.graph.types[name].shape:
                raise InputError("the simulation takes one sample at a time")
        self._values = {name: self._session.value(name) for name in self.graph.inputs}
        self._reports = []
        for (part, _), machine in zip(self.compiled.segments, self._machines, strict=True):
            if isinstance(machine, _Machine):
                self._reports.append(machine.run(self._values))
            else:
                machine.run({name: self._values[name] for name in part.inputs})
                made = (name for node in part.nodes for name in node.outputs)
                self._values |= {name: machine.value(name) for name in made}
        for name in names:
            q, raw = self.graph.types[name].quantization, self._values[name]
            is_float = results[name].dtype.kind == "f" and q is not None
            results[name] = q.dequantize(raw) if is_float and q is not None else raw
        return results[names[0]] if single else results

    def value(self, name: str) -> np.ndarray:
        """The raw integers of the value ``name`` as the last run made them.

        Raises
        ------
        InputError
            There is no such value, or it is never made on the way.
        """
        if name not in self._values:
            raise InputError(f"the simulation has no value {name!r}")
        return self._values[name]

    def mismatches(self) -> list[Mismatch]:
        """Every value of the last run that is not the CPU's, in the order of the Graph."""
        names = (name for node in self.graph.nodes for name in node.outputs)
        found = (
            Mismatch.of(name, self._session.value(name), self._values[name])
            for name in names
            if name in self._values
        )
        return [each for each in found if each is not None]

    def report(self) -> InferenceReport:
        """What the last run took, all segments on the NPU one after another."""
        if not self._reports:
            raise InputError("there was no run to report")
        return self._reports[0] if len(self._reports) == 1 else _joined(self._reports, self.config)


class _Machine:
    """A Program in a Simulator."""

    def __init__(self, program: Program, memory: HostImage, simulator: Simulator) -> None:
        self.program, self.simulator = program, simulator
        simulator.memory[: len(memory.content)] = np.frombuffer(memory.content, np.uint8)
        self._sections = memory.sections
        self._prediction = predict(program.infer, program.config)
        simulator.write(REGISTERS["BASE"], _BASE & 0xFFFFFFFF)
        simulator.write(REGISTERS["BASE_HIGH"], _BASE >> 32)
        self._execute("setup")

    def _execute(self, section: str) -> int:
        """Run a section; its cycles."""
        simulator = self.simulator
        place = self._sections[section]
        simulator.write(REGISTERS["PROGRAM"], place.offset)
        simulator.write(REGISTERS["LENGTH"], place.length)
        simulator.write(REGISTERS["CONTROL"], 1)
        limit = _PATIENCE * (self._prediction.cycles + self.program.host_bytes + _PAGE)
        finished = simulator.run(limit)
        self._finished = simulator.cycle
        status = Status.of(simulator.read(REGISTERS["STATUS"]))
        if status.fault:
            where = simulator.read(REGISTERS["FAULT_AT"])
            raise SimulationError(
                f"the NPU stopped in its {section} program at instruction {where}: "
                f"{Fault.described(status.fault)}"
            )
        if not finished:
            raise SimulationError(f"the NPU has not finished its {section} after {limit} cycles")
        simulator.check_bus(at_rest=True)
        return simulator.read(COUNTERS)

    def run(self, values: dict[str, np.ndarray]) -> InferenceReport:
        """Take the inputs from ``values``, put every value that is made into it."""
        program, simulator = self.program, self.simulator
        for binding in program.inputs:
            packed = np.frombuffer(binding.image(values[binding.name], program.config), np.uint8)
            simulator.memory[binding.host : binding.host + len(packed)] = packed
        self._execute("load")
        images, ends = self._watch()
        simulator.record(True)
        cycles = self._execute("infer")
        simulator.record(False)
        origin = self._finished - cycles
        reached = simulator.reached()
        units = {
            unit.name.lower(): UnitReport(
                simulator.read(COUNTERS + 4 + 8 * unit), simulator.read(COUNTERS + 8 + 8 * unit)
            )
            for unit in Unit
        }
        self._execute("store")
        for watch, image in images:
            values[watch.binding.name] = watch.binding.values(image)
        for watch in program.watches:
            tensor = watch.binding.view.tensor
            if tensor.spilled and not watch.intermediate:
                words = self._host_words(tensor.host, tensor.words)
                values[watch.binding.name] = watch.binding.values(words)
        for binding in program.outputs:
            words = self._host_words(binding.host, binding.view.tensor.words)
            values[binding.name] = binding.values(words)
        simulator.clear_watches()
        return self._report(cycles, origin, [reached[i] for i in ends], units)

    def _watch(self) -> tuple[list[tuple[Watch, np.ndarray]], list[int]]:
        """Watch for every value, and for every layer's end: images, and the ends' places."""
        program, simulator = self.program, self.simulator
        values = [w for w in program.watches if not w.binding.view.tensor.spilled]
        images: list[tuple[Watch, np.ndarray]] = []
        ends: list[int] = []
        place = 0
        # in the order in which they are reached
        for layer in program.layers:
            while values and values[0].count < layer.last:
                images.append((values[0], self._image(values.pop(0))))
                place += 1
            simulator.watch(layer.last, 0, 0, intermediate=False)
            ends.append(place)
            place += 1
        images += [(watch, self._image(watch)) for watch in values]
        return images, ends

    def _image(self, watch: Watch) -> np.ndarray:
        """What will be the words of the watch's tensor when it is reached."""
        tensor = watch.binding.view.tensor
        return self.simulator.watch(
            watch.count, tensor.base, tensor.words, intermediate=watch.intermediate
        )

    def _host_words(self, start: int, words: int) -> np.ndarray:
        config = self.program.config
        raw = self.simulator.memory[start : start + words * config.word_bytes]
        return raw.view(f"<i{config.element_bytes}").reshape(words, config.columns)

    def _report(
        self, cycles: int, origin: int, ends: Sequence[int], units: Mapping[str, UnitReport]
    ) -> InferenceReport:
        program = self.program
        intervals = tuple(
            Interval(i.unit, i.waiting, i.start - origin, i.end - origin)
            for i in self.simulator.intervals()
        )
        layers = []
        start = predicted = 0
        for record, end in zip(program.layers, ends, strict=True):
            expected = self._prediction.groups[record.last - 1]
            layers.append(
                LayerReport(
                    name=record.name,
                    operator=record.operator,
                    output=record.output,
                    macs=record.macs,
                    start=start,
                    end=end - origin,
                    predicted=expected - predicted,
                    waiting=_waiting(intervals, start, end - origin),
                )
            )
            start, predicted = end - origin, expected
        macs = sum(record.macs for record in program.layers)
        return InferenceReport(
            cycles=cycles,
            predicted=self._prediction.cycles,
            macs=macs,
            utilization=macs / (program.config.macs * cycles),
            layers=tuple(layers),
            units=dict(units),
            intervals=intervals,
        )


def _waiting(intervals: Sequence[Interval], start: int, end: int) -> dict[str, int]:
    """Cycles between ``start`` and ``end`` in which each unit waited."""
    total = dict.fromkeys((unit.name.lower() for unit in Unit), 0)
    for each in intervals:
        if each.waiting:
            overlap = min(end, each.end) - max(start, each.start)
            total[Unit(each.unit).name.lower()] += max(0, overlap)
    return total


def _joined(reports: Sequence[InferenceReport], config: NpuConfig) -> InferenceReport:
    """Segments one after another."""
    layers: list[LayerReport] = []
    intervals: list[Interval] = []
    offset = 0
    for report in reports:
        layers += [
            LayerReport(
                name=layer.name,
                operator=layer.operator,
                output=layer.output,
                macs=layer.macs,
                start=layer.start + offset,
                end=layer.end + offset,
                predicted=layer.predicted,
                waiting=layer.waiting,
            )
            for layer in report.layers
        ]
        intervals += [
            Interval(i.unit, i.waiting, i.start + offset, i.end + offset) for i in report.intervals
        ]
        offset += report.cycles
    macs = sum(report.macs for report in reports)
    names = reports[0].units
    return InferenceReport(
        cycles=offset,
        predicted=sum(report.predicted for report in reports),
        macs=macs,
        utilization=macs / (config.macs * offset),
        layers=tuple(layers),
        units={
            name: UnitReport(
                sum(r.units[name].busy for r in reports),
                sum(r.units[name].waiting for r in reports),
            )
            for name in names
        },
        intervals=tuple(intervals),
    )
