"""An operator holds attributes of its types and ranges, or is not made."""

import dataclasses
import math

import numpy as np
import pytest

from edgeinfer.arithmetic import pointwise
from edgeinfer.graph import operators as ops
from tests.refusals import refused

# (class, attributes, refusal)
REFUSED = [
    (ops.Conv, {"strides": (0, 1)}, "Conv.strides cannot be (0, 1)"),
    (ops.Conv, {"strides": [1, 1]}, "Conv.strides cannot be [1, 1]"),
    (ops.Conv, {"strides": (1, 1, 1)}, "Conv.strides cannot be (1, 1, 1)"),
    (ops.Conv, {"pads": (0, 0, 0, -1)}, "Conv.pads cannot be (0, 0, 0, -1)"),
    (ops.Conv, {"group": True}, "Conv.group cannot be True"),
    (ops.Conv, {"group": 2**31}, "Conv.group cannot be 2147483648"),
    (ops.Conv, {"lo": math.nan}, "Conv.lo cannot be nan"),
    (ops.Conv, {"lo": 0}, "Conv.lo cannot be 0"),
    (ops.Softmax, {"axis": 8}, "Softmax.axis cannot be 8"),
    (ops.Softmax, {"axis": -1}, "Softmax.axis cannot be -1"),
    (ops.LRN, {"size": 1, "alpha": math.inf, "beta": 1.0, "bias": 1.0}, "LRN.alpha cannot be inf"),
    (ops.Reshape, {"shape": (1,) * 9}, "Reshape.shape cannot be (1, 1, 1, 1, 1, 1, 1, 1, 1)"),
    (ops.Pad, {"before": (), "after": (), "mode": "wrap"}, "Pad.mode cannot be 'wrap'"),
    (ops.Pad, {"before": (), "after": (), "value": "0"}, "Pad.value cannot be '0'"),
    (ops.QConv, {"rounding": "both"}, "QConv.rounding cannot be 'both'"),
    (ops.QConv, {"output_zero_point": 32768}, "QConv.output_zero_point cannot be 32768"),
    (ops.QAdd, {"left_shift": 16}, "QAdd.left_shift cannot be 16"),
    (ops.QAdd, {"left_shift": 20.0}, "QAdd.left_shift cannot be 20.0"),
    (ops.QMul, {"multiplier": -1}, "QMul.multiplier cannot be -1"),
    (ops.QMul, {"multiplier": 2**31}, "QMul.multiplier cannot be 2147483648"),
    (ops.Rescale, {"shift": 1}, "Rescale.shift cannot be 1"),
    (ops.Rescale, {"shift": 63}, "Rescale.shift cannot be 63"),
    (ops.Resize, {"rows": ((0, (1,)),), "columns": ()},
     "Resize.rows cannot be ((0, (1,)),)"),
    (ops.Pointwise, {"expression": ("sigmoid",)}, "sigmoid takes 1 arguments, not 0"),
    (ops.Pointwise, {"expression": ("system", "x")}, "('system', 'x') is not an expression"),
    (ops.Pointwise, {"expression": 1}, "1 is not an expression"),
    (ops.Pointwise, {"expression": math.nan}, "nan is not an expression"),
    (ops.Lookup, {"expression": ("system", "x")}, "('system', 'x') is not an expression"),
    (ops.Lookup, {"domain": (0.0,)}, "Lookup.domain cannot be (0.0,)"),
    (ops.Lookup, {"domain": (0.0, math.inf)}, "Lookup.domain cannot be (0.0, inf)"),
    (ops.QReduceSum, {"axes": (), "mean": 1}, "QReduceSum.mean cannot be 1"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "attributes", "message"), REFUSED)
def test_attributes_of_a_wrong_type_or_range_are_refused(kind, attributes, message):
    with refused(message, ValueError):
        kind(**attributes)


def test_an_expression_is_bounded_in_depth_and_size():
    deep, wide = "x", "x"
    for _ in range(65):
        deep = ("neg", deep)
    for _ in range(10):
        wide = ("add", wide, wide)
    for expression in (deep, wide):
        for kind in (ops.Pointwise, ops.Lookup):
            with refused("an expression has at most 64 levels, 1024 terms", ValueError):
                kind(expression)
    ops.Pointwise(deep[1])


def test_operators_are_values():
    a, b = ops.QMul(multiplier=3), ops.QMul(multiplier=3)
    assert a == b and hash(a) == hash(b) and a != dataclasses.replace(b, shift=5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.shift = 5


def test_an_operator_shows_what_differs_from_its_defaults():
    assert str(ops.Conv(0.0, strides=(2, 2))) == "Conv<lo=0.0 strides=(2,2)>"
    assert str(ops.Add()) == "Add"
    assert str(ops.Pointwise(("mul", "x", 2.0))) == "Pointwise<mul(x, 2)>"
    assert str(ops.Lookup(("mul", "x", 2.0))) == "Lookup<mul(x, 2)>"
    assert str(ops.Lookup()) == "Lookup"


def test_the_registry_names_every_operator_that_a_graph_may_hold():
    families = {kind.__name__ for op in ops.OPERATORS.values() for kind in op.__mro__} - {"object"}
    assert set(ops.__all__) == families | set(ops.OPERATORS) | {"OPERATORS", "Role", "Rounding"}


@pytest.mark.parametrize("name", sorted(pointwise.FUNCTIONS))
def test_every_function_keeps_the_shape_and_float_type(name):
    arity, _ = pointwise.FUNCTIONS[name]
    expression = (name, "x", *[0.5] * (arity - 1))
    for dtype in (np.float32, np.float64):
        for shape in ((), (3,), (2, 1)):
            # an area cosine is one of 1 and more
            x = np.full(shape, 1.25 if name == "acosh" else 0.25, dtype)
            y = pointwise.evaluate(expression, x)
            assert y.dtype == dtype and y.shape == shape and np.isfinite(y).all()


def test_substitution_is_composition():
    outer, inner = ("mul", "x", ("sigmoid", "x")), ("add", "x", 1.0)
    assert pointwise.substitute(outer, inner) == ("mul", inner, ("sigmoid", inner))
