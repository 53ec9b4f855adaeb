"""The instructions of the NPU: 128 bits each, as dataclasses, as integers and as text.

A field is declared once, with its width; the encoding, the assembler, the disassembler, the table
in ``docs/npu-instructions.md`` and the decoder in the gateware all follow from that declaration.

READ_HOST       host memory -> buffer, weights, parameters or table         load unit
WRITE_HOST      buffer -> host memory                                       store unit
READ_WEIGHTS    weight memory -> the array's shadow weights                 weight unit
SET_SOURCE, SET_KERNEL, CONVOLVE
                buffer -> array -> accumulators                             convolve unit
SET_OUTPUT, SET_OPERANDS, SET_SUM, ACTIVATE
                accumulators -> requantized, added, clamped -> buffer       activate unit
SET_NORMALIZATION, REDUCE
                a pixel's channels -> what they have in common -> each of them by it, in place
                                                                            activate unit
SYNC            a unit waits until another has completed a count            that unit
HALT            all units come to rest, the host is told                    sequencer

Each unit has a queue and works through it in order; between units there is no order but that of
SYNC, and that an ACTIVATE takes the accumulator halves in the order in which CONVOLVE filled them.
Second operands are read ahead: one that an earlier ACTIVATE writes needs a SYNC on ACTIVATE itself.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, get_type_hints

from edgeinfer.errors import EdgeInferError, InputError

if TYPE_CHECKING:
    from edgeinfer.hdl.config import NpuConfig

__all__ = [
    "INSTRUCTIONS",
    "INSTRUCTION_BYTES",
    "OPCODE_BITS",
    "SETTINGS",
    "Activate",
    "Convolve",
    "Field",
    "Halt",
    "Instruction",
    "Memory",
    "Mode",
    "Operation",
    "Pass",
    "ProgramError",
    "ReadHost",
    "ReadWeights",
    "Reduce",
    "Reduction",
    "SetKernel",
    "SetNormalization",
    "SetOperands",
    "SetOutput",
    "SetSource",
    "SetSum",
    "Sync",
    "Unit",
    "WriteHost",
    "assemble",
    "completions",
    "decode",
    "disassemble",
    "encode",
    "encoding_table",
    "fields",
    "from_bytes",
    "host_word_bytes",
    "instructions",
    "pass_count",
    "passes",
    "to_bytes",
]

INSTRUCTION_BYTES = 16
OPCODE_BITS = 4


class ProgramError(EdgeInferError):
    """A program does what no NPU can do; the message has the instruction and its index."""


class Unit(IntEnum):
    """What works through a queue of its own."""

    LOAD = 0
    STORE = 1
    WEIGHTS = 2
    CONVOLVE = 3
    ACTIVATE = 4


class Memory(IntEnum):
    """Where READ_HOST puts what it reads."""

    BUFFER = 0
    WEIGHTS = 1
    PARAMETERS = 2
    TABLE = 3


class Mode(IntEnum):
    """What the rows of the array hold, and what the accumulators do."""

    DENSE = 0
    DEPTHWISE = 1
    MAXIMUM = 2


class Operation(IntEnum):
    """What ACTIVATE does with the second operand."""

    NONE = 0
    ADD = 1
    SUBTRACT = 2
    SUBTRACT_FROM = 3
    MULTIPLY = 4


class Reduction(IntEnum):
    """What REDUCE makes of the channels of a pixel."""

    SOFTMAX = 0
    VARIANCE = 1
    SQUARES = 2
    MAGNITUDES = 3


@dataclass(frozen=True)
class Field:
    """One field of an instruction.

    Parameters
    ----------
    bits : int
        Its width.
    signed : bool
        Two's complement.
    bias : int
        What is taken off before encoding: counts start at 1 and are stored from 0.
    choices : IntEnum or None
        The names of its values.
    doc : str
        What it means, with its unit.
    """

    bits: int
    signed: bool = False
    bias: int = 0
    choices: type[IntEnum] | None = None
    doc: str = ""

    @property
    def low(self) -> int:
        """The least value."""
        return self.bias - (1 << (self.bits - 1) if self.signed else 0)

    @property
    def high(self) -> int:
        """The greatest value."""
        if self.choices:
            return max(self.choices)
        return self.bias + (1 << (self.bits - self.signed)) - 1


def _u(bits: int, doc: str) -> Field:
    return Field(bits, doc=doc)


def _s(bits: int, doc: str) -> Field:
    return Field(bits, signed=True, doc=doc)


def _count(bits: int, doc: str) -> Field:
    return Field(bits, bias=1, doc=doc)


def _one_of(choices: type[IntEnum], bits: int, doc: str) -> Field:
    return Field(bits, choices=choices, doc=doc)


def completions(instruction: Instruction) -> int:
    """By how many ``instruction`` moves the count of its unit on."""
    if isinstance(instruction, Convolve | Activate):
        return instruction.groups
    return int(instruction.unit is not None and not isinstance(instruction, (*SETTINGS, Sync)))


def host_word_bytes(memory: Memory, config: NpuConfig) -> int:
    """Bytes of host memory that READ_HOST brings for one word, or row, of ``memory``."""
    return {
        Memory.BUFFER: config.word_bytes,
        Memory.WEIGHTS: config.weight_port * config.word_bytes,
        Memory.PARAMETERS: config.parameter_row_bytes,
        Memory.TABLE: config.bus_bytes,
    }[memory]


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """Base of the instructions; every field is checked against its width."""

    opcode: ClassVar[int]
    mnemonic: ClassVar[str]
    unit: ClassVar[Unit | None]

    def __post_init__(self) -> None:
        values = self.__dict__
        for name, (low, high, choices) in _limits(type(self)).items():
            value = int(values[name])
            if not low <= value <= high:
                raise InputError(
                    f"{self.mnemonic}: {name} must be between {low} and {high}, not {value}"
                )
            values[name] = choices(value) if choices else value

    def __str__(self) -> str:
        """The text that ``assemble`` takes; fields that have their default are left out."""
        shown = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                choices = fields(type(self))[f.name].choices
                shown.append(f"{f.name}={value.name.lower() if choices else value}")
        return " ".join([self.mnemonic, *shown])


_FIELDS: dict[type[Instruction], dict[str, Field]] = {}


def fields(cls: type[Instruction]) -> dict[str, Field]:
    """The fields of ``cls`` by name, from the least significant bit above the opcode on."""
    if cls not in _FIELDS:
        hints = get_type_hints(cls, include_extras=True)
        names = [f.name for f in dataclasses.fields(cls)]
        _FIELDS[cls] = {name: hints[name].__metadata__[0] for name in names}
    return _FIELDS[cls]


_Limits = dict[str, tuple[int, int, type[IntEnum] | None]]
_LIMITS: dict[type[Instruction], _Limits] = {}


def _limits(cls: type[Instruction]) -> _Limits:
    """The least and the greatest value of each field, and the names of its values.

    Kept, as a program has tens of thousands of instructions.
    """
    if cls not in _LIMITS:
        _LIMITS[cls] = {name: (f.low, f.high, f.choices) for name, f in fields(cls).items()}
    return _LIMITS[cls]


@dataclass(frozen=True, kw_only=True)
class Halt(Instruction):
    """All units come to rest; then the done flag is set."""

    opcode, mnemonic, unit = 0, "HALT", None


@dataclass(frozen=True, kw_only=True)
class Sync(Instruction):
    """A unit waits until another has completed ``count``, counted from the start modulo 2^16.

    CONVOLVE and ACTIVATE count groups, a REDUCE as one; the other units count instructions.
    """

    opcode, mnemonic, unit = 1, "SYNC", None

    waiter: Annotated[Unit, _one_of(Unit, 3, "the unit that waits")]
    on: Annotated[Unit, _one_of(Unit, 3, "the unit that it waits for")]
    count: Annotated[int, _u(16, "what that unit must have completed, modulo 65536")]


@dataclass(frozen=True, kw_only=True)
class ReadHost(Instruction):
    """Lines of host memory into a memory of the NPU."""

    opcode, mnemonic, unit = 2, "READ_HOST", Unit.LOAD

    memory: Annotated[Memory, _one_of(Memory, 2, "where to")]
    host: Annotated[
        int, _u(32, "bytes from the host's base address, a multiple of the bus's width")
    ]
    address: Annotated[int, _u(20, "the first word, or row, in that memory")]
    lines: Annotated[int, _count(12, "lines")] = 1
    words: Annotated[int, _count(14, "words, or rows, in a line")]
    host_step: Annotated[
        int, _u(24, "bytes between lines in host memory, a multiple of the bus's width")
    ] = 0
    step: Annotated[int, _u(16, "words between lines in that memory")] = 0


@dataclass(frozen=True, kw_only=True)
class WriteHost(Instruction):
    """Lines of the buffer into host memory."""

    opcode, mnemonic, unit = 3, "WRITE_HOST", Unit.STORE

    host: Annotated[
        int, _u(32, "bytes from the host's base address, a multiple of the bus's width")
    ]
    address: Annotated[int, _u(20, "the first word in the buffer")]
    lines: Annotated[int, _count(12, "lines")] = 1
    words: Annotated[int, _count(14, "words in a line")]
    host_step: Annotated[
        int, _u(24, "bytes between lines in host memory, a multiple of the bus's width")
    ] = 0
    step: Annotated[int, _u(16, "words between lines in the buffer")] = 0


@dataclass(frozen=True, kw_only=True)
class ReadWeights(Instruction):
    """Tiles of weights into the array, one for each pass of CONVOLVE, in order."""

    opcode, mnemonic, unit = 4, "READ_WEIGHTS", Unit.WEIGHTS

    address: Annotated[int, _u(20, "the first tile")]
    count: Annotated[int, _count(16, "tiles")]
    repeat: Annotated[int, _u(1, "1 reads the first tile again and again")] = 0


@dataclass(frozen=True, kw_only=True)
class SetSource(Instruction):
    """The geometry of the tensor that CONVOLVE reads."""

    opcode, mnemonic, unit = 5, "SET_SOURCE", Unit.CONVOLVE

    height: Annotated[int, _count(13, "lines of the tensor; others are padding")]
    line_end: Annotated[int, _count(20, "elements of a line; those beside are padding")]
    row_step: Annotated[int, _u(16, "words from an output row's first line to the next's")]
    kernel_step: Annotated[int, _u(16, "words from one kernel row's line to the next's")]
    stride: Annotated[int, _u(5, "lines from an output row to the next")]
    dilation: Annotated[int, _u(6, "lines from a kernel row to the next")]
    pixel_step: Annotated[int, _u(18, "elements from one fetch of a row to the next")]
    pad: Annotated[int, _s(16, "the element that padding reads as")]


@dataclass(frozen=True, kw_only=True)
class SetKernel(Instruction):
    """How CONVOLVE cuts the kernel into passes, one tile of weights each."""

    opcode, mnemonic, unit = 6, "SET_KERNEL", Unit.CONVOLVE

    mode: Annotated[Mode, _one_of(Mode, 2, "what the rows hold")]
    run: Annotated[
        int, _count(18, "dense: elements that lie side by side in a line and take rows in order")
    ]
    runs: Annotated[int, _count(8, "runs in a kernel row")]
    run_step: Annotated[int, _u(18, "elements from a run to the next")]
    lines: Annotated[int, _count(8, "kernel rows")]
    span: Annotated[
        int, _u(1, "dense: a pass may take the next kernel row's elements after its own")
    ] = 0
    taps: Annotated[int, _count(4, "depthwise: kernel columns in a pass")] = 1
    streams: Annotated[int, _count(2, "depthwise: kernel rows in a pass")] = 1
    emit: Annotated[int, _count(4, "fetches from one output pixel to the next")] = 1


@dataclass(frozen=True, kw_only=True)
class Convolve(Instruction):
    """One tile of output pixels, for ``groups`` groups of one channel a column."""

    opcode, mnemonic, unit = 7, "CONVOLVE", Unit.CONVOLVE

    base: Annotated[
        int, _u(20, "the first word of line y, modulo 2^20; it may lie outside of the tensor")
    ]
    y: Annotated[
        int, _s(14, "the number of the line under the first output row's first kernel row")
    ]
    x: Annotated[int, _s(20, "the element under the first output pixel's first tap")]
    rows: Annotated[int, _count(8, "output rows")]
    columns: Annotated[int, _count(8, "output pixels in a row")]
    period: Annotated[int, _count(10, "fetches in a row, columns in the dense mode")]
    tail: Annotated[int, _u(3, "fetches after the last row, of padding that rows share")] = 0
    groups: Annotated[int, _count(10, "groups")] = 1
    group_step: Annotated[int, _u(16, "elements from a group's input to the next's")] = 0
    first: Annotated[int, _u(1, "the accumulators start afresh")] = 1
    last: Annotated[int, _u(1, "the accumulators are complete: ACTIVATE may have them")] = 1


@dataclass(frozen=True, kw_only=True)
class SetOutput(Instruction):
    """Where ACTIVATE writes and what it does after the channel's multiplier and shift."""

    opcode, mnemonic, unit = 8, "SET_OUTPUT", Unit.ACTIVATE

    row_step: Annotated[int, _u(16, "words from an output row to the next")]
    column_step: Annotated[int, _u(16, "words from a pixel to the next")]
    residual_row_step: Annotated[int, _u(16, "the same in the second operand")] = 0
    residual_column_step: Annotated[int, _u(16, "the same in the second operand")] = 0
    zero_point: Annotated[int, _s(16, "added after the shift")]
    lo: Annotated[int, _s(16, "the least result")]
    hi: Annotated[int, _s(16, "the greatest result")]
    operation: Annotated[
        Operation, _one_of(Operation, 3, "what happens with the second operand")
    ] = Operation.NONE
    double: Annotated[int, _u(1, "1 rounds twice (R2), 0 once (R1)")] = 0
    table: Annotated[int, _u(1, "1 looks the result up in the table")] = 0


