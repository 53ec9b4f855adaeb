"""Products of two matrices that a run computes give the reference's bits on every processor."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.arithmetic.accumulators import reach
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.graph import Graph, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime.session import Session

# on both sides of a tile's rows and columns, of a pair and of a panel
EXTENTS = st.sampled_from([1, 2, 3, 5, 6, 7, 8, 13, 15, 16, 17, 31, 32, 33, 50, 64, 129])
DTYPES = st.sampled_from(["int8", "int16"])


@st.composite
def products(draw):
    """x [2, rows, depth] times y [1, depth, columns], whose results fill their integers."""
    rows, depth, columns = draw(EXTENTS), draw(EXTENTS), draw(EXTENTS)
    dtypes, out = draw(st.tuples(DTYPES, DTYPES)), draw(DTYPES)
    zero_points = [draw(st.integers(-128, 127)) if d == "int8" else 0 for d in dtypes]
    largest = depth * math.prod(map(reach, dtypes, zero_points))
    info = np.iinfo(out)
    real = min(4 * int(info.max) / largest * math.sqrt(depth), 1.0)
    bits = draw(st.sampled_from([24, fixedpoint.multiplier_bits(largest)]))
    multiplier, shift = fixedpoint.multiplier_and_shift(real, bits)
    op = ops.QMatMul(
        a_zero_point=zero_points[0],
        b_zero_point=zero_points[1],
        output_zero_point=3 if out == "int8" else 0,
        lo=int(info.min),
        hi=int(info.max) - draw(st.integers(0, 1)),
        rounding=draw(
            st.sampled_from(["single", "double"] if "int16" not in dtypes else ["single"])
        ),
        multiplier=multiplier,
        shift=shift,
    )
    shapes = {"x": (2, rows, depth), "y": (1, depth, columns)}
    types = {
        name: TensorType(shape, dtype, Quantization.per_tensor(0.0625, zero_point))
        for (name, shape), dtype, zero_point in zip(
            shapes.items(), dtypes, zero_points, strict=True
        )
    }
    types["z"] = TensorType(
        (2, rows, columns), out, Quantization.per_tensor(1.0, op.output_zero_point)
    )
    return Graph("product", (Node("n", op, ("x", "y"), ("z",)),), types, ("x", "y"), ("z",), {})


@pytest.mark.parametrize("isa", SUPPORTED)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(graph=products(), seed=st.integers(0, 999))
def test_products_of_any_extents(isa, graph, seed):
    """For numbers all over, and for those whose products are the largest."""
    rng = np.random.default_rng(seed)
    session = Session(graph, isa=isa)
    for everywhere in (True, False):
        operands = {}
        for name in "xy":
            kind = graph.types[name]
            ends = np.iinfo(kind.dtype).min, np.iinfo(kind.dtype).max
            q = rng.integers(*ends, kind.shape, endpoint=True)
            operands[name] = (q if everywhere else rng.choice(ends, kind.shape)).astype(kind.dtype)
        (expected,) = reference.execute(graph, operands).values()
        np.testing.assert_array_equal(session.run(operands), expected, strict=True)
