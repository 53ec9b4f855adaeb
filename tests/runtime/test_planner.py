"""A Plan gives every value memory of its own for as long as somebody needs it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.errors import InputError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import peak_bytes
from edgeinfer.runtime.catalogue import KernelSite, lower, packed_bytes
from edgeinfer.runtime.planner import ALIGNMENT, KnownCalls, plan
from tests import strategies
from tests.refusals import refused
from tests.runtime.runtime_graphs import chain, layer, small_cnn

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
    """Pairs of values that are each other's bytes: a node without a step gives its input on."""
    working = {step.node for step in planned.steps}
    roots = {}
    for node in graph.nodes:
        if node.name not in working:
            roots[node.outputs[0]] = roots.get(node.inputs[0], node.inputs[0])
    return lambda a, b: roots.get(a, a) == roots.get(b, b)


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
        assert place.offset % ALIGNMENT == 0
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
    assert shared.arena_bytes <= kept.arena_bytes <= total


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


def test_a_chain_needs_its_largest_neighbours_only():
    graph = small_cnn()
    # 8x8x8 in and out of the depthwise layer; everything else fits beside one of them
    assert plan(graph).arena_bytes == 2 * 8 * 8 * 8


def test_an_element_wise_operator_writes_over_its_dying_input():
    rescale = (ops.Rescale(input_zero_point=-3, multiplier=1 << 30, shift=30),)
    planned = plan(chain((1, 7, 5, 3), rescale, rescale, rescale))
    assert planned.arena_bytes == 128
    assert len({planned.places[name].offset for name in ("x", "v0", "v1", "v2")}) == 1


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
        known.of(graph, SUPPORTED[0])
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


def needed(graph):
    return peak_bytes(graph, lambda t: t.nbytes) + packed_bytes(graph)


def test_a_thousand_values_that_live_at_once_do_not_overlap():
    rescale = ops.Rescale(multiplier=2**30, shift=30)
    graph = chain((100,), *[(rescale,)] * 1000)
    planned = plan(graph, keep_values=True)
    assert planned.arena_bytes == 1001 * 128
    assert len({place.offset for place in planned.places.values()}) == 1001
