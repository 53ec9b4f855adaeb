"""What a terminal of few columns shows still tells one layer from the next."""

import pytest

from edgeinfer.cli.screen import fitted, told_apart

LAYERS = [f"/features/features.{i}/conv/Conv_output_0" for i in range(12)]


def test_a_long_name_keeps_its_end():
    assert fitted("/module/module/relu", 9) == "…ule/relu"
    assert fitted("relu", 9) == "relu"


@pytest.mark.parametrize("room", [8, 12, 20, 30])
def test_names_that_end_alike_are_told_apart(room):
    shown = told_apart([*LAYERS, "input", "scores"], room)
    assert len(set(shown)) == len(shown)
    assert max(map(len, shown)) <= room
    assert shown[-2:] == ["input", "scores"]


def test_equal_names_stay_equal():
    assert len(set(told_apart(["/a/long/name/of/a/layer"] * 2, 8))) == 1


def test_names_that_differ_only_within_a_common_ending_are_told_apart():
    shown = told_apart(["/block/a/Conv_output_0", "/block/b/Conv_output_0"], 10)
    assert shown == ["/block/a…", "/block/b…"]
