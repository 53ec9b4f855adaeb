"""What a terminal of few columns shows still tells one layer from the next."""

import math

import pytest

from edgeinfer.cli.screen import fitted, in_decibels, told_apart

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


@pytest.mark.parametrize("room", [22, 26, 30])
def test_layers_of_several_blocks_are_told_apart(room):
    parts = ("MatMul", "MatMul_1", "Split", "Softmax", "out_proj/Add")
    layers = [
        f"/encoder/layers.{i}/self_attn/{part}_output_{k}"
        for i in range(3)
        for part in parts
        for k in range(3)
    ]
    layers += [
        f"/encoder/layers.{i}/norm{k}/Normalization_output_0" for i in range(3) for k in (1, 2)
    ]
    shown = told_apart(layers, room)
    assert len(set(shown)) == len(layers)
    assert max(map(len, shown)) <= room


def test_blocks_are_shown_beside_the_ends_of_their_layers():
    shown = told_apart([f"/enc/layers.{i}/attn/Split_output_{k}" for i in "01" for k in "01"], 20)
    assert shown == [
        "….0…n/Split_output_0",
        "….0…n/Split_output_1",
        "….1…n/Split_output_0",
        "….1…n/Split_output_1",
    ]


def test_no_noise_has_no_unit():
    assert in_decibels(35.47) == "35.5 dB"
    assert in_decibels(math.inf) == "exact"
