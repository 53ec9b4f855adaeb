"""A Plan gives every value memory of its own for as long as somebody needs it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.errors import InputError
from edgeinfer.graph import GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import peak_bytes
from edgeinfer.meaning import reference
from edgeinfer.runtime.catalogue import CACHE_BYTES, KernelSite, lower, packed_bytes
from edgeinfer.runtime.planner import ALIGNMENT, KnownCalls, plan
from edgeinfer.runtime.session import Session
from tests import strategies
from tests.refusals import refused
from tests.runtime.runtime_graphs import chain, joined_layers, layer, small_cnn

COMMON = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


def lifetimes(graph):
    """The first and the last node at which each computed value is alive."""
    alive = {name: [-1, -1] for name in graph.inputs}
    for index, node in enumerate(graph.nodes):
        alive |= {name: [index, index] for name in node.outputs}
        for name in node.inputs:
            if name in alive:
                alive[name][1] = index
    for name in graph.outputs:
        alive[name][1] = len(graph.nodes)
    return alive


def same_bytes(graph, planned):
    """Pairs of values that may be each other's bytes: operands and outputs of what only moves."""
    working = {step.node for step in planned.steps}
    family = {name: name for name in graph.types}

    def root(name):
        while family[name] != name:
            name = family[name]
        return name

    for node in graph.nodes:
        if node.name not in working or isinstance(node.op, ops.Concat | ops.Split | ops.Pad):
            for name in (*node.operands, *node.outputs[1:]):
                family[root(name)] = root(node.outputs[0])
    return lambda a, b: root(a) == root(b)


@COMMON
@given(strategies.integer_graphs(max_nodes=14))
def test_no_two_living_values_overlap(graph):
    planned = plan(graph)
    same = same_bytes(graph, planned)
    alive = [
        (name, planned.places[name], first, last)
        for name, (first, last) in lifetimes(graph).items()
        if planned.places[name].space == "arena"
    ]
    for i, (a, place, first, last) in enumerate(alive):
        assert place.offset % graph.types[a].itemsize == 0
        assert place.offset + place.nbytes <= planned.arena_bytes
        for b, other, other_first, other_last in alive[:i]:
            # an output may take over the bytes of an input that dies with its node
            if last <= other_first or other_last <= first or same(a, b):
                continue
            assert (
                place.offset + place.nbytes <= other.offset
                or other.offset + other.nbytes <= place.offset
            ), (a, b)


