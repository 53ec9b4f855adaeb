"""A Session takes and gives what its signature says, and refuses the rest in one line."""

import copy
import dataclasses
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest

import edgeinfer
from edgeinfer.arithmetic import fixedpoint
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.files import model_file
from edgeinfer.graph import Graph, GraphBuilder, Preparation, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime import session
from edgeinfer.runtime.session import Session, TensorInfo
from tests.runtime.runtime_graphs import UNIT, rows_by_index, small_cnn, two_inputs
from tests.strategies import random_inputs


@pytest.fixture
def cnn():
    return Session(small_cnn())


def expected(graph, x):
    (y,) = reference.execute(graph, {"x": x}).values()
    return y


def refused(message, call, *args, **kwargs):
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    assert str(caught.value) == message


def test_inputs_and_outputs_are_described(cnn):
    assert cnn.inputs == (TensorInfo("x", (1, 8, 8, 3), "int8", UNIT.step, -3),)
    assert cnn.outputs == (TensorInfo("v4", (1, 10), "int8", UNIT.step, -3),)
    assert cnn.arena_bytes >= 8 * 8 * 8 + 8 * 8 * 3
    assert cnn.weight_bytes >= 10 * 128


def test_a_session_says_what_it_is_in_a_few_lines(cnn):
    assert repr(cnn).splitlines() == [
        "Session of 'chain': 4 steps",
        "  input  x: int8[1x8x8x3] * 0.05 @ -3",
        "  output v4: int8[1x10] * 0.05 @ -3",
        f"  {cnn.weight_bytes:,} bytes of constants, {cnn.arena_bytes:,} of arena",
    ]
    assert cnn._repr_html_().startswith("<pre>Session of &#x27;chain&#x27;: 4 steps\n")


def test_labels_and_preparations_are_the_models():
    how = Preparation("nhwc", "bgr", mean=(1.0, 2.0, 3.0))
    graph = dataclasses.replace(small_cnn(), labels=("a", "b"), preparation={"x": how})
    session = Session(graph)
    assert session.labels == ("a", "b")
    assert session.inputs[0].preparation == how
    assert session.outputs[0].preparation is None


def test_a_sample_without_the_axis_of_a_batch_of_one_is_taken(cnn):
    x = random_inputs(small_cnn(), 3)["x"]
    np.testing.assert_array_equal(cnn.run(x[0]), cnn.run(x), strict=True)


def test_raw_integers_give_raw_integers(cnn):
    x = random_inputs(small_cnn(), 1)["x"]
    y = cnn.run(x)
    assert y.dtype == np.int8
    np.testing.assert_array_equal(y, expected(small_cnn(), x))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_floats_give_floats(cnn, dtype):
    x = np.random.default_rng(0).normal(0, 4, (1, 8, 8, 3)).astype(dtype)
    y = cnn.run(x)
    assert y.dtype == np.float32
    q = UNIT.quantize(x.astype(np.float32), "int8")
    np.testing.assert_array_equal(y, UNIT.dequantize(expected(small_cnn(), q)))


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_quantizing_at_the_edge_is_the_contracts(dtype):
    q = UNIT if dtype == "int8" else UNIT.per_tensor(0.003)
    info = np.iinfo(dtype)
    halves = (np.arange(info.min - 3, info.max + 3, dtype=np.float64) + 0.5) * q.step
    extremes = [np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0, 1e-45]
    x = np.concatenate([halves, np.nextafter(halves, 0), extremes]).astype(np.float32)
    types = {"x": TensorType(x.shape, dtype, q)}
    # an input may be an output: nothing but the two edges is left
    session = Session(Graph("edges", (), types, ("x",), ("x",), {}))
    integers = q.quantize(x, dtype)
    np.testing.assert_array_equal(session.run(x), q.dequantize(integers))
    raw = np.empty(x.shape, dtype)
    assert session.run(x, out=raw) is raw
    np.testing.assert_array_equal(raw, integers)


