"""An integer Graph keeps the functions behind its tables, and what its sums are."""

import numpy as np
import pytest

from edgeinfer.arithmetic.tables import function_table
from edgeinfer.converters import from_onnx
from edgeinfer.graph import operators as ops
from edgeinfer.model_file import from_bytes, to_bytes
from edgeinfer.quant import quantize
from tests.accuracy.exported_models import MODELS, samples

ACTIVATED = ["efficientnet_silu", "mlp_of_many_activations", "hard_swish_in_primitives"]


@pytest.mark.parametrize("scheme", ["int8", "int16"])
@pytest.mark.parametrize("name", ACTIVATED)
def test_every_table_is_what_its_expression_and_its_types_give(name, scheme):
    model = MODELS[name]()
    graph = from_onnx(model)
    functions = [node for node in graph.nodes if isinstance(node.op, ops.Pointwise)]
    overrides = {functions[1].name: "int8" if scheme == "int16" else "int16"}
    made = quantize(
        graph, samples(model, 8, seed=1), scheme=scheme, observer="minmax", overrides=overrides
    )
    expressions = {node.op.expression for node in functions}
    tables = [node for node in made.nodes if isinstance(node.op, ops.Lookup)]
    assert tables
    for node in tables:
        types = made.types[node.inputs[0]], made.types[node.output]
        kinds = [(t.quantization.step, t.quantization.zero_point, t.dtype) for t in types]
        entries = made.constants[node.inputs[1]]
        assert node.op.expression in expressions
        again = function_table(node.op.expression, node.op.domain, *kinds, len(entries))
        np.testing.assert_array_equal(again, entries)


def test_a_mean_and_a_sum_are_told_apart_through_a_file():
    made = quantize(
        from_onnx(MODELS["one_dimensional_convolutions"]()),
        samples(MODELS["one_dimensional_convolutions"](), 8, seed=1),
    )
    (mean,) = (n.op.mean for n in from_bytes(to_bytes(made)).nodes if hasattr(n.op, "mean"))
    assert mean is True
