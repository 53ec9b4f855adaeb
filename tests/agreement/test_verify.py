"""Every value of a model is the Session's on each target, and where one is not that is told."""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import edgeinfer
from edgeinfer.agreement import digest, random_inputs, sealed, smallest
from edgeinfer.cli.commands import edgeinfer as command
from edgeinfer.converters import from_onnx
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.errors import InputError, MissingExtraError
from edgeinfer.files.model_file import save
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.converters.onnx_agreement import model, node
from tests.converters.test_quantized_models import SAMPLES, floats
from tests.converters.test_tflite import WORDS, embedded, enlarged, network
from tests.refusals import refused
from tests.runtime.plan_runner import needed

pytestmark = pytest.mark.filterwarnings("ignore::edgeinfer.errors.EdgeInferWarning")


@pytest.fixture(scope="module")
def integers() -> Graph:
    return quantize(network(), SAMPLES, rounding="double")


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int16"])
def test_the_reference_and_all_kernels_have_the_bits(scheme):
    graph = quantize(network(), SAMPLES, scheme=scheme)
    found = edgeinfer.verify(graph)
    assert [each.target for each in found] == [
        "reference",
        *(f"kernels ({isa})" for isa in SUPPORTED),
    ]
    made = [name for n in graph.nodes for name in n.outputs]
    elements = sum(graph.types[name].elements for name in made)
    for each in found:
        assert (each.layers, each.promised, each.values) == (len(made), len(made), 4 * elements)
        assert (each.differing, each.first, each.run, each.broken) == (0, None, None, 0)


def test_onnxruntime_is_near_and_promises_nothing(integers):
    pytest.importorskip("onnxruntime")
    (found,) = edgeinfer.verify(integers, ("onnxruntime",))
    assert (found.promised, found.broken) == (0, 0)
    assert found.layers > 8
    assert found.largest < 8


def test_micro_has_the_bits_of_what_rounds_twice(integers):
    pytest.importorskip("tflite_micro")
    (found,) = edgeinfer.verify(integers, ("tflm",))
    assert found.promised > 5
    assert found.broken == 0


def test_micro_has_the_bits_of_pictures_and_indices():
    pytest.importorskip("tflite_micro")
    graph = quantize(enlarged(), SAMPLES, rounding="double")
    (found,) = edgeinfer.verify(graph, ("tflm",))
    assert (found.layers, found.differing) == (8, 0)
    assert found.promised > 5
    assert found.broken == 0


def test_micro_has_the_bits_of_a_table_at_given_places():
    pytest.importorskip("tflite_micro")
    (found,) = edgeinfer.verify(quantize(embedded(), WORDS, rounding="double"), ("tflm",), WORDS)
    assert (found.layers, found.promised, found.differing) == (2, 2, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ad_autoencoder", "cifar10_resnet20", "ic_resnet8", "kws_dscnn", "vww_mobilenet"]
)
def test_real_models_have_micros_bits_at_every_layer(zoo, name):
    pytest.importorskip("tflite_micro")
    entry = zoo.load(name)
    graph = quantize(from_onnx(entry.model), entry.calib[:40], rounding="double")
    for found in edgeinfer.verify(graph, ("reference", "kernels", "tflm")):
        assert found.promised > 0.6 * found.layers
        assert found.broken == 0


@pytest.mark.slow
def test_the_simulated_npu_has_the_bits():
    proto = model(
        [node("Gemm", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])],
        (1, 8),
        {"w": floats(0, 8, 5)},
    )
    (found,) = edgeinfer.verify(
        quantize(from_onnx(proto), floats(1, 20, 1, 8)), ("npu",), config="4x4"
    )
    assert (found.target, found.broken) == ("npu (4x4)", 0)
    assert found.promised == found.layers > 0


def wrong_in_one_place(monkeypatch, name: str) -> None:
    """A reference that is two steps off in one element of the value ``name``."""
    execute = reference.execute

    def off(graph, feeds, *, state, observe):
        def seen(value, array):
            if value == name:
                array = array.copy()
                array.flat[3] ^= 2
            observe(value, array)

        return execute(graph, feeds, state=state, observe=seen)

    monkeypatch.setattr(reference, "execute", off)


