"""Rows of which a mask leaves a Softmax nothing are 0 where a model makes 0 of ONNX's NaN."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.accuracy.sqnr import sqnr_db
from tests.converters.onnx_agreement import model, node, onnxruntime_values, operators

RNG = np.random.default_rng(53)
ROWS = 6
SHAPE = (1, 2, ROWS, ROWS)
CAUSAL = np.tri(ROWS, dtype=bool)
ONE_ROW = CAUSAL & (np.arange(ROWS) != 2)[:, None]

# how exporters mask scores s, where a condition c holds
MASKED = {
    "a choice": [node("Where", ["c", "s", "never"], ["m"])],
    "the other choice": [node("Not", ["c"], ["d"]), node("Where", ["d", "never", "s"], ["m"])],
    "what is added": [
        node("Where", ["c", "zero", "never"], ["a"]),
        node("Add", ["s", "a"], ["m"]),
    ],
}
CHECKED = [
    node("Softmax", ["m"], ["p"], axis=-1),
    node("IsNaN", ["p"], ["n"]),
    node("Where", ["n", "zero", "p"], ["shares"]),
    node("MatMul", ["shares", "s"], ["y"]),
]


def attention(masked, never=-np.inf, condition=None):
    constants = {"never": np.float32(never), "zero": np.float32(0)}
    inputs = {"s": SHAPE}
    if isinstance(condition, tuple):
        inputs["c"] = condition
    else:
        constants["c"] = condition
    proto = model([*MASKED[masked], *CHECKED], constants=constants, inputs=inputs)
    for value in proto.graph.input[1:]:
        value.type.tensor_type.elem_type = onnx.TensorProto.BOOL
    return proto


def agrees(proto, conditions=(None,) * 24):
    graph = from_onnx(proto)
    feeds, wanted, found = [], [], []
    for c in conditions:
        s = RNG.normal(size=SHAPE).astype("f4")
        given = {"s": s} if c is None else {"s": s, "c": c}
        feeds.append({name: a.astype("f4") for name, a in given.items()})
        wanted.append(onnxruntime_values(proto, given, ["y"])["y"])
        found.append(execute(graph, feeds[-1])["y"])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    session = Session(quantize(graph, feeds, scheme="int16", observer="minmax"))
    assert sqnr_db(np.stack(wanted), np.stack([session.run(feed) for feed in feeds])) > 65
    return graph


@pytest.mark.parametrize("never", [-np.inf, np.finfo("f4").min])
@pytest.mark.parametrize("condition", [CAUSAL, ONE_ROW])
@pytest.mark.parametrize("masked", MASKED)
def test_of_a_constant_mask_the_rows_are_known(masked, condition, never):
    graph = agrees(attention(masked, never, condition))
    is_zero = condition is ONE_ROW and np.isinf(never)
    assert ("Mul" in operators(graph)) == is_zero
    assert operators(graph).count("Where") <= 1


@pytest.mark.parametrize("masked", MASKED)
def test_a_run_may_leave_a_row_nothing(masked):
    conditions = RNG.random((24, *SHAPE[2:])) > 0.4
    conditions[..., 0] = True
    conditions[np.arange(24), RNG.integers(0, ROWS, 24)] = False
    agrees(attention(masked, condition=SHAPE[2:]), conditions)


@pytest.mark.parametrize("masked", MASKED)
def test_a_run_may_leave_no_row_anything(masked):
    """Its scores take no steps from those of other runs."""
    conditions = np.arange(24).reshape(24, 1, 1) % 3 > 0
    agrees(attention(masked, condition=(1, 1)), conditions)