@dataclass(frozen=True, kw_only=True)
class SetOperands(Instruction):
    """How both operands of an addition come to one scale; of a product, their zero points."""

    opcode, mnemonic, unit = 9, "SET_OPERANDS", Unit.ACTIVATE

    a_zero_point: Annotated[int, _s(16, "of the accumulators' operand")]
    b_zero_point: Annotated[int, _s(16, "of the second operand")]
    a_multiplier: Annotated[int, _u(31, "of the accumulators' operand")]
    a_shift: Annotated[int, _u(6, "of the accumulators' operand")]
    b_multiplier: Annotated[int, _u(31, "of the second operand")]
    b_shift: Annotated[int, _u(6, "of the second operand")]


@dataclass(frozen=True, kw_only=True)
class SetSum(Instruction):
    """How the sum, or the product, of two operands becomes the result."""

    opcode, mnemonic, unit = 10, "SET_SUM", Unit.ACTIVATE

    multiplier: Annotated[int, _u(31, "of the sum")]
    shift: Annotated[int, _u(6, "of the sum")]
    zero_point: Annotated[int, _s(16, "added after the shift")]
    lo: Annotated[int, _s(16, "the least result")]
    hi: Annotated[int, _s(16, "the greatest result")]
    left_shift: Annotated[int, _u(5, "fractional bits of the common scale, 20 or 15")] = 20


