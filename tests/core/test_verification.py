"""A Graph that could go wrong in a run is refused before it, in one line that says where."""

import dataclasses

import numpy as np
import pytest

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.arithmetic.tables import function_table
from edgeinfer.graph import ABSENT, Graph, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.operator_checks import check
from edgeinfer.graph.site import Site
from edgeinfer.graph.verification import verify, work
from tests.refusals import refused

Q = Quantization.per_tensor(0.5, -3)
Q16 = Quantization.per_tensor(0.5)
M, S = 2**30, 40


def int8(*shape):
    return TensorType(shape, "int8", Q)


def int16(*shape):
    return TensorType(shape, "int16", Q16)


def one(op, *inputs, out):
    """A Graph of the one node 'n': types are its inputs x0, x1 ..., arrays its constants c1 ..."""
    types, constants, names = {}, {}, []
    for i, given in enumerate(inputs):
        if isinstance(given, TensorType):
            name, types[f"x{i}"] = f"x{i}", given
        else:
            name = f"c{i}"
            constants[name] = given
            types[name] = TensorType(given.shape, str(given.dtype))
        names.append(name)
    types["y"] = out
    values = tuple(name for name in names if name not in constants)
    return Graph("g", (Node("n", op, tuple(names), ("y",)),), types, values, ("y",), constants)


def relu(**changes):
    g = one(ops.Pointwise(("relu", "x")), TensorType((2,)), out=TensorType((2,)))
    return dataclasses.replace(g, **changes)


def full(value, *shape, dtype):
    return np.full(shape, value, dtype)


def dense(x=None, w=1, b=0, m=M, s=S, dtype="int8", wide=False, op=None, out=None, depth=4):
    """A QDense of ``depth`` to one channel."""
    x = x or (int16(1, depth) if wide else int8(1, depth))
    return one(
        op or ops.QDense(input_zero_point=0 if wide else -3),
        x,
        full(w, 1, depth, dtype=dtype),
        full(b, 1, dtype="int64" if wide else "int32"),
        full(m, 1, dtype="int32"),
        full(s, 1, dtype="int8"),
        out=out or dataclasses.replace(x, shape=(1, 1)),
    )


def refuse(message, graph):
    with refused(message):
        verify(graph)


# ---- names and types -------------------------------------------------------------------------


def test_a_legal_graph_passes():
    verify(relu())
    verify(dense())
    verify(dense(wide=True, m=2**23))
    verify(dense(wide=True, dtype="int16", m=2**23))


def test_a_graph_has_distinct_inputs_and_outputs():
    refuse("a graph has at least one input", relu(inputs=()))
    refuse("a graph has at least one output", relu(outputs=()))
    refuse("the inputs are not distinct: ['x0', 'x0']", relu(inputs=("x0", "x0")))
    refuse("the outputs are not distinct: ['y', 'y']", relu(outputs=("y", "y")))


def test_every_value_has_a_type_and_every_type_a_value():
    refuse("value 'z' has no type", relu(outputs=("z",)))
    types = {**relu().types, "z": TensorType((2,))}
    refuse("value 'z' has a type, but is never computed", relu(types=types))
    refuse("output 'z' is never computed", relu(types=types, outputs=("z",)))
    node = Node("n", ops.Pointwise("x"), ("x0",), ("z",))
    refuse("Pointwise 'n': gives 'z', which has no type", relu(nodes=(node,)))


def test_values_are_given_once_and_before_they_are_taken():
    (node,) = relu().nodes
    again = dataclasses.replace(node, name="m")
    refuse("Pointwise 'm': gives 'y', which is given already", relu(nodes=(node, again)))
    onto_input = dataclasses.replace(node, outputs=("x0",))
    refuse("Pointwise 'n': gives 'x0', which is given already", relu(nodes=(onto_input,)))
    later = dataclasses.replace(node, inputs=("y",))
    refuse("Pointwise 'n': takes 'y', which nothing before it gives", relu(nodes=(later,)))
    two = dataclasses.replace(node, outputs=("y", "z"))
    types = {**relu().types, "z": TensorType((2,))}
    refuse("Pointwise 'n': gives 1 value, not 2", relu(nodes=(two,), types=types))
    twice = dataclasses.replace(node, outputs=("y", "y"))
    refuse("Pointwise 'n': gives 'y', which is given already", relu(nodes=(twice,)))


