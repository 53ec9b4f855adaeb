"""On real models too, a Session gives the reference's bits for every value."""

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.meaning import reference
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.zoo_entries import FEED_FORWARD, RECURRENT


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int16"])
@pytest.mark.parametrize("name", [*FEED_FORWARD, *RECURRENT])
def test_every_value_of_a_real_model_is_the_references(zoo, name, scheme):
    entry = zoo.load(name)
    graph = quantize(from_onnx(entry.model), {entry.input: entry.calib[:20]}, scheme=scheme)
    (input_name,) = graph.inputs
    kind = graph.types[input_name]
    session = Session(graph, keep_values=True)
    shared = Session(graph, num_threads=2)
    for x in entry.x[:2]:
        raw = kind.quantization.quantize(x[None], kind.dtype)
        values = {}
        expected = reference.execute(
            graph, {input_name: raw}, observe=lambda n, a, v=values: v.update({n: a})
        )
        session.run(x[None])
        for value, array in values.items():
            np.testing.assert_array_equal(session.value(value), array, err_msg=value)
        np.testing.assert_array_equal(shared.run(raw), expected[graph.outputs[0]])