@COMMON
@given(strategies.integer_graphs(max_nodes=14))
def test_the_arena_is_no_larger_than_all_values_together(graph):
    shared, kept = plan(graph), plan(graph, keep_values=True)
    total = sum(-(-graph.types[v].nbytes // ALIGNMENT) * ALIGNMENT for v in lifetimes(graph))
    assert shared.values_bytes <= kept.values_bytes <= total
    for made in (shared, kept):
        assert made.values_bytes <= made.arena_bytes <= made.values_bytes + made.scratch_bytes


@COMMON
@given(strategies.integer_graphs(max_nodes=14))
def test_kept_values_never_overlap(graph):
    planned = plan(graph, keep_values=True)
    same = same_bytes(graph, planned)
    names = [name for name, place in planned.places.items() if place.space == "arena"]
    for i, a in enumerate(names):
        for b in names[:i]:
            first, second = sorted((planned.places[a], planned.places[b]), key=lambda p: p.offset)
            assert same(a, b) or first.offset + first.nbytes <= second.offset


def test_a_chain_needs_its_largest_neighbours_and_their_kernels_scratch_only():
    planned = plan(small_cnn())
    # 8x8x8 in and out of the depthwise layer; everything else fits beside one of them
    assert planned.values_bytes == 2 * 8 * 8 * 8
    needed = [
        sum(p.nbytes for p in {*step.operands, step.scratch} if p.space == "arena")
        for step in planned.steps
    ]
    assert planned.arena_bytes == max(needed)


@COMMON
@given(strategies.integer_graphs(max_nodes=14))
def test_scratch_lies_beside_all_that_lives_meanwhile(graph):
    planned = plan(graph)
    steps = {node.name: index for index, node in enumerate(graph.nodes)}
    for name, (first, last) in lifetimes(graph).items():
        place = planned.places[name]
        for step in planned.steps:
            if place.space == "arena" and first <= steps[step.node] <= last:
                own = step.scratch
                assert (
                    not own.nbytes
                    or own.offset + own.nbytes <= place.offset
                    or place.offset + place.nbytes <= own.offset
                )


def test_an_element_wise_operator_writes_over_its_dying_input():
    rescale = (ops.Rescale(input_zero_point=-3, multiplier=1 << 30, shift=30),)
    planned = plan(chain((1, 7, 5, 3), rescale, rescale, rescale))
    assert planned.arena_bytes == 128
    assert len({planned.places[name].offset for name in ("x", "v0", "v1", "v2")}) == 1


UNIT = Quantization.per_tensor(0.05, -3)
HALF = ops.Rescale(input_zero_point=-3, multiplier=1 << 30, shift=30)


def branches(shape, axis, *, keep=False):
    """Two tables of x, joined along ``axis``, a table of that, cut in two again and added up."""
    builder = GraphBuilder()
    x = builder.input("x", TensorType(shape, "int8", UNIT))
    parts = [builder.add(HALF, x, output=name) for name in ("a", "b")]
    whole = builder.add(ops.Concat(axis), *parts, output="whole")
    table = builder.add(HALF, whole, output="table")
    n = shape[axis]
    cut = builder.add_several(ops.Split(axis, (n, n)), table, outputs=("c", "d"))
    y = builder.add(ops.Maximum(), *cut, output="y")
    return builder.graph(y, *([whole] if keep else []))


def test_what_lies_side_by_side_is_written_and_read_where_it_belongs():
    planned = plan(branches((1, 6, 5, 3), 1), isa="scalar")
    assert [step.kernel for step in planned.steps] == ["lookup", "lookup", "lookup", "extreme"]
    at = {name: place.offset for name, place in planned.places.items()}
    assert (at["a"], at["b"]) == (at["whole"], at["whole"] + 90)
    assert (at["c"], at["d"]) == (at["table"], at["table"] + 90)
    # the table is written over what it is of
    assert at["table"] == at["whole"]


def test_what_lies_in_between_is_copied():
    planned = plan(branches((1, 6, 5, 3), 3))
    assert [step.kernel for step in planned.steps].count("copy") == 4


@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize("keep", [False, True])
def test_views_change_no_bit_of_any_value(axis, keep):
    graph = branches((1, 6, 5, 3), axis, keep=keep)
    inputs = strategies.random_inputs(graph, 0)
    values = {}
    expected = reference.execute(graph, inputs, observe=lambda n, a: values.update({n: a}))
    kept = Session(graph, keep_values=True)
    for session in (Session(graph), kept):
        found = session.run(inputs)
        for name, array in expected.items():
            np.testing.assert_array_equal(found if len(expected) == 1 else found[name], array)
    for name, array in values.items():
        np.testing.assert_array_equal(kept.value(name), array)


@pytest.mark.parametrize("isa", SUPPORTED)
def test_a_value_joined_twice_and_with_itself_is_copied_where_it_is_not_written(isa):
    builder = GraphBuilder()
    x = builder.input("x", TensorType((2, 7), "int8", UNIT))
    a = builder.add(HALF, x)
    flat = builder.add(ops.Reshape((14,)), a)
    k = builder.constant("k", np.arange(5, dtype=np.int8), UNIT)
    first = builder.add(ops.Concat(0), flat, k, flat)
    second = builder.add(ops.Concat(0), first, flat)
    third = builder.add(ops.Slice((5,), (20,), (1,)), second)
    graph = builder.graph(first, builder.add(HALF, second), builder.add(HALF, third))
    inputs = strategies.random_inputs(graph, 1)
    found = Session(graph, isa=isa).run(inputs)
    for name, array in reference.execute(graph, inputs).items():
        np.testing.assert_array_equal(found[name], array)


def test_equal_constants_stand_once():
    twice = chain((1, 4, 4, 8), layer(8, 3, 3, 8), layer(8, 2, 2, 8))
    same = chain((1, 4, 4, 8), layer(8, 2, 2, 8), layer(8, 2, 2, 8))
    assert plan(same).constants.nbytes < plan(twice).constants.nbytes / 2


@pytest.mark.parametrize(
    ("shape", "op", "constants"),
    [
        ((2**25, 1), ops.Gather(1), [np.zeros(1, np.int64)]),
        ((2**24,), ops.Pad((0,), (1,), "reflect"), []),
        ((2**24,), ops.Pad((3,), (1,), "edge"), []),
        ((2**25, 1, 1, 1), ops.ResizeNearest((0, 0), (0,)), []),
    ],
)
def test_what_elements_are_picked_takes_no_more_than_the_model_says_it_with(shape, op, constants):
    assert plan(chain(shape, (op, *constants))).constants.nbytes <= 128


def test_a_constant_of_many_nodes_is_packed_once():
    graph = chain((1, 4, 4, 64), *[layer(64, 1, 1, 64)] * 50)
    first = graph.nodes[0].inputs[1:]
    shared = graph.with_nodes(replace(n, inputs=(n.inputs[0], *first)) for n in graph.nodes)
    packs = {}
    calls = [lower(n.op, KernelSite(n, shared, packs)) for n in shared.nodes]
    assert len({id(call.operands[1]) for (call,) in calls}) == 1


def test_a_search_keeps_no_packs_but_those_of_the_graph_that_it_planned_last():
    known = KnownCalls()
    for seed in range(3):
        graph = chain((1, 4, 4, 8), layer(8, 1, 1, 8, seed=seed), layer(8, 3, 3, 8, seed=seed))
        known.of(graph, SUPPORTED[0], [CACHE_BYTES] * len(graph.nodes))
        assert len(known._packs) == 2


def test_memory_is_counted_before_anything_is_packed():
    graph = chain((1, 64, 64, 8), layer(8, 3, 3, 8), layer(8, 3, 3, 8))
    planned = plan(graph)
    taken = planned.arena_bytes + planned.constants.nbytes
    with refused(
        f"the model would take {needed(graph):,} bytes of memory, and the limit is {taken // 2:,}: "
        "give a larger max_bytes if it is trusted",
        InputError,
    ):
        plan(graph, max_bytes=taken // 2)
    assert taken <= needed(graph) <= 2 * taken


@pytest.mark.parametrize("channels", [1, 8])
def test_multipliers_that_are_repeated_are_counted(channels):
    op = ops.QNormalization(axes=(1, 2, 3), fraction=10)
    constants = np.zeros(channels, np.int32), np.zeros(channels, np.int64)
    graph = chain((2, 16, 16, 8), (op, *constants))
    planned = plan(graph)
    assert planned.arena_bytes + planned.constants.nbytes <= needed(graph)


def needed(graph):
    return peak_bytes(graph, lambda t: t.nbytes) + 2 * packed_bytes(graph)


def test_a_thousand_values_that_live_at_once_do_not_overlap():
    rescale = ops.Rescale(multiplier=2**30, shift=30)
    graph = chain((100,), *[(rescale,)] * 1000)
    planned = plan(graph, keep_values=True)
    assert planned.arena_bytes == 1001 * 128
    assert len({place.offset for place in planned.places.values()}) == 1001


VECTORS = [isa for isa in SUPPORTED if isa != "scalar"]


@pytest.mark.parametrize("isa", VECTORS)
@pytest.mark.parametrize("channels", [(64, 64), (16, 32, 17), (70, 100)])
@pytest.mark.parametrize("shape", [(1, 7, 9, 16), (1, 1, 1, 24), (2, 3, 34, 8)])
def test_layers_write_their_channels_between_those_of_others(isa, shape, channels):
    graph = joined_layers(shape, channels)
    planned = plan(graph, isa=isa)
    assert not [step for step in planned.steps if step.kernel == "copy"]
    at = {name: place.offset for name, place in planned.places.items()}
    assert at["p1"] == at["whole"] + channels[0]
    feeds = strategies.random_inputs(graph, 0)
    (expected,) = reference.execute(graph, feeds).values()
    for num_threads in (1, 2):
        found = Session(graph, isa=isa, num_threads=num_threads).run(feeds)
        np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("isa", VECTORS)
def test_a_part_that_is_read_elsewhere_too_has_a_place_of_its_own(isa):
    graph = joined_layers((1, 7, 9, 16), (64, 64), several_readers=True)
    planned = plan(graph, isa=isa)
    assert [step.kernel for step in planned.steps].count("copy") == 1
    feeds = strategies.random_inputs(graph, 0)
    found = Session(graph, isa=isa).run(feeds)
    for name, expected in reference.execute(graph, feeds).items():
        np.testing.assert_array_equal(found[name], expected, strict=True)


def test_kept_values_lie_apart():
    graph = joined_layers((1, 7, 9, 16), (64, 64))
    session = Session(graph, isa=SUPPORTED[0], keep_values=True)
    feeds = strategies.random_inputs(graph, 0)
    session.run(feeds)
    everything = reference.execute(replace(graph, outputs=("p0", "p1", "whole")), feeds)
    for name, expected in everything.items():
        np.testing.assert_array_equal(session.value(name), expected, strict=True)
