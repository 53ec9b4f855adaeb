"""Elementwise operators of int16 that run as one step give the bits that each gives by itself."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.cython_kernels.runtime import KERNELS, SUPPORTED
from edgeinfer.graph import GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime.catalogue.proofs import short_rescale
from edgeinfer.runtime.planner import ALIGNMENT, plan
from edgeinfer.runtime.session import Session
from tests import strategies
from tests.example_counts import examples

COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ISAS = [isa for isa in SUPPORTED if isa in KERNELS["chain_s16"]]
ELEMENTWISE = (
    strategies.add_or_sub,
    strategies.mul,
    strategies.rescale,
    strategies.lookup,
    strategies.split,
)
# on both sides of a vector of words and of a block
LENGTHS = [1, 2, 5, 15, 16, 17, 20, 31, 32, 33, 63, 127, 128, 129, 300]


def check(graph, isa, seed):
    feeds = strategies.random_inputs(graph, seed)
    session = Session(graph, isa=isa)
    found = session.run(feeds)
    found = found if isinstance(found, dict) else {graph.outputs[0]: found}
    for name, expected in reference.execute(graph, feeds).items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name, strict=True)


@pytest.mark.parametrize("isa", ISAS)
@settings(COMMON, max_examples=examples(150))
@given(
    graph=strategies.integer_graphs(("int16",), ELEMENTWISE, max_nodes=12),
    seed=st.integers(0, 99),
)
def test_chains_of_all_kinds_are_the_references(isa, graph, seed):
    check(graph, isa, seed)


Q = Quantization.per_tensor(1 / 4096, 0)
SUM = fixedpoint.add_parameters(1 / 4096, 1 / 4096, 1 / 4096, bits=16)
HALF = dict(zip(("multiplier", "shift"), fixedpoint.multiplier_and_shift(2**-14), strict=True))
BYTES = dict(zip(("multiplier", "shift"), fixedpoint.multiplier_and_shift(2**-8), strict=True))
ENDS = {"lo": -32768, "hi": 32767}


def cell(length, seed=0):
    """What an LSTM does between its products: gates that lie side by side, the last with another
    table, a state of 16 bits and what becomes of it in 8."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder()

    def add(op, *names, dtype="int16"):
        return b.add(op, *names, dtype=dtype, quantization=Q)

    wide, narrow = (TensorType((1, n * length), "int16", Q) for n in (4, 1))
    given, recurrent, state = b.input("x", wide), b.input("r", wide), b.input("c", narrow)
    tables = [
        b.constant(f"knots_{i}", rng.integers(-16384, 16384, 513).astype(np.int16))
        for i in range(3)
    ]
    total = add(ops.QAdd(**SUM, **ENDS), given, recurrent)
    iof, n = b.add_several(ops.Split(1, (3 * length, length)), total)
    gates = add(ops.Lookup(), iof, tables[0])
    i, o, f = b.add_several(ops.Split(1, (length,) * 3), gates)
    new = add(ops.Lookup(), n, tables[1])
    kept = add(ops.QMul(**HALF, **ENDS), f, state)
    taken = add(ops.QMul(**HALF, **ENDS), i, new)
    c = add(ops.QAdd(**SUM, **ENDS), kept, taken)
    hidden = add(ops.Rescale(**HALF, **ENDS), c)
    shown = add(ops.Lookup(), hidden, tables[2])
    h = add(ops.QMul(**BYTES, lo=-128, hi=127), o, shown, dtype="int8")
    return b.graph(c, h)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_cell_of_every_length_is_the_references(isa, length):
    for seed in range(3):
        check(cell(length, seed), isa, seed)


@pytest.mark.parametrize("isa", ISAS)
def test_a_cell_is_one_step_and_what_it_hands_on_has_no_place(isa):
    graph = cell(20)
    planned = plan(graph, isa=isa)
    (step,) = planned.steps
    assert (step.kernel, step.node, step.outputs) == ("chain_s16", graph.nodes[-1].name, 2)
    assert set(planned.places) == {*graph.inputs, *graph.outputs}
    sizes = [graph.types[name].nbytes for name in (*graph.inputs, *graph.outputs)]
    assert planned.values_bytes == sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)


@pytest.mark.parametrize("isa", ISAS)
def test_the_time_of_a_cell_is_its_last_nodes(isa):
    graph = cell(20)
    session = Session(graph, isa=isa)
    times = session.profile(strategies.random_inputs(graph, 0))
    assert list(times) == [graph.nodes[-1].name]


@pytest.mark.parametrize("isa", ISAS)
def test_values_that_are_kept_are_those_of_the_reference(isa):
    graph = cell(33)
    feeds = strategies.random_inputs(graph, 5)
    session = Session(graph, isa=isa, keep_values=True)
    session.run(feeds)

    def observe(name, expected):
        np.testing.assert_array_equal(session.value(name), expected, err_msg=name, strict=True)

    reference.execute(graph, feeds, observe=observe)


@pytest.mark.parametrize("isa", ISAS)
def test_threads_share_a_long_chain(isa):
    graph = cell(40_000)
    (step,) = plan(graph, isa=isa).steps
    assert step.units == 313 and step.parts > 1
    feeds = strategies.random_inputs(graph, 1)
    found = Session(graph, isa=isa, num_threads=2).run(feeds)
    for name, expected in reference.execute(graph, feeds).items():
        np.testing.assert_array_equal(found[name], expected, strict=True)


@settings(COMMON, max_examples=examples(200))
@given(
    multiplier=st.integers(2**30, 2**31 - 1),
    shift=st.integers(2, 62),
    zero_point=st.sampled_from([0, -128, 127, 5]),
)
def test_the_short_form_of_a_rescale_is_r1_for_every_int16(multiplier, shift, zero_point):
    op = ops.Rescale(
        multiplier=multiplier, shift=shift, output_zero_point=zero_point, lo=-128, hi=127
    )
    form = short_rescale(op)
    if not 17 <= shift <= (47 if zero_point == 0 else 38):
        return
    assert form is not None
    factor, rounding, by = form
    q = np.arange(-32768, 32768).astype(np.int64)
    high = ((q << 16) * factor >> 32) + rounding
    assert high.min() >= -(2**31) and high.max() < 2**31 and 0 <= by < 32
    expected = fixedpoint.single_round(q, multiplier, shift) + zero_point
    np.testing.assert_array_equal(high >> by, expected)
