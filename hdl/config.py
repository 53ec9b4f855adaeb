"""The sizes of one NPU: what generator, compiler and reports are all parameterized by."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from edgeinfer.errors import InputError

__all__ = ["BANKS", "MAX_STREAMS", "PRESETS", "NpuConfig", "configuration", "preset", "usual_port"]

BANKS = 4
"""Banks of the unified buffer: word ``a`` is row ``a // 4`` of bank ``a % 4``."""

MAX_STREAMS = 3
"""Kernel rows that the depthwise mode can take from the buffer in one cycle."""

_KIB = 1024


@dataclass(frozen=True)
class NpuConfig:
    """One NPU; an impossible one is refused when it is made.

    An *element* is an activation or a weight of ``width`` bits. A buffer *word* holds one element
    for each column.

    Parameters
    ----------
    rows, columns : int
        Of multiply-accumulate cells; rows <= columns, and columns a power of two. Nine rows hold
        the nine taps of a 3x3 kernel.
    width : int
        Bits of an element, 8 or 16. A 16-bit NPU runs int16 and int16x8 models.
    buffer_bytes : int
        The unified buffer, all activations.
    weight_bytes : int
        The weight memory.
    parameter_rows : int
        Rows of the parameter memory; one holds the records of ``lanes`` channels.
    accumulator_depth : int
        Output pixels of each of the two accumulator halves: the most that a tile can have.
    lanes : int
        Requantizers; a word takes ``columns / lanes`` cycles.
    weight_port : int
        Rows of weights that the weight memory reads in one cycle.
    bus_bytes : int
        Bytes of one beat of the host's memory bus.
    tables : bool
        Whether the lanes have the lookup tables of activation functions.
    reductions : bool
        Whether there is a unit for softmax and normalization over a pixel's channels.

    Raises
    ------
    InputError
        The sizes contradict each other; the message says which.
    """

    rows: int
    columns: int
    width: int = 8
    buffer_bytes: int = 64 * _KIB
    weight_bytes: int = 64 * _KIB
    parameter_rows: int = 256
    accumulator_depth: int = 64
    lanes: int = 4
    weight_port: int = 4
    bus_bytes: int = 8
    tables: bool = True
    reductions: bool = False

    def __post_init__(self) -> None:
        for name, low in (("rows", 2), ("weight_port", 1)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= 256:
                raise InputError(f"{name} must be a number between {low} and 256, not {value!r}")
        for name, low, high in (
            ("columns", 2, 256),
            ("accumulator_depth", 8, 256),
            ("lanes", 1, 256),
            ("bus_bytes", 4, 16),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high or value & (value - 1):
                raise InputError(
                    f"{name} must be a power of two between {low} and {high}, not {value!r}"
                )
        if type(self.width) is not int or self.width not in (8, 16):
            raise InputError(f"width must be 8 or 16, not {self.width!r}")
        if self.rows > self.columns:
            raise InputError(
                f"rows = {self.rows} must be no more than columns = {self.columns}: a fetch of one "
                "element a row must lie in two words"
            )
        for name, divisor, why in (
            ("columns", self.lanes, "lanes: a word takes a whole number of cycles"),
            ("rows", self.weight_port, "weight_port: a tile takes a whole number of reads"),
        ):
            if getattr(self, name) % divisor:
                raise InputError(
                    f"{name} = {getattr(self, name)} must be a multiple of {why.split(':')[0]} = "
                    f"{divisor}:{why.split(':')[1]}"
                )
        if self.word_bytes % self.bus_bytes:
            raise InputError(
                f"bus_bytes = {self.bus_bytes} must divide a word of {self.word_bytes} bytes"
            )
        self._check_memory("buffer_bytes", BANKS * self.word_bytes, 2**20 * self.word_bytes)
        self._check_memory("weight_bytes", self.tile_bytes, 2**20 * self.tile_bytes)
        least = 4 * self.steps
        if type(self.parameter_rows) is not int or not least <= self.parameter_rows <= 2**16:
            raise InputError(
                f"parameter_rows must be between {least}, two groups twice, and 65536, "
                f"not {self.parameter_rows!r}"
            )

    def _check_memory(self, name: str, unit: int, limit: int) -> None:
        value = getattr(self, name)
        if type(value) is not int or not 0 < value <= limit or value % unit:
            raise InputError(
                f"{name} must be a multiple of {unit} up to {limit} for {self.rows} x "
                f"{self.columns} cells of {self.width} bits, not {value!r}"
            )

    @property
    def name(self) -> str:
        """``8x16``, or ``8x8-16`` where the elements have 16 bits."""
        return f"{self.rows}x{self.columns}" + ("-16" if self.width == 16 else "")

    @property
    def text(self) -> str:
        """Every size, as ``configuration`` takes it."""
        sizes = list(dataclasses.asdict(self).items())[3:]
        return ",".join([self.name, *(f"{name}={int(value)}" for name, value in sizes)])

    @property
    def element_bytes(self) -> int:
        """Bytes of an activation or a weight."""
        return self.width // 8

    @property
    def word_bytes(self) -> int:
        """Bytes of a buffer word: one element a column."""
        return self.columns * self.element_bytes

    @property
    def buffer_words(self) -> int:
        """Words of the unified buffer, all banks together."""
        return self.buffer_bytes // self.word_bytes

    @property
    def tile_bytes(self) -> int:
        """Bytes of the weights that the array holds at once."""
        return self.rows * self.word_bytes

    @property
    def weight_tiles(self) -> int:
        """Tiles that the weight memory holds."""
        return self.weight_bytes // self.tile_bytes

    @property
    def weight_reads(self) -> int:
        """Cycles in which a bank of the weight memory is busy with one tile."""
        return self.rows // self.weight_port

    @property
    def accumulator_bits(self) -> int:
        """32, or 40 with 16-bit elements, whose sums are proven below 2^38."""
        return 32 if self.width == 8 else 40

    @property
    def largest_weight(self) -> int:
        """The greatest weight of an element's bits."""
        return int(2 ** (self.width - 1)) - 1

    @property
    def parameter_bytes(self) -> int:
        """Bytes of one channel's record: bias, 31-bit multiplier and 6-bit shift."""
        return (self.accumulator_bits + 31 + 6 + 7) // 8

    @property
    def parameter_row_bytes(self) -> int:
        """Bytes of a row of the parameter memory in the host's memory: whole beats."""
        return -(-self.lanes * self.parameter_bytes // self.bus_bytes) * self.bus_bytes

    @property
    def steps(self) -> int:
        """Cycles that the lanes take for a word in the plainest case."""
        return self.columns // self.lanes

    @property
    def streams(self) -> int:
        """Kernel rows that the depthwise mode takes at once; each needs three array rows."""
        return max(1, min(MAX_STREAMS, self.rows // 3))

    @property
    def macs(self) -> int:
        """Multiply-accumulates in one cycle."""
        return self.rows * self.columns

    def replace(self, **changes: Any) -> NpuConfig:
        """This configuration with other sizes."""
        return dataclasses.replace(self, **changes)


PRESETS = {
    config.name: config
    for config in (
        NpuConfig(
            4,
            4,
            buffer_bytes=32 * _KIB,
            weight_bytes=16 * _KIB,
            lanes=2,
            accumulator_depth=32,
            bus_bytes=4,
        ),
        NpuConfig(8, 8, buffer_bytes=64 * _KIB, weight_bytes=24 * _KIB, parameter_rows=192),
        NpuConfig(
            8, 16, buffer_bytes=80 * _KIB, weight_bytes=272 * _KIB, parameter_rows=512, lanes=8
        ),
        NpuConfig(
            9,
            16,
            buffer_bytes=80 * _KIB,
            weight_bytes=270 * _KIB,
            parameter_rows=512,
            lanes=8,
            weight_port=3,
        ),
        NpuConfig(
            16, 16, buffer_bytes=160 * _KIB, weight_bytes=384 * _KIB, parameter_rows=512, lanes=16
        ),
        NpuConfig(
            8, 8, width=16, buffer_bytes=128 * _KIB, weight_bytes=64 * _KIB, parameter_rows=256
        ),
    )
}
"""The ready-made configurations by name."""


def preset(name: str) -> NpuConfig:
    """The preset ``name``.

    Raises
    ------
    InputError
        There is none of that name.
    """
    if name not in PRESETS:
        raise InputError(f"there is no configuration {name!r}; choose from {', '.join(PRESETS)}")
    return PRESETS[name]


def usual_port(rows: int) -> int:
    """Rows of weights in a cycle, of four at most, for an array of ``rows``."""
    return max(p for p in range(1, 5) if rows % p == 0)


def _begun(rows: int, columns: int, width: int) -> dict[str, Any]:
    """The sizes of an array without a preset, before any is given."""
    usual = NpuConfig(8, 8)
    word = columns * width // 8
    tile = rows * word
    return {
        "rows": rows,
        "columns": columns,
        "width": width,
        "weight_bytes": max(usual.weight_bytes // tile, 2) * tile,
        "lanes": min(usual.lanes, columns),
        "weight_port": usual_port(rows),
        "bus_bytes": min(usual.bus_bytes, max(4, word)),
    }


def configuration(text: str) -> NpuConfig:
    """The configuration that ``text`` describes, as on the command line.

    A preset, ``8x16``, or with other sizes than the preset's: ``8x16,lanes=16,buffer_bytes=65536``.
    Arrays without a preset begin with the defaults of ``NpuConfig``, as far as these fit them.

    Raises
    ------
    InputError
        There is no such array or size, or the sizes contradict each other.
    """
    name, *changes = text.split(",")
    shape = re.fullmatch(r"(\d{1,4})x(\d{1,4})(-16)?", name)
    if name in PRESETS:
        sizes = dataclasses.asdict(PRESETS[name])
    elif shape:
        rows, columns, wide = shape.groups()
        sizes = _begun(int(rows), int(columns), 16 if wide else 8)
    else:
        raise InputError(f"an array is called as 8x16 or 8x8-16, not {name!r}")
    known = [f.name for f in dataclasses.fields(NpuConfig)][3:]
    given = set()
    for change in changes:
        key, _, value = change.partition("=")
        if key not in known:
            raise InputError(f"an NPU has no size {key!r}; it has {', '.join(known)}")
        if key in given:
            raise InputError(f"{key} is given twice")
        given.add(key)
        is_switch = key in ("tables", "reductions")
        if not re.fullmatch(r"[01]" if is_switch else r"\d{1,12}", value):
            allowed = "0 or 1" if is_switch else "a number"
            raise InputError(f"{key} must be {allowed}, not {value!r}")
        sizes[key] = value == "1" if is_switch else int(value)
    return NpuConfig(**sizes)
