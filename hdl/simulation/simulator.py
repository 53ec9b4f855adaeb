"""A compiled simulation behind Python: host memory, registers, and what was seen while it ran."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from edgeinfer.errors import EdgeInferError, InputError, OutputError
from edgeinfer.files.atomic_write import Draft
from edgeinfer.hdl.config import NpuConfig

__all__ = ["Interval", "SimulationError", "Simulator"]


class SimulationError(EdgeInferError):
    """The simulated NPU does not answer, or ended with an error."""


@dataclass(frozen=True)
class Interval:
    """A stretch in which a unit was busy.

    Parameters
    ----------
    unit : int
    waiting : bool
        It made no progress.
    start, end : int
        Cycles; the end is not included.
    """

    unit: int
    waiting: bool
    start: int
    end: int


class _Interval(ctypes.Structure):
    _fields_ = (
        ("start", ctypes.c_uint64),
        ("end", ctypes.c_uint64),
        ("unit", ctypes.c_uint32),
        ("waiting", ctypes.c_uint32),
    )


_UNHEARD = 200_000
"""Cycles, a third of a second, in which an interrupt is not heard."""

_POINTER, _U32, _U64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
_FUNCTIONS = {
    "npu_create": (_POINTER, [_U64, _U64, _U32, _U32, _U32, _U32, _U64, _U32]),
    "npu_destroy": (None, [_POINTER]),
    "npu_memory": (ctypes.POINTER(ctypes.c_uint8), [_POINTER]),
    "npu_cycle": (_U64, [_POINTER]),
    "npu_write": (ctypes.c_int, [_POINTER, _U32, _U32]),
    "npu_read": (ctypes.c_int, [_POINTER, _U32, ctypes.POINTER(_U32)]),
    "npu_run": (ctypes.c_int, [_POINTER, _U64]),
    "npu_watch": (None, [_POINTER, _U32, _U32, _U32, ctypes.c_int, _POINTER]),
    "npu_reached": (_U64, [_POINTER, ctypes.POINTER(ctypes.POINTER(_U64))]),
    "npu_clear_watches": (None, [_POINTER]),
    "npu_record": (None, [_POINTER, ctypes.c_int]),
    "npu_intervals": (_U64, [_POINTER, ctypes.POINTER(ctypes.POINTER(_Interval))]),
    "npu_broken_rule": (ctypes.c_char_p, [_POINTER, ctypes.c_int]),
    "npu_buffer": (ctypes.POINTER(ctypes.c_uint8), [_POINTER]),
    "npu_break_bus": (None, [_POINTER, _U64, ctypes.c_int64]),
}


class Simulator:
    """One simulated NPU with its host's memory; a context manager.

    Waveforms are kept as far as it came, but not where it was interrupted.

    Parameters
    ----------
    library : Path
        What ``build`` gave for ``config``.
    config : NpuConfig
    memory_bytes : int
        Of the host.
    base : int
        The address at which the NPU sees the first of them.
    latency : int
        Cycles from a read's address to its first beat.
    stalls : float
        The share of cycles, up to 0.9, in which each channel of the bus holds back.
    seed : int
        Of these stalls.
    trace : Path or None
        Where waveforms are once it is closed; the library must have been built for them.
    """

    def __init__(
        self,
        library: Path,
        config: NpuConfig,
        memory_bytes: int,
        *,
        base: int = 0,
        latency: int = 20,
        stalls: float = 0.0,
        seed: int = 1,
        trace: Path | None = None,
    ) -> None:
        try:
            self._library = ctypes.CDLL(str(library))
        except OSError as error:
            raise InputError(f"cannot load the simulator {library}: {error}") from error
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._word = (config.columns, f"<i{config.element_bytes}")
        self._buffer_bytes = config.buffer_bytes
        self._kept: list[np.ndarray] = []
        self._npu = self._library.npu_create(
            memory_bytes,
            base,
            config.bus_bytes,
            config.word_bytes,
            config.buffer_words,
            latency,
            seed,
            round(1000 * stalls),
        )
        memory = self._library.npu_memory(self._npu)
        self.memory: np.ndarray = np.ctypeslib.as_array(memory, (memory_bytes,))
        self._waveforms: _Waveforms | None = None
        try:
            if trace is not None:
                self._waveforms = _Waveforms(self._library, self._npu, trace)
        except BaseException:
            self._close(keep=False)
            raise

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # an error's waveforms are those that one wants to see; the user's interrupt has none
        self._close(keep=kind is None or issubclass(kind, Exception))

    def close(self) -> None:
        """Give back the memory; the simulator cannot be used any more.

        Raises
        ------
        OutputError
            The waveforms could not be written.
        """
        self._close(keep=True)

    def _close(self, *, keep: bool) -> None:
        if self._npu is None:
            return
        self.memory = np.zeros(0, np.uint8)
        npu, self._npu = self._npu, None
        try:
            if self._waveforms is not None:
                self._waveforms.end(keep=keep)
        finally:
            self._library.npu_destroy(npu)

    @property
    def _open(self) -> int:
        if self._npu is None:
            raise SimulationError("the simulator is closed")
        return self._npu

    def write(self, register: int, value: int) -> None:
        """Write an AXI4-Lite register."""
        if self._library.npu_write(self._open, register, value):
            raise SimulationError(f"the write of register {register:#x} was not answered")

    def read(self, register: int) -> int:
        """Read an AXI4-Lite register."""
        value = _U32()
        if self._library.npu_read(self._open, register, ctypes.byref(value)):
            raise SimulationError(f"the read of register {register:#x} was not answered")
        return value.value

    def run(self, limit: int) -> bool:
        """Let the clock run until the NPU is done; False if that takes more than ``limit``.

        Raises
        ------
        OutputError
            The waveforms could not be written.
        SimulationError
            The NPU has not kept a rule of AXI4.
        """
        while limit > 0:
            done = self._library.npu_run(self._open, min(limit, _UNHEARD))
            self.check_bus()
            if done:
                return True
            if self._waveforms is not None:
                self._waveforms.check()
            limit -= _UNHEARD
        return False

    def check_bus(self, *, at_rest: bool = False) -> None:
        """See that the NPU has kept the rules of AXI4; with ``at_rest`` that nothing is under way.

        Raises
        ------
        SimulationError
            It has not.
        """
        if rule := self._library.npu_broken_rule(self._open, at_rest):
            raise SimulationError(f"the NPU breaks a rule of AXI4: {rule.decode()}")

    @property
    def cycle(self) -> int:
        """Cycles since the reset."""
        return int(self._library.npu_cycle(self._open))

    def watch(self, count: int, first: int, words: int, *, intermediate: bool) -> np.ndarray:
        """Words [words, columns] of the buffer as they are when ACTIVATE has completed ``count``.

        The array that is given back is filled during ``run``.
        """
        columns, dtype = self._word
        image = np.zeros((words, columns), dtype)
        self._kept.append(image)
        self._library.npu_watch(
            self._open, count & 0xFFFF, first, words, intermediate, image.ctypes.data
        )
        return image

    def reached(self) -> list[int]:
        """The cycles in which the watches so far were reached, in their order."""
        cycles = ctypes.POINTER(_U64)()
        count = self._library.npu_reached(self._open, ctypes.byref(cycles))
        return cycles[:count]

    def clear_watches(self) -> None:
        """Forget all watches."""
        self._library.npu_clear_watches(self._open)
        self._kept.clear()

    def record(self, on: bool) -> None:
        """Begin, or end, to note when the units are busy."""
        self._library.npu_record(self._open, on)

    def intervals(self) -> list[Interval]:
        """When the units were busy, since ``record``."""
        found = ctypes.POINTER(_Interval)()
        count = self._library.npu_intervals(self._open, ctypes.byref(found))
        return [
            Interval(found[i].unit, bool(found[i].waiting), found[i].start, found[i].end)
            for i in range(count)
        ]

    def buffer(self) -> np.ndarray:
        """What has been written to the buffer, [words, columns]; a copy."""
        columns, dtype = self._word
        raw = np.ctypeslib.as_array(self._library.npu_buffer(self._open), (self._buffer_bytes,))
        return raw.copy().view(dtype).reshape(-1, columns)

    def break_bus(self, *, error_from: int = 2**64 - 1, beats: int = -1) -> None:
        """Let the bus answer with errors from an address on, or stall for ever after ``beats``."""
        self._library.npu_break_bus(self._open, error_from, beats)


class _Waveforms:
    """The signals of a simulated NPU in a file, a draft until the simulation ends."""

    def __init__(self, library: ctypes.CDLL, npu: int, target: Path) -> None:
        if not hasattr(library, "npu_trace"):
            raise InputError(f"cannot write {target}: the simulator was built without waveforms")
        self._library, self._npu, self._target = library, npu, target
        library.npu_trace.argtypes = [_POINTER, ctypes.c_char_p]
        library.npu_trace_error.argtypes = library.npu_end_trace.argtypes = [_POINTER]
        self._draft = Draft(target)
        if library.npu_trace(npu, os.fsencode(self._draft.path)):
            library.npu_end_trace(npu)
            self._draft.discard()
            raise OutputError(f"cannot write {target}: it cannot be opened")

    def check(self) -> None:
        """Raise OutputError where a write has failed."""
        if error := self._library.npu_trace_error(self._npu):
            raise OutputError(f"cannot write {self._target}: {os.strerror(error)}")

    def end(self, *, keep: bool) -> None:
        """Write what is left; the file has its name then, or there is none."""
        self._library.npu_end_trace(self._npu)
        try:
            self.check()
            if keep:
                self._draft.keep()
        finally:
            self._draft.discard()