def test_an_absent_input_stands_before_one_that_is_there_and_where_it_may():
    x = TensorType((1, 2))
    layer = one(ops.Dense(), x, full(1.0, 3, 2, dtype="float32"), out=TensorType((1, 3)))
    verify(layer)
    (node,) = layer.nodes

    def with_inputs(*inputs):
        return dataclasses.replace(layer, nodes=(dataclasses.replace(node, inputs=inputs),))

    refuse("Dense 'n': weights must not be absent", with_inputs("x0", ABSENT, "c1"))
    refuse("Dense 'n': ends its inputs with an absent one", with_inputs("x0", "c1", ABSENT))
    named = dataclasses.replace(layer, types={**layer.types, ABSENT: x})
    refuse("a value must have a name", named)


def test_no_two_nodes_have_one_name():
    (node,) = relu().nodes
    other = dataclasses.replace(node, inputs=("y",), outputs=("z",))
    g = relu(nodes=(node, other), types={**relu().types, "z": TensorType((2,))}, outputs=("z",))
    refuse("two nodes are called 'n'", g)


def test_constants_are_what_their_types_say():
    g = relu(constants={"x0": np.zeros(2, np.float32)})
    refuse("value 'x0' is both an input and a constant", g)
    types = {**relu().types, "c": TensorType((2,))}
    for array in (np.zeros(3, np.float32), np.zeros(2, np.float64)):
        refuse(
            f"constant 'c' holds {array.dtype} of shape {list(array.shape)}, "
            "but its type says float32[2]",
            relu(types=types, constants={"c": array}),
        )
    g = relu(types=types, constants={"c": np.array([1, np.nan], np.float32)})
    refuse("constant 'c' holds a value that is not finite", g)


def test_integers_at_the_edges_have_one_scale():
    move = ops.Reshape((3,))
    bare = TensorType((3,), "int8")
    refuse("value 'x0' is int8 and needs one scale", one(move, bare, out=bare))
    each = TensorType((3,), "int8", Quantization((0.5, 0.5, 1.0), axis=0))
    refuse("value 'x0' is int8 and needs one scale", one(move, each, out=each))
    wide = TensorType((3,), "int32", Quantization((0.5, 0.5, 1.0), axis=0))
    refuse("value 'x0' is int32 and needs one scale", one(move, wide, out=wide))


def test_a_free_batch_needs_an_axis():
    g = one(ops.Pointwise("x"), TensorType(()), out=TensorType(()))
    verify(g)
    refuse("input 'x0' has no axis for the free batch", dataclasses.replace(g, free_batch=True))


def test_shapes_are_those_that_the_operator_gives():
    g = one(ops.Reshape((4,)), int8(2, 2), out=int8(2, 2))
    refuse("Reshape 'n': gives shape [4], but its type says [2, 2]", g)
    g = one(ops.Reshape((5,)), int8(2, 2), out=int8(5))
    refuse("Reshape 'n': 4 elements do not fill shape [5]", g)


# ---- bounds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["strides", "dilations"])
def test_strides_and_dilations_are_bounded(field):
    op = ops.MaxPool(**{field: (1, 2**24)})
    g = one(op, int8(1, 1, 1, 1), out=int8(1, 1, 1, 1))
    refuse(f"MaxPool 'n': {field} must be below 16777216, not 16777216", g)


def test_pads_are_bounded():
    op = ops.Conv(pads=(2**24, 0, 0, 0))
    x, y = TensorType((1, 1, 1, 1)), TensorType((1, 2**24 + 1, 1, 1))
    g = one(op, x, np.zeros((1, 1, 1, 1), np.float32), out=y)
    refuse("Conv 'n': pads must be below 16777216, not 16777216", g)


def test_axes_that_windows_move_along_are_bounded():
    g = one(ops.MaxPool(), int8(1, 1, 2**30, 1), out=int8(1, 1, 2**30, 1))
    refuse("MaxPool 'n': an axis that a window moves along cannot have 1073741824", g)


def test_work_is_bounded():
    x = TensorType((2**16, 2**14))
    g = one(ops.MatMul(), x, TensorType((2**14, 2**14)), out=x)
    refuse("a run would take 1.76e+13 operations; the limit is 1e+13", g)
    lrn = ops.LRN(2**31 - 1, 1.0, 1.0, 1.0)
    g = one(lrn, TensorType((1, 8192)), out=TensorType((1, 8192)))
    refuse("a run would take 1.76e+13 operations; the limit is 1e+13", g)


def test_the_neighbours_of_a_resize_are_work():
    rows, columns = ((0, (0.25,) * 4),) * 9, ((0, (0.5,) * 2),) * 30
    g = one(ops.Resize(rows, columns), TensorType((2, 8, 20, 3)), out=TensorType((2, 9, 30, 3)))
    # rows of x first, and then columns
    assert work(Site(g.nodes[0], g)) == 2 * 9 * 3 * (20 * 4 + 30 * 2)


