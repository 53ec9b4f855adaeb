"""A Program refuses a Plan whose numbers would lead it outside its memory."""

from dataclasses import replace

import numpy as np
import pytest

from edgeinfer.cython_kernels.runtime import KERNELS, LAYOUTS, SUPPORTED, Program, RunError
from edgeinfer.runtime.planner import Place, plan
from tests.runtime.runtime_graphs import small_cnn


@pytest.fixture
def planned():
    return plan(small_cnn())


def refused(message, planned):
    with pytest.raises(ValueError) as caught:
        Program(planned, 1)
    assert str(caught.value) == message


def with_step(planned, **changes):
    return replace(planned, steps=(replace(planned.steps[0], **changes), *planned.steps[1:]))


def test_every_kernel_that_the_planner_does_not_ask_for_has_a_scalar_version():
    asked_for = {name for name, _ in LAYOUTS} | {
        "chain_s16",
        "lookup_s8",
        "mul_s16",
        "mul_s8",
    }
    assert all("scalar" in isas for name, isas in KERNELS.items() if name not in asked_for)
    assert SUPPORTED[-1] == "scalar"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (Place("arena", -1, 4), "4 bytes at -1 leave the arena of 4800"),
        (Place("arena", 4797, 4), "4 bytes at 4797 leave the arena of 4800"),
        (Place("arena", 2**63 - 1, 4), "4 bytes at 9223372036854775807 leave the arena of 4800"),
        (Place("arena", 0, -4), "-4 bytes at 0 leave the arena of 4800"),
        (Place("constants", 0, 4), "a step must write to the arena"),
    ],
)
def test_a_place_outside_its_memory_is_refused(planned, place, message):
    assert planned.arena_bytes == 4800
    operands = (*planned.steps[0].operands[:-1], place)
    refused(message, with_step(planned, operands=operands))


@pytest.mark.parametrize("outputs", [0, -1, 9])
def test_more_outputs_than_operands_are_refused(planned, outputs):
    count = len(planned.steps[0].operands)
    message = f"{outputs} of {count} operands cannot be outputs"
    refused(message, with_step(planned, outputs=outputs))


def test_every_output_must_lie_in_the_arena(planned):
    operands = Place("constants", 0, 4), planned.steps[0].operands[-1]
    step = {"operands": operands, "outputs": 2}
    refused("a step must write to the arena", with_step(planned, **step))


@pytest.mark.parametrize(
    "place", [Place("arena", 0, 1 << 20), Place("constants", 0, 4), Place("arena", -1, 4)]
)
def test_a_scratch_outside_its_memory_is_refused(planned, place):
    message = "a step's scratch must lie in the arena and fit each thread's"
    if place.offset < 0:
        message = "4 bytes at -1 leave the arena of 4800"
    refused(message, with_step(planned, scratch=place))


def test_an_unknown_kernel_is_refused(planned):
    refused("no kernel is called fold for scalar", with_step(planned, kernel="fold"))
    refused("no kernel is called conv_s8 for mmx", with_step(planned, isa="mmx"))


def test_other_parameters_than_the_kernels_are_refused(planned):
    refused("kernel fill takes ['bytes', 'value'], not ['bytes']", with_step(
        planned, kernel="fill", parameters={"bytes": 1}
    ))  # fmt: skip


def test_arrays_of_the_wrong_size_are_refused(planned):
    program = Program(planned, 1)
    x, y = np.zeros(192, np.int8), np.zeros(10, np.int8)
    program.run([x], [y], 1)
    for inputs, outputs, slices in (([x[1:]], [y], 1), ([x], [y[1:]], 1), ([x], [y], 2)):
        with pytest.raises(ValueError, match="which are not"):
            program.run(inputs, outputs, slices)
    with pytest.raises(ValueError, match="one array an edge"):
        program.run([x], [], 1)


def test_a_refused_run_leaves_the_program_fit_for_the_next(planned):
    program = Program(planned, 1)
    x, y = np.zeros(192, np.float32), np.zeros(10, np.float32)
    program.run([x], [y], 1)
    expected = y.copy()
    x[5] = np.nan
    with pytest.raises(RunError):
        program.run([x], [y], 1)
    x[5] = 0
    program.run([x], [y], 1)
    np.testing.assert_array_equal(y, expected)
