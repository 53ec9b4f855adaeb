"""The host's end of a board's serial line: requests, replies and what can go wrong with them."""

from __future__ import annotations

import binascii
import os
import struct
import sys
from errno import ENOTTY, EWOULDBLOCK
from typing import Protocol

from edgeinfer.errors import EdgeInferError, InputError, MissingExtraError
from edgeinfer.hdl.gateware.serial_bridge import ACCEPTED, REFUSED, WORD_BYTES, Opcode
from edgeinfer.hdl.gateware.serial_npu import DESCRIPTION_BYTES

__all__ = ["Line", "Link", "LinkError", "open_line"]

_FAILURES: tuple[type[Exception], ...] = (OSError,)
if sys.platform != "win32":
    import termios

    _FAILURES += (termios.error,)  # of a line whose other end is gone

_MEANINGS = {ENOTTY: "it is none", EWOULDBLOCK: "another program uses it"}

_WORDS = 256
"""Of a request at most: 10 ms at 1 Mbaud."""

_TIMEOUT = 2.0
"""Seconds in which a reply begins and ends, and in which the board forgets an unfinished request;
at 57,600 baud, the slowest that the command line takes, it does so in 1.7."""


class LinkError(EdgeInferError):
    """The board does not answer, or the line damages what passes it."""


class Line(Protocol):
    """What ``serial.Serial`` is, as far as it is needed."""

    def write(self, data: bytes, /) -> int | None:
        """Send ``data``."""

    def read(self, size: int = 1, /) -> bytes:
        """Up to ``size`` bytes; fewer when they do not come in time."""

    def reset_input_buffer(self) -> None:
        """Forget what has come."""

    def close(self) -> None:
        """Let go of the line."""


def open_line(port: str, baud: int) -> Line:
    """The serial line behind ``port``.

    Raises
    ------
    InputError
        There is none, or it cannot be used.
    MissingExtraError
        pyserial is not installed.
    """
    try:
        import serial
    except ModuleNotFoundError as error:
        raise MissingExtraError("serial", "fpga") from error
    try:
        return serial.Serial(port, baud, timeout=_TIMEOUT, write_timeout=_TIMEOUT, exclusive=True)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot open the serial line {port}: {_why(error)}") from error


def _why(error: Exception) -> str:
    """What pyserial's error comes from, whose number only its cause may have."""
    cause = error.__context__
    number = getattr(error, "errno", None)
    if number is None and isinstance(cause, _FAILURES) and cause.args:
        number = cause.args[0]
    if not isinstance(number, int):
        return str(error)
    return _MEANINGS.get(number) or os.strerror(number)


class Link:
    """Reads and writes of words over a Line.

    Parameters
    ----------
    line : Line
    name : str
        The line's, for messages.
    """

    def __init__(self, line: Line, name: str) -> None:
        self._line, self._name = line, name
        self._answered = False

    def describe(self) -> str:
        """What the board says of itself.

        Asked for twice: the first request may come while the board still waits for the rest of one
        that was broken off.

        Raises
        ------
        LinkError
            Nothing that answers is there.
        """
        request = (Opcode.READ_DESCRIPTION, 0, DESCRIPTION_BYTES // WORD_BYTES)
        try:
            text = self._exchange(*request)
        except LinkError:
            text = self._exchange(*request)
        return text.rstrip(b"\0").decode("ascii", "replace")

    def read_memory(self, address: int, size: int) -> bytes:
        """``size`` bytes of the board's memory; both are multiples of 4."""
        return b"".join(
            self._exchange(Opcode.READ_MEMORY, at, min(_WORDS, (address + size - at) // WORD_BYTES))
            for at in range(address, address + size, _WORDS * WORD_BYTES)
        )

    def write_memory(self, address: int, content: bytes) -> None:
        """Put ``content``, a multiple of 4 bytes, into the board's memory."""
        for at in range(0, len(content), _WORDS * WORD_BYTES):
            part = content[at : at + _WORDS * WORD_BYTES]
            self._exchange(Opcode.WRITE_MEMORY, address + at, len(part) // WORD_BYTES, part)

    def read_register(self, address: int) -> int:
        """A register of the NPU."""
        return int.from_bytes(self._exchange(Opcode.READ_REGISTERS, address, 1), "little")

    def write_register(self, address: int, value: int) -> None:
        """Set a register of the NPU."""
        self._exchange(Opcode.WRITE_REGISTERS, address, 1, value.to_bytes(WORD_BYTES, "little"))

    def _exchange(self, opcode: Opcode, address: int, words: int, data: bytes = b"") -> bytes:
        """Send a request; the words of its reply."""
        request = struct.pack("<BIH", opcode, address, words) + data
        expected = 0 if data else WORD_BYTES * words
        try:
            self._line.reset_input_buffer()
            self._line.write(request + _check(request))
            reply = self._line.read(1)
            if reply == bytes([ACCEPTED]):
                reply += self._line.read(expected + 2)
            elif reply == bytes([REFUSED]):
                reply += self._line.read(2)
        except _FAILURES as error:
            raise LinkError(f"the serial line {self._name} has failed: {error}") from error
        if not reply and self._answered:
            raise LinkError(
                f"the board on {self._name} has stopped answering: the serial line loses bytes, or "
                "the board was unplugged"
            )
        if not reply:
            raise LinkError(
                f"no board answers on {self._name}: is it programmed, is it the right port, and "
                "was it built for this baud rate?"
            )
        body, check = reply[:-2], reply[-2:]
        if check != _check(body) or reply[0] not in (ACCEPTED, REFUSED):
            raise LinkError(f"the serial line {self._name} loses or damages what the board answers")
        if reply[0] == REFUSED:
            raise LinkError(f"the serial line {self._name} loses or damages what the board is sent")
        self._answered = True
        return body[1:]


def _check(content: bytes) -> bytes:
    """CRC-16/IBM-3740, the most significant byte first."""
    return binascii.crc_hqx(content, 0xFFFF).to_bytes(2, "big")
