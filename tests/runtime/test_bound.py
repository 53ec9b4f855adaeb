"""Bound arrays are read and written where they stand, and refused in one line once they moved."""

import gc
import threading
import weakref

import numpy as np
import pytest

from edgeinfer.errors import InputError
from edgeinfer.meaning import reference
from edgeinfer.runtime.session import Session
from tests.refusals import refused as refused_with
from tests.runtime.runtime_graphs import rows_by_index, small_cnn, two_inputs
from tests.strategies import random_inputs


def refused(message):
    return refused_with(message, InputError)


@pytest.fixture
def cnn():
    return Session(small_cnn())


def arrays(slices=1, x_dtype="int8", y_dtype="int8"):
    return np.zeros((slices, 8, 8, 3), x_dtype), np.zeros((slices, 10), y_dtype)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("x_dtype", ["int8", "float32"])
@pytest.mark.parametrize("y_dtype", ["int8", "float32"])
def test_each_run_takes_what_the_arrays_hold_by_then(num_threads, slices, x_dtype, y_dtype):
    session = Session(small_cnn(), num_threads=num_threads)
    x, y = arrays(slices, x_dtype, y_dtype)
    bound = session.bind(x, y)
    for seed in range(3):
        x[...] = random_inputs(small_cnn(), seed, slices)["x"]
        assert bound.run() is None
        np.testing.assert_array_equal(y, session.run(x, out=np.empty_like(y)))


def test_several_inputs_and_outputs_are_bound_by_name():
    inputs = random_inputs(two_inputs(), 4)
    expected = reference.execute(two_inputs(), inputs)
    found = {name: np.zeros_like(array) for name, array in expected.items()}
    Session(two_inputs()).bind(inputs, found).run()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_binding_keeps_its_arrays_and_its_session_alive(cnn):
    x, y = arrays()
    bound, alive = cnn.bind(x, y), weakref.ref(x)
    expected = cnn.run(x)
    del x, cnn
    gc.collect()
    bound.run()
    np.testing.assert_array_equal(y, expected)
    assert alive() is not None
    del bound
    gc.collect()
    assert alive() is None


def test_bindings_of_one_session_have_memories_of_their_own(cnn):
    pairs = [arrays() for _ in range(3)]
    bound = [cnn.bind(x, y) for x, y in pairs]
    for seed, (x, _) in enumerate(pairs):
        x[...] = random_inputs(small_cnn(), seed)["x"]
    for one in reversed(bound):
        one.run()
    for x, y in pairs:
        np.testing.assert_array_equal(y, cnn.run(x))


def test_a_binding_in_a_cycle_gives_its_memory_back(cnn):
    x, y = arrays()
    bound = cnn.bind(x, y)
    bound.itself = bound
    del bound
    gc.collect()
    np.testing.assert_array_equal(cnn.run(x, out=y), cnn.run(x))


def test_wrong_arrays_are_refused(cnn):
    x, y = arrays()
    with refused("what is bound to input 'x' must be float32 or int8, not float64"):
        cnn.bind(x.astype(np.float64), y)
    with refused("what is bound to input 'x' must be float32 or int8, not list"):
        cnn.bind([0], y)
    with refused("what is bound to input 'x' must be C-contiguous"):
        cnn.bind(np.zeros((1, 8, 8, 6), np.int8)[..., ::2], y)
    with refused("input 'x' must have shape [N, 8, 8, 3], not [8, 8, 3]"):
        cnn.bind(x[0], y)
    with refused("the model has no input 'z'; its inputs are: x"):
        cnn.bind({"z": x}, y)
    with refused("out for 'v4' must be float32 or int8, not NoneType"):
        cnn.bind(x, None)
    with refused("out for 'v4' must have shape [1, 10], not [2, 10]"):
        cnn.bind(x, np.zeros((2, 10), np.int8))
    y.flags.writeable = False
    with refused("out for 'v4' must be C-contiguous and writable"):
        cnn.bind(x, y)


def test_a_session_that_keeps_its_values_binds_nothing():
    with refused("a Session made with keep_values=True binds no arrays"):
        Session(small_cnn(), keep_values=True).bind(*arrays())


@pytest.mark.parametrize(("which", "named"), [(0, "input 'x'"), (1, "output 'v4'")])
@pytest.mark.parametrize("rows", [0, 1000])
def test_an_array_that_is_resized_is_refused(cnn, which, named, rows):
    pair = arrays()
    bound = cnn.bind(*pair)
    with pytest.raises(ValueError, match="resize"):
        pair[which].resize((rows, 8), refcheck=True)
    pair[which].resize((rows, 8), refcheck=False)
    cannot = "written" if which else "read"
    message = f"the array bound to {named} was resized, or cannot be {cannot} any more: "
    for _ in range(2):
        with refused(f"{message}bind arrays again"):
            bound.run()


def test_an_output_that_became_read_only_is_refused_while_it_is_so(cnn):
    x, y = arrays()
    bound = cnn.bind(x, y)
    y.flags.writeable = False
    message = "the array bound to output 'v4' was resized, or cannot be written any more: "
    with refused(f"{message}bind arrays again"):
        bound.run()
    assert not y.any()
    y.flags.writeable = True
    bound.run()
    np.testing.assert_array_equal(y, cnn.run(x))


def test_a_nan_in_a_bound_input_is_refused_and_the_next_run_is_right(cnn):
    x, y = arrays(x_dtype="float32")
    bound = cnn.bind(x, y)
    x[0, 7, 7, 2] = np.nan
    with refused("input 'x' holds a NaN"):
        bound.run()
    x[0, 7, 7, 2] = 1
    bound.run()
    np.testing.assert_array_equal(y, cnn.run(x, out=np.empty_like(y)))


def test_an_index_outside_its_axis_is_refused():
    session, x = Session(rows_by_index()), np.array([0, 1, 2, 9])
    (out,) = session.outputs
    bound = session.bind(x, np.zeros(out.shape, out.dtype))
    with refused(
        "node 'embed' got an index in 'i' that is outside of the axis of 5 that it gathers from"
    ):
        bound.run()


def test_two_threads_at_once_are_refused_in_one_of_them():
    session = Session(small_cnn())
    x, y = arrays(20000)
    bound, refusals, done = session.bind(x, y), [], threading.Event()

    def run_often():
        while not (done.is_set() or refusals):
            try:
                bound.run()
            except InputError as error:
                refusals.append(str(error))

    others = [threading.Thread(target=run_often) for _ in range(2)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(60)
        done.set()
    assert set(refusals) == {
        "another thread is running these bound arrays: bind arrays of its own for each"
    }
    bound.run()
    np.testing.assert_array_equal(y, session.run(x))
