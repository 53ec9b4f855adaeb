"""The bus that the cycle model sees: bursts that are cut, overlap, wait and let others pass."""

from __future__ import annotations

import pytest

from edgeinfer.hdl.compiler.bus import ReadBus, Stretch, WriteBus


@pytest.mark.parametrize(
    ("stretch", "line", "runs"),
    [
        (Stretch(0, 0, 1, 16), 0, [(16, 1)]),
        (Stretch(0, 0, 1, 40), 0, [(16, 2), (8, 1)]),
        (Stretch(10, 0, 1, 16), 0, [(6, 1), (10, 1)]),
        (Stretch(0, 30, 2, 4), 0, [(4, 1)]),
        # it begins 30 beats on, two before the end of a burst's room
        (Stretch(0, 30, 2, 4), 1, [(2, 1), (2, 1)]),
    ],
)
def test_bursts_end_where_their_room_does(stretch, line, runs):
    assert stretch.runs(line) == runs


def served(bus: ReadBus, stretch: Stretch, time: int = 0) -> int:
    answer: list[int] = []
    bus.load(time, stretch, answer)
    while not answer:
        assert bus.serve()
    return answer[1]


def test_long_bursts_hide_the_memorys_latency():
    one = served(ReadBus(), Stretch(0, 0, 1, 16))
    assert served(ReadBus(), Stretch(0, 0, 1, 1600)) == one + 1584


def test_short_bursts_wait_for_the_four_before_them():
    one = served(ReadBus(), Stretch(0, 0, 1, 2))
    hundred = served(ReadBus(), Stretch(0, 16, 100, 2))
    # four lines of two beats in each answer's time: far more than the beats' own 200 cycles
    assert hundred - one > 500


def test_a_fetch_goes_before_what_is_left_of_a_load():
    bus, load, fetch = ReadBus(), [], []
    bus.load(0, Stretch(0, 0, 1, 1600), load)
    bus.fetch(100, 16, fetch)
    while not load:
        assert bus.serve()
    # behind the four bursts that are on their way, before the other ninety
    assert 100 < fetch[0] < 200
    assert load[1] == served(ReadBus(), Stretch(0, 0, 1, 1600)) + 16


@pytest.mark.parametrize("step", [16, 18, 40])
@pytest.mark.parametrize("beats", [2, 16, 40, 1000])
def test_lines_asked_for_one_by_one_end_when_they_do_together(step, beats):
    bus, at = ReadBus(), 0
    # asked for in time: each while the one before is on its way
    for line in range(100):
        at = served(bus, Stretch(5 + line * step, 0, 1, beats))
    assert served(ReadBus(), Stretch(5, step, 100, beats)) == at


def test_nothing_is_served_where_nothing_is_asked_for():
    assert not ReadBus().serve()


def test_a_store_is_over_when_its_last_burst_is_answered():
    bus = WriteBus()
    one = bus.store(0, Stretch(0, 0, 1, 16))
    assert bus.store(one, Stretch(0, 0, 1, 32)) == 2 * one + 16