@dataclass(frozen=True, kw_only=True)
class Activate(Instruction):
    """The accumulators of ``groups`` tiles, requantized, into the buffer: a word a pixel."""

    opcode, mnemonic, unit = 11, "ACTIVATE", Unit.ACTIVATE

    base: Annotated[int, _u(20, "the word of the first pixel")]
    residual: Annotated[int, _u(20, "the word of the second operand's first pixel")] = 0
    parameters: Annotated[int, _u(16, "the parameter row of the first group")]
    shared: Annotated[int, _u(1, "1 uses the first group's parameters for all")] = 0
    rows: Annotated[int, _count(8, "output rows")]
    columns: Annotated[int, _count(8, "output pixels in a row")]
    groups: Annotated[int, _count(10, "groups; each lies a word after the last")] = 1


@dataclass(frozen=True, kw_only=True)
class SetNormalization(Instruction):
    """How REDUCE normalizes: ``fixedpoint.Normalizer``, and what makes the result of its shares."""

    opcode, mnemonic, unit = 12, "SET_NORMALIZATION", Unit.ACTIVATE

    input_zero_point: Annotated[int, _s(16, "taken off where no mean is")] = 0
    epsilon: Annotated[int, _u(31, "what the measure has beside it, 0 or from 2^29 on")] = 0
    exponent: Annotated[int, _s(8, "epsilon counts 4^exponent / 2^31")] = 0
    is_least: Annotated[int, _u(1, "1 takes epsilon for the measure's least, 0 adds it")] = 0
    fraction: Annotated[int, _s(8, "fractional bits of the shares")] = 0
    shift: Annotated[int, _u(6, "of a share's product and bias")]
    zero_point: Annotated[int, _s(16, "added after the shift")]
    lo: Annotated[int, _s(16, "the least result")]
    hi: Annotated[int, _s(16, "the greatest result")]