def test_what_a_run_holds_at_once_is_bounded():
    wide = int16(2**30 + 1)
    refuse(
        "a run would hold 4294967300 bytes at once; the limit is 4294967296",
        one(ops.Transpose((0,)), wide, out=wide),
    )
    verify(one(ops.Transpose((0,)), int16(2**30), out=int16(2**30)))


def test_an_accumulator_of_8_bit_activations_stays_below_2_to_the_31():
    # zero point -3: |x - zx| <= 130
    verify(dense(b=2**31 - 1 - 4 * 130))
    refuse(
        "QDense 'n': an accumulator of up to 2147483648 is not below 2^31",
        dense(b=2**31 - 4 * 130),
    )
    low = ops.QDense(input_zero_point=127)
    verify(dense(op=low, b=-(2**31) + 1 + 4 * 255))
    refuse(
        "QDense 'n': an accumulator of up to 2147483648 is not below 2^31",
        dense(op=low, b=-(2**31) + 4 * 255),
    )


def test_an_accumulator_of_16_bit_activations_is_bounded_by_its_own_multiplier():
    verify(dense(wide=True, m=2**24 - 1, b=2**38 - 1 - 4 * 2**15))
    refuse(
        "QDense 'n': an accumulator of up to 274877906944 is not below 2^38",
        dense(wide=True, m=2**24 - 1, b=2**38 - 4 * 2**15),
    )
    verify(dense(wide=True, m=2**24, b=2**31 - 1 - 4 * 2**15))
    refuse(
        "QDense 'n': an accumulator of up to 2147483648 is not below 2^31",
        dense(wide=True, m=2**24, b=2**31 - 4 * 2**15),
    )
    refuse(
        "QDense 'n': a bias must be below 274877906944 in magnitude", dense(wide=True, b=-(2**63))
    )


def test_each_channel_is_proven_by_its_own_multiplier():
    def layer(*multipliers):
        return one(
            ops.QDense(),
            int16(1, 1),
            np.array([[1], [127]], np.int8),
            np.array([0, 2**32], np.int64),
            np.array(multipliers, np.int32),
            np.array([40, 40], np.int8),
            out=int16(1, 2),
        )

    verify(layer(2**30, 2**23))
    refuse(
        f"QDense 'n': an accumulator of up to {2**32 + 127 * 2**15} is not below 2^31",
        layer(2**23, 2**30),
    )


def test_sums_and_products_are_bounded_too():
    verify(one(ops.QReduceSum(axes=(0,), multiplier=2**24), int16(2**15), out=int16(1)))
    refuse(
        "QReduceSum 'n': an accumulator of up to 2147483648 is not below 2^31",
        one(ops.QReduceSum(axes=(0,), multiplier=2**24), int16(2**16), out=int16(1)),
    )
    verify(one(ops.QReduceSum(axes=(0,), multiplier=2**23), int16(2**16), out=int16(1)))
    verify(one(ops.QMul(multiplier=2**30), int16(3), int16(3), out=int16(3)))

    verify(one(ops.QMatMul(multiplier=2**24 - 1), int16(2, 255), int16(255, 2), out=int16(2, 2)))
    # beyond 2^38 the multiplier has fewer bits
    verify(one(ops.QMatMul(multiplier=2**23 - 1), int16(2, 256), int16(256, 2), out=int16(2, 2)))
    refuse(
        "QMatMul 'n': an accumulator of up to 274877906944 takes a multiplier of 23 bits, "
        f"not {2**23}",
        one(ops.QMatMul(multiplier=2**23), int16(2, 256), int16(256, 2), out=int16(2, 2)),
    )

    def pool(multiplier):
        counts = full(multiplier, 2**16, dtype="int32"), full(S, 2**16, dtype="int8")
        op = ops.QAveragePool(kernel=(2**8, 2**8))
        return one(op, int16(1, 2**8, 2**8, 1), *counts, out=int16(1, 1, 1, 1))

    verify(pool(2**24 - 1))
    refuse("QAveragePool 'n': an accumulator of up to 2147483648 is not below 2^31", pool(2**24))


def resize(x, rows=((0, 1),), columns=((0, 1),), first=0, **attributes):
    weights = [np.array(side, np.int16) for side in (rows, columns)]
    firsts = [np.full(len(side), first, np.int32) for side in weights]
    constants = firsts[0], weights[0], firsts[1], weights[1]
    out = dataclasses.replace(x, shape=(1, len(rows), len(columns), 1))
    return one(ops.QResize(**attributes), x, *constants, out=out)


