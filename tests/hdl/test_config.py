"""A configuration is possible, or refused with the reason."""

from __future__ import annotations

import pytest

from edgeinfer.errors import InputError
from edgeinfer.hdl.config import PRESETS, NpuConfig, configuration, preset
from edgeinfer.hdl.summary import block_diagram, memories
from tests.refusals import refused


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_the_size_of_its_name(name):
    config = preset(name)
    size, *width = name.split("-")
    assert f"{config.rows}x{config.columns}" == size
    assert config.width == int(width[0] if width else 8)


def test_the_memories_of_the_fpga_presets_keep_to_what_was_promised():
    held = {name: sum(m.bits for m in memories(c)) // 8 for name, c in PRESETS.items()}
    kept = {
        name: held[name] - 2 * c.columns * c.accumulator_depth * 4 for name, c in PRESETS.items()
    }
    assert kept["8x16"] <= 400 * 1024
    assert kept["8x8"] <= 96 * 1024


@pytest.mark.parametrize("name", PRESETS)
def test_the_block_diagram_fits_a_terminal(name):
    assert max(map(len, block_diagram(preset(name)).splitlines())) <= 80


def test_an_unknown_preset_is_refused():
    with refused(
        "there is no configuration '9x9'; choose from 4x4, 8x8, 8x16, 9x16, 16x16, 8x8-16",
        InputError,
    ):
        preset("9x9")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 1}, "rows must be a number between 2 and 256, not 1"),
        ({"rows": True}, "rows must be a number between 2 and 256, not True"),
        ({"columns": 24}, "columns must be a power of two between 2 and 256, not 24"),
        ({"weight_port": 0}, "weight_port must be a number between 1 and 256, not 0"),
        ({"width": 12}, "width must be 8 or 16, not 12"),
        (
            {"rows": 32},
            "rows = 32 must be no more than columns = 16: a fetch of one element a row must lie in "
            "two words",
        ),
        (
            {"lanes": 32},
            "columns = 16 must be a multiple of lanes = 32: a word takes a whole number of cycles",
        ),
        (
            {"weight_port": 16},
            "rows = 8 must be a multiple of weight_port = 16: a tile takes a whole number of reads",
        ),
        (
            {"buffer_bytes": 100},
            "buffer_bytes must be a multiple of 64 up to 16777216 for 8 x 16 cells of 8 bits, "
            "not 100",
        ),
        (
            {"parameter_rows": 4},
            "parameter_rows must be between 8, two groups twice, and 65536, not 4",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(changes, message):
    with refused(message, InputError):
        preset("8x16").replace(**changes)


def test_a_word_is_whole_beats_of_the_bus():
    with refused("bus_bytes = 8 must divide a word of 4 bytes", InputError):
        NpuConfig(4, 4)


def test_sizes_follow_a_preset_or_an_array():
    assert configuration("8x16") == preset("8x16")
    assert configuration("8x16,lanes=16") == preset("8x16").replace(lanes=16)
    assert configuration("32x64,lanes=32,tables=0") == NpuConfig(32, 64, lanes=32, tables=False)
    assert configuration("4x8-16,buffer_bytes=1024") == NpuConfig(4, 8, 16, buffer_bytes=1024)


@pytest.mark.parametrize(
    "text", ["2x4", "4x4-16", "4x8", "7x8", "9x32", "32x32", "256x256", "256x256-16"]
)
def test_an_array_without_a_preset_needs_no_sizes(text):
    assert configuration(text).name == text
    assert configuration(f"{text},lanes=1,parameter_rows=4096").lanes == 1


@pytest.mark.parametrize(
    "text, message",
    [
        ("big,lanes=4", "an array is called as 8x16 or 8x8-16, not 'big'"),
        (
            "8x16,lane=4",
            "an NPU has no size 'lane'; it has buffer_bytes, weight_bytes, parameter_rows, "
            "accumulator_depth, lanes, weight_port, bus_bytes, tables, reductions",
        ),
        ("8x16,lanes=many", "lanes must be a number, not 'many'"),
        ("8x16,lanes=4,lanes=8", "lanes is given twice"),
        ("8x16,tables=2", "tables must be 0 or 1, not '2'"),
        ("8x16,reductions=yes", "reductions must be 0 or 1, not 'yes'"),
        (
            "8x16,",
            "an NPU has no size ''; it has buffer_bytes, weight_bytes, parameter_rows, "
            "accumulator_depth, lanes, weight_port, bus_bytes, tables, reductions",
        ),
        ("8x16,lanes=3", "lanes must be a power of two between 1 and 256, not 3"),
    ],
)
def test_wrong_texts_are_refused(text, message):
    with refused(message, InputError):
        configuration(text)