def test_a_strided_input_is_taken(cnn):
    x = random_inputs(small_cnn(), 2)["x"]
    strided = np.asfortranarray(x)
    np.testing.assert_array_equal(cnn.run(strided), cnn.run(x))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("slices", [1, 2, 5])
def test_a_free_batch_goes_through_in_slices(batch, slices):
    graph = small_cnn(batch)
    x = random_inputs(graph, 3, slices)["x"]
    y = Session(graph).run(x)
    parts = [expected(graph, part) for part in np.split(x, slices)]
    np.testing.assert_array_equal(y, np.concatenate(parts))


def test_several_inputs_and_outputs_go_by_name():
    session = Session(two_inputs())
    inputs = random_inputs(two_inputs(), 4)
    found = session.run(inputs)
    for name, array in reference.execute(two_inputs(), inputs).items():
        np.testing.assert_array_equal(found[name], array)


def test_a_single_input_may_go_by_name(cnn):
    x = random_inputs(small_cnn(), 5)["x"]
    np.testing.assert_array_equal(cnn.run({"x": x}), cnn.run(x))


def test_out_is_written_and_given_back(cnn):
    x = random_inputs(small_cnn(), 6)["x"]
    raw, floats = np.empty((1, 10), np.int8), np.empty((1, 10), np.float32)
    assert cnn.run(x, out=raw) is raw
    assert cnn.run(x, out={"v4": floats})["v4"] is floats
    np.testing.assert_array_equal(raw, expected(small_cnn(), x))
    np.testing.assert_array_equal(floats, UNIT.dequantize(raw))


def test_indices_go_in_as_they_are():
    session = Session(rows_by_index())
    y = session.run(np.array([0, -1, 4, 2]))
    np.testing.assert_array_equal(
        y, UNIT.dequantize(rows_by_index().constants["table"][[0, 4, 4, 2]])
    )


def test_every_value_can_be_read_back():
    graph = small_cnn()
    session = Session(graph, keep_values=True)
    x = random_inputs(graph, 7)["x"]
    session.run(x)
    values = {}
    reference.execute(graph, {"x": x}, observe=lambda n, a: values.update({n: a}))
    assert values.keys() == {"x", "v0", "v1", "v2", "v3", "v4"}
    for name, array in values.items():
        np.testing.assert_array_equal(session.value(name), array)
    np.testing.assert_array_equal(session.value("c0"), graph.constants["c0"])


def test_a_profile_names_each_node_that_works(cnn):
    times = cnn.profile(random_inputs(small_cnn(), 8)["x"])
    assert list(times) == ["n0", "n1", "n2", "n4"]
    assert all(time >= 0 for time in times.values())


def test_load_reads_a_model_file(tmp_path):
    path = tmp_path / "cnn.eqm"
    model_file.save(small_cnn(), path)
    x = random_inputs(small_cnn(), 9)["x"]
    session = edgeinfer.load(path, num_threads=2, isa="scalar")
    np.testing.assert_array_equal(session.run(x), expected(small_cnn(), x))


def test_wrong_inputs_are_refused(cnn):
    x = np.zeros((1, 8, 8, 3), np.float32)
    refused(
        "input 'x' must have shape [N, 8, 8, 3], not [1, 3, 8, 8]", cnn.run, x.reshape(1, 3, 8, 8)
    )
    refused("input 'x' must have shape [N, 8, 8, 3], not [8, 3]", cnn.run, x[0, 0])
    refused("input 'x' must have shape [N, 8, 8, 3], not [0, 8, 8, 3]", cnn.run, x[:0])
    refused("the model has no input 'y'; its inputs are: x", cnn.run, {"x": x, "y": x})
    refused("input 'x' is missing", cnn.run, {})
    for dtype in ("int16", "uint8", "int64", "complex64"):
        refused(
            f"input 'x' takes floats, or int8 as raw integers, not {dtype}",
            cnn.run,
            x.astype(dtype),
        )
    refused("input 'x' takes floats, or int8 as raw integers, not object", cnn.run, None)


