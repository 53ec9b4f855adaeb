"""A model on a simulated board, over its serial line: bits, cycles, and what a bad line does."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from edgeinfer.data import load_data
from edgeinfer.data.samples import runs
from edgeinfer.demo import TEST
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.hdl.boards.board_npu import BoardNpu, Description
from edgeinfer.hdl.boards.link import Link, LinkError, open_line
from edgeinfer.hdl.config import preset
from edgeinfer.hdl.simulation.simulation import Simulation
from tests.hdl.boards.simulated_board import SimulatedBoard
from tests.hdl.export.exported import digits

CONFIG = preset("4x4")
MEMORY = 8192


def samples(count: int) -> list[dict]:
    return list(runs(digits(), load_data(TEST, digits()).samples, limit=count))


@pytest.fixture
def board():
    made = SimulatedBoard(CONFIG, MEMORY)
    yield made
    made.close()


@pytest.mark.slow
def test_a_board_gives_the_cpus_bits_in_the_simulations_cycles(board):
    npu = BoardNpu(Link(board, "board"), digits())
    assert npu.description == Description(CONFIG, MEMORY, 50_000_000)
    with Simulation(digits(), CONFIG) as simulation:
        for sample in samples(5):
            npu.run(sample)
            assert npu.mismatches() == []
            simulation.run(sample)
            # instructions come from block memory, not from a memory with 20 cycles of latency
            assert npu.cycles == pytest.approx(simulation.report().cycles, rel=0.02)


@pytest.mark.slow
def test_a_model_larger_than_the_boards_memory_passes_through_it_in_pieces():
    small = SimulatedBoard(CONFIG, 2048)
    npu = BoardNpu(Link(small, "board"), digits())
    npu.run(samples(1)[0])
    assert npu.mismatches() == []
    small.close()


@pytest.mark.slow
def test_a_model_whose_inference_asks_for_more_memory_is_refused():
    tiny = SimulatedBoard(CONFIG, 512)
    with pytest.raises(UnsupportedError) as refusal:
        BoardNpu(Link(tiny, "board"), digits())
    assert re.fullmatch(
        r"an inference takes [\d,]+ bytes of host memory, and the board has 512; build a "
        r"configuration with more weight_bytes and buffer_bytes, or one with more --memory",
        str(refusal.value),
    )
    tiny.close()


@pytest.mark.slow
def test_two_samples_at_once_are_refused(board):
    npu = BoardNpu(Link(board, "board"), digits())
    two = {name: np.concatenate([x, x]) for name, x in samples(1)[0].items()}
    with pytest.raises(InputError) as refusal:
        npu.run(two)
    assert str(refusal.value) == "the board takes one sample at a time"


class Lossy:
    """A line that loses or turns over a byte, the ``at``-th in one of its directions."""

    def __init__(self, line, direction: str, at: int, *, flip: bool) -> None:
        self.line, self.direction, self.left, self.flip = line, direction, at, flip

    def _damaged(self, data: bytes, direction: str) -> bytes:
        if direction != self.direction or not data:
            return data
        at, self.left = self.left, self.left - len(data)
        if not 0 <= at < len(data):
            return data
        kept = bytes([data[at] ^ 0x10]) if self.flip else b""
        return data[:at] + kept + data[at + 1 :]

    def write(self, data: bytes) -> None:
        self.line.write(self._damaged(data, "sent"))

    def read(self, size: int = 1) -> bytes:
        return self._damaged(self.line.read(size), "answered")

    def reset_input_buffer(self) -> None:
        self.line.reset_input_buffer()

    def close(self) -> None:
        self.line.close()


DAMAGES = (
    "the serial line wire loses or damages what the board is sent",
    "the serial line wire loses or damages what the board answers",
    "the board on wire has stopped answering: the serial line loses bytes, or the board was "
    "unplugged",
)


@pytest.mark.slow
@pytest.mark.parametrize("flip", [False, True], ids=["lost", "damaged"])
@pytest.mark.parametrize("direction", ["sent", "answered"])
def test_a_byte_that_is_lost_or_damaged_is_one_error_and_the_next_link_works(
    board, direction, flip
):
    for at in (300, 347, 1001, 1100):
        with pytest.raises(LinkError) as refusal:
            npu = BoardNpu(Link(Lossy(board, direction, at, flip=flip), "wire"), digits())
            for sample in samples(3):
                npu.run(sample)
        assert str(refusal.value) in DAMAGES
    npu = BoardNpu(Link(board, "wire"), digits())
    npu.run(samples(1)[0])
    assert npu.mismatches() == []


@pytest.mark.slow
def test_what_is_not_a_request_is_passed_over(board):
    board.write(bytes(range(0xB0)))
    board.read(1000, 20_000)
    assert Description.of(Link(board, "wire").describe()).config == CONFIG


class Silent(Lossy):
    """A line at whose other end is nothing, or somebody else."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer

    def write(self, data: bytes) -> None:
        pass

    def read(self, size: int = 1) -> bytes:
        return self.answer[:size]

    def reset_input_buffer(self) -> None:
        pass


def test_a_line_without_a_board_is_refused():
    with pytest.raises(LinkError) as refusal:
        Link(Silent(), "/dev/ttyUSB7").describe()
    assert str(refusal.value) == (
        "no board answers on /dev/ttyUSB7: is it programmed, is it the right port, and was it "
        "built for this baud rate?"
    )


def test_an_answer_that_is_none_is_refused():
    with pytest.raises(LinkError) as refusal:
        Link(Silent(b"login: "), "/dev/ttyUSB7").describe()
    assert str(refusal.value) == (
        "the serial line /dev/ttyUSB7 loses or damages what the board answers"
    )


@pytest.mark.parametrize("text", ["", "5x5;memory_bytes=1;hertz=1", "8x16;memory=1", "8x16;" * 40])
def test_a_description_of_something_else_is_refused(text):
    with pytest.raises(LinkError) as refusal:
        Description.of(text)
    assert str(refusal.value) == (
        f"the board says that it is {text!r}, which is no NPU of this version's"
    )


def test_a_port_that_is_not_there_is_refused(tmp_path):
    pytest.importorskip("serial")
    with pytest.raises(InputError) as refusal:
        open_line(str(tmp_path / "ttyUSB0"), 1_000_000)
    assert str(refusal.value) == (
        f"cannot open the serial line {tmp_path}/ttyUSB0: No such file or directory"
    )
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError) as refusal:
        open_line(str(tmp_path / "file"), 1_000_000)
    assert str(refusal.value) == f"cannot open the serial line {tmp_path}/file: it is none"


def test_a_port_that_another_program_uses_is_refused():
    pytest.importorskip("serial")
    leader, follower = os.openpty()
    port = os.ttyname(follower)
    line = open_line(port, 1_000_000)
    with pytest.raises(InputError) as refusal:
        open_line(port, 1_000_000)
    assert str(refusal.value) == f"cannot open the serial line {port}: another program uses it"
    line.close()
    os.close(follower)
    os.close(leader)