def test_a_value_that_differs_is_found(integers, monkeypatch):
    wrong_in_one_place(monkeypatch, "a")
    (found,) = edgeinfer.verify(integers, ("reference",))
    assert (found.differing, found.broken, found.largest) == (4, 4, 2)
    assert (found.first, found.run) == ("a", 0)


def test_the_command_ends_with_1_where_a_promise_is_broken(integers, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    save(integers, "m.eqm")
    runner = CliRunner()
    done = runner.invoke(command, ["verify", "m.eqm", "--against", "reference", "--json"])
    assert done.exit_code == 0
    (told,) = json.loads(done.output)["targets"]
    assert (told["target"], told["differing"]) == ("reference", 0)
    wrong_in_one_place(monkeypatch, "a")
    done = runner.invoke(command, ["verify", "m.eqm", "--against", "reference", "--samples", "2"])
    assert done.exit_code == 1
    assert done.output == (
        f"error: m.eqm has other bits on reference: 2 of {told['values'] // 2:,} values, by 2 at "
        "most, first 'a' in run 0\n"
    )


def test_a_digest_is_of_every_value_whoever_computes_it(integers):
    runs = random_inputs(integers, 2)
    expected = hashlib.sha256()
    for feeds in runs:
        values: dict[str, np.ndarray] = {}
        reference.execute(integers, feeds, observe=values.__setitem__)
        for name in (name for n in integers.nodes for name in n.outputs):
            array = values[name]
            expected.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    assert digest(integers, runs) == expected.hexdigest()
    assert digest(integers, runs) != digest(integers, runs[:1])


def wrong_where_one_element_is_large(monkeypatch, name: str, element: int) -> None:
    """A reference whose value ``name`` is off where one element of the input is above 50."""
    execute = reference.execute

    def off(graph, feeds, *, state, observe):
        def seen(value, array):
            if value == name and feeds["x"].flat[element] > 50:
                array = array ^ 1
            observe(value, array)

        return execute(graph, feeds, state=state, observe=seen)

    monkeypatch.setattr(reference, "execute", off)


def test_the_smallest_input_is_the_one_element_that_shows_it(integers, monkeypatch, tmp_path):
    runs = random_inputs(integers, 6)
    shape, zero = integers.types["x"].shape, integers.types["x"].quantization.zero_point
    # the first run that shows it is the third
    for place, feeds in enumerate(runs):
        feeds["x"].flat[7] = 90 if place > 1 else 3
    wrong_where_one_element_is_large(monkeypatch, "a", 7)
    (found,) = edgeinfer.verify(integers, ("reference",), runs, shrink=True)
    assert (found.first, found.run) == ("a", 2)
    expected = np.full(shape, zero, np.int8)
    expected.flat[7] = 90
    np.testing.assert_array_equal(found.smallest["x"], expected, strict=True)
    (found,) = edgeinfer.verify(integers, ("reference",), runs)
    assert found.smallest is None

    monkeypatch.chdir(tmp_path)
    save(integers, "m.eqm")
    np.savez("data.npz", x=(expected - zero) * integers.types["x"].quantization.step)
    arguments = ["verify", "m.eqm", "--against", "reference,kernels", "--data", "data.npz"]
    done = CliRunner().invoke(command, [*arguments, "--shrink", "shown.npz"])
    assert done.exit_code == 1
    told = "shown.npz shows it on reference: of its {:,} integers 1 are not at zero\n"
    assert done.output.endswith(told.format(expected.size))
    with np.load("shown.npz") as shown:
        np.testing.assert_array_equal(shown["x"], expected, strict=True)


def test_nothing_is_written_where_nothing_differs(integers, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    save(integers, "m.eqm")
    arguments = ["verify", "m.eqm", "--against", "reference", "--shrink", "shown.npz"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0
    assert done.output.endswith("nothing differs: no input shows it\n")
    assert [path.name for path in tmp_path.iterdir()] == ["m.eqm"]


def test_a_search_ends_after_its_tries(integers):
    tried = []

    def differs(feeds):
        tried.append(feeds)
        return False

    (feeds,) = random_inputs(integers, 1)
    large = {"x": np.tile(feeds["x"], 99)}
    found = smallest(integers, large, differs)
    np.testing.assert_array_equal(found["x"], large["x"], strict=True)
    assert len(tried) == 400


# ---- refusals


def test_a_name_that_is_no_target_is_refused(integers):
    with refused(
        "'arm' is no target: reference, kernels, c, npu, tflm, onnxruntime, tosa are", InputError
    ):
        edgeinfer.verify(integers, ("arm",))


def test_a_float_model_is_refused():
    with refused("a float model has no bits that are promised: quantize it first", InputError):
        edgeinfer.verify(network())


def keeping(**options: str) -> Graph:
    b = GraphBuilder()
    x, h = b.input("x", TensorType((1, 4))), b.state("h", np.zeros((1, 4), np.float32))
    y = b.add(ops.Add(), x, h, output="y")
    b.keep(h, y)
    return quantize(b.graph(y), [{"x": floats(i, 1, 4)} for i in range(12)], **options)


def test_states_go_from_run_to_run_on_every_target(monkeypatch):
    graph = keeping()
    needed("cc")
    runs = random_inputs(graph, 5)
    for found in edgeinfer.verify(graph, ("reference", "kernels", "c"), runs):
        assert (found.broken, found.promised) == (0, 1)
    # the digest depends on their order
    assert digest(graph, runs) != digest(graph, runs[::-1])
    stream, sums = Session(graph).stream(), []
    for feeds in runs:
        out = np.empty((1, 4), np.int8)
        stream.run(feeds, {graph.outputs[0]: out})
        sums.append({name: out for n in graph.nodes for name in n.outputs})
    assert len(graph.nodes) == 1
    assert digest(graph, runs) == sealed(sums)


def test_what_states_have_brought_about_is_not_shrunk(monkeypatch):
    graph = keeping()
    runs = random_inputs(graph, 3)
    for place, feeds in enumerate(runs):
        feeds["x"].flat[0] = 90 if place == 2 else 3
    wrong_where_one_element_is_large(monkeypatch, "y", 0)
    (found,) = edgeinfer.verify(graph, ("reference",), runs, shrink=True)
    assert (found.run, found.smallest) == (2, None)
    (found,) = edgeinfer.verify(graph, ("reference",), runs[2:], shrink=True)
    assert found.smallest["x"].flat[0] == 90


def test_states_go_from_run_to_run_in_peers():
    pytest.importorskip("tflite_micro")
    pytest.importorskip("onnxruntime")
    graph = keeping(rounding="double")
    micro, peer = edgeinfer.verify(graph, ("tflm", "onnxruntime"), random_inputs(graph, 5))
    assert (micro.differing, micro.values, micro.promised) == (0, 20, 1)
    assert (peer.values, peer.promised) == (20, 0)


def test_what_only_data_can_tell_is_asked_for():
    proto = model(
        [node("Gather", ["table", "ids"], ["y"])],
        inputs={"ids": (3,)},
        constants={"table": floats(0, 5, 4)},
    )
    proto.graph.input[0].type.tensor_type.elem_type = 7
    graph = quantize(
        from_onnx(proto, input_shapes={"ids": [3]}), {"ids": np.arange(15).reshape(5, 3) % 5}
    )
    with refused(
        "input 'ids' holds int64, of which only data can tell what may stand there: give some",
        InputError,
    ):
        edgeinfer.verify(graph)
    assert edgeinfer.verify(graph, runs=[{"ids": np.array([4, 0, 2])}])[0].broken == 0


def test_without_micro_its_extra_is_named(integers, monkeypatch):
    for package in ("tflite_micro", "tflite_micro.python.tflite_micro"):
        monkeypatch.setitem(sys.modules, package, None)
    with refused(
        "tflite_micro is not installed; install it with: pip install 'edgeinfer[bench]'",
        MissingExtraError,
    ):
        edgeinfer.verify(integers, ("tflm",))
