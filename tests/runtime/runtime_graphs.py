"""Small integer Graphs that the tests of the runtime share."""

import numpy as np

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.graph import Graph, GraphBuilder, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import output_shapes

UNIT = Quantization.per_tensor(0.05, -3)


def chain(shape, *stages, dtype="int8", free_batch=False, q=UNIT):
    """A Graph x -> v0 -> v1 ...; a stage is an operator and its constant inputs."""
    types, constants, nodes, last = {"x": TensorType(shape, dtype, q)}, {}, [], "x"
    for i, (op, *arrays) in enumerate(stages):
        names = []
        for array in arrays:
            names.append(f"c{len(constants)}")
            constants[names[-1]] = array
            types[names[-1]] = TensorType.of(array)
        (out,) = output_shapes(op, types[last].shape, *(a.shape for a in arrays))
        types[f"v{i}"] = TensorType(out, dtype, q)
        nodes.append(Node(f"n{i}", op, (last, *names), (f"v{i}",)))
        last = f"v{i}"
    return Graph("chain", tuple(nodes), types, ("x",), (last,), constants, free_batch)


def layer(outputs, *weights_shape, seed=0, rounding="single", **attributes):
    """A QConv, or a QDense for two axes, with random weights."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-127, 128, (outputs, *weights_shape)).astype(np.int8)
    taps = weights[0].size
    m, s = fixedpoint.multiplier_and_shift(1 / (40 * taps**0.5))
    op = ops.QConv if weights.ndim == 4 else ops.QDense
    return (
        op(input_zero_point=-3, output_zero_point=-3, rounding=rounding, **attributes),
        weights,
        rng.integers(-3000, 3000, outputs).astype(np.int32),
        np.full(outputs, m, np.int32),
        np.full(outputs, s, np.int8),
    )


def small_cnn(batch=1, free_batch=True):
    """Two convolutions, a pool and a dense layer, int8 [batch,8,8,3] to [batch,10]."""
    return chain(
        (batch, 8, 8, 3),
        layer(8, 3, 3, 3, pads=(1, 1, 1, 1)),
        layer(8, 3, 3, 1, seed=1, pads=(1, 1, 1, 1), group=8),
        (ops.MaxPool(kernel=(2, 2), strides=(2, 2)),),
        (ops.Reshape((batch, 128)),),
        layer(10, 128, seed=2),
        free_batch=free_batch,
    )


def joined_layers(shape, channels, *, several_readers=False):
    """Layers of 1x1 and 3x3 in turn of one x, joined along channels, and a table of that."""
    builder = GraphBuilder()
    x = builder.input("x", TensorType(shape, "int8", UNIT))
    parts = []
    for i, count in enumerate(channels):
        size = 1 + i % 2 * 2
        op, *arrays = layer(count, size, size, shape[3], seed=i, pads=(size // 2,) * 4)
        constants = [builder.constant(f"c{i}_{j}", array) for j, array in enumerate(arrays)]
        parts.append(builder.add(op, x, *constants, output=f"p{i}"))
    whole = builder.add(ops.Concat(3), *parts, output="whole")
    half = ops.Rescale(input_zero_point=-3, multiplier=1 << 30, shift=30)
    outputs = [builder.add(half, whole, output="y")]
    if several_readers:
        outputs.append(builder.add(half, parts[0], output="z"))
    return builder.graph(*outputs)


def two_inputs():
    """x + y and its negative's maximum with y: two inputs, two outputs."""
    kind = TensorType((2, 3), "int8", UNIT)
    p = fixedpoint.add_parameters(0.05, 0.05, 0.05, bits=8)
    add = ops.QAdd(
        a_zero_point=-3,
        b_zero_point=-3,
        **p,
        output_zero_point=-3,
    )
    nodes = (
        Node("sum", add, ("x", "y"), ("s",)),
        Node("larger", ops.Maximum(), ("x", "y"), ("m",)),
    )
    types = dict.fromkeys(("x", "y", "s", "m"), kind)
    return Graph("two", nodes, types, ("x", "y"), ("s", "m"), {})


def rows_by_index():
    """A table's rows by int64 indices that the caller gives."""
    types = {
        "i": TensorType((4,), "int64"),
        "table": TensorType((5, 2), "int8", UNIT),
        "rows": TensorType((4, 2), "int8", UNIT),
    }
    node = Node("embed", ops.Gather(0), ("table", "i"), ("rows",))
    table = np.arange(10, dtype=np.int8).reshape(5, 2)
    return Graph("rows", (node,), types, ("i",), ("rows",), {"table": table})
