"""The float executor computes what onnxruntime does; a run of a Graph takes and gives its types."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.errors import InputError, ModelError
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import output_shapes
from edgeinfer.meaning import reference
from edgeinfer.meaning.float_executor import evaluate, execute
from tests.refusals import refused

RNG = np.random.default_rng(0)


def floats(*shape):
    return np.asarray(RNG.normal(size=shape), np.float32)


def by_onnxruntime(operator, *arrays, every=False, **attributes):
    """The output of one ONNX operator, or both."""
    names = [f"x{i}" for i in range(len(arrays))]
    outputs = ["y", "z"] if every else ["y"]
    node = onnx.helper.make_node(operator, names, outputs, **attributes)
    kinds = [onnx.helper.np_dtype_to_tensor_dtype(a.dtype) for a in arrays]
    infos = [
        onnx.helper.make_tensor_value_info(name, kind, a.shape)
        for name, kind, a in zip(names, kinds, arrays, strict=True)
    ]
    results = [onnx.helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = onnx.helper.make_graph([node], "one", infos, results)
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, dict(zip(names, arrays, strict=True)))
    return found if every else found[0]


def nchw(x):
    return x.transpose(0, 3, 1, 2)


def nhwc(x):
    return x.transpose(0, 2, 3, 1)


def check(op, arrays, expected):
    """``op`` gives ``expected``, in the shape that the shape rule says."""
    (y,) = evaluate(op, *arrays)
    assert [y.shape] == list(output_shapes(op, *(a.shape for a in arrays)))
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


# ---- float operators, against onnxruntime ----------------------------------------------------

CONVOLUTIONS = [
    # x, kernel, outputs, group, strides, pads, dilations
    ((1, 1, 1, 1), (1, 1), 1, 1, (1, 1), (0, 0, 0, 0), (1, 1)),
    ((2, 7, 5, 3), (3, 3), 4, 1, (2, 1), (1, 0, 1, 2), (1, 1)),
    ((1, 11, 7, 1), (5, 2), 8, 1, (1, 2), (2, 1, 2, 0), (1, 1)),
    ((1, 8, 9, 2), (3, 2), 5, 1, (1, 1), (2, 1, 2, 1), (2, 3)),
    ((1, 5, 7, 6), (3, 3), 6, 6, (1, 1), (1, 1, 1, 1), (1, 1)),
    ((2, 6, 7, 3), (3, 3), 9, 3, (2, 2), (0, 1, 1, 0), (1, 1)),
    ((1, 5, 5, 6), (3, 3), 4, 2, (1, 1), (0, 0, 0, 0), (1, 1)),
]


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv(case):
    shape, kernel, outputs, group, strides, pads, dilations = case
    x, weights = floats(*shape), floats(outputs, *kernel, shape[3] // group)
    window = {"strides": strides, "pads": pads, "dilations": dilations, "group": group}
    expected = nhwc(by_onnxruntime("Conv", nchw(x), nchw(weights), **window))
    check(ops.Conv(**window), (x, weights), expected)
    bias = floats(outputs)
    clamped = np.clip(expected + bias, -0.5, 0.75)
    check(ops.Conv(-0.5, 0.75, **window), (x, weights, bias), clamped)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("output_padding", [(0, 0), (1, 0)])
@pytest.mark.parametrize(("strides", "pads", "dilations"),
                         [((1, 1), (0, 0, 0, 0), (1, 1)), ((2, 3), (1, 0, 0, 2), (1, 1)),
                          ((2, 2), (1, 1, 1, 1), (2, 1))])  # fmt: skip
def test_conv_transpose(group, output_padding, strides, pads, dilations):
    if any(p >= max(s, d) for p, s, d in zip(output_padding, strides, dilations, strict=True)):
        pytest.skip("onnxruntime refuses an output padding as large as the stride")
    x, weights = floats(2, 4, 5, 6), floats(6, 3, 2, 3)
    window = {"strides": strides, "pads": pads, "dilations": dilations, "group": group,
              "output_padding": output_padding}  # fmt: skip
    expected = by_onnxruntime("ConvTranspose", nchw(x), nchw(weights), **window)
    check(ops.ConvTranspose(**window), (x, weights), nhwc(expected))


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize(("kernel", "strides", "pads"), [
    ((1, 1), (1, 1), (0, 0, 0, 0)), ((3, 3), (2, 2), (1, 1, 1, 1)),
    ((2, 3), (1, 2), (0, 1, 1, 1)), ((7, 11), (1, 1), (0, 0, 0, 0)),
])  # fmt: skip
def test_average_pool(include, kernel, strides, pads):
    x = floats(2, 7, 11, 3)
    expected = by_onnxruntime("AveragePool", nchw(x), kernel_shape=kernel, strides=strides,
                              pads=pads, count_include_pad=int(include))  # fmt: skip
    op = ops.AveragePool(strides, pads, kernel, count_include_pad=include)
    check(op, (x,), nhwc(expected))


def test_the_rows_that_ceil_mode_adds_count_in_no_divisor():
    x = np.array([1, 2, 3, 4], np.float32).reshape(1, 1, 4, 1)
    for include, first in ((True, 1.0), (False, 1.5)):
        pool = ops.AveragePool((1, 3), (0, 1, 0, 0), (1, 3), (0, 1), include)
        check(pool, (x,), np.array([first, 3.5], np.float32).reshape(1, 1, 2, 1))


@pytest.mark.parametrize(("operator", "op"), [
    ("Softmax", ops.Softmax(1)), ("LogSoftmax", ops.LogSoftmax(1)),
])  # fmt: skip
def test_softmax(operator, op):
    x = floats(2, 5, 3) * 30
    check(op, (x,), by_onnxruntime(operator, x, axis=1))


@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("name", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"])
def test_reductions(name, axes, keepdims):
    x = floats(2, 5, 3)
    expected = by_onnxruntime(name, x, np.array(axes), keepdims=int(keepdims))
    check(ops.OPERATORS[name](axes, keepdims), (x,), expected)


@pytest.mark.parametrize("name", ["Add", "Sub", "Mul", "Div", "Pow"])
@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((4, 1, 3), (5, 1)), ((), (7,)), ((), ())])
def test_pairs_broadcast(name, shapes):
    a, b = (np.asarray(np.abs(floats(*shape)) + np.float32(0.1)) for shape in shapes)
    check(ops.OPERATORS[name](), (a, b), np.asarray(by_onnxruntime(name, a, b)))


def test_a_fused_clamp_of_two_numbers():
    a, b = np.float32(3), np.float32(4)
    check(ops.Add(0.0, 6.0), (np.array(a), np.array(b)), np.array(6, np.float32))


def test_matmul_and_dense():
    a, b = floats(3, 1, 4, 5), floats(2, 5, 7)
    check(ops.MatMul(), (a, b), by_onnxruntime("MatMul", a, b))
    x, weights, bias = floats(2, 3, 5), floats(4, 5), floats(4)
    check(ops.Dense(lo=0.0), (x, weights, bias), np.maximum(x @ weights.T + bias, 0))


def test_prelu():
    x, slope = floats(2, 3, 5), floats(5)
    check(ops.PRelu(), (x, slope), by_onnxruntime("PRelu", x, slope))


@pytest.mark.parametrize("size", [1, 2, 5, 99])
def test_lrn(size):
    x = floats(2, 3, 4, 7)
    attributes = {"alpha": 0.02, "beta": 0.75, "bias": 1.5}
    if size % 2:
        expected = nhwc(by_onnxruntime("LRN", nchw(x), size=size, **attributes))
    else:  # onnxruntime takes odd sizes only; the specification rounds the half before down
        squares = np.pad(x * x, [(0, 0)] * 3 + [(0, 1)])
        sums = squares[..., :-1] + squares[..., 1:]
        expected = x / (1.5 + 0.01 * sums) ** np.float32(0.75)
    check(ops.LRN(size, **attributes), (x,), expected)


def test_normalizations():
    x, scale, bias = floats(2, 3, 4, 5), floats(5), floats(5)
    expected = by_onnxruntime("InstanceNormalization", nchw(x), scale, bias, epsilon=1e-3)
    op = ops.Normalization(axes=(1, 2), epsilon=1e-3)
    check(op, (x, scale, bias), nhwc(expected))
    scale, bias = floats(4, 5), floats(4, 5)
    expected = by_onnxruntime("LayerNormalization", x, scale, bias, axis=2, epsilon=1e-3)
    check(ops.Normalization(axes=(2, 3), epsilon=1e-3), (x, scale, bias), expected)


def test_what_is_normalized_by_its_squares_or_magnitudes_keeps_its_mean():
    x, scale = floats(2, 3, 4, 5), floats(5)
    squares = np.sqrt((x * x).mean((1, 3), keepdims=True) + np.float32(0.1))
    op = ops.Normalization(axes=(1, 3), epsilon=0.1, measure="squares")
    check(op, (x, scale), x / squares * scale)
    magnitudes = np.abs(x).mean(3, keepdims=True)
    op = ops.Normalization(axes=(3,), measure="magnitudes")
    check(op, (x, scale), x / magnitudes * scale)
    op = ops.Normalization(axes=(3,), epsilon=0.25, measure="magnitudes", is_least=True)
    check(op, (x, scale), x / np.maximum(magnitudes, 0.5) * scale)


@pytest.mark.parametrize("measure", ["variance", "squares", "magnitudes"])
def test_what_a_normalization_would_divide_by_0_is_0(measure):
    x = np.zeros((2, 3), np.float32)
    one, bias = np.ones(3, np.float32), floats(3)
    op = ops.Normalization(axes=(1,), measure=measure)
    check(op, (x, one, bias), np.stack([bias, bias]))


def test_a_normalization_takes_numbers_whose_squares_no_float32_holds():
    x, one = floats(2, 3, 40), np.ones(40, np.float32)
    op = ops.Normalization(axes=(2,))
    (expected,) = evaluate(op, x, one)
    for factor in (1e30, 1e-30):
        check(op, (x * np.float32(factor), one), expected)


def test_resize():
    x = floats(1, 4, 6, 3)
    expected = by_onnxruntime("Resize", nchw(x), np.array([], np.float32),
                              np.array([1, 1, 2, 0.5], np.float32), mode="linear",
                              coordinate_transformation_mode="asymmetric")  # fmt: skip
    rows = (*((i // 2, (1 - i % 2 / 2, i % 2 / 2)) for i in range(6)), *((2, (0.0, 1.0)),) * 2)
    columns = tuple((2 * i, (1.0,)) for i in range(3))
    check(ops.Resize(rows, columns), (x,), nhwc(expected))


def test_pointwise_stays_float32_and_keeps_the_shape():
    x = floats(3, 5)
    check(ops.Pointwise(("mul", "x", ("sigmoid", "x"))), (x,), x / (1 + np.exp(-x)))
    check(ops.Pointwise(("mul", 2.0, 3.0)), (x,), np.full((3, 5), 6, np.float32))
    check(ops.Pointwise(("exp", "x")), (np.array(0, np.float32),), np.array(1, np.float32))


def test_what_exceeds_its_threshold():
    x = np.array([[1, 2, -np.inf], [np.nextafter(np.float32(1), 2), 1, 0]], np.float32)
    thresholds = np.array([1, 1, -1], np.float32)
    check(ops.Exceeds(), (x, thresholds), np.array([[0, 1, 0], [1, 0, 1]], np.float32))


# ---- operators of either kind ----------------------------------------------------------------

KINDS = ["float32", "int8", "int16"]


def numbers(dtype, *shape):
    return floats(*shape) if dtype == "float32" else RNG.integers(-128, 128, shape).astype(dtype)


def check_moves(op, arrays, expected):
    (y,) = evaluate(op, *arrays)
    assert [y.shape] == list(output_shapes(op, *(a.shape for a in arrays)))
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize(("kernel", "strides", "pads", "dilations"), [
    ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)), ((3, 2), (2, 1), (1, 0, 2, 1), (1, 1)),
    ((2, 2), (1, 3), (1, 1, 0, 1), (2, 3)), ((5, 7), (1, 1), (0, 0, 0, 0), (1, 1)),
])  # fmt: skip
def test_max_pool(dtype, kernel, strides, pads, dilations):
    x = numbers(dtype, 2, 5, 7, 3)
    expected = by_onnxruntime("MaxPool", nchw(x).astype(np.float32), kernel_shape=kernel,
                              strides=strides, pads=pads, dilations=dilations)  # fmt: skip
    op = ops.MaxPool(strides, pads, kernel, dilations)
    check_moves(op, (x,), nhwc(expected).astype(dtype))


def test_pads_never_win_a_max_pool():
    x = np.full((1, 1, 1, 1), -128, np.int8)
    check_moves(ops.MaxPool(kernel=(3, 3), pads=(1, 1, 1, 1)), (x,), x)
    x = np.full((1, 1, 1, 1), -np.inf, np.float32)
    check_moves(ops.MaxPool(kernel=(3, 3), pads=(1, 1, 1, 1)), (x,), x)


@pytest.mark.parametrize("dtype", KINDS)
def test_the_larger_and_the_smaller(dtype):
    a, b = numbers(dtype, 2, 1, 5), numbers(dtype, 3, 1)
    check_moves(ops.Maximum(), (a, b), np.where(a > b, a, b))
    check_moves(ops.Minimum(), (a, b), np.where(a < b, a, b))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("keepdims", [False, True])
def test_argmax_of_equals(last, keepdims):
    x = RNG.integers(0, 3, (5, 7, 2)).astype(np.int8)
    expected = by_onnxruntime("ArgMax", x, axis=1, keepdims=int(keepdims),
                              select_last_index=int(last))  # fmt: skip
    check_moves(ops.ArgMax(1, keepdims, last), (x,), expected)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_places_of_the_largest_and_what_is_there(axis, largest):
    x = RNG.normal(size=(5, 7, 6)).astype(np.float32)
    k = np.array([4])
    values, indices = by_onnxruntime("TopK", x, k, axis=axis, largest=int(largest), every=True)
    check_moves(ops.TopIndices(axis, 4, largest), (x,), indices)
    check_moves(ops.GatherElements(axis), (x, indices), values)


@pytest.mark.parametrize("largest", [False, True])
def test_of_equal_elements_the_first_comes_first(largest):
    x = RNG.integers(-2, 3, (30,)).astype(np.int8)
    _, indices = by_onnxruntime("TopK", x, np.array([30]), largest=int(largest), every=True)
    check_moves(ops.TopIndices(0, 30, largest), (x,), indices)


@pytest.mark.parametrize("dtype", KINDS)
def test_elements_are_gathered_where_the_indices_lie(dtype):
    x = numbers(dtype, 3, 5, 4)
    indices = RNG.integers(-5, 5, (2, 7, 3))
    check_moves(ops.GatherElements(1), (x, indices), np.take_along_axis(x[:2, :, :3], indices, 1))
    with refused("index 5 is outside an axis of 5", InputError):
        evaluate(ops.GatherElements(1), x, indices * 0 + 5)


@pytest.mark.parametrize("dtype", KINDS)
def test_concat_and_transpose(dtype):
    x, y = numbers(dtype, 2, 3, 5), numbers(dtype, 2, 1, 5)
    check_moves(ops.Concat(1), (x, y, x), np.concatenate([x, y, x], 1))
    check_moves(ops.Transpose((2, 0, 1)), (x,), np.einsum("abc->cab", x))
    scalar = numbers(dtype)
    check_moves(ops.Transpose(()), (np.asarray(scalar),), np.asarray(scalar))
    check_moves(ops.Reshape((5, 6)), (x,), np.resize(x, (5, 6)))


@given(extent=st.integers(1, 7), data=st.data())
def test_slice_takes_every_step_from_its_start(extent, data):
    start = data.draw(st.integers(0, extent - 1))
    step = data.draw(st.integers(-3, 3).filter(bool))
    room = (extent - 1 - start) // step if step > 0 else start // -step
    size = data.draw(st.integers(1, room + 1))
    x = np.arange(3 * extent, dtype=np.int16).reshape(3, extent)
    expected = np.array([[row[start + i * step] for i in range(size)] for row in x], np.int16)
    check_moves(ops.Slice((0, start), (3, size), (1, step)), (x,), expected)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pad(dtype, mode):
    x = numbers(dtype, 2, 5, 3)
    value = 1.5 if dtype == "float32" else -77
    expected = by_onnxruntime("Pad", x.astype(np.float32), np.array([0, 2, 0, 1, 0, 2]),
                              np.array(value, np.float32), mode=mode)  # fmt: skip
    check_moves(ops.Pad((0, 2, 0), (1, 0, 2), mode, value), (x,), expected.astype(dtype))


@pytest.mark.parametrize("dtype", KINDS)
def test_gather_counts_negative_indices_from_the_end(dtype):
    x, indices = numbers(dtype, 2, 5, 3), np.array([[4, -1], [0, -5]])
    check_moves(ops.Gather(1), (x, indices), by_onnxruntime("Gather", x, indices, axis=1))


@pytest.mark.parametrize("index", [5, -6])
def test_gather_refuses_an_index_outside_its_axis(index):
    with refused(f"index {index} is outside an axis of 5", InputError):
        evaluate(ops.Gather(0), floats(5), np.array([0, index]))


def test_gather_from_the_start_alone_refuses_what_counts_from_the_end():
    x = floats(5)
    (found,) = evaluate(ops.Gather(0, from_end=False), x, np.array([0, 4]))
    np.testing.assert_array_equal(found, x[[0, 4]])
    with refused("index -1 is outside an axis of 5", InputError):
        evaluate(ops.Gather(0, from_end=False), x, np.array([0, -1]))


def test_an_index_outside_its_axis_is_refused_with_its_node():
    types = {"rows": TensorType((5,)), "i": TensorType((1,), "int64"), "y": TensorType((1,))}
    embed = Node("embed", ops.Gather(0), ("rows", "i"), ("y",))
    graph = Graph("one", (embed,), types, ("i",), ("y",), {"rows": floats(5)})
    with refused("node 'embed': index 5 is outside an axis of 5", InputError):
        execute(graph, {"i": np.array([5])})


@pytest.mark.parametrize("dtype", KINDS)
def test_tile_and_expand(dtype):
    x = numbers(dtype, 2, 1, 3)
    check_moves(ops.Tile((1, 3, 2)), (x,), by_onnxruntime("Tile", x, np.array([1, 3, 2])))
    check_moves(ops.Expand((5, 2, 7, 3)), (x,), np.stack([np.repeat(x, 7, 1)] * 5))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode):
    x = floats(2, 3, 5, 12)
    expected = by_onnxruntime("DepthToSpace", nchw(x), blocksize=2, mode=mode)
    check_moves(ops.DepthToSpace(2, mode), (x,), nhwc(expected))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_a_pad_of_a_value_without_axes_is_the_value(mode):
    x = np.array(3, np.int8)
    check_moves(ops.Pad((), (), mode, 1), (x,), x)


def test_space_to_depth_is_undone_by_depth_to_space():
    x = floats(2, 6, 9, 5)
    expected = nhwc(by_onnxruntime("SpaceToDepth", nchw(x), blocksize=3))
    check_moves(ops.SpaceToDepth(3), (x,), expected)
    check_moves(ops.DepthToSpace(3), (expected,), x)


def test_resize_nearest():
    x = numbers("int8", 1, 2, 3, 5)
    expected = np.stack([x[:, r][:, [2, 0, 0, 1]] for r in (1, 1, 0)], 1)
    check_moves(ops.ResizeNearest((1, 1, 0), (2, 0, 0, 1)), (x,), expected)


# ---- a run -----------------------------------------------------------------------------------

PAIR = TensorType((2,))


def graph(*nodes, types=("x", "y"), outputs=("y",), **constants):
    known = {name: TensorType(a.shape, str(a.dtype)) for name, a in constants.items()}
    return Graph("g", nodes, dict.fromkeys(types, PAIR) | known, ("x",), outputs, constants)


def test_a_run_observes_every_value_in_order_and_frees_it_after_its_last_use():
    twice = ops.Pointwise(("mul", "x", 2.0))
    g = graph(
        Node("a", twice, ("x",), ("u",)),
        Node("b", ops.Add(), ("u", "c"), ("v",)),
        Node("c", twice, ("v",), ("y",)),
        types=("x", "u", "v", "y"),
        outputs=("y", "u"),
        c=np.array([1, 1], np.float32),
    )
    seen = {}
    y = execute(g, {"x": np.array([1, 2], np.float32)}, observe=seen.__setitem__)
    assert {name: a.tolist() for name, a in y.items()} == {"y": [6, 10], "u": [2, 4]}
    assert list(seen) == ["x", "u", "v", "y"]


def test_floats_overflow_and_divide_by_zero_in_silence():
    g = graph(Node("n", ops.Div(), ("x", "c"), ("y",)), c=np.zeros(2, np.float32))
    y = execute(g, {"x": np.array([1, 0], np.float32)})["y"]
    assert y[0] == np.inf and np.isnan(y[1])


def test_inputs_that_do_not_fit_are_refused():
    g = graph(Node("n", ops.Pointwise("x"), ("x",), ("y",)))
    with refused("input 'x' is missing", InputError):
        execute(g, {})
    with refused("the graph has no input 'z'", InputError):
        execute(g, {"x": floats(2), "z": floats(2)})
    with refused("input 'x' takes float32 of shape [2], not float32 of shape [3]", InputError):
        execute(g, {"x": floats(3)})
    with refused("input 'x' takes float32 of shape [2], not float64 of shape [2]", InputError):
        execute(g, {"x": np.zeros(2)})


def test_a_result_that_its_type_cannot_hold_is_refused():
    types = {"x": TensorType((2,), "int8"), "y": TensorType((2,), "int8")}
    op = ops.Rescale(lo=-300, hi=300, multiplier=2**30, shift=28)
    g = Graph("g", (Node("n", op, ("x",), ("y",)),), types, ("x",), ("y",), {})
    assert reference.execute(g, {"x": np.array([1, -2], np.int8)})["y"].tolist() == [4, -8]
    with refused("Rescale 'n': gave int64 that int8 cannot hold", ModelError):
        reference.execute(g, {"x": np.array([127, 0], np.int8)})