def test_the_sums_of_a_resize_are_bounded_and_its_neighbours_lie_inside():
    x, wide = int8(1, 4, 4, 1), int16(1, 4, 4, 1)
    verify(resize(x, rows=((2048, 0),), columns=((0, 2048), (-4000, 95)), multiplier=2**30))
    refuse(
        f"QResize 'n': an accumulator of up to {128 * 4096 * 4096} is not below 2^31",
        resize(x, rows=((2048, -2048),), columns=((4096, 0),)),
    )
    refuse(
        f"QResize 'n': a sum over rows of up to {2**31} is not below 2^31",
        resize(wide, rows=((2**15 - 1, 2**15 - 1, 2),)),
    )
    limit = 2**62 // (32768 * 2**11 * 2**11)
    steps = {"rows": ((2**11, 0),), "columns": ((2**11, 0),)}
    verify(resize(wide, **steps, multiplier=limit - 1))
    refuse(
        f"QResize 'n': an accumulator of up to {2**37} times {limit} is not below 2^62",
        resize(wide, **steps, multiplier=limit),
    )
    verify(resize(x, first=2))
    refuse("QResize 'n': rows 3 to 4 leave an axis of 4", resize(x, first=3))
    refuse("QResize 'n': rows -1 to 0 leave an axis of 4", resize(x, first=-1))


# ---- operators that move elements ------------------------------------------------------------


def test_what_moves_keeps_its_type_and_meaning():
    refuse(
        "Reshape 'n': turns int8 into int16",
        one(ops.Reshape((4,)), int8(2, 2), out=int16(4)),
    )
    other = TensorType((4,), "int8", Q16)
    message = "gives another quantization than it takes"
    refuse(f"Reshape 'n': {message}", one(ops.Reshape((4,)), int8(2, 2), out=other))
    refuse(f"Maximum 'n': {message}", one(ops.Maximum(), int8(4), other, out=int8(4)))
    indices = np.zeros(4, np.int64)
    refuse(f"Gather 'n': {message}", one(ops.Gather(0), int8(2), indices, out=other))


def test_one_scale_a_channel_does_not_move():
    each = TensorType((1, 2), "int8", Quantization((0.5, 1.0), axis=1))
    g = one(ops.Transpose((0, 1)), each, out=each)
    inner = dataclasses.replace(
        g,
        nodes=(*g.nodes, Node("m", ops.ArgMax(0), ("y",), ("z",))),
        types={"c": each, "y": each, "x": int8(1), "z": TensorType((1, 2), "int64")},
        inputs=("x",),
        constants={"c": np.zeros((1, 2), np.int8)},
        outputs=("z",),
    )
    inner = dataclasses.replace(
        inner, nodes=(dataclasses.replace(g.nodes[0], inputs=("c",)), inner.nodes[1])
    )
    refuse("Transpose 'n': takes values with one scale, not one a channel", inner)


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64"])
def test_max_pool_takes_activations(dtype):
    t = TensorType((1, 1, 1, 1), dtype)
    refuse(f"MaxPool 'n': takes no {dtype}", one(ops.MaxPool(), t, out=t))


@pytest.mark.parametrize(("value", "shown"), [(128, "128"), (0.0, "0.0"), (-129, "-129")])
def test_a_pad_is_an_integer_of_its_type(value, shown):
    pad = ops.Pad((1,), (0,), value=value)
    refuse(f"Pad 'n': pads int8 with {shown}", one(pad, int8(2), out=int8(3)))
    verify(one(dataclasses.replace(pad, mode="edge"), int8(2), out=int8(3)))
    t = TensorType((2,), "bool")
    refuse("Pad 'n': takes no bool", one(pad, t, out=dataclasses.replace(t, shape=(3,))))


def test_a_float_pad_is_a_float():
    pad = ops.Pad((1,), (0,), value=1)
    refuse("Pad 'n': pads float32 with 1", one(pad, TensorType((2,)), out=TensorType((3,))))


def test_gather_has_int64_indices_inside_its_axis():
    refuse(
        "Gather 'n': takes int64 indices, not int32",
        one(ops.Gather(0), int8(3), np.zeros(2, np.int32), out=int8(2)),
    )
    verify(one(ops.Gather(0), int8(3), np.array([-3, 2]), out=int8(2)))
    for low, high in ((-4, 0), (0, 3)):
        refuse(
            f"Gather 'n': indices {low} to {high} leave an axis of 3",
            one(ops.Gather(0), int8(3), np.array([low, high]), out=int8(2)),
        )
    refuse(
        "Gather 'n': indices -1 to 2 leave an axis of 3",
        one(ops.Gather(0, from_end=False), int8(3), np.array([-1, 2]), out=int8(2)),
    )


def test_argmax_gives_plain_int64():
    for out in (TensorType((1,), "int32"), TensorType((1,), "int64", Q)):
        refuse(
            f"ArgMax 'n': gives int64 that nothing scales, not {out}",
            one(ops.ArgMax(0), int8(3), out=out),
        )


