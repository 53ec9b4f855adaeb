"""An exploration's estimates are the compiler's, and its choice is the best that fits."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph.operators import QAveragePool
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.compiler.timing import predict
from edgeinfer.hdl.config import preset
from edgeinfer.hdl.explore import Budget, explore
from edgeinfer.hdl.explore.estimate import estimate
from edgeinfer.hdl.explore.exploration import Exploration
from edgeinfer.hdl.explore.pictures import front_svg, front_text, roofline_svg
from edgeinfer.pools import Processes
from tests.authored import REQUANTIZING, Author


@pytest.fixture(scope="module")
def graph():
    author = Author(1, 12, 12, 8)
    wide = author.conv("x", 32, 3, pads=(1, 1, 1, 1))
    deep = author.conv(wide, 32, 3, group=32)
    return author.graph(author.conv(deep, 16, 1))


@pytest.fixture(scope="module")
def everything(graph) -> Exploration:
    return explore(graph, largest=64)


def test_an_estimate_is_what_the_compiler_predicts(graph):
    config = preset("8x16")
    found = estimate(graph, config)
    program = compile(graph, config).programs[0]
    assert found.cycles == predict(program.infer, config).cycles
    assert found.macs == 12 * 12 * 32 * 72 + 10 * 10 * 32 * 9 + 10 * 10 * 32 * 16
    assert [layer.macs for layer in found.layers] == [layer.macs for layer in program.layers]
    assert sum(layer.cycles for layer in found.layers) <= found.cycles
    assert found.multipliers == 8 * 16 + 3 * 8
    assert found.utilization == pytest.approx(found.macs / (128 * found.cycles))
    assert found.rate(50) == pytest.approx(50e6 / found.cycles)


def test_streamed_weights_are_traffic(graph):
    whole, part = preset("8x16"), preset("8x16").replace(weight_bytes=18 * 128)
    more = estimate(graph, part).traffic - estimate(graph, whole).traffic
    # every tile of the two dense layers passes the bus at least once
    assert more >= 32 * 72 + 16 * 32


def test_the_best_is_the_fastest_that_the_budget_holds(everything):
    for multipliers, kib in ((None, None), (64, None), (160, 16), (None, 12)):
        budget = Budget(multipliers, kib and 1024 * kib)
        found = Exploration(everything.estimates, budget)
        assert all(budget.holds(each) for each in found.front)
        assert found.best.cycles == min(e.cycles for e in everything.estimates if budget.holds(e))
        assert found.best is found.front[0]


def test_nothing_affordable_is_better_than_the_front(everything):
    front = everything.front

    def beats(a, b):
        sizes = [(x.cycles, x.multipliers, x.memory_bytes) for x in (a, b)]
        return all(p <= q for p, q in zip(*sizes, strict=True)) and sizes[0] != sizes[1]

    for each in front:
        assert not any(beats(other, each) for other in everything.affordable)
    for each in everything.affordable:
        assert each in front or any(
            beats(other, each)
            or (other.cycles, other.multipliers, other.memory_bytes)
            == (each.cycles, each.multipliers, each.memory_bytes)
            for other in front
        )


def test_arrays_of_all_sizes_are_tried(everything):
    assert {each.config.rows for each in everything.estimates} == {4, 8, 9, 16, 32, 64}
    nine = {(e.config.columns, e.config.lanes) for e in everything.estimates if e.config.rows == 9}
    assert nine == {(16, 4), (16, 8), (16, 16)}


def test_the_largest_memories_hold_all_of_the_model():
    # pooling of so many taps fills a quarter of the weight memory with a part of its channels
    author = Author(1, 10, 10, 32)
    wide = author.conv("x", 64, 1)
    pool = QAveragePool(kernel=(10, 10), **REQUANTIZING)
    multiplier = author.constant(1 << 30, (1 << 31) - 1, (100,), "int32")
    shift = author.constant(36, 37, (100,), "int8")
    graph = author.graph(author.node(pool, wide, multiplier, shift))
    found = explore(graph, largest=16).estimates
    for rows in {each.config.rows for each in found}:
        of_size = [each for each in found if each.config.rows == rows]
        most = max(of_size, key=lambda each: each.memory_bytes)
        program = compile(graph, most.config).program
        assert most.traffic == len(program.infer) * isa.INSTRUCTION_BYTES


def test_no_array_to_try_is_refused(graph):
    with pytest.raises(InputError) as refusal:
        explore(graph, largest=2)
    assert str(refusal.value) == "largest must be at least 4 columns, not 2"


def test_a_budget_that_holds_nothing_is_refused(everything):
    found = Exploration(everything.estimates, Budget(8, None))
    least = min(everything.estimates, key=lambda e: (e.multipliers, e.memory_bytes))
    with pytest.raises(InputError) as refusal:
        _ = found.best
    assert str(refusal.value) == (
        f"no NPU for this model fits: the smallest, 4x4, takes {least.multipliers} multipliers "
        f"and {least.memory_bytes:,} bytes of memory"
    )


def test_processes_side_by_side_find_the_same(graph, everything):
    told = []
    found = explore(
        graph,
        largest=64,
        pool=Processes(2),
        progress=lambda done, total: told.append((done, total)),
    )
    assert found == everything
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_processes_pass_a_refusal_on():
    author = Author(2, 4, 4, 8)
    refused = author.graph(author.conv("x", 8, 1))
    messages = []
    for workers in (1, 2):
        with pytest.raises(UnsupportedError) as refusal:
            explore(refused, largest=4, pool=Processes(workers))
        messages.append(str(refusal.value))
    assert messages[0] == messages[1]


def test_a_model_that_no_npu_runs_is_refused():
    author = Author(2, 4, 4, 8)
    with pytest.raises(UnsupportedError) as refusal:
        explore(author.graph(author.conv("x", 8, 1)), largest=8)
    assert str(refusal.value) == (
        "the NPU cannot run QConv 'n0': has a batch of 2; the NPU takes 1. "
        "edgeinfer hdl simulate --host-ops leaves these to the CPU"
    )


def test_pictures_show_the_best_and_every_layer(everything):
    for text in (front_svg(everything, "a"), roofline_svg(everything.best, "b")):
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert front_svg(everything, "a") == front_svg(everything, "a")
    drawn = front_text(everything, 60)
    assert "".join(drawn.splitlines()[1:]).count("*") == 1
    assert max(map(len, drawn.splitlines())) <= 60


def test_the_layers_under_the_roof_have_their_names(everything):
    best = everything.best
    text = roofline_svg(best, "b")
    words = ["".join(each.itertext()).strip() for each in ElementTree.fromstring(text).iter()]
    slowest = max((each for each in best.layers if each.macs), key=lambda each: each.cycles)
    assert any(word.startswith(slowest.output) for word in words)
    named = [w for w in words if any(w.split(" and ")[0] == x.output for x in best.layers)]
    assert len(named) > 1


def test_a_dollar_sign_in_a_name_begins_no_formula(everything):
    for text in (front_svg(everything, "$a$"), roofline_svg(everything.best, "$a$")):
        words = ["".join(each.itertext()) for each in ElementTree.fromstring(text).iter()]
        assert "$a$" in words
        assert not any("mathdefault" in each for each in words)


def test_progress_tells_of_every_npu_and_comes_to_its_end(graph):
    told = []
    found = explore(graph, largest=8, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1]
    assert len(set(told)) >= len(found.estimates)
