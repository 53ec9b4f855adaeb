"""A Graph's types say what integers mean, to the bit, and refuse what means nothing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from tests.refusals import refused

floats32 = st.floats(width=32, allow_nan=False)
scales = st.floats(2.0**-100, 2.0**100, width=32)


@given(x=floats32, scale=scales, zero_point=st.integers(-128, 127))
def test_quantizing_divides_in_float32_and_rounds_half_to_even(x, scale, zero_point):
    with np.errstate(over="ignore"):
        quotient = float(np.float32(x) / np.float32(scale))
    if math.isinf(quotient):
        expected = 127 if quotient > 0 else -128
    else:
        expected = min(max(round(quotient) + zero_point, -128), 127)
    q = Quantization.per_tensor(scale, zero_point).quantize(np.array([x], np.float32), "int8")
    assert q.dtype == np.int8 and q.tolist() == [expected]


def test_quantizing_rounds_halves_to_even_clamps_and_takes_float64():
    q = Quantization.per_tensor(0.5)
    x = np.array([0.25, 0.75, 1.25, -0.25, 1e300, -np.inf])
    assert q.quantize(x, "int8").tolist() == [0, 2, 2, 0, 127, -128]


def test_a_nan_is_refused():
    with refused("a NaN cannot be quantized", InputError):
        Quantization.per_tensor(1.0).quantize(np.array([0, np.nan], np.float32), "int8")


@given(q=st.integers(-32768, 32767), scale=scales)
def test_dequantizing_multiplies_in_float32(q, scale):
    x = Quantization.per_tensor(scale, 5).dequantize(np.array([q], np.int16))
    assert x.dtype == np.float32 and x[0] == np.float32(q - 5) * np.float32(scale)


def test_dequantizing_has_a_scale_for_each_index_of_its_axis():
    q = Quantization((0.5, 2.0, 1.0), axis=1)
    x = q.dequantize(np.array([[1, 1, 1], [-4, 3, 0]], np.int8))
    assert x.tolist() == [[0.5, 2, 1], [-2, 6, 0]]
    with refused("a per-channel quantization has no single scale"):
        _ = q.step


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, 0.1, 1e300, 2.0**-200])
def test_a_scale_is_a_positive_finite_float32(scale):
    with refused(f"a scale must be a positive finite float32, not {scale!r}"):
        Quantization((scale,))


def test_a_scale_beyond_float32_is_refused():
    with refused("a scale must be a positive finite float32, not inf"):
        Quantization.per_tensor(1e300)
    with refused("a per-tensor quantization has one scale, not 2"):
        Quantization((1.0, 2.0))


# (shape, dtype, quantization, refusal)
TYPES = [
    ((1,), "float64", None, "a value cannot hold elements of type 'float64'"),
    ((1,) * 9, "int8", None, "a value has at most 8 axes, not 9"),
    ((3, 0), "int8", None, "an extent must be between 1 and 2147483647, not 0"),
    ((2**31,), "int8", None, "an extent must be between 1 and 2147483647, not 2147483648"),
    ((2**16, 2**15), "int8", None,
     "a value of shape [65536, 32768] has 2^31 elements or more"),
    ((1,), "float32", Quantization.per_tensor(1.0), "a value of type float32 cannot be quantized"),
    ((3,), "int8", Quantization((1.0, 2.0), axis=0), "2 scales on axis 0 do not fit shape [3]"),
    ((3,), "int8", Quantization((1.0,), axis=1), "1 scales on axis 1 do not fit shape [3]"),
    ((3,), "int8", Quantization.per_tensor(1.0, 128), "zero point 128 does not fit int8"),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "dtype", "quantization", "message"), TYPES)
def test_types_that_mean_nothing_are_refused(shape, dtype, quantization, message):
    with refused(message):
        TensorType(shape, dtype, quantization)


def test_with_nodes_drops_what_no_output_needs():
    t, f = TensorType((2,)), ops.Pointwise("x")
    nodes = [Node(name, f, (x,), (y,)) for name, x, y in (("a", "x", "u"), ("b", "u", "v"))]
    nodes += [Node("c", ops.Add(), ("u", "k"), ("y",)), Node("d", ops.Add(), ("x", "j"), ("w",))]
    constants = {"k": np.zeros(2, np.float32), "j": np.zeros(2, np.float32)}
    g = Graph("g", (), dict.fromkeys("xuvywkj", t), ("x",), ("y",), constants).with_nodes(nodes)
    assert [n.name for n in g.nodes] == ["a", "c"]
    assert set(g.types) == {"x", "u", "y", "k"} and set(g.constants) == {"k"}
    assert g.producers()["y"].name == "c"
    assert [n.name for n in g.consumers()["u"]] == ["c"]


def test_a_graph_prints_its_values_and_types():
    q = Quantization.per_tensor(0.25, -3)
    t = TensorType((1, 4), "int8", q)
    g = Graph("net", (Node("n", ops.Reshape((1, 4)), ("x",), ("y",)),), {"x": t, "y": t},
              ("x",), ("y",), {})  # fmt: skip
    assert str(g) == (
        "graph net\n"
        "  input  x: int8[1x4] * 0.25 @ -3\n"
        "  y = Reshape<shape=(1,4)>(x)  -> int8[1x4] * 0.25 @ -3\n"
        "  output y: int8[1x4] * 0.25 @ -3"
    )
    assert g.is_integer and t.nbytes == 4


def test_a_graph_says_what_it_is_in_a_few_lines_however_large():
    kind = TensorType((1, 2))
    names = ["x", *(f"v{i}" for i in range(500))]
    nodes = tuple(
        Node(f"n{i}", ops.Pointwise(("relu", "x")), (names[i],), (names[i + 1],))
        for i in range(500)
    )
    graph = Graph("<chain>", nodes, dict.fromkeys(names, kind), ("x",), ("v499",), {})
    assert repr(graph).splitlines() == [
        "float graph '<chain>': 500 nodes",
        "  input  x: float32[1x2]",
        "  output v499: float32[1x2]",
        "  500 Pointwise",
    ]
    page = graph._repr_html_()
    assert "&lt;chain&gt;" in page and page.count("<tr>") == 202 and "and 300 more" in page
