"""What the NPU cannot run, or hold, is refused before anything is generated, with a way out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import compile, preset
from tests.authored import Author
from tests.refusals import refused

CONFIG = preset("8x16")
Q8, Q16 = Quantization.per_tensor(0.5, -3), Quantization.per_tensor(0.5)


def graph_of(*nodes: Node, **shapes: tuple[int, ...]) -> Graph:
    """``x`` through ``nodes`` to the last one's output; values are int8 unless named ``*16``."""
    types = {
        name: TensorType(shape, "int16" if name.endswith("16") else "int8", Q8)
        for name, shape in shapes.items()
    }
    types = {n: replace(t, quantization=Q16) if n.endswith("16") else t for n, t in types.items()}
    inputs = tuple(name for name in shapes if not any(name in n.outputs for n in nodes))
    return Graph("g", nodes, types, inputs, nodes[-1].outputs, {})


POOL = ops.MaxPool(kernel=(1, 1))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            graph_of(
                Node("gone", ops.ReduceMin(axes=(3,)), ("x",), ("y",)),
                x=(1, 4, 4, 8),
                y=(1, 4, 4, 1),
            ),
            "the NPU cannot run ReduceMin 'gone': takes the least of elements; the array has a "
            "greatest alone. edgeinfer hdl simulate --host-ops leaves these to the CPU",
        ),
        (
            graph_of(Node("p", POOL, ("x",), ("y",)), x=(2, 4, 4, 8), y=(2, 4, 4, 8)),
            "the NPU cannot run MaxPool 'p': has a batch of 2; the NPU takes 1. edgeinfer hdl "
            "simulate --host-ops leaves these to the CPU",
        ),
        (
            graph_of(Node("p", POOL, ("x16",), ("y16",)), x16=(1, 4, 4, 8), y16=(1, 4, 4, 8)),
            "the NPU cannot run MaxPool 'p': has a tensor of int16, but the elements of 8x16 have "
            "8 bits; take a 16-bit configuration such as 8x8-16, or quantize to int8, "
            "with --override NAME=int8 what has 16 bits in every scheme. edgeinfer "
            "hdl simulate --host-ops leaves these to the CPU",
        ),
        (
            graph_of(
                Node("p", ops.Pad((0, 1, 0, 0), (0, 0, 0, 0), "edge"), ("x",), ("y",)),
                x=(1, 4, 4, 8),
                y=(1, 5, 4, 8),
            ),
            "the NPU cannot run Pad 'p': pads other axes than height, width and channels, or not "
            "by a constant. edgeinfer hdl simulate --host-ops leaves these to the CPU",
        ),
        (
            graph_of(
                Node("a", ops.ReduceMin(axes=(3,)), ("x",), ("z",)),
                Node("b", ops.ReduceMin(axes=(1,)), ("z",), ("y",)),
                x=(1, 4, 4, 8),
                z=(1, 4, 4, 1),
                y=(1, 1, 4, 1),
            ),
            "the NPU cannot run ReduceMin 'a', ReduceMin 'b': takes the least of elements; the "
            "array has a greatest alone. edgeinfer hdl simulate --host-ops leaves these to the CPU",
        ),
        (
            graph_of(
                Node("a", ops.ReduceMin(axes=(3,)), ("x",), ("z",)),
                Node("b", ops.Minimum(), ("z", "v"), ("y",)),
                x=(1, 4, 4, 8),
                z=(1, 4, 4, 1),
                v=(1, 4, 4, 1),
                y=(1, 4, 4, 1),
            ),
            "the NPU cannot run ReduceMin 'a': takes the least of elements; the array has a "
            "greatest alone; Minimum 'b': compares two values; the lanes add and multiply alone. "
            "edgeinfer hdl simulate --host-ops leaves these to the CPU",
        ),
    ],
    ids=["operator", "batch", "width", "pad", "one reason", "two reasons"],
)
def test_an_operator_is_named_with_its_reason(graph, message):
    with refused(message, UnsupportedError):
        compile(graph, CONFIG)


def test_a_model_with_nothing_for_the_npu_is_refused_even_with_host_ops():
    graph = graph_of(
        Node("a", ops.ReduceMin(axes=(3,)), ("x",), ("y",)), x=(1, 4, 4, 8), y=(1, 4, 4, 1)
    )
    with refused("no operator of the model runs on the NPU", UnsupportedError):
        compile(graph, CONFIG, host_ops=True)


def test_a_row_that_the_buffer_cannot_hold_is_refused():
    graph = graph_of(
        Node("p", ops.MaxPool(kernel=(3, 3)), ("x",), ("y",)),
        x=(1, 3, 5000, 64),
        y=(1, 1, 4998, 64),
    )
    with pytest.raises(UnsupportedError) as caught:
        compile(graph, CONFIG)
    assert str(caught.value) == (
        "one row of a layer takes 159968 bytes of the buffer, 8x16 has 81920. Take a larger "
        "configuration"
    )


def test_groups_of_channels_that_even_a_part_of_the_kernel_cannot_hold_are_refused():
    author = Author(1, 4, 4, 80)
    graph = author.graph(author.conv("x", 4, 3, group=2))
    message = (
        "QConv 'n0': one group of output channels takes 10 tiles of weights, the weight memory of "
        "8x16 holds 8. Take a larger configuration"
    )
    with refused(message, UnsupportedError):
        compile(graph, CONFIG.replace(weight_bytes=1024))


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (
            ops.ResizeNearest(tuple(i * i // 50 % 4 for i in range(67)), (0, 1, 2, 3)),
            "takes rows or columns in steps that do not repeat after 32 or fewer",
        ),
        (
            ops.Slice((0, 0, 39, 0), (1, 4, 40, 80), (1, 1, -1, 1)),
            "takes rows or columns in steps that do not repeat after 32 or fewer",
        ),
        (ops.Tile((1, 33, 1, 1)), "repeats height or width more than 32 times"),
        (ops.SpaceToDepth(4), "has blocks of 1280 elements; the NPU takes 1024 at most"),
    ],
)
def test_what_would_take_too_many_layers_is_refused(op, message):
    author = Author(1, 4, 40 if isinstance(op, ops.Slice) else 4, 80)
    graph = author.graph(author.conv(author.node(op, author.conv("x", 80, 1)), 4, 1))
    with pytest.raises(UnsupportedError) as refusal:
        compile(graph, CONFIG)
    assert str(refusal.value) == (
        f"the NPU cannot run {type(op).__name__} 'n1': {message}. edgeinfer hdl simulate "
        "--host-ops leaves these to the CPU"
    )


@pytest.mark.parametrize(
    "kernel, fields, why",
    [
        (1, {"strides": (64, 1)}, "has a stride of 64 rows; the NPU takes 31 at most"),
        (
            1,
            {"strides": (1, 17), "group": 4},
            "has a stride of 17 columns; the NPU takes 16 at most",
        ),
        (2, {"dilations": (64, 1)}, "has a dilation of 64 rows; the NPU takes 63 at most"),
    ],
)
def test_what_no_instruction_can_say_is_refused(kernel, fields, why):
    author = Author(1, 70, 70, 4)
    graph = author.graph(author.conv("x", 4, kernel, **fields))
    with pytest.raises(UnsupportedError) as refusal:
        compile(graph, CONFIG)
    assert str(refusal.value) == (
        f"the NPU cannot run QConv 'n0': {why}. edgeinfer hdl simulate --host-ops leaves these to "
        "the CPU"
    )