def test_what_suppresses_boxes_takes_boxes_of_16_bits():
    boxes, scores = TensorType((1, 7, 4), "int16", Q), int8(1, 2, 7)
    kept = TensorType((6, 3), "int64")
    verify(one(ops.NonMaxSuppression(3, above=-129), boxes, scores, out=kept))
    for op, first, out, reason in (
        (ops.NonMaxSuppression(3, above=0), int8(1, 7, 4), kept,
         "takes floats, or boxes of int16 and scores of int8 or int16, not int8 and int8"),
        (ops.NonMaxSuppression(3), boxes, kept, "compares int8 with -inf"),
        (ops.NonMaxSuppression(3, 2**30 + 1, 0), boxes, kept,
         "an overlap of 1073741825 is more than all"),
        (ops.NonMaxSuppression(3, above=0), boxes, TensorType((6, 3), "int64", Q),
         f"gives int64 that nothing scales, not {TensorType((6, 3), 'int64', Q)}"),
    ):  # fmt: skip
        refuse(f"NonMaxSuppression 'n': {reason}", one(op, first, scores, out=out))


def test_float_operators_take_floats():
    refuse(
        "Add 'n': takes and gives float32, not int8",
        one(ops.Add(), int8(3), int8(3), out=int8(3)),
    )


def test_pads_are_bounded_with_what_they_surround():
    t = int8(1, 1, 1, 1)
    pool = ops.MaxPool((2**23, 2**23), (2**22,) * 4, (2**23, 2**23))
    refuse(
        "MaxPool 'n': takes 70368760954881 bytes with its pads; the limit is 4294967296",
        one(pool, t, out=t),
    )
    turned = ops.ConvTranspose(strides=(2**20, 1), pads=(2**19, 0, 2**19, 0))
    refuse(
        "ConvTranspose 'n': takes 8589942784 bytes with its pads; the limit is 4294967296",
        one(turned, TensorType((1, 2, 1, 2**11)), full(1, 2**11, 1, 1, 2**11, dtype="float32"),
            out=TensorType((1, 1, 1, 2**11))),
    )  # fmt: skip


def test_nodes_and_links_are_bounded():
    node = relu().nodes[0]
    refuse("the graph has 20001 nodes; the limit is 20000", relu(nodes=(node,) * 20001))
    node = dataclasses.replace(node, inputs=("x0",) * 100001)
    refuse("the graph has 100001 links; the limit is 100000", relu(nodes=(node,)))


def test_what_goes_in_and_out_with_a_scale_is_an_activation():
    wide = TensorType((3,), "int32", Q)
    refuse("value 'x0' is int32, which takes no scale", one(ops.Reshape((3,)), wide, out=wide))


# ---- integer operators -----------------------------------------------------------------------


def test_activations_are_8_or_16_bits():
    t = TensorType((3,), "int32")
    refuse("Rescale 'n': x must be int8 or int16, not int32", one(ops.Rescale(), t, out=int8(3)))
    refuse(
        "Rescale 'n': the output must be int8 or int16, not int32",
        one(ops.Rescale(), int8(3), out=t),
    )


def test_zero_points_fit_their_type():
    refuse(
        "Rescale 'n': x of type int8 cannot have zero point 128",
        one(ops.Rescale(input_zero_point=128), int8(3), out=int8(3)),
    )
    refuse(
        "Rescale 'n': x of type int16 cannot have zero point 1",
        one(ops.Rescale(input_zero_point=1), int16(3), out=int8(3)),
    )
    refuse(
        "Rescale 'n': the output of type int16 cannot have zero point -1",
        one(ops.Rescale(output_zero_point=-1), int8(3), out=int16(3)),
    )


@pytest.mark.parametrize(("lo", "hi"), [(-129, 0), (0, 128), (5, 4)])
def test_a_clamp_fits_its_type(lo, hi):
    refuse(
        f"Rescale 'n': the clamp {lo} to {hi} does not fit int8",
        one(ops.Rescale(lo=lo, hi=hi), int8(3), out=int8(3)),
    )


def test_two_roundings_are_for_8_bits():
    refuse(
        "Rescale 'n': rounding 'double' is for int8 inputs",
        one(ops.Rescale(rounding="double"), int16(3), out=int8(3)),
    )


