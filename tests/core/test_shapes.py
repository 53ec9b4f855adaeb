"""A shape rule gives the shape that the operator's meaning has, and refuses shapes that misfit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import broadcast, output_shapes, window_extent
from tests.refusals import refused

X = (2, 7, 5, 6)


@given(
    st.integers(1, 20),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_a_window_takes_every_place_where_it_fits(size, kernel, stride, dilation, before, after):
    starts = range(-before, size + after - (kernel - 1) * dilation, stride)
    assert window_extent(size, kernel, stride, dilation, before, after) == len(starts)


@given(
    st.lists(st.sampled_from([1, 2, 3]), max_size=4),
    st.lists(st.sampled_from([1, 2, 3]), max_size=4),
)
def test_broadcasting_is_numpys(a, b):
    try:
        expected = np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        rank = max(len(a), len(b))
        a, b = ([1] * (rank - len(s)) + s for s in (a, b))
        with refused(f"shapes {a} and {b} do not broadcast"):
            broadcast(tuple(a), tuple(b))
    else:
        assert broadcast(tuple(a), tuple(b)) == expected


# (operator, input shapes, output shape)
FITS = [
    (ops.Conv(), (X, (4, 3, 2, 6)), (2, 5, 4, 4)),
    (ops.Conv(group=6, pads=(1, 1, 1, 1)), (X, (12, 3, 3, 1), (12,)), (2, 7, 5, 12)),
    (ops.QConv(strides=(2, 3)), (X, (4, 1, 1, 6), (4,), (4,), (4,)), (2, 4, 2, 4)),
    (ops.ConvTranspose(strides=(2, 2), group=2), (X, (6, 3, 3, 5)), (2, 15, 11, 10)),
    (ops.QDense(), ((3, 6), (4, 6), (4,), (4,), (4,)), (3, 4)),
    (ops.Dense(), ((6,), (4, 6)), (4,)),
    (ops.MatMul(), ((2, 1, 3, 4), (5, 4, 7)), (2, 5, 3, 7)),
    (ops.QMatMul(), ((3, 4), (5, 4, 7)), (5, 3, 7)),
    (ops.MaxPool(kernel=(7, 5)), (X,), (2, 1, 1, 6)),
    (ops.AveragePool((2, 2), (0, 0, 0, 0), (2, 2), (1, 1)), (X,), (2, 4, 3, 6)),
    (ops.ReduceMean((1, 2), False), (X,), (2, 6)),
    (ops.ReduceMax((3,)), (X,), (2, 7, 5, 1)),
    (ops.ArgMax(3), (X,), (2, 7, 5, 1)),
    (ops.ArgMax(0, False), (X,), (7, 5, 6)),
    (ops.TopIndices(1, 3), (X,), (2, 3, 5, 6)),
    (ops.NonMaxSuppression(3), ((2, 7, 4), (2, 5, 7)), (30, 3)),
    (ops.GatherElements(1), (X, (2, 9, 5, 1)), (2, 9, 5, 1)),
    (ops.Concat(1), (X, (2, 1, 5, 6)), (2, 8, 5, 6)),
    (ops.Gather(1), ((4, 5), ()), (4,)),
    (ops.Gather(0), ((4, 5), (2, 3)), (2, 3, 5)),
    (ops.QPRelu(), (X, (30,), (30,)), X),
    (ops.Exceeds(), ((3, 5), (5,)), (3, 5)),
    (ops.QSoftmax(3), (X, (256,)), X),
    (ops.QNormalization(axes=(1, 2)), (X, (6,), (6,)), X),
    (ops.QNormalization(axes=(3,)), (X, (1,), (1,)), X),
    (ops.QNormalization(axes=(2, 3), inner=30), (X, (7,), (7,)), X),
    (ops.Normalization(axes=(1, 3)), (X, (6,), (7, 1, 1)), X),
    (ops.DepthToSpace(1), (X,), X),
    (ops.SpaceToDepth(1), (X,), X),
    (ops.ResizeNearest((6, 0), (4,)), (X,), (2, 2, 1, 6)),
    (ops.Resize(((5, (0.5, 0.5)),) * 3, ((4, (1.0,)),)), (X,), (2, 3, 1, 6)),
    (ops.QResize(), (X, (3,), (3, 2), (9,), (9, 5)), (2, 3, 9, 6)),
]  # fmt: skip


@pytest.mark.parametrize(("op", "shapes", "expected"), FITS)
def test_an_output_has_the_shape_of_its_rule(op, shapes, expected):
    assert output_shapes(op, *shapes) == (expected,)


# (operator, input shapes, refusal)
MISFITS = [
    (ops.Conv(), (X,), "takes 2 or 3 inputs, not 1"),
    (ops.QConv(), (X, (4, 3, 2, 6)), "takes 5 inputs, not 2"),
    (ops.Conv(), ((7, 5, 6), (4, 3, 2, 6)), "x must have 4 axes, not shape [7, 5, 6]"),
    (ops.Conv(), (X, (4, 6)), "weights must have 4 axes, not shape [4, 6]"),
    (ops.Conv(), (X, (4, 3, 2, 5)), "weights [4, 3, 2, 5] in 1 groups do not fit 6 channels"),
    (ops.Conv(group=3), (X, (4, 1, 1, 2)),
     "weights [4, 1, 1, 2] in 3 groups do not fit 6 channels"),
    (ops.Conv(), (X, (4, 1, 1, 6), (3,)),
     "bias, multiplier and shift must have shape [4], not [3]"),
    (ops.Conv(), (X, (4, 8, 2, 6)), "a window of 8x2 does not fit 7x5 with its pads"),
    (ops.ConvTranspose(), (X, (5, 1, 1, 2)),
     "weights [5, 1, 1, 2] in 1 groups do not fit 6 channels"),
    (ops.ConvTranspose(pads=(4, 0, 3, 0)), (X, (6, 1, 1, 2)),
     "the pads leave nothing of the result"),
    (ops.Dense(), ((3, 5), (4, 6)), "weights [4, 6] do not fit x of shape [3, 5]"),
    (ops.Dense(), ((), (4, 6)), "weights [4, 6] do not fit x of shape []"),
    (ops.MatMul(), ((3, 4), (5, 6)), "shapes [3, 4] and [5, 6] do not multiply"),
    (ops.Pointwise("x"), (X, X), "takes 1 inputs, not 2"),
    (ops.Lookup(), (X, (255,)), "a table has 256, 513 or 65536 entries, not shape [255]"),
    (ops.PRelu(), ((1, 5), (3, 5)), "slope broadcast to x must have shape [1, 5], not [3, 5]"),
    (ops.Exceeds(), ((3, 5), (1, 5)), "thresholds must have shape [5], not [1, 5]"),
    (ops.QPRelu(), (X, (5,), (5,)), "5 slopes do not cover the last axes of shape [2, 7, 5, 6]"),
    (ops.QPRelu(), (X, (6,), (5,)), "shift must have shape [6], not [5]"),
    (ops.MaxPool(kernel=(2, 2), pads=(2, 0, 0, 0)), (X,), "pads must be smaller than the window"),
    (ops.AveragePool(kernel=(2, 2), ceil_pads=(1, 0)), (X,),
     "pads must be smaller than the window, ceil pads than the stride"),
    (ops.AveragePool((1, 8), (0, 0, 0, 2), (3, 3), (0, 7)), (X,),
     "a window must not lie outside x"),
    (ops.QAveragePool(kernel=(2, 2)), (X, (3,), (4,)),
     "multiplier and shift must have shape [4], not [3]"),
    (ops.ReduceSum((1, 1)), (X,), "axes [1, 1] do not fit shape [2, 7, 5, 6]"),
    (ops.QReduceSum(axes=(4,)), (X,), "axes [4] do not fit shape [2, 7, 5, 6]"),
    (ops.ArgMax(4), (X,), "axis 4 does not fit shape [2, 7, 5, 6]"),
    (ops.TopIndices(1, 8), (X,), "an axis of 7 has no 8 largest elements"),
    (ops.NonMaxSuppression(3), ((2, 7, 4), (2, 7, 5)),
     "boxes [2, 7, 4] and scores [2, 7, 5] are not [N,S,4] and [N,C,S]"),
    (ops.NonMaxSuppression(8), ((2, 7, 4), (2, 5, 7)), "of 7 boxes 8 cannot stay"),
    (ops.GatherElements(1), (X, (7,)), "indices must have 4 axes, not shape [7]"),
    (ops.GatherElements(1), (X, (2, 9, 6, 6)),
     "indices of shape [2, 9, 6, 6] do not lie in shape [2, 7, 5, 6]"),
    (ops.Softmax(0), ((),), "axis 0 does not fit shape []"),
    (ops.QSoftmax(0), (X, (3, 256)), "exponentials have shape [256] or [2, 256], not [3, 256]"),
    (ops.Normalization(axes=(2,)), (X, (5,), (6,)),
     "shapes [2, 7, 5, 6] and [1, 1, 1, 5] do not broadcast"),
    (ops.Normalization(axes=(0,)), ((1, 6), (3, 6)),
     "scale and bias broadcast to x must have shape [1, 6], not [3, 6]"),
    (ops.Normalization(axes=(4,)), (X, (6,)), "axes [4] do not fit shape [2, 7, 5, 6]"),
    (ops.QNormalization(axes=(3, 3)), (X, (6,), (6,)), "axes [3, 3] do not fit shape [2, 7, 5, 6]"),
    (ops.QNormalization(axes=(3,)), (X, (5,), (5,)),
     "5 multipliers do not cover the last axes of shape [2, 7, 5, 6]"),
    (ops.QNormalization(axes=(3,), inner=30), (X, (6,), (6,)),
     "6 multipliers for 30 elements each do not cover the last axes of shape [2, 7, 5, 6]"),
    (ops.QNormalization(axes=(3,), inner=5), (X, (6,), (6,)),
     "6 multipliers for 5 elements each do not cover the last axes of shape [2, 7, 5, 6]"),
    (ops.QNormalization(axes=(3,)), (X, (6,), (1,)), "bias must have shape [6], not [1]"),
    (ops.Concat(0), (), "takes at least 1, not 0 inputs"),
    (ops.Concat(1), (X, (2, 1, 5, 5)),
     "shapes [2, 7, 5, 6] and [2, 1, 5, 5] do not join on axis 1"),
    (ops.Slice((0,), (1,), (1,)), ((3, 3),), "one start, size and step an axis of shape [3, 3]"),
    (ops.Slice((1,), (3,), (1,)), ((3,),), "a slice of 3 from 1 by 1 leaves an axis of 3"),
    (ops.Slice((1,), (3,), (-1,)), ((3,),), "a slice of 3 from 1 by -1 leaves an axis of 3"),
    (ops.Slice((1,), (1,), (0,)), ((3,),), "a slice of 1 from 1 by 0 leaves an axis of 3"),
    (ops.Pad((1,), (1,)), ((3, 3),), "two pads an axis of shape [3, 3]"),
    (ops.Pad((3,), (1,), "reflect"), ((3,),), "a reflection of 3 needs an axis longer than 3"),
    (ops.Reshape((4,)), ((3,),), "3 elements do not fill shape [4]"),
    (ops.Transpose((0, 0)), ((3, 3),), "[0, 0] is no permutation of the axes of shape [3, 3]"),
    (ops.Gather(1), ((3,), (2,)), "axis 1 does not fit shape [3]"),
    (ops.Tile((2,)), ((3, 3),), "one repeat an axis of shape [3, 3]"),
    (ops.Expand((3, 1)), ((3, 3),), "x broadcast must have shape [3, 1], not [3, 3]"),
    (ops.DepthToSpace(2), (X,), "6 channels do not divide into blocks of 2x2"),
    (ops.SpaceToDepth(7), (X,), "7x5 does not divide into blocks of 7x7"),
    (ops.ResizeNearest((), (0,)), (X,), "a resize has at least one row and column"),
    (ops.ResizeNearest((7,), (0,)), (X,), "index 7 is outside an axis of 7"),
    (ops.Resize(((0, (1.0,)),), ()), (X,), "a resize has at least one row and column"),
    (ops.Resize(((0, (0.5, 0.5)),), ((4, (0.5, 0.5)),)), (X,), "index 5 is outside an axis of 5"),
    (ops.Resize(((0, (0.5, 0.5)), (0, (1.0,))), ((4, (1.0,)),)), (X,),
     "of all rows, and of all columns, there are as many weights"),
    (ops.QResize(), (X, (3,), (4, 2), (9,), (9, 5)), "weights [4, 2] do not fit 3 rows made of 7"),
    (ops.QResize(), (X, (3,), (3, 2), (9,), (9, 6)),
     "weights [9, 6] do not fit 9 columns made of 5"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "shapes", "message"), MISFITS)
def test_shapes_that_misfit_are_refused(op, shapes, message):
    with refused(message):
        output_shapes(op, *shapes)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_slopes_may_cover_any_last_axes(shape, data):
    covered = math.prod(shape[data.draw(st.integers(0, len(shape))) :])
    assert output_shapes(ops.QPRelu(), tuple(shape), (covered,), (covered,)) == (tuple(shape),)
