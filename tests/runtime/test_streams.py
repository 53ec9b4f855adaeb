"""A Stream takes up what its last run left, as the reference does; a Session stays shareable."""

import dataclasses
import threading

import numpy as np
import pytest

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.errors import InputError, ModelError, UnsupportedError
from edgeinfer.files.model_file import from_bytes, to_bytes
from edgeinfer.graph import Graph, Node, Quantization, State, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.verification import verify
from edgeinfer.hdl import compile
from edgeinfer.hdl.compiler import sides
from edgeinfer.hdl.config import configuration
from edgeinfer.meaning import float_executor, reference
from edgeinfer.runtime.session import Session
from tests.refusals import refused

KIND = TensorType((1, 6), "int8", Quantization.per_tensor(0.05, -3))
FIRST = np.array([[1, -2, 3, -4, 5, -6]], np.int8)


def leaky_sum() -> Graph:
    """y = x + before, which comes back half as large; and x as it was two runs ago."""
    add = ops.QAdd(
        a_zero_point=-3,
        b_zero_point=-3,
        output_zero_point=-3,
        **fixedpoint.add_parameters(0.05, 0.05, 0.05, bits=8),
    )
    multiplier, shift = fixedpoint.multiplier_and_shift(0.5)
    halve = ops.Rescale(-3, input_zero_point=-3, multiplier=multiplier, shift=shift)
    nodes = (
        Node("add", add, ("x", "before"), ("y",)),
        Node("halve", halve, ("y",), ("after",)),
        Node("older", ops.Reshape((6,)), ("x2",), ("old",)),
    )
    kinds = dict.fromkeys(("x", "before", "y", "after", "x1", "x2", "first", "none"), KIND)
    return Graph(
        "leaky",
        nodes,
        {**kinds, "old": TensorType((6,), "int8", KIND.quantization)},
        ("x",),
        ("y", "old"),
        {"first": FIRST, "none": np.full((1, 6), -3, np.int8)},
        states=(
            State("before", "after", "first"),
            # a state that becomes another, and an input that becomes one: in no order of copies
            State("x2", "x1", "none"),
            State("x1", "x", "none"),
        ),
    )


def samples(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (count, 1, 6)).astype(np.int8)


def expected(graph: Graph, xs: np.ndarray) -> list[dict[str, np.ndarray]]:
    state: dict[str, np.ndarray] = {}
    return [reference.execute(graph, {"x": x}, state=state) for x in xs]


def same(found, wanted) -> None:
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_the_reference_computes_what_the_states_say():
    graph, xs = leaky_sum(), samples(5, 0)
    verify(graph)
    before = FIRST.astype(np.int64) + 3
    for i, outputs in enumerate(expected(graph, xs)):
        y = np.clip(xs[i].astype(np.int64) + 3 + before, -125, 130)
        np.testing.assert_array_equal(outputs["y"], y - 3)
        before = np.floor(y / 2 + 0.5)
        older = xs[i - 2] if i > 1 else np.full((1, 6), -3)
        np.testing.assert_array_equal(outputs["old"], older.reshape(6))


@pytest.mark.parametrize("num_threads", [1, 2])
def test_streams_of_one_session_do_not_see_each_other(num_threads):
    graph = from_bytes(to_bytes(leaky_sum()))
    session = Session(graph, num_threads=num_threads)
    streams = [session.stream() for _ in range(3)]
    sequences = [samples(8, seed) for seed in range(3)]
    wanted = [expected(graph, xs) for xs in sequences]
    for i in range(8):
        for stream, xs, outputs in zip(streams, sequences, wanted, strict=True):
            same(stream.run(xs[i]), outputs[i])
    streams[0].reset()
    same(streams[0].run(sequences[0][0]), wanted[0][0])