def test_a_mask_is_taken_as_numbers(cnn):
    mask = np.random.default_rng(0).random((1, 8, 8, 3)) < 0.5
    np.testing.assert_array_equal(cnn.run(mask), cnn.run(mask.astype(np.float32)), strict=True)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_fixed_batch_takes_more_samples_in_slices(batch):
    fixed, free = (Session(small_cnn(batch, free_batch=free)) for free in (False, True))
    x = np.random.default_rng(0).normal(0, 1, (4, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(fixed.run(x), free.run(x), strict=True)


def test_a_first_axis_along_which_samples_mix_is_no_batch():
    builder = GraphBuilder()
    x = builder.input("x", TensorType((4, 8), "int8", Quantization.per_tensor(0.1, 0)))
    session = Session(builder.graph(builder.add(ops.ReduceMax((0,)), x, node="loudest")))
    refused(
        "input 'x' must have shape [4, 8], not [8, 8]: "
        "ReduceMax 'loudest' mixes what lies along it",
        session.run,
        np.zeros((8, 8), np.float32),
    )


def test_a_first_axis_that_no_other_input_has_is_no_batch():
    builder = GraphBuilder()
    kind = Quantization.per_tensor(0.1, 0)
    x = builder.input("x", TensorType((2, 8), "int8", kind))
    bound = builder.input("bound", TensorType((8,), "int8", kind))
    session = Session(builder.graph(builder.add(ops.Minimum(), x, bound)))
    refused(
        "input 'x' must have shape [2, 8], not [4, 8]: its inputs differ in their first axes",
        session.run,
        {"x": np.zeros((4, 8), np.float32), "bound": np.zeros(8, np.float32)},
    )


def test_a_batch_that_is_no_multiple_is_refused():
    refused(
        "input 'x' must have shape [a multiple of 3, 8, 8, 3], not [4, 8, 8, 3]",
        Session(small_cnn(3)).run,
        np.zeros((4, 8, 8, 3), np.float32),
    )


def test_inputs_of_different_batches_are_refused():
    session = Session(replace(two_inputs(), free_batch=True))
    refused(
        "input 'y' has a batch of 2, but 'x' has one of 4",
        session.run,
        {"x": np.zeros((4, 3), np.float32), "y": np.zeros((2, 3), np.float32)},
    )


def test_several_inputs_are_not_taken_as_one_array():
    refused(
        "the model has 2 inputs, so they are given as a dict by name: x, y",
        Session(two_inputs()).run,
        np.zeros((2, 3), np.float32),
    )


def test_a_nan_is_refused(cnn):
    x = np.zeros((2, 8, 8, 3), np.float32)
    x[1, 7, 7, 2] = np.nan
    refused("input 'x' holds a NaN", cnn.run, x)


@pytest.mark.parametrize("index", [5, -6, 2**62, -(2**63)])
def test_an_index_outside_its_axis_is_refused(index):
    refused(
        "node 'embed' got an index in 'i' that is outside of the axis of 5 that it gathers from",
        Session(rows_by_index()).run,
        np.array([0, 1, 2, index]),
    )


def test_a_path_is_no_graph():
    refused(
        "a Session runs a Graph, not str: edgeinfer.load makes one of an .eqm file",
        Session,
        "model.eqm",
    )


def test_options_of_other_types_are_refused():
    message = "max_bytes must be a number of bytes, not NoneType"
    refused(message, Session, small_cnn(), max_bytes=None)
    refused("isa must be a name, not ndarray", Session, small_cnn(), isa=np.zeros(3))


@pytest.mark.parametrize("dtype", ["float32", "uint64", "bool"])
def test_indices_of_another_type_are_refused(dtype):
    refused(f"input 'i' takes int64, not {dtype}", Session(rows_by_index()).run, np.zeros(4, dtype))


def test_indices_may_be_shorter_integers():
    session, index = Session(rows_by_index()), np.array([3, 0, 1, -1])
    expected = session.run(index)
    np.testing.assert_array_equal(session.run(index.astype(np.int32)), expected)
    np.testing.assert_array_equal(session.run(index.astype(np.int8)), expected)


def test_a_wrong_out_is_refused(cnn):
    x = np.zeros((1, 8, 8, 3), np.float32)
    refused("out for 'v4' must be float32 or int8, not float64", cnn.run, x, out=np.empty((1, 10)))
    refused("out for 'v4' must be float32 or int8, not list", cnn.run, x, out=[0.0] * 10)
    refused("out for 'v4' must have shape [1, 10], not [10]", cnn.run, x, out=np.empty(10, np.int8))
    strided = np.empty((1, 20), np.int8)[:, ::2]
    refused("out for 'v4' must be C-contiguous and writable", cnn.run, x, out=strided)
    frozen = np.empty((1, 10), np.int8)
    frozen.flags.writeable = False
    refused("out for 'v4' must be C-contiguous and writable", cnn.run, x, out=frozen)
    refused("the model has no output 'y'; its outputs are: v4", cnn.run, x, out={"y": strided})


@pytest.mark.parametrize("shift", [1, 3, -2])
def test_an_out_that_overlaps_the_input_gets_the_right_rows(shift):
    session = Session(mirror())
    x = np.random.default_rng(0).integers(-128, 128, (16, 4), np.int8)
    expected = session.run(x)
    memory = np.zeros((16 + abs(shift), 4), np.int8)
    taken, given = (memory[start : start + 16] for start in (max(0, -shift), max(0, shift)))
    taken[...] = x
    np.testing.assert_array_equal(session.run(taken, out=given), expected)
    taken[...] = x
    refused(
        "what is bound to input 'x' shares memory with an output, of which each slice is written "
        "before the next one is read",
        session.bind,
        taken,
        given,
    )


def mirror() -> Graph:
    """Four numbers in their opposite order."""
    b = GraphBuilder("mirror")
    x = b.input("x", TensorType((1, 4), "int8", UNIT))
    y = b.add(ops.Slice(starts=(0, 3), sizes=(1, 4), steps=(1, -1)), x, output="y")
    return replace(b.graph(y), free_batch=True)


def test_outputs_that_share_memory_are_refused():
    b = GraphBuilder("two")
    x = b.input("x", TensorType((1, 4), "int8", UNIT))
    b.add(ops.Slice(starts=(0, 3), sizes=(1, 4), steps=(1, -1)), x, output="y")
    b.add(ops.Reshape((4, 1)), x, output="z")
    session = Session(b.graph("y", "z"))
    memory, x = np.zeros(7, np.int8), np.zeros((1, 4), np.int8)
    out = {"y": memory[:4].reshape(1, 4), "z": memory[3:].reshape(4, 1)}
    message = "the arrays for 'y' and 'z' share memory, but both are written"
    refused(message, session.run, x, out=out)
    refused(message, session.bind, x, out)


def test_arrays_that_are_not_aligned_are_copied_or_refused(cnn):
    def unaligned(shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(4 * int(np.prod(shape)) + 1, np.uint8)[1:].view(np.float32).reshape(shape)

    x = unaligned((1, 8, 8, 3))
    x[...] = np.random.default_rng(0).normal(size=x.shape)
    np.testing.assert_array_equal(cnn.run(x), cnn.run(x.copy()))
    y = unaligned((1, 10))
    refused("out for 'v4' must be aligned to its elements", cnn.run, x, out=y)
    message = "what is bound to input 'x' must be aligned to its elements"
    refused(message, cnn.bind, x, np.zeros((1, 10), np.float32))


def test_a_session_is_not_pickled(cnn):
    message = "a Session cannot be pickled or copied: hand on the model, and make one where it runs"
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        refused(message, call, cnn)
    bound = cnn.bind(np.zeros((1, 8, 8, 3), np.int8), np.zeros((1, 10), np.int8))
    message = "bound arrays cannot be pickled or copied: bind them where they run"
    refused(message, pickle.dumps, bound)


@pytest.mark.parametrize("num_threads", [0, -1, 10**6, 1.0, True, None])
def test_a_wrong_number_of_threads_is_refused(num_threads):
    refused(
        f"num_threads must be between 1 and 16, this machine's processors, not {num_threads!r}",
        Session,
        small_cnn(),
        num_threads=num_threads,
    )


def test_an_unknown_isa_is_refused(monkeypatch):
    known = ", ".join(SUPPORTED)
    refused(f"isa must be one of {known}, not 'avx9'", Session, small_cnn(), isa="avx9")
    monkeypatch.setenv("EDGEINFER_ISA", "mmx")
    refused(f"EDGEINFER_ISA must be one of {known}, not 'mmx'", Session, small_cnn())
    monkeypatch.setenv("EDGEINFER_ISA", "scalar")
    Session(small_cnn())


def test_an_isa_that_the_processor_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(session, "ISAS", ("newer", "scalar"))
    monkeypatch.setattr(session, "SUPPORTED", ("scalar",))
    lacks = "'newer', which this processor lacks; it has scalar"
    refused(f"isa is {lacks}", Session, small_cnn(), isa="newer")
    monkeypatch.setenv("EDGEINFER_ISA", "newer")
    refused(f"EDGEINFER_ISA is {lacks}", Session, small_cnn())


def test_values_that_are_not_kept_are_refused(cnn):
    refused("values are kept only by a Session made with keep_values=True", cnn.value, "v0")
    refused(
        "the model has no value 'nothing'",
        Session(small_cnn(), keep_values=True).value,
        "nothing",
    )


def test_a_float_graph_is_refused():
    types = {"x": TensorType((1, 2))}
    with pytest.raises(UnsupportedError) as caught:
        Session(Graph("f", (), types, ("x",), ("x",), {}))
    assert str(caught.value) == "graph 'f' holds floats; quantize it first"


def functions_entered(call):
    """The names of the Python functions that ``call`` enters, and what it returns."""
    entered = []

    def note(frame, event, _):
        if event == "call":
            entered.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        made = call()
    finally:
        sys.setprofile(None)
    return entered[1:], made  # without itself


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_plain_run_enters_no_function_of_python(by_name, num_threads):
    session = Session(small_cnn(1, free_batch=False), num_threads=num_threads)
    x = random_inputs(small_cnn(1), 0)["x"].astype(np.float32)
    out = np.empty((1, 10), np.float32)
    given = {"x": x} if by_name else x
    expected = session.run(x).copy()
    entered, _ = functions_entered(lambda: session.run(given, out))
    assert entered == []
    np.testing.assert_array_equal(out, expected)


def test_a_run_of_several_inputs_and_outputs_enters_none_either():
    builder = GraphBuilder()
    whole = Quantization.per_tensor(1.0, 0)
    a, b = (builder.input(n, TensorType((1, 3), "int8", whole)) for n in "ab")
    index = builder.input("i", TensorType((2,), "int64"))
    total = builder.add(ops.QAdd(**fixedpoint.add_parameters(1, 1, 1, bits=8)), a, b)
    graph = builder.graph(total, builder.add(ops.Gather(axis=1), total, index))
    session = Session(graph)
    raw = {"a": np.int8([[1, 2, 3]]), "b": np.int8([[4, 5, 6]]), "i": np.int64([2, 0])}
    floats = {**raw, "a": raw["a"].astype(np.float32), "b": raw["b"].astype(np.float32)}
    first, second = graph.outputs
    for given, dtype in ((raw, np.int8), (floats, np.float32)):
        entered, made = functions_entered(lambda given=given: session.run(given))
        assert entered == []
        assert list(made) == [first, second]
        np.testing.assert_array_equal(made[first], np.array([[5, 7, 9]], dtype), strict=True)
        np.testing.assert_array_equal(made[second], np.array([[9, 5]], dtype), strict=True)
        out = {second: np.empty((1, 2), dtype), first: np.empty((1, 3), dtype)}
        entered, again = functions_entered(lambda given=given, out=out: session.run(given, out))
        assert entered == []
        assert all(again[name] is out[name] for name in out)
        np.testing.assert_array_equal(out[second], made[second])
    # of inputs that mix both, outputs are raw
    mixed = session.run({**raw, "b": floats["b"]})
    np.testing.assert_array_equal(mixed[first], np.int8([[5, 7, 9]]), strict=True)