@dataclass(frozen=True, kw_only=True)
class Reduce(Instruction):
    """Each pixel's channels, by what they have in common, in place; only with ``reductions``."""

    opcode, mnemonic, unit = 13, "REDUCE", Unit.ACTIVATE

    kind: Annotated[Reduction, _one_of(Reduction, 2, "softmax, or what is normalized by")]
    base: Annotated[int, _u(20, "the word of the first pixel")]
    row_step: Annotated[int, _u(16, "words from a row of pixels to the next")]
    column_step: Annotated[int, _u(16, "words from a pixel to the next")]
    rows: Annotated[int, _count(8, "rows of pixels")]
    columns: Annotated[int, _count(8, "pixels in a row")]
    channels: Annotated[int, _count(14, "channels of a pixel; behind them come zeros")]
    parameters: Annotated[
        int, _u(16, "the first row of exponentials, or of the channels' factors and offsets")
    ]


INSTRUCTIONS: tuple[type[Instruction], ...] = (
    Halt,
    Sync,
    ReadHost,
    WriteHost,
    ReadWeights,
    SetSource,
    SetKernel,
    Convolve,
    SetOutput,
    SetOperands,
    SetSum,
    Activate,
    SetNormalization,
    Reduce,
)
"""Every instruction, at the index of its opcode."""

