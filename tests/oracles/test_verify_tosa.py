"""Every layer that TOSA has operators for has the same bits in Arm's reference model."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

import edgeinfer
from edgeinfer.agreement import random_inputs
from edgeinfer.arithmetic.fixedpoint import average_multiplier, double_round, single_round
from edgeinfer.cli.commands import edgeinfer as command
from edgeinfer.converters import from_onnx
from edgeinfer.converters.tosa import program
from edgeinfer.converters.tosa.lowering import lowered
from edgeinfer.errors import UnsupportedError
from edgeinfer.files.model_file import save
from edgeinfer.graph import Graph, GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant import quantize
from tests import strategies
from tests.agreement.test_verify import keeping
from tests.converters.test_quantized_models import SAMPLES
from tests.converters.test_tflite import network
from tests.example_counts import examples
from tests.oracles.oracle_environment import VARIABLE

pytestmark = pytest.mark.filterwarnings("ignore::edgeinfer.errors.EdgeInferWarning")

Q8 = Quantization.per_tensor(0.1, 3)


@pytest.fixture(autouse=True, scope="module")
def program_on_path(oracles):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(os.environ[VARIABLE]) / "tosa" / "bin"), os.pathsep)
        yield


def agreed(graph: Graph, runs=None) -> edgeinfer.agreement.Agreement:
    """What is found of a Graph of which all that TOSA has operators for is equal."""
    (found,) = edgeinfer.verify(graph, ("tosa",), runs)
    assert (found.target, found.differing, found.broken) == ("tosa", 0, 0)
    made = {name for node in graph.nodes for name in node.outputs}
    assert found.by_layer.keys() == made - found.absent.keys()
    assert found.promised == found.layers == len(found.by_layer) > 0
    return found


@pytest.mark.slow
@settings(
    deadline=None,
    max_examples=examples(50),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(drawn=strategies.graphs_with_inputs(max_nodes=14))
def test_every_layer_of_a_random_graph_has_the_bits(drawn):
    graph, inputs = drawn
    try:
        agreed(graph, [inputs])
    except UnsupportedError as error:
        assert error.message.startswith("TOSA has a form for none of the operators: ")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rounding"), [("ic_resnet8", "double"), ("kws_dscnn", "single")])
def test_real_models_have_the_bits_but_for_the_softmax(zoo, name, rounding):
    entry = zoo.load(name)
    graph = quantize(from_onnx(entry.model), entry.calib[:8], rounding=rounding)
    found = agreed(graph, random_inputs(graph, 1))
    assert list(found.absent.values()) == ["QSoftmax: TOSA has no operator for it"]
    assert found.layers == len(graph.nodes) - 1 > 10


@pytest.mark.slow
def test_a_real_recurrent_model_has_the_bits(zoo):
    entry = zoo.load("armkws_gru_s")
    graph = quantize(from_onnx(entry.model), entry.calib[:8])
    found = agreed(graph, random_inputs(graph, 1))
    assert list(found.absent.values()) == ["QSoftmax: TOSA has no operator for it"]
    assert found.layers > 300


def test_layers_of_16_bits_have_the_bits():
    graph = quantize(network(), SAMPLES, scheme="int16x8")
    assert list(agreed(graph).absent.values()) == ["QSoftmax: TOSA has no operator for it"]


def averages(dtype: str) -> Graph:
    """Means over windows of x, with pads, a rest, and pads of ceil_mode."""
    b = GraphBuilder()
    q = Q8 if dtype == "int8" else Quantization.per_tensor(0.1)
    x = b.input("x", TensorType((2, 7, 8, 3), dtype, q))
    info = np.iinfo(dtype)
    means = []
    for kernel, strides, pads, ceil_pads in (
        ((7, 8), (1, 1), (0, 0, 0, 0), (0, 0)),
        ((3, 3), (2, 3), (1, 1, 0, 1), (0, 0)),
        ((2, 4), (2, 3), (0, 2, 0, 0), (1, 0)),
        ((3, 5), (3, 4), (1, 0, 1, 0), (0, 1)),
    ):
        ratios = np.array([average_multiplier(n + 1) for n in range(math.prod(kernel))])
        multiplier = b.constant("m", ratios[:, 0].astype(np.int32))
        shift = b.constant("s", ratios[:, 1].astype(np.int8))
        for zero_point in (0, q.zero_point):
            op = ops.QAveragePool(
                kernel=kernel,
                strides=strides,
                pads=pads,
                ceil_pads=ceil_pads,
                input_zero_point=zero_point,
                output_zero_point=zero_point,
                lo=info.min + 9,
                hi=info.max,
            )
            means.append(b.add(op, x, multiplier, shift, quantization=q))
    return b.graph(*means)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_means_are_avg_pool_2d(dtype):
    graph = averages(dtype)
    assert agreed(graph).layers == len(graph.nodes)
    (region,) = lowered(graph).document["regions"]
    operators = [operator["op"] for operator in region["blocks"][0]["operators"]]
    assert operators.count("AVG_POOL2D") == len(graph.nodes)


@pytest.mark.parametrize("rounding", ["single", "double"])
def test_numbers_beyond_what_a_shift_allows_saturate(rounding):
    """RESCALE takes 2^(S-1) at most; a ratio of 2^10 makes the ends of the clamp of all beyond."""
    b = GraphBuilder()
    x = b.input("x", TensorType((1, 256), "int8", Q8))
    for shift in (2, 8, 20):
        op = ops.Rescale(
            input_zero_point=3, multiplier=2**30, shift=shift, output_zero_point=-7, lo=-100,
            rounding=rounding,
        )  # fmt: skip
        b.add(op, x, output=f"y{shift}", quantization=Q8)
    q = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)
    assert agreed(b.graph("y2", "y8", "y20"), [{"x": q}]).values == 3 * 256


def test_states_go_from_run_to_run():
    graph = keeping()
    assert agreed(graph, random_inputs(graph, 3)).layers == 1


def test_a_state_that_tosa_does_not_compute_is_the_sessions():
    """A quotient is kept; what is added to it in the next run is compared."""
    b = GraphBuilder()
    kind = TensorType((1, 8), "int8", Q8)
    x = b.input("x", kind)
    h = b.state("h", np.full((1, 8), 5, np.int8), Q8)
    y = b.add(ops.QMul(multiplier=2**30, shift=34), x, h, output="y", quantization=Q8)
    z = b.add(ops.QDiv(multiplier=2**30, shift=29), y, x, output="z", quantization=Q8)
    b.keep(h, z)
    graph = b.graph(y)
    found = agreed(graph, random_inputs(graph, 4))
    assert list(found.by_layer) == ["y"]
    assert found.absent == {"z": "QDiv: TOSA has no operator for it"}


def test_runs_may_lie_in_memory_in_any_order():
    graph = averages("int8")
    (feeds,) = random_inputs(graph, 1)
    turned = np.asfortranarray(feeds["x"])
    assert not turned.flags.c_contiguous
    agreed(graph, [{"x": turned}])


# ---- differences are found


def rounding_twice(monkeypatch) -> None:
    """TOSA computes what another Graph does: one whose products round twice."""

    def other(graph):
        nodes = [
            replace(n, op=replace(n.op, rounding="double")) if isinstance(n.op, ops.QMul) else n
            for n in graph.nodes
        ]
        return lowered(replace(graph, nodes=tuple(nodes)))

    monkeypatch.setattr(program, "lowered", other)


def product() -> Graph:
    """A product by 2^-8, of which one in 256 is rounded twice to another number."""
    b = GraphBuilder()
    kind = TensorType((1, 200), "int8", Quantization.per_tensor(0.5))
    x, y = b.input("x", kind), b.input("y", kind)
    op = ops.QMul(multiplier=2**30, shift=38)
    return b.graph(b.add(op, x, y, output="z", quantization=kind.quantization))


def test_another_rounding_is_found_and_shrunk(monkeypatch, tmp_path):
    graph = product()
    agreed(graph)
    rounding_twice(monkeypatch)
    runs = random_inputs(graph, 1)
    (found,) = edgeinfer.verify(graph, ("tosa",), runs)
    assert (found.differing, found.largest, found.first) == (found.broken, 1, "z")
    assert found.differing > 0

    monkeypatch.chdir(tmp_path)
    save(graph, "m.eqm")
    arguments = ["verify", "m.eqm", "--against", "reference,tosa", "--samples", "1"]
    done = CliRunner().invoke(command, [*arguments, "--shrink", "shown.npz"])
    assert done.exit_code == 1
    assert done.output == (
        f"error: m.eqm has other bits on tosa: {found.broken} of 200 values, by 1 at most, "
        f"first 'z' in run 0; "
        "shown.npz shows it on tosa: of its 400 integers 2 are not at zero\n"
    )
    with np.load("shown.npz") as shown:
        (place,) = np.flatnonzero(shown["x"])
        acc = int(shown["x"].flat[place]) * int(shown["y"].flat[place])
    assert single_round(acc, 2**30, 38) != double_round(acc, 2**30, 38)


def test_the_command_names_the_layers_without_an_operator(tmp_path, monkeypatch):
    graph = quantize(network(), SAMPLES)
    monkeypatch.chdir(tmp_path)
    save(graph, "m.eqm")
    done = CliRunner().invoke(command, ["verify", "m.eqm", "--against", "reference,tosa"])
    assert done.exit_code == 0
    assert done.output.endswith("\n\ntosa lacks 'y' (QSoftmax: TOSA has no operator for it)\n")
