"""A Loop or Scan that spells out an LSTM, GRU or RNN is that layer; others are unrolled."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeinfer.converters import from_onnx, onnx_import
from edgeinfer.errors import ModelError, UnsupportedError
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from tests.converters.onnx_agreement import agreement, model, node, operators
from tests.refusals import refused

STEPS, HIDDEN, WIDTH = 5, 4, 3
UNIQUE = node("Unique", ["e"], ["xt"])
NO_LAYER = "its body is no step of an LSTM, GRU or RNN"


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
        place = next((i for i, n in enumerate(nodes) if name in n.output), 0)
        before, behind = nodes[:place], nodes[place:]
        nodes = [*before, *others, *(n for n in behind if name not in n.output)]
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


def message(reason: str, at: str = "at_end") -> str:
    return f"1 node cannot be imported: Loop (ai.onnx opset 17) at {at!r}: {reason}"


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
def test_what_is_nearly_a_layer_is_unrolled(difference):
    kind, changed = NEARLY[difference]
    graph = agreement(looped(kind, changed=changed))
    assert kind not in operators(graph)


def test_a_loop_over_a_part_is_unrolled():
    assert operators(agreement(looped("LSTM", limit=STEPS - 1))).count("Concat") == 1


def test_what_would_be_unrolled_into_thousands_of_nodes_is_refused():
    _, changed = NEARLY["an element twice"]
    proto = looped("RNN", count=2**31, limit=2**31, changed=changed)
    proto.graph.node[0].attribute[0].g.node[0].input[1] = "zero"
    reason = f"{NO_LAYER}, and unrolled it would have more than 5000 nodes"
    with refused(message(reason), UnsupportedError):
        from_onnx(proto)


def test_a_body_without_nodes_is_not_unrolled_for_ever():
    body = helper.make_graph(
        [],
        "body",
        [helper.make_empty_tensor_value_info(name) for name in ("at", "again", "h")],
        [helper.make_empty_tensor_value_info(name) for name in ("again", "h")],
    )
    constants = {"count": np.array(2**31), "going": np.array(True)}
    layer = node("Loop", ["count", "going", "x"], ["y"], body=body)
    with refused(
        "1 node cannot be imported: Loop (ai.onnx opset 17) at 'y': "
        f"{NO_LAYER}, and unrolled it would have more than 5000 nodes",
        UnsupportedError,
    ):
        from_onnx(model([layer], (2, 3), constants))


def nested(depth: int, count: int) -> onnx.ModelProto:
    """x + x in loops of ``count`` iterations, each the body of the next."""
    nodes, result = [node("Add", ["h", "x"], ["h0"])], "h0"
    for level in range(1, depth + 1):
        body = helper.make_graph(
            nodes,
            "body",
            [helper.make_empty_tensor_value_info(name) for name in ("number", "going", "h")],
            [helper.make_empty_tensor_value_info(name) for name in ("going", result)],
        )
        result = f"h{level}" if level < depth else "y"
        first = "h" if level < depth else "x"
        nodes = [node("Loop", ["count", "", first], [result], body=body)]
    return model(nodes, (1, 2), {"count": np.int64(count)})


def test_a_loop_in_a_loop_is_unrolled():
    found = execute(from_onnx(nested(2, 3)), {"x": np.ones((1, 2), np.float32)})
    assert found["y"].tolist() == [[10.0, 10.0]]


def test_loops_in_loops_are_counted_together():
    reason = f"{NO_LAYER}, and unrolled it would have more than 5000 nodes"
    with refused(message(reason, "y"), UnsupportedError):
        from_onnx(nested(2, 1000))


def test_bodies_that_are_read_again_and_again_are_refused(monkeypatch):
    monkeypatch.setattr(onnx_import, "_MOST_VISITS", 1000)
    with pytest.raises(ModelError) as caught:
        from_onnx(nested(24, 1))
    level = caught.value.node
    assert str(caught.value) == (
        f"Loop {level!r}: the loops of the model have more than 1000 nodes to visit"
    )


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


# ---- Scan ------------------------------------------------------------------------------------


def scanned(nodes, taken, given, shapes, constants=None, opset=17, **attributes):
    """A Scan that carries ``h`` and scans the other inputs, from a constant first state."""
    body = helper.make_graph(
        nodes,
        "body",
        [helper.make_empty_tensor_value_info(name) for name in taken],
        [helper.make_empty_tensor_value_info(name) for name in given],
    )
    outputs = ["h_end", "all"]
    layer = node(
        "Scan", ["start", *shapes], outputs, body=body, num_scan_inputs=len(shapes), **attributes
    )
    return model([layer], constants=constants, inputs=shapes, outputs=outputs, opset=opset)


DIRECTED = {"scan_input_directions": [1], "scan_output_directions": [1]}


@pytest.mark.parametrize("axes", [{}, {"scan_input_axes": [1], "scan_output_axes": [-2]}])
@pytest.mark.parametrize("directions", [{}, DIRECTED])
def test_a_scan_that_spells_out_a_layer_is_that_layer(directions, axes):
    rng = np.random.default_rng(2)
    nodes = [*cell("RNN")[0], node("Identity", ["h_next"], ["y"])]
    constants = {
        "start": rng.normal(size=(2, HIDDEN)),
        "w": rng.normal(size=(WIDTH, HIDDEN)),
        "r": rng.normal(size=(HIDDEN, HIDDEN)) * 0.5,
        "b": rng.normal(size=HIDDEN),
    }
    shapes = {"x": (2, STEPS, WIDTH) if axes else (STEPS, 2, WIDTH)}
    given = (nodes, ["h", "xt"], ["h_next", "y"], shapes, constants)
    assert operators(agreement(scanned(*given, **directions, **axes))).count("RNN") == 1


def test_another_scan_is_unrolled():
    nodes = [node("Add", ["h", "xt"], ["h_next"]), node("Mul", ["h_next", "zt"], ["y"])]
    given = (nodes, ["h", "xt", "zt"], ["h_next", "y"])
    shapes = {"x": (STEPS, 2, WIDTH), "z": (STEPS, 2, WIDTH)}
    graph = agreement(scanned(*given, shapes, {"start": np.ones((2, WIDTH))}))
    assert operators(graph).count("Mul") == STEPS
    shapes["z"] = (STEPS + 1, 2, WIDTH)
    with refused("Scan 'h_end': what it scans is unlike long: [5, 6]"):
        from_onnx(scanned(*given, shapes, {"start": np.ones((2, WIDTH))}))


def test_a_scan_of_opset_8_is_refused():
    nodes = [node("Add", ["h", "xt"], ["h_next"]), node("Identity", ["h_next"], ["y"])]
    shapes = {"x": (STEPS, 2, WIDTH)}
    with refused(
        "1 node cannot be imported: Scan (ai.onnx opset 8) at 'h_end': it has an axis of samples "
        "up to opset 8: convert the model to a newer opset",
        UnsupportedError,
    ):
        start = {"start": np.ones((2, WIDTH))}
        from_onnx(scanned(nodes, ["h", "xt"], ["h_next", "y"], shapes, start, opset=8))