def test_a_layer_has_constants_of_its_types():
    refuse("QDense 'n': weights must be int8, not int16", dense(dtype="int16"))
    refuse("QDense 'n': weights must be int8 or int16, not int32", dense(wide=True, dtype="int32"))
    g = dense()
    computed = {name: a for name, a in g.constants.items() if name != "c1"}
    refuse(
        "QDense 'n': weights must be a constant",
        dataclasses.replace(
            g,
            inputs=("x0", "c1"),
            constants=computed,
            types={**g.types, "c1": TensorType((1, 4), "int8", Q)},
        ),
    )
    g = dense()
    bias = {**g.constants, "c2": np.zeros(1, np.int64)}
    types = {**g.types, "c2": TensorType((1,), "int64")}
    refuse(
        "QDense 'n': bias must be int32, not int64",
        dataclasses.replace(g, constants=bias, types=types),
    )


def test_multipliers_and_shifts_are_in_their_ranges():
    refuse("QDense 'n': a multiplier must not be -1", dense(m=-1))
    refuse("QDense 'n': shifts must be between 2 and 62, not 1 to 1", dense(s=1))
    refuse("QDense 'n': shifts must be between 2 and 62, not 63 to 63", dense(s=63))


def test_only_slopes_may_be_negative():
    shift = full(S, 1, dtype="int8")
    verify(one(ops.QPRelu(), int8(3), full(1 - 2**31, 1, dtype="int32"), shift, out=int8(3)))
    refuse(
        "QPRelu 'n': a multiplier must not be -2147483648",
        one(ops.QPRelu(), int8(3), full(-(2**31), 1, dtype="int32"), shift, out=int8(3)),
    )


def test_an_addition_has_the_shift_of_its_wider_operand():
    verify(one(ops.QAdd(left_shift=15), int8(3), int16(3), out=int8(3)))
    for a, b, shift, other in (
        (int8(3), int8(3), 20, 15),
        (int16(3), int16(3), 15, 20),
        (int8(3), int16(3), 15, 20),
        (int16(3), int8(3), 15, 20),
    ):
        refuse(
            f"QSub 'n': shifts {a.dtype} and {b.dtype} by {shift}, not {other}",
            one(ops.QSub(left_shift=other), a, b, out=int8(3)),
        )
    refuse(
        "QAdd 'n': rounding 'double' is for int8 inputs",
        one(ops.QAdd(left_shift=15, rounding="double"), int8(3), int16(3), out=int8(3)),
    )
    verify(one(ops.QAdd(b_multiplier=2**30, b_shift=31), int8(3), int8(3), out=int8(3)))
    refuse(
        "QAdd 'n': an operand's ratio must be at most 1/2, not 1073741825 * 2^-31",
        one(ops.QAdd(b_multiplier=2**30 + 1, b_shift=31), int8(3), int8(3), out=int8(3)),
    )


def test_a_product_takes_either_width_with_either():
    for a, b in ((int8(3), int16(3)), (int16(3), int8(3))):
        verify(one(ops.QMul(), a, b, out=int8(3)))


def test_a_quotient_rounds_once_and_has_shifts_of_its_own():
    x = int8(3)
    verify(one(ops.QDiv(shift=44), x, int16(3), out=x))
    message = "QDiv 'n': a quotient's shift must be at most 44, not 45"
    refuse(message, one(ops.QDiv(shift=45), x, x, out=x))
    message = "QDiv 'n': rounds once, and so knows no rounding 'double'"
    refuse(message, one(ops.QDiv(rounding="double"), x, x, out=x))


def test_a_pad_of_an_average_fits_its_input():
    op = ops.QAveragePool(pad_value=200)
    counts = full(M, 1, dtype="int32"), full(S, 1, dtype="int8")
    refuse(
        "QAveragePool 'n': a pad of type int8 cannot have zero point 200",
        one(op, int8(1, 1, 1, 1), *counts, out=int8(1, 1, 1, 1)),
    )


def test_a_table_serves_its_input():
    def lookup(x, entries, out):
        return one(ops.Lookup(), x, entries, out=out)

    small, large = np.zeros(256, np.int8), np.zeros(65536, np.int8)
    verify(lookup(int8(3), small, int8(3)))
    verify(lookup(int16(3), large, int8(3)))
    refuse(
        "Lookup 'n': a table of 65536 entries does not serve int8",
        lookup(int8(3), large, int8(3)),
    )
    refuse(
        "Lookup 'n': a table of 256 entries does not serve int16",
        lookup(int16(3), small, int8(3)),
    )
    refuse("Lookup 'n': table must be int16, not int8", lookup(int8(3), small, int16(3)))
    refuse(
        "Lookup 'n': gives int8 or int16, not int64",
        lookup(int8(3), np.zeros(256, np.int64), TensorType((3,), "int64")),
    )
    steep = np.zeros(513, np.int16)
    steep[7:] = [-32768, *[0] * 505]
    refuse(
        "Lookup 'n': an interpolated table is int16, and its slopes fit int16",
        lookup(int16(3), steep, int16(3)),
    )


