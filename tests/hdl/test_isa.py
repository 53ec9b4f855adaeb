"""Instructions keep their fields through bits, bytes and text; what is none is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.errors import InputError
from edgeinfer.hdl import isa
from tests.refusals import refused

DOCS = Path(__file__).parents[2] / "docs" / "npu-instructions.md"


@st.composite
def instructions(draw: st.DrawFn) -> isa.Instruction:
    cls = draw(st.sampled_from(isa.INSTRUCTIONS))
    values = {}
    for name, field in isa.fields(cls).items():
        legal = st.integers(field.low, field.high)
        values[name] = draw(st.sampled_from(field.choices) if field.choices else legal)
    return cls(**values)


@given(st.lists(instructions(), max_size=5))
def test_instructions_survive_bytes_and_text(program):
    assert isa.from_bytes(isa.to_bytes(program)) == program
    assert isa.assemble(isa.disassemble(program)) == program


def test_every_instruction_fits_and_has_the_opcode_of_its_place():
    for opcode, cls in enumerate(isa.INSTRUCTIONS):
        assert cls.opcode == opcode
        bits = isa.OPCODE_BITS + sum(field.bits for field in isa.fields(cls).values())
        assert bits <= 8 * isa.INSTRUCTION_BYTES


@given(st.integers(0, 2**128 - 1))
def test_any_bits_are_an_instruction_or_refused(word):
    try:
        instruction = isa.decode(word)
    except InputError:
        return
    assert isa.encode(instruction) == word


def test_the_documented_encoding_is_the_code_s():
    assert isa.encoding_table() in DOCS.read_text()


def test_a_value_outside_of_its_field_is_refused():
    with refused("SYNC: count must be between 0 and 65535, not 65536", InputError):
        isa.Sync(waiter=isa.Unit.LOAD, on=isa.Unit.STORE, count=65536)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("HALT\nJUMP a=1", "line 2: there is no instruction JUMP; choose from HALT, SYNC, "),
        ("READ_WEIGHTS address", "line 1: READ_WEIGHTS: 'address' is not field=value with one of "),
        ("READ_WEIGHTS address=x", "line 1: READ_WEIGHTS: address must be an integer, not 'x'"),
        ("SYNC waiter=me on=load count=1", "line 1: SYNC: waiter must be one of load, store, "),
        ("READ_WEIGHTS address=1", "line 1: READ_WEIGHTS: count must be given"),
    ],
)
def test_text_that_is_no_program_is_refused(text, message):
    with pytest.raises(InputError) as caught:
        isa.assemble(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(15), "a program is a multiple of 16 bytes long, not 15"),
        (bytes(16) + b"\x0f" + bytes(15), "instruction 1: no instruction has the opcode 15"),
        (b"\x10" + bytes(15), "instruction 0: HALT: bits beyond the last field are set"),
        (
            b"\x61" + bytes(15),
            "instruction 0: SYNC: waiter must be between 0 and 4, not 6",
        ),
    ],
)
def test_bytes_that_are_no_program_are_refused(data, message):
    with refused(message, InputError):
        isa.from_bytes(data)