def test_streams_run_in_threads():
    graph = leaky_sum()
    session, failed = Session(graph), []

    def run(seed: int) -> None:
        xs = samples(200, seed)
        stream = session.stream()
        for x, outputs in zip(xs, expected(graph, xs), strict=True):
            found = stream.run(x)
            failed.extend(n for n in outputs if not np.array_equal(found[n], outputs[n]))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_run_that_fails_leaves_the_state():
    stream = Session(leaky_sum()).stream()
    stream.run(samples(1, 0)[0])
    before = [array.copy() for array in stream.state]
    with refused("input 'x' holds a NaN", InputError):
        stream.run(np.full((1, 6), np.nan, "f4"))
    for array, kept in zip(stream.state, before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_a_session_alone_does_not_run_a_model_with_states():
    with refused(
        "the model keeps states from one run to the next: use stream = session.stream() and "
        "stream.run(x)",
        InputError,
    ):
        Session(leaky_sum()).run(FIRST)


def test_a_stream_takes_a_run_at_a_time():
    with refused(
        "input 'x' must have shape [1, 6], not [2, 6]: the model keeps states from one run to the "
        "next",
        InputError,
    ):
        Session(leaky_sum()).stream().run(np.zeros((2, 6), "f4"))


@pytest.mark.parametrize("asked", [compile, sides])
def test_the_npu_refuses_states_by_name(asked):
    with refused(
        "the NPU keeps no state from one run to the next: 'before', 'x2', 'x1'; quantize the model "
        "with its states as inputs and outputs, or over whole sequences, without --state and "
        "--stream",
        UnsupportedError,
    ):
        asked(leaky_sum(), configuration("8x8"))


def test_float_states_are_kept_as_well():
    kind = TensorType((2,))
    graph = Graph(
        "sum",
        (Node("add", ops.Add(), ("x", "before"), ("y",)),),
        dict.fromkeys(("x", "before", "y", "zero"), kind),
        ("x",),
        ("y",),
        {"zero": np.zeros(2, "f4")},
        states=(State("before", "y", "zero"),),
    )
    state: dict[str, np.ndarray] = {}
    for i in range(1, 5):
        found = float_executor.execute(graph, {"x": np.array([1, 2], "f4")}, state=state)
        np.testing.assert_array_equal(found["y"], np.array([1, 2], "f4") * i)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": "x"}, "state 'x' is given already"),
        ({"input": "first"}, "state 'first' is given already"),
        ({"first": "y"}, "state 'before' begins with 'y', no constant"),
        ({"output": "nowhere"}, "value 'nowhere' has no type"),
        (
            {"output": "old"},
            "state 'before' is int8[1x6] * 0.05 @ -3, but 'old' is int8[6] * 0.05 @ -3",
        ),
    ],
)
def test_states_that_contradict_are_refused(change, message):
    graph = leaky_sum()
    first, *others = graph.states
    states = (dataclasses.replace(first, **change), *others)
    with refused(message, ModelError):
        verify(dataclasses.replace(graph, states=states))


def test_a_free_batch_and_states_exclude_each_other():
    with refused("a graph with states has no free batch", ModelError):
        verify(dataclasses.replace(leaky_sum(), free_batch=True))


def test_a_bound_stream_goes_on_where_any_run_left_it():
    graph, xs = leaky_sum(), samples(6, 3)
    stream = Session(graph).stream()
    x = np.zeros((1, 6), np.int8)
    out = {"y": np.zeros((1, 6), np.int8), "old": np.zeros(6, np.int8)}
    bound = stream.bind(x, out)
    for i, (sample, wanted) in enumerate(zip(xs, expected(graph, xs), strict=True)):
        if i == 3:
            found = stream.run(sample)
        else:
            x[...] = sample
            bound.run()
            found = out
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)


def test_a_session_binds_no_states():
    with refused(
        "the model keeps states from one run to the next: use stream = session.stream() and "
        "stream.bind(x, out)",
        InputError,
    ):
        Session(leaky_sum()).bind(np.zeros((1, 6), np.int8), {})