WIDE = (0.5, 0, "int16")


def tabulated(op, entries, out=None, x=None):
    return one(op, x or int16(3), entries, out=out or int16(3))


@pytest.mark.parametrize("entries", [513, 65536])
def test_a_table_is_that_of_its_expression_to_a_step(entries):
    op = ops.Lookup(("tanh", ("mul", "x", 0.01)), (-50.0, 50.0))
    made = function_table(op.expression, op.domain, WIDE, WIDE, entries).copy()
    verify(tabulated(op, made))
    # exp may have another last bit where the file was made
    made[[7, 300]] += [1, -1]
    verify(tabulated(op, made))
    made[300] -= 1
    refuse(
        "Lookup 'n': its table is not that of tanh(mul(x, 0.01)): it differs by 2 steps",
        tabulated(op, made),
    )
    verify(tabulated(ops.Lookup(), made))


def test_an_expression_without_a_table_is_refused():
    entries = np.zeros(65536, np.int16)
    refuse(
        "Lookup 'n': sqrt(x) has no table: the function is not a number at -16384, which the "
        "input's range includes; calibrate with data that keeps inside its domain",
        tabulated(ops.Lookup(("sqrt", "x")), entries),
    )
    refuse(
        "Lookup 'n': mul(x, 1e+09) has no table: the function is too steep to be interpolated",
        tabulated(ops.Lookup(("mul", "x", 1e9)), entries[:513]),
    )
    refuse(
        "Lookup 'n': has a domain that ends before it begins: (1.0, 0.0)",
        tabulated(ops.Lookup(("abs", "x"), (1.0, 0.0)), entries),
    )
    refuse(
        "Lookup 'n': has a domain, but no expression",
        tabulated(ops.Lookup(domain=(0.0, 1.0)), entries),
    )
    bare = dataclasses.replace(int16(3), quantization=None)
    middle = Graph(
        "g",
        (
            Node("m", ops.Rescale(lo=-32768, hi=32767), ("x",), ("v",)),
            Node("n", ops.Lookup(("abs", "x")), ("v", "t"), ("y",)),
        ),
        {"x": int16(3), "v": bare, "t": TensorType((65536,), "int16"), "y": int16(3)},
        ("x",),
        ("y",),
        {"t": entries},
    )
    refuse("Lookup 'n': x needs one scale", middle)


def test_long_expressions_are_named_by_their_beginning():
    entries = np.full(513, 100, np.int16)
    inner = "sigmoid(sigmoid(sigmoid(sigmoid(x))))"
    expression = "x"
    for _ in range(4):
        expression = ("sigmoid", expression)
    refuse(
        f"Lookup 'n': its table is not that of {inner}: it differs by 99 steps",
        tabulated(ops.Lookup(expression), entries),
    )
    for _ in range(4):
        expression = ("sigmoid", expression)
    refuse(
        "Lookup 'n': its table is not that of "
        "sigmoid(sigmoid(sigmoid(sigmoid(sigmoid(sigmoid(sigmoid(s...: it differs by 99 steps",
        tabulated(ops.Lookup(expression), entries),
    )


def test_the_work_of_making_tables_again_is_bounded():
    wide = "x"
    for _ in range(9):
        wide = ("add", wide, wide)
    g = one(ops.Lookup(wide), int16(3), np.zeros(65536, np.int16), out=int16(3))
    names = [f"v{i}" for i in range(2)]
    nodes = [
        Node(n, ops.Lookup(wide), (x, "c1"), (n,))
        for x, n in zip(["x0", *names], names, strict=False)
    ]
    types = {**g.types, **dict.fromkeys(names, int16(3))}
    del types["y"]
    refuse(
        "its tables' expressions have 134086656 terms; the limit is 67108864",
        dataclasses.replace(g, nodes=nodes, types=types, outputs=("z",)),
    )


def test_a_mean_multiplies_by_the_mean_of_its_scales():
    def reduced(mean, multiplier, shift, count=8):
        op = ops.QReduceSum(
            axes=(0,), keepdims=False, input_zero_point=-3, output_zero_point=-3, mean=mean,
            multiplier=multiplier, shift=shift,
        )  # fmt: skip
        return one(op, int8(count), out=int8())

    eighth, whole = fixedpoint.multiplier_and_shift(1 / 8), fixedpoint.multiplier_and_shift(1.0)
    for pair in (eighth, fixedpoint.average_multiplier(8)):
        verify(reduced(True, *pair))
        verify(reduced(None, *pair))
        refuse("QReduceSum 'n': is no sum: multiplies by 0.125, not 1", reduced(False, *pair))
    verify(reduced(False, *whole))
    refuse("QReduceSum 'n': is no mean: multiplies by 1, not 0.125", reduced(True, *whole))


