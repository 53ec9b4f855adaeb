"""Which runs wait is found in a stream, whatever its order, and from parts of it: those with the
least digests, and those whose input lies far beyond all others'."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.quant.waiting import Arrival, Waiting
from tests.example_counts import examples


def arrivals(*reaches: float) -> list[Arrival]:
    return [Arrival(i, {"x": np.array([i, r], np.float32)}) for i, r in enumerate(reaches)]


def found(*reaches: float, least: int = 4) -> tuple[list[int], list[int]]:
    """The indices of what is counted, and of what is left out."""
    waiting = Waiting(least)
    runs = [Arrival(i, {"x": np.array([0, r], np.float32)}) for i, r in enumerate(reaches)]
    counted = [left for run in runs for left in waiting.take(run)]
    first, others, outliers = waiting.divided()
    times = [run.index for run in counted + first + others for _ in range(run.times)]
    return times, [o.index for o in outliers]


@pytest.mark.parametrize("least", [0, 4, 100])
@pytest.mark.parametrize("place", [0, 20, 49])
def test_one_run_of_fifty_may_be_left_out(place, least):
    reaches = [1.0 + i / 100 for i in range(49)]
    counted, left_out = found(*reaches[:place], 10.0, *reaches[place:], least=least)
    assert left_out == [place]
    assert sorted(counted) == [i for i in range(50) if i != place]


@pytest.mark.parametrize("least", [0, 4, 100])
def test_two_runs_of_fifty_may_be_left_out(least):
    counted, left_out = found(*[1.0] * 25, 10.0, *[1.2] * 24, 2000.0, least=least)
    assert left_out == [25, 50]
    assert len(counted) == 49


@pytest.mark.parametrize("least", [0, 4, 100])
def test_two_of_three_runs_alike_are_no_outliers(least):
    counted, left_out = found(*[1.0] * 50, 1000.0, 1000.0, 1000.0, least=least)
    assert left_out == []
    assert len(counted) == 53


def test_what_others_come_near_is_counted():
    assert found(*[1.0] * 50, 2.0, 5.0, 14.0)[1] == []
    assert found(*[1.0] * 50, 9.0, 10.0, 11.0)[1] == []


def test_few_runs_leave_none_out():
    assert found(*[1.0] * 18, 1000.0)[1] == []


def test_zeros_are_no_measure():
    assert found(*[0.0] * 50, 1.0)[1] == []


@pytest.mark.parametrize(
    ("far", "left_out"), [([7.0, 1.0], [25]), ([7.0, -7.0], []), ([2000.0, 2000.0], [25])]
)
def test_what_a_run_reaches_again_is_a_level_and_no_accident(far, left_out):
    waiting = Waiting(4)
    for i in range(50):
        x = far if i == 25 else [1.0 + i / 100, 1.0]
        waiting.take(Arrival(i, {"x": np.array(x, np.float32)}))
    assert [outlier.index for outlier in waiting.divided()[2]] == left_out


def test_an_outlier_says_of_which_input_and_how_far():
    waiting = Waiting(3)
    for i in range(40):
        waiting.take(Arrival(i, {"a": np.float32([i % 3]), "b": np.float32([8 if i == 7 else 1])}))
    ((outlier,),) = [waiting.divided()[2]]
    assert (outlier.index, outlier.input, outlier.times) == (7, "b", 8.0)


def test_as_many_wait_as_were_asked_for_and_the_farthest():
    waiting = Waiting(5)
    runs = arrivals(*np.random.default_rng(0).uniform(1, 2, 60).tolist())
    left = [gone for run in runs for gone in waiting.take(run)]
    least, others, _ = waiting.divided()
    assert [run.key for run in least] == sorted(run.key for run in runs)[:5]
    assert len(others) <= 3
    assert len(left) == 60 - 5 - len(others)


def test_a_run_is_the_same_by_its_inputs_alone():
    a, b = np.arange(4, dtype=np.float32), np.ones(2, np.float32)
    key = Arrival(0, {"a": a, "b": b}).key
    assert Arrival(7, {"b": b, "a": a}).key == key
    assert Arrival(0, {"a": a[::-1], "b": b}).key != key
    assert Arrival(0, {"a": b, "b": a}).key != key
    assert Arrival(0, {"a": a.astype(">f4"), "b": b}).key == key


def outcome(waiting: Waiting, left: list[Arrival]) -> tuple:
    """All that becomes of runs: how often each is counted, and as what."""
    least, others, outliers = waiting.divided()
    plain: dict[bytes, int] = {}
    for run in left + others:
        plain[run.key] = plain.get(run.key, 0) + run.times
    return [(r.key, r.times) for r in least], plain, [(o.index, o.times) for o in outliers]


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_neither_order_nor_parts_change_what_becomes_of_a_run(data):
    reaches = data.draw(st.lists(st.sampled_from([0.5, 1.0, 1.5, 9.0, 50.0]), max_size=60))
    kinds = data.draw(st.integers(1, 60))
    feeds = [np.array([i % kinds, r], np.float32) for i, r in enumerate(reaches)]
    first = {feed.tobytes(): i for i, feed in reversed(list(enumerate(feeds)))}
    together, left = Waiting(6), []
    for i, feed in enumerate(feeds):
        left += together.take(Arrival(i, {"x": feed}))
    parts = [Waiting(6) for _ in range(data.draw(st.integers(1, 4)))]
    gone: list[Arrival] = []
    for i in data.draw(st.permutations(range(len(feeds)))):
        part = data.draw(st.sampled_from(parts))
        gone += part.take(Arrival(first[feeds[i].tobytes()], {"x": feeds[i]}))
    merged = Waiting(6)
    for part in parts:
        gone += merged.merge(part)
    assert outcome(merged, gone) == outcome(together, left)
