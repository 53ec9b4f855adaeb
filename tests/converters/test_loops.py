"""A Loop over a sequence that spells out an LSTM, GRU or RNN is that layer; others are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeinfer.converters import from_onnx
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import operators as ops
from edgeinfer.quant import quantize
from tests.converters.onnx_agreement import agreement, model, node, operators
from tests.refusals import refused

STEPS, HIDDEN, WIDTH = 5, 4, 3
UNIQUE = node("Unique", ["e"], ["xt"])
NO_LAYER = (
    "its body is no step of an LSTM, GRU or RNN, and other loops are not imported: export the "
    "model unrolled"
)


def cell(kind: str) -> tuple[list[onnx.NodeProto], list[str]]:
    """A step on ``xt`` and the states ``h`` and ``c`` as Keras has it; what they become."""
    nodes = [node("MatMul", ["h", "r"], ["rh"])]
    if kind == "RNN":
        nodes += [node("Gemm", ["xt", "w", "b"], ["wx"]), node("Add", ["rh", "wx"], ["s"])]
        return [*nodes, node("Tanh", ["s"], ["h_next"])], ["h_next"]
    if kind == "LSTM":
        nodes += [
            node("Gemm", ["xt", "w", "rh"], ["s0"]),
            node("Add", ["s0", "b"], ["s"]),
            node("Split", ["s", "four"], ["i", "f", "n", "o"], axis=1),
            *(node("Sigmoid", [g], [f"{g}_"]) for g in "ifo"),
            node("Tanh", ["n"], ["n_"]),
            node("Mul", ["f_", "c"], ["kept"]),
            node("Mul", ["i_", "n_"], ["added"]),
            node("Add", ["kept", "added"], ["c_next"]),
            node("Tanh", ["c_next"], ["out"]),
            node("Mul", ["o_", "out"], ["h_next"]),
        ]
        return nodes, ["h_next", "c_next"]
    nodes += [
        node("Gemm", ["xt", "w", "b"], ["wx"]),
        node("Add", ["rh", "rb"], ["rhb"]),
        node("Split", ["wx", "three"], ["xz", "xr", "xn"], axis=-1),
        node("Split", ["rhb", "three"], ["hz", "hr", "hn"], axis=-1),
        node("Add", ["xz", "hz"], ["z"]),
        node("Add", ["hr", "xr"], ["q"]),
        node("Sigmoid", ["z"], ["z_"]),
        node("Sigmoid", ["q"], ["q_"]),
        node("Mul", ["q_", "hn"], ["reset"]),
        node("Add", ["xn", "reset"], ["n"]),
        node("Tanh", ["n"], ["n_"]),
        node("Sub", ["one", "z_"], ["rest"]),
        node("Mul", ["rest", "n_"], ["added"]),
        node("Mul", ["z_", "h"], ["kept"]),
        node("Add", ["kept", "added"], ["h_next"]),
    ]
    return nodes, ["h_next"]


def looped(
    kind: str,
    *,
    batch: int = 1,
    count: Any = STEPS,
    limit: int = STEPS,
    computed: bool = False,
    changed: dict[str, list[onnx.NodeProto]] | None = None,
) -> onnx.ModelProto:
    """A loop over x [T,N,I] that begins at 0, or where ``computed`` at the input h.

    It runs ``count`` times, or until its own counter is ``limit``. ``changed`` are nodes in the
    place of those that give ``xt`` or a state.
    """
    rng = np.random.default_rng(0)
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind] * HIDDEN
    nodes, states = cell(kind)
    for name, others in {"xt": [node("Gather", ["x", "at"], ["xt"])], **(changed or {})}.items():
        nodes = [*others, *(n for n in nodes if name not in n.output)]
    body_nodes = [
        node("Add", ["at", "step"], ["at_next"]),
        node("Less", ["at_next", "limit"], ["again"]),
        *nodes,
        node("Identity", ["h_next"], ["scanned"]),
    ]
    floats = dict.fromkeys(("h", "c")[: len(states)], TensorProto.FLOAT)
    kinds = {"at": TensorProto.INT64, **floats, "w": TensorProto.FLOAT}
    inputs = [
        helper.make_tensor_value_info("number", TensorProto.INT64, []),
        helper.make_tensor_value_info("going", TensorProto.BOOL, []),
        *(helper.make_tensor_value_info(name, t, None) for name, t in kinds.items()),
    ]
    given = ["again", "at_next", *states, "w", "scanned"]
    body = helper.make_graph(
        body_nodes, "body", inputs, [helper.make_empty_tensor_value_info(g) for g in given]
    )
    constants: dict[str, Any] = {
        "weights": rng.normal(size=(WIDTH, gates)) * 0.7,
        "r": rng.normal(size=(HIDDEN, gates)) * 0.7,
        "b": rng.normal(size=gates),
        "rb": rng.normal(size=gates),
        "zeros": np.zeros((batch, HIDDEN)),
        "four": np.full(4, HIDDEN),
        "three": np.full(3, HIDDEN),
        "one": np.float32(1),
        "zero": np.int64(0),
        "two": np.int64(2),
        "last": np.int64(STEPS - 1),
        "table": rng.normal(size=(STEPS, gates)),
        "step": np.int64(1),
        "limit": np.int64(limit),
        "go": np.array(True),
    }
    if not isinstance(count, str):
        constants["count"] = np.int64(count)
    first = ["start" if computed else "zeros", "zeros"][: len(states)]
    outputs = ["at_end", "h_end", *(["c_end"] if kind == "LSTM" else []), "w_end", "all"]
    wanted = [name for name in outputs if name not in ("at_end", "w_end")]
    loop = node("Loop", ["count", "go", "zero", *first, "weights"], outputs, body=body)
    return model(
        [loop],
        constants=constants,
        inputs={"x": (STEPS, batch, WIDTH), **({"start": (batch, HIDDEN)} if computed else {})},
        outputs=wanted,
    )


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_loop_that_spells_out_a_layer_is_that_layer(kind, computed, batch):
    graph = agreement(looped(kind, batch=batch, computed=computed))
    assert operators(graph).count(kind) == 1
    assert set(operators(graph)) <= {kind, "Slice", "Reshape", "Transpose"}
    (layer,) = (n for n in graph.nodes if isinstance(n.op, ops.Recurrent))
    assert len(layer.inputs) == (6 if computed else 5)


def test_a_loop_ends_where_its_condition_does():
    assert "GRU" in operators(agreement(looped("GRU", count=2**31, limit=STEPS)))


def message(reason: str) -> str:
    return f"1 node cannot be imported: Loop (ai.onnx opset 17) at 'at_end': {reason}"


NEARLY = {
    "the elements in another order": (
        "RNN",
        {"xt": [node("Sub", ["last", "at"], ["back"]), node("Gather", ["x", "back"], ["xt"])]},
    ),
    "an element twice": (
        "RNN",
        {"xt": [node("Div", ["at", "two"], ["half"]), node("Gather", ["x", "half"], ["xt"])]},
    ),
    "a bias of each step": (
        "RNN",
        {
            "rh": [
                node("MatMul", ["h", "r"], ["product"]),
                node("Gather", ["table", "at"], ["own"]),
                node("Add", ["product", "own"], ["rh"]),
            ]
        },
    ),
    "no product with the state": ("RNN", {"rh": [node("Mul", ["h", "h"], ["rh"])]}),
    "the cell before": ("LSTM", {"out": [node("Tanh", ["c"], ["out"])]}),
    "a forget gate of h": ("LSTM", {"kept": [node("Mul", ["f_", "h"], ["kept"])]}),
    "another output gate": ("LSTM", {"o_": [node("HardSigmoid", ["o"], ["o_"])]}),
    "shares that are not of one": ("GRU", {"rest": [node("Sub", ["one", "q_"], ["rest"])]}),
    "a reset of W x": ("GRU", {"reset": [node("Mul", ["q_", "xn"], ["reset"])]}),
    "an update by h": ("GRU", {"added": [node("Mul", ["rest", "h"], ["added"])]}),
}


@pytest.mark.parametrize("difference", NEARLY)
def test_what_is_nearly_a_layer_is_refused(difference):
    kind, changed = NEARLY[difference]
    with refused(message(NO_LAYER), UnsupportedError):
        from_onnx(looped(kind, changed=changed))


def test_a_loop_over_a_part_is_refused():
    with refused(message(NO_LAYER), UnsupportedError):
        from_onnx(looped("LSTM", limit=STEPS - 1))


def test_a_count_that_a_run_computes_is_refused():
    proto = looped("RNN", count="computed")
    proto.graph.input.append(helper.make_tensor_value_info("count", TensorProto.INT64, []))
    with refused(message("how often it runs must be constant"), UnsupportedError):
        from_onnx(proto)


def test_what_a_body_has_that_cannot_be_imported_is_named():
    proto = looped("RNN", changed={"xt": [node("Gather", ["x", "at"], ["e"]), UNIQUE]})
    reason = "Unique in its body: do this step in the program"
    with refused(message(reason), UnsupportedError):
        from_onnx(proto)


def test_a_quantized_loop_is_a_quantized_layer():
    x = np.random.default_rng(1).normal(size=(32, STEPS, 1, WIDTH)).astype("f4")
    graph = from_onnx(looped("LSTM"))
    integer = quantize(graph, x.reshape(-1, 1, WIDTH))
    assert integer.types["c_end"].dtype == "int16"
