"""A 16-bit network runs whole whatever its functions: the NPU holds all tables that it needs."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import preset
from edgeinfer.meaning import reference
from edgeinfer.quant import quantize
from tests import strategies
from tests.accuracy.exported_models import Builder
from tests.hdl.compiler.compiled import golden_values

ACTIVATIONS = {
    "HardSwish": lambda b, x: b.op("HardSwish", x),
    "HardSigmoid": lambda b, x: b.op("HardSigmoid", x, alpha=1 / 6),
    "SiLU": lambda b, x: b.op("Mul", x, b.op("Sigmoid", x)),
    "Gelu": lambda b, x: b.op("Gelu", x),
    "LeakyRelu": lambda b, x: b.op("LeakyRelu", x, alpha=0.1),
    "Sigmoid": lambda b, x: b.op("Sigmoid", x),
}


def block(activation: str, reach: float) -> Graph:
    """An inverted residual with squeeze-and-excite, whose functions' inputs reach that far."""
    b = Builder(7, opset=20)
    act = ACTIVATIONS[activation]
    x = act(b, b.conv("x", 4, 12, 1))
    x = act(b, b.conv(x, 12, 12, group=12))
    gate = b.op("Relu", b.conv(b.op("GlobalAveragePool", x), 12, 4, 1))
    gate = b.op("HardSigmoid", b.conv(gate, 4, 12, 1), alpha=1 / 6)
    model = b.model([1, 4, 6, 6], act(b, b.conv(b.op("Mul", x, gate), 12, 4, 1)))
    rng = np.random.default_rng(3)
    data = reach * rng.normal(size=(32, 1, 4, 6, 6)).astype(np.float32)
    return quantize(from_onnx(model), list(data), scheme="int16")


@pytest.mark.parametrize("reach", [1.0, 4.0])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_value_is_the_references(activation, reach):
    graph = block(activation, reach)
    tables = [node.inputs[1] for node in graph.nodes if isinstance(node.op, ops.Lookup)]
    assert [graph.constants[name].size for name in tables] == [513] * 4
    inputs = strategies.random_inputs(graph, 0)
    values: dict[str, np.ndarray] = {}
    reference.execute(graph, inputs, observe=values.__setitem__)
    compiled = compile(graph, preset("8x8-16"))
    (program,) = compiled.programs
    for name, got in golden_values(program, {**inputs, **values}).items():
        np.testing.assert_array_equal(got, values[name], err_msg=name)