SETTINGS = (SetSource, SetKernel, SetOutput, SetOperands, SetSum, SetNormalization)
"""Those that keep their effect until the next of their class."""


def instructions(config: NpuConfig) -> Iterator[type[Instruction]]:
    """Those that an NPU of ``config`` executes."""
    for cls in INSTRUCTIONS:
        if config.reductions or cls not in (SetNormalization, Reduce):
            yield cls


_BY_MNEMONIC = {cls.mnemonic: cls for cls in INSTRUCTIONS}


@dataclass(frozen=True)
class Pass:
    """One tile of weights under CONVOLVE: where its rows' elements begin.

    Parameters
    ----------
    line, run, k : int
        Kernel row, run in it, element of the run under array row 0.
    split : int
        Array rows that this kernel row feeds; the rest take the next kernel row's run.
    streams : int
        Kernel rows that are there; depthwise passes take so many.
    """

    line: int
    run: int
    k: int
    split: int
    streams: int = 1


def passes(kernel: SetKernel, rows: int) -> Iterator[Pass]:
    """The passes of a group in order, for an array of ``rows``: "Feed" in docs/npu-design.md."""
    if kernel.mode is not Mode.DENSE:
        for line in range(0, kernel.lines, kernel.streams):
            for run in range(kernel.runs):
                yield Pass(line, run, 0, rows, min(kernel.streams, kernel.lines - line))
        return
    line = run = k = 0
    while line < kernel.lines:
        spans = kernel.span and line + 1 < kernel.lines
        split = min(rows, kernel.run - k) if spans else rows
        yield Pass(line, run, k, split)
        k += rows
        if k < kernel.run:
            continue
        if kernel.span:
            line, k = line + 1, k - kernel.run
            if k >= kernel.run:
                line, k = line + 1, 0
        else:
            k, run = 0, run + 1
            if run == kernel.runs:
                line, run = line + 1, 0


@functools.lru_cache(maxsize=1 << 14)
def pass_count(kernel: SetKernel, rows: int) -> int:
    """How many ``passes`` a group has; remembered, as a program says the same kernel many times."""
    return sum(1 for _ in passes(kernel, rows))


def encode(instruction: Instruction) -> int:
    """The 128 bits: the opcode lowest, then the fields in their order."""
    word, at = instruction.opcode, OPCODE_BITS
    for name, field in fields(type(instruction)).items():
        raw = int(getattr(instruction, name)) - field.bias
        word |= (raw & ((1 << field.bits) - 1)) << at
        at += field.bits
    return word


