"""Runs whose input lies far beyond all others' are found in a stream, whatever their order."""

import numpy as np
import pytest

from edgeinfer.quant.outliers import Arrival, Farthest


def arrivals(*reaches: float) -> list[Arrival]:
    return [
        Arrival(i, i, False, {"x": np.array([0, r], np.float32)}) for i, r in enumerate(reaches)
    ]


def found(*reaches: float, in_sequence: bool = False) -> tuple[list[int], list[int]]:
    """The indices of what is counted, in the order of it, and of what is left out."""
    farthest = Farthest(in_sequence=in_sequence)
    counted = [r.index for run in arrivals(*reaches) for r in farthest.take(run)]
    near, outliers = farthest.divided()
    return counted + [run.index for run in near], [o.index for o in outliers]


@pytest.mark.parametrize("place", [0, 20, 49])
def test_one_run_of_fifty_may_be_left_out(place):
    reaches = [1.0 + i / 100 for i in range(49)]
    counted, left_out = found(*reaches[:place], 10.0, *reaches[place:])
    assert left_out == [place]
    assert sorted(counted) == [i for i in range(50) if i != place]


def test_two_runs_of_fifty_may_be_left_out():
    counted, left_out = found(*[1.0] * 25, 10.0, *[1.2] * 24, 2000.0)
    assert left_out == [25, 50]
    assert len(counted) == 49


def test_what_others_come_near_is_counted():
    assert found(*[1.0] * 50, 2.0, 5.0, 14.0)[1] == []
    assert found(*[1.0] * 50, 9.0, 10.0, 11.0)[1] == []


def test_few_runs_leave_none_out():
    assert found(*[1.0] * 18, 1000.0)[1] == []


def test_zeros_are_no_measure():
    assert found(*[0.0] * 50, 1.0)[1] == []


def test_a_sequence_is_counted_in_its_order():
    assert found(*[1.0] * 20, 100.0, *[1.0] * 20, in_sequence=True) == (list(range(41)), [])


def test_an_outlier_says_of_which_input_and_how_far():
    farthest = Farthest()
    for i in range(40):
        feed = {"a": np.float32([i % 3]), "b": np.float32([8 if i == 7 else 1])}
        farthest.take(Arrival(i, i, False, feed))
    ((outlier,),) = [farthest.divided()[1]]
    assert (outlier.index, outlier.input, outlier.times) == (7, "b", 8.0)
