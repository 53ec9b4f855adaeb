"""Calibration data that says nothing, or something else than was stated: one line, no half file."""

from pathlib import Path

import numpy as np
import pytest

QUICK = "--observer minmax --rounding-weights nearest"


@pytest.fixture(autouse=True)
def samples(workspace):
    with np.load("digits_calib.npz") as data:
        image = data["image"].astype("f4")[:40]
    np.savez("good.npz", image=image)
    np.savez("one.npz", image=image[:1])
    np.savez("constant.npz", image=np.full_like(image, 3))
    np.savez("again.npz", image=np.repeat(image[:1], 40, 0))
    np.savez("nan.npz", image=np.full_like(image, np.nan))
    np.savez("scaled.npz", image=image / 255)


SMALL = (
    "calibration samples go from 0 to 16 at input 'image', 6.3 % of the 0 to 255 that are "
    "expected; prepare them as the model takes its inputs, or give samples that vary more"
)
WARNED = {
    "one.npz": "1 calibration sample says little about others; give a hundred or so",
    # its moments are those of one picture: of rank 1 and singular
    "one.npz --rounding-weights in-turn": (
        "1 calibration sample says little about others; give a hundred or so"
    ),
    "constant.npz --rounding-weights in-turn": (
        "input 'image' is 3 everywhere in all calibration samples, so its range is a guess; "
        "calibrate with samples as the model will see them"
    ),
    "again.npz": (
        "input 'image' is the same in all 40 calibration samples; calibrate with samples that "
        "differ, as those that the model will see"
    ),
    f"good.npz --expect-range 0:255 {QUICK}": SMALL,
    f"good.npz --expect-range image=0:255 {QUICK} --scheme auto --max-bytes 50000": SMALL,
}


@pytest.mark.parametrize("data, message", WARNED.items(), ids=WARNED.keys())
def test_data_that_says_little_is_warned_of_in_one_line(cli, data, message):
    done = cli(f"quantize digits.onnx -o a.eqm --data {data}")
    assert (done.exit_code, done.stderr) == (0, f"warning: {message}\n")
    assert Path("a.eqm").exists()


@pytest.mark.parametrize("given", ["0:16", "image=0:16", "-1:16.5", "0:15.98"])
def test_data_as_it_is_expected_is_nothing_to_speak_of(cli, given):
    done = cli(f"quantize digits.onnx -o a.eqm --data good.npz {QUICK} --expect-range {given}")
    assert (done.exit_code, done.stderr) == (0, "")


OUTSIDE = (
    "calibration samples go from 0 to 16 at input 'image', outside of the {} that are expected; "
    "prepare them as the model takes its inputs"
)
REFUSED = {
    "nan.npz": "nan.npz: the data for input 'image' holds a value that is not finite",
    "good.npz --expect-range -1:1": OUTSIDE.format("-1 to 1"),
    "good.npz --expect-range image=2:20": OUTSIDE.format("2 to 20"),
    "good.npz --expect-range -1:1 --scheme auto --min-sqnr 30": OUTSIDE.format("-1 to 1"),
    "good.npz --expect-range imag=0:1": (
        "a range is given for 'imag', but the model's inputs are 'image'"
    ),
    "good.npz --expect-range 1:1": (
        "the range of input 'image' must go from a number to a larger one, not from 1 to 1"
    ),
    "good.npz --expect-range 0:inf": (
        "the range of input 'image' must go from a number to a larger one, not from 0 to inf"
    ),
    "good.npz --expect-range 0:1 --expect-range image=0:16": (
        "--expect-range is given twice for input 'image'"
    ),
    f"good.npz {QUICK} --scheme auto --max-bytes 100 --front a.svg": (
        "no mixture of 8 and 16 bits has at most 100 bytes; the best, int8, has 12,570 bytes"
    ),
}


@pytest.mark.parametrize("data, message", REFUSED.items(), ids=REFUSED.keys())
def test_data_that_is_wrong_is_refused_in_one_line_and_nothing_is_written(
    cli, workspace, data, message
):
    before = {path: path.read_bytes() for path in workspace.iterdir()}
    assert cli.refusal(f"quantize digits.onnx -o a.eqm --data {data}") == f"error: {message}"
    assert {path: path.read_bytes() for path in workspace.iterdir()} == before


@pytest.mark.parametrize("given", ["0-1", "0:", "image:0=1", "=a:b"])
def test_what_is_no_range_is_wrong_usage(cli, given):
    done = cli(f"quantize digits.onnx -o a.eqm --data good.npz --expect-range {given}")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        f"Error: Invalid value for '--expect-range': {given!r} is not of the form [NAME=]LOW:HIGH"
    )