def test_exponentials_keep_a_softmax_from_dividing_by_zero():
    eight, sixteen = fixedpoint.exponential_table_8(0.1), fixedpoint.exponential_table_16(0.1)
    verify(one(ops.QSoftmax(0), int8(3), eight, out=int8(3)))
    verify(one(ops.QSoftmax(0), int16(3), sixteen, out=int16(3)))
    refuse(
        "QSoftmax 'n': a table of shape [2, 256] does not serve int8",
        one(ops.QSoftmax(0), int8(3), sixteen, out=int8(3)),
    )
    refuse(
        "QSoftmax 'n': turns int8 into int8 or int16 into int16, not int8 into int16",
        one(ops.QSoftmax(0), int8(3), eight, out=int16(3)),
    )
    for entry, value in ((0, 2**23 - 1), (9, -1), (255, 2**23 + 1)):
        wrong = eight.copy()
        wrong[entry] = value
        refuse(
            "QSoftmax 'n': exponentials begin with 8388608 and lie between 0 and it",
            one(ops.QSoftmax(0), int8(3), wrong, out=int8(3)),
        )
    sixteen[1, 0] = 0
    refuse(
        "QSoftmax 'n': exponentials begin with 1073741824 and lie between 0 and it",
        one(ops.QSoftmax(0), int16(3), sixteen, out=int16(3)),
    )


def test_a_normalization_is_of_as_many_bits_as_fit():
    def normalized(x, out, length=1, **attributes):
        info = np.iinfo(out.dtype)
        whole = {"lo": int(info.min), "hi": int(info.max), "axes": (0,), "fraction": 20}
        constants = np.zeros(length, np.int32), np.zeros(length, np.int64)
        return one(ops.QNormalization(**whole | attributes), x, *constants, out=out)

    verify(normalized(int8(3), int16(3), length=3))
    verify(normalized(int16(3), int8(3), epsilon=2**29, exponent=-3))
    refuse(
        "QNormalization 'n': is rounded once, never 'double'",
        normalized(int8(3), int8(3), rounding="double"),
    )
    refuse(
        "QNormalization 'n': an epsilon is 0, or 2^29 or more, not 7",
        normalized(int8(3), int8(3), epsilon=7),
    )
    for measure, count, most in (("variance", 2, 27), ("variance", 3, 26), ("squares", 9, 28)):
        verify(normalized(int8(count), int8(count), measure=measure, fraction=most))
        refuse(
            f"QNormalization 'n': has {most + 1} fractional bits, but {most} fit",
            normalized(int8(count), int8(count), measure=measure, fraction=most + 1),
        )
    # an epsilon that leaves the results small has room for more of their bits
    tiny = {"epsilon": 2**30, "exponent": 40}
    verify(normalized(int8(3), int8(3), fraction=57, **tiny))
    many = 2**24 + 1
    refuse(
        "QNormalization 'n': normalizes 16777217 elements together, more than 16777216",
        normalized(int8(many), int8(many)),
    )
    refuse(
        "QNormalization 'n': a sum of up to 2147483648 is not below 2^31",
        normalized(int16(65536), int16(65536), measure="magnitudes"),
    )

    def with_constants(multiplier, bias):
        constants = np.array([multiplier], np.int32), np.array([bias], np.int64)
        return one(ops.QNormalization(axes=(0,)), int8(3), *constants, out=int8(3))

    verify(with_constants(1 - 2**31, -(2**61)))
    refuse("QNormalization 'n': a multiplier must not be -2147483648", with_constants(-(2**31), 0))
    refuse(
        "QNormalization 'n': a bias must be at most 2^61 in magnitude", with_constants(0, 2**61 + 1)
    )


def test_a_root_is_of_as_many_bits_as_fit():
    def reduced(count, fraction):
        op = ops.QReduceL2(axes=(0,), keepdims=False, fraction=fraction)
        return one(op, int8(count), out=int8())

    verify(reduced(4, 21))
    refuse("QReduceL2 'n': has 22 fractional bits, but 21 fit", reduced(4, 22))
    verify(reduced(4, -31))
    refuse("QReduceL2 'n': has -32 fractional bits, fewer than -31", reduced(4, -32))
    refuse("QReduceL2 'n': sums 16777217 squares, more than 16777216", reduced(2**24 + 1, 0))


@pytest.mark.parametrize("name", sorted(ops.OPERATORS))
def test_every_operator_that_holds_integers_has_its_own_check(name):
    if issubclass(ops.OPERATORS[name], ops.Requantizing) or name in ("Lookup", "QSoftmax"):
        assert check.dispatch(ops.OPERATORS[name]) is not check.dispatch(object)
