"""Whatever program, bus or host it meets, the whole NPU ends its run and then runs a good one."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

import numpy as np
import pytest

from edgeinfer.cli.models import import_model
from edgeinfer.data import load_data
from edgeinfer.demo import CALIBRATION, MODEL
from edgeinfer.errors import InputError
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import NpuConfig, configuration
from edgeinfer.hdl.gateware.registers import COUNTERS, ID, REGISTERS
from edgeinfer.hdl.gateware.sequencer import Fault
from edgeinfer.hdl.simulation.npu import npu_library
from edgeinfer.hdl.simulation.simulator import Simulator
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session

CONFIGS = ["8x8", "2x8,bus_bytes=4,lanes=1,weight_port=1"]
"""A word of the second takes several beats of the bus and several turns of its lane."""
WATCHDOG = 2000
LIMIT = 100_000
"""Cycles after which a run that still moves is left alone: a program may ask for more."""

_BUSY, _DONE = 1, 2  # of STATUS
_STOP = 8  # of CONTROL


@dataclass(frozen=True)
class Model:
    """The digits model compiled, an input, and the output that the CPU gives for it."""

    config: NpuConfig
    program: object
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]

    def section(self, name: str) -> bytes:
        return isa.to_bytes(getattr(self.program, name))


@functools.cache
def compiled_for(config: NpuConfig) -> Model:
    floats = import_model(MODEL)
    samples = load_data(CALIBRATION, floats).samples
    graph = quantize(floats, samples)
    compiled = compile(graph, config, host_ops=True)
    (program,) = [program for _, program in compiled.segments if program is not None]
    session = Session(graph, keep_values=True)
    session.run({name: values[:1].astype(np.float32) for name, values in samples.items()})
    return Model(
        config,
        program,
        {binding.name: session.value(binding.name) for binding in program.inputs},
        {binding.name: session.value(binding.name) for binding in program.outputs},
    )


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    return compiled_for(configuration(request.param))


class Host:
    """An NPU and its host, whose memory has a place for programs behind the model's."""

    def __init__(self, model: Model, **options: float) -> None:
        self.model = model
        self.program_at = -(-model.program.host_bytes // 64) * 64
        size = self.program_at + max(len(model.section(name)) for name in ("setup", "run"))
        library = npu_library(model.config)
        self.simulator = Simulator(library, model.config, (size // 4096 + 2) * 4096, **options)
        self.memory = self.simulator.memory

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exception: object) -> None:
        self.simulator.close()

    def put(self, program: bytes) -> None:
        """The model's constants and inputs, and ``program``, into memory."""
        self.memory[:] = 0
        self._copy(0, self.model.program.image)
        for binding in self.model.program.inputs:
            self._copy(
                binding.host, binding.image(self.model.inputs[binding.name], self.model.config)
            )
        self._copy(self.program_at, program)

    def _copy(self, at: int, content: bytes) -> None:
        self.memory[at : at + len(content)] = np.frombuffer(content, np.uint8)

    def write(self, **values: int) -> None:
        for name, value in values.items():
            self.simulator.write(REGISTERS[name], value)

    def read(self, name: str) -> int:
        return self.simulator.read(REGISTERS[name])

    def start(self, program: bytes, length: int | None = None) -> None:
        self.put(program)
        count = len(program) // isa.INSTRUCTION_BYTES if length is None else length
        self.write(
            BASE=0,
            BASE_HIGH=0,
            PROGRAM=self.program_at,
            LENGTH=count,
            WATCHDOG=WATCHDOG,
            CONTROL=1,
        )

    def settle(self) -> bool:
        """Wait until the NPU is not busy."""
        return any(not self.read("STATUS") & _BUSY for _ in range(2000))

    def run(self, program: bytes, length: int | None = None, limit: int = LIMIT) -> Fault:
        """How the run ends; it is stopped if it still moves after ``limit`` cycles."""
        self.start(program, length)
        if not self.simulator.run(limit):
            # the watchdog would have ended it if nothing moved
            active = self.simulator.read(COUNTERS)
            self.simulator.run(2 * WATCHDOG)
            assert self.simulator.read(COUNTERS) > active
            self.write(CONTROL=_STOP)
        status = self.read("STATUS")
        assert self.settle(), "the NPU stays busy"
        return Fault(status >> 8 & 15)

    def check_good_run(self) -> None:
        """Bus mended and memories set up anew, the model gives what the CPU gives."""
        self.simulator.break_bus()
        for name in ("setup", "run"):
            assert self.run(self.model.section(name)) is Fault.NONE
        program = self.model.program
        for binding in program.outputs:
            size = binding.view.tensor.words * self.model.config.word_bytes
            raw = self.memory[binding.host : binding.host + size]
            words = raw.view(f"<i{self.model.config.element_bytes}").reshape(
                -1, self.model.config.columns
            )
            np.testing.assert_array_equal(binding.values(words), self.model.expected[binding.name])


def random_bytes(model: Model, rng: random.Random) -> bytes:
    return rng.randbytes(isa.INSTRUCTION_BYTES * rng.randrange(1, 40))


def legal_instructions(model: Model, rng: random.Random) -> bytes:
    """Legal instructions of random fields, most of them small."""
    program = []
    while len(program) < 12:
        cls = rng.choice(isa.INSTRUCTIONS[1:])
        word, at = cls.opcode, isa.OPCODE_BITS
        for field in isa.fields(cls).values():
            bits = rng.choice([0, 1, 2, 3, 4, 6, field.bits])
            word |= (rng.getrandbits(bits) if bits else 0) % (1 << field.bits) << at
            at += field.bits
        try:
            program.append(isa.decode(word))
        except InputError:
            continue
    return isa.to_bytes([*program, isa.Halt()])


def flipped_bits(model: Model, rng: random.Random) -> bytes:
    program = bytearray(model.section("run"))
    for _ in range(rng.choice([1, 1, 2, 8])):
        program[rng.randrange(len(program))] ^= 1 << rng.randrange(8)
    return bytes(program)


def flipped_counts(model: Model, rng: random.Random) -> bytes:
    """One field of one instruction is another legal one."""
    program = isa.from_bytes(model.section("run"))
    index = rng.randrange(len(program) - 1)
    cls = type(program[index])
    word, at = isa.encode(program[index]), isa.OPCODE_BITS
    fields = [*isa.fields(cls).values()]
    chosen = rng.randrange(len(fields))
    for number, field in enumerate(fields):
        if number == chosen:
            word ^= rng.randrange(1, 1 << min(field.bits, rng.choice([2, 5, 20]))) << at
        at += field.bits
    code = bytearray(isa.to_bytes(program))
    code[16 * index : 16 * index + 16] = word.to_bytes(16, "little")
    return bytes(code)


def lost_instructions(model: Model, rng: random.Random) -> bytes:
    """Some instructions are missing, such as a SYNC or the ACTIVATE of a CONVOLVE."""
    code = model.section("run")
    each = [code[at : at + 16] for at in range(0, len(code), 16)]
    for _ in range(rng.choice([1, 1, 3])):
        each.pop(rng.randrange(len(each) - 1))
    return b"".join(each)


def moved_instructions(model: Model, rng: random.Random) -> bytes:
    code = model.section("run")
    each = [code[at : at + 16] for at in range(0, len(code), 16)]
    for _ in range(rng.choice([1, 3])):
        i, j = rng.randrange(len(each)), rng.randrange(len(each))
        each[i], each[j] = each[j], each[i]
    return b"".join(each)


def truncated(model: Model, rng: random.Random) -> bytes:
    code = model.section("run")
    return code[: 16 * rng.randrange(1, len(code) // 16)]


def ended_early(model: Model, rng: random.Random) -> bytes:
    """HALT comes in the midst of it."""
    return truncated(model, rng) + isa.to_bytes([isa.Halt()])


CORRUPTIONS = [
    random_bytes,
    legal_instructions,
    flipped_bits,
    flipped_counts,
    lost_instructions,
    moved_instructions,
    truncated,
    ended_early,
]


@pytest.mark.slow
@pytest.mark.parametrize("stalls", [0.0, 0.5])
@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda f: f.__name__)
def test_a_corrupt_program_ends_and_leaves_nothing_behind(model, corrupt, stalls):
    with Host(model, stalls=stalls) as host:
        for seed in range(25):
            fault = host.run(corrupt(model, random.Random(seed)))
            if corrupt is truncated:
                assert fault is Fault.NO_HALT
            host.check_good_run()


def test_a_run_is_stopped_at_any_time(model):
    with Host(model) as host:
        for cycles in range(1, 3000, 97):
            for name in ("setup", "run"):
                host.start(model.section(name))
                host.simulator.run(cycles)
                host.write(CONTROL=_STOP)
                assert host.settle()
                assert Fault(host.read("STATUS") >> 8 & 15) in (Fault.STOPPED, Fault.NONE)
            host.check_good_run()


LEFT_OVERS = {
    "accumulators that nobody takes": [
        isa.ReadWeights(address=0, count=2),
        isa.SetSource(
            height=1,
            line_end=8,
            row_step=0,
            kernel_step=0,
            stride=1,
            dilation=1,
            pixel_step=4,
            pad=0,
        ),
        isa.SetKernel(mode=isa.Mode.DENSE, run=4, runs=1, run_step=0, lines=1),
        isa.Convolve(base=0, y=0, x=0, rows=1, columns=2, period=2),
    ],
    "weights that nobody takes": [isa.ReadWeights(address=3, count=1)],
    "instructions behind HALT": [isa.Halt(), *[isa.ReadWeights(address=1, count=1)] * 30],
}


@pytest.mark.parametrize("program", LEFT_OVERS.values(), ids=LEFT_OVERS)
def test_what_a_run_without_a_fault_leaves_in_the_units_does_not_reach_the_next(model, program):
    with Host(model) as host:
        fault = host.run(isa.to_bytes([*program, isa.Halt()]))
        assert fault in (Fault.NONE, Fault.WATCHDOG)
        host.check_good_run()


@pytest.mark.parametrize("stalls", [0.0, 0.5])
def test_a_bus_that_stalls_for_ever_ends_with_the_watchdog(model, stalls):
    with Host(model, stalls=stalls) as host:
        for beats in [*range(0, 60, 7), *range(100, 1500, 200)]:
            for name in ("setup", "run"):
                host.put(b"")
                host.simulator.break_bus(beats=beats)
                host.start(model.section(name))
                if not host.simulator.run(LIMIT):
                    raise AssertionError("the NPU hangs")
                status = host.read("STATUS")
                if Fault(status >> 8 & 15) is Fault.NONE:
                    continue
                assert Fault(status >> 8 & 15) is Fault.WATCHDOG
                # the registers answer, and it stays busy as long as the bus owes it something
                assert host.read("ID") == ID
                host.write(CONTROL=1)
                host.simulator.break_bus()
                assert host.settle()
            host.simulator.break_bus()
            host.check_good_run()


@pytest.mark.parametrize("stalls", [0.0, 0.5])
def test_a_bus_that_answers_with_errors_ends_with_bus(model, stalls):
    with Host(model, stalls=stalls) as host:
        program = model.program
        places = {
            "its instructions": host.program_at,
            "an instruction further on": host.program_at + 16 * 30,
            "its inputs": min(binding.host for binding in program.inputs),
            "its outputs": min(binding.host for binding in program.outputs),
        }
        for place in places.values():
            host.simulator.break_bus(error_from=place)
            assert host.run(model.section("run")) is Fault.BUS
            host.simulator.break_bus()
            host.check_good_run()


def test_addresses_beyond_a_memory_end_with_out_of_range(model):
    end = {
        isa.Memory.BUFFER: model.config.buffer_words,
        isa.Memory.WEIGHTS: model.config.weight_tiles * model.config.weight_reads,
        isa.Memory.PARAMETERS: model.config.parameter_rows,
        isa.Memory.TABLE: 256 // model.config.bus_bytes,
    }
    with Host(model) as host:
        for memory, address in end.items():
            last = isa.ReadHost(memory=memory, host=0, address=address - 1, words=1)
            assert host.run(isa.to_bytes([last, isa.Halt()])) is Fault.NONE
            beyond = isa.ReadHost(memory=memory, host=0, address=address - 1, words=2)
            assert host.run(isa.to_bytes([beyond, isa.Halt()])) is Fault.OUT_OF_RANGE
        beyond = isa.WriteHost(host=0, address=model.config.buffer_words - 3, words=4096)
        assert host.run(isa.to_bytes([beyond, isa.Halt()])) is Fault.OUT_OF_RANGE
        host.check_good_run()


def test_a_fault_in_a_long_transfer_is_over_soon(model):
    with Host(model) as host:
        for long in (
            isa.ReadHost(memory=isa.Memory.BUFFER, host=0, address=0, words=16384, lines=4096),
            isa.WriteHost(host=0, address=0, words=16384, lines=4096),
        ):
            code = isa.to_bytes([long]) + b"\xff" * 16
            assert host.run(code) is Fault.ILLEGAL_INSTRUCTION
            assert host.read("FAULT_AT") == 1
            host.check_good_run()


@pytest.mark.parametrize("behind", range(4))
@pytest.mark.parametrize(
    "transfer",
    [
        isa.ReadHost(memory=isa.Memory.BUFFER, host=4096, address=0, lines=9, words=40),
        isa.WriteHost(host=4096, address=0, lines=9, words=40),
    ],
    ids=["load", "store"],
)
def test_a_transfer_that_comes_just_before_a_fault_ends_with_the_run(model, transfer, behind):
    fillers = [isa.ReadWeights(address=0, count=1)] * behind
    illegal = b"\xff" * isa.INSTRUCTION_BYTES
    with Host(model) as host:
        fault = host.run(isa.to_bytes([transfer, *fillers]) + illegal)
        assert fault is Fault.ILLEGAL_INSTRUCTION
        host.check_good_run()


def test_the_host_may_write_registers_in_any_order_and_at_any_time(model):
    rng = random.Random(1)
    with Host(model) as host:
        host.check_good_run()
        settings = {"BASE": 0, "BASE_HIGH": 0, "PROGRAM": host.program_at, "WATCHDOG": WATCHDOG}
        for _ in range(20):
            host.put(model.section("run"))
            length = len(model.section("run")) // 16
            for name, value in rng.sample([*settings.items(), ("LENGTH", length)], 5):
                host.write(**{name: rng.getrandbits(32)})
                host.write(**{name: value})
            host.write(CONTROL=1)
            # what is written now is for the next run
            for _ in range(rng.randrange(20)):
                name = rng.choice(["BASE", "BASE_HIGH", "PROGRAM", "LENGTH", "ID", "STATUS"])
                host.write(**{name: rng.getrandbits(32)})
                host.simulator.write(rng.randrange(0x28, 0x100, 4), rng.getrandbits(32))
                host.write(CONTROL=rng.choice([0, 1, 2, 3]))
            assert host.simulator.run(LIMIT)
            assert host.read("STATUS") == _DONE
        host.write(CONTROL=4)
        assert host.read("STATUS") == 0
        host.check_good_run()