def decode(word: int) -> Instruction:
    """The instruction of 128 bits.

    Raises
    ------
    InputError
        The opcode is unknown, a field has no such choice, or a bit beyond the last field is set.
    """
    opcode, rest = word & ((1 << OPCODE_BITS) - 1), word >> OPCODE_BITS
    if not 0 <= opcode < len(INSTRUCTIONS):
        raise InputError(f"no instruction has the opcode {opcode}")
    cls = INSTRUCTIONS[opcode]
    values = {}
    for name, field in fields(cls).items():
        raw = rest & ((1 << field.bits) - 1)
        rest >>= field.bits
        if field.signed and raw >> (field.bits - 1):
            raw -= 1 << field.bits
        values[name] = raw + field.bias
    if rest:
        raise InputError(f"{cls.mnemonic}: bits beyond the last field are set")
    return cls(**values)


def to_bytes(instructions: list[Instruction]) -> bytes:
    """The instructions as the NPU fetches them, 16 bytes each, little endian."""
    return b"".join(encode(i).to_bytes(INSTRUCTION_BYTES, "little") for i in instructions)


def from_bytes(data: bytes) -> list[Instruction]:
    """The instructions of an image.

    Raises
    ------
    InputError
        The image is not a whole number of legal instructions; the message has the index.
    """
    if len(data) % INSTRUCTION_BYTES:
        raise InputError(
            f"a program is a multiple of {INSTRUCTION_BYTES} bytes long, not {len(data)}"
        )
    instructions = []
    for at in range(0, len(data), INSTRUCTION_BYTES):
        try:
            word = int.from_bytes(data[at : at + INSTRUCTION_BYTES], "little")
            instructions.append(decode(word))
        except InputError as error:
            raise InputError(f"instruction {at // INSTRUCTION_BYTES}: {error}") from None
    return instructions


def disassemble(instructions: list[Instruction]) -> str:
    """One instruction a line, fields by name; those that have their default are left out."""
    return "".join(f"{instruction}\n" for instruction in instructions)


def assemble(text: str) -> list[Instruction]:
    """The instructions of ``text``: ``MNEMONIC field=value ...`` a line, ``;`` starts a comment.

    Raises
    ------
    InputError
        A line is not an instruction; the message has its number.
    """
    instructions = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(";")[0].split()
        if not words:
            continue
        try:
            instructions.append(_assemble(words))
        except InputError as error:
            raise InputError(f"line {number}: {error}") from None
    return instructions


def _assemble(words: list[str]) -> Instruction:
    mnemonic, *settings = words
    if mnemonic.upper() not in _BY_MNEMONIC:
        raise InputError(
            f"there is no instruction {mnemonic}; choose from {', '.join(_BY_MNEMONIC)}"
        )
    cls = _BY_MNEMONIC[mnemonic.upper()]
    known, values = fields(cls), {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if name not in known or not equals:
            raise InputError(
                f"{cls.mnemonic}: {setting!r} is not field=value with one of {', '.join(known)}"
            )
        choices = known[name].choices
        try:
            values[name] = choices[value.upper()] if choices else int(value, 0)
        except (KeyError, ValueError):
            legal = (
                f"one of {', '.join(c.name.lower() for c in choices)}" if choices else "an integer"
            )
            raise InputError(f"{cls.mnemonic}: {name} must be {legal}, not {value!r}") from None
    missing = [
        f.name
        for f in dataclasses.fields(cls)
        if f.name not in values and f.default is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{cls.mnemonic}: {', '.join(missing)} must be given")
    return cls(**values)


def encoding_table() -> str:
    """Every instruction and field as Markdown, for docs/npu-instructions.md."""
    lines = []
    for cls in INSTRUCTIONS:
        summary = (cls.__doc__ or "").split("\n")[0]
        unit = cls.unit.name.lower() if cls.unit is not None else "sequencer"
        lines += [f"### {cls.mnemonic}", "", f"Opcode {cls.opcode}, {unit}. {summary}", ""]
        at = OPCODE_BITS
        if fields(cls):
            lines += ["| bits | field | values | |", "|---|---|---|---|"]
        for name, field in fields(cls).items():
            values = f"{field.low} ... {field.high}"
            if field.choices:
                values = ", ".join(f"{c.value} {c.name.lower()}" for c in field.choices)
            lines.append(f"| {at + field.bits - 1}:{at} | `{name}` | {values} | {field.doc} |")
            at += field.bits
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(encoding_table(), end="")
