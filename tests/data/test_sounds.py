"""Sounds become samples of frames by channels, whatever the order of the input's axes."""

import sys

import numpy as np
import pytest
import soundfile

from edgeinfer.data import load_data
from edgeinfer.errors import InputError, MissingExtraError
from tests.data_graphs import taking
from tests.refusals import refused
from tests.runtime.test_streams import leaky_sum

RNG = np.random.default_rng(0)


def sound(path, frames, channels=1, rate=8000) -> np.ndarray:
    """Write noise in 16 bits and give it back, frames by channels."""
    numbers = RNG.integers(-(2**15), 2**15, (frames, channels), np.int16)
    soundfile.write(path, numbers, rate)
    return numbers.astype("f4") / 2**15


@pytest.mark.parametrize("shape", [(1, 100), (1, 1, 100), (1, 100, 1)])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_sound_fills_the_input_whatever_its_axes(tmp_path, shape, suffix):
    expected = sound(tmp_path / f"a.{suffix}", 100)
    (feed,) = load_data(tmp_path / f"a.{suffix}", taking(x=shape)).samples
    np.testing.assert_array_equal(feed["x"], expected.reshape(shape))


@pytest.mark.parametrize("shape, axes", [((1, 100, 2), (0, 1)), ((1, 2, 100), (1, 0))])
def test_channels_lie_where_the_input_has_them(tmp_path, shape, axes):
    expected = sound(tmp_path / "a.wav", 100, channels=2)
    (feed,) = load_data(tmp_path / "a.wav", taking(x=shape)).samples
    np.testing.assert_array_equal(feed["x"][0], expected.transpose(axes))


def test_silence_follows_a_short_sound_and_subfolders_are_labels(tmp_path):
    for word, frames in (("no", 60), ("yes", 100)):
        (tmp_path / word).mkdir()
        sound(tmp_path / word / "a.wav", frames)
    data = load_data(tmp_path, taking(x=(1, 100)))
    assert (data.labels.tolist(), data.names) == ([0, 1], ("no/a.wav", "yes/a.wav"))
    short, whole = (feed["x"][0] for feed in data.samples)
    assert short[:60].any() and not short[60:].any() and whole[60:].any()


@pytest.mark.parametrize(
    "frames, channels, shape, message",
    [
        (101, 1, (1, 100), "{path} has 101 frames, but the input takes 100; cut it"),
        (100, 2, (1, 100), "{path} has 2 channels, but the input takes 1"),
        (100, 1, (1, 2, 3, 4), "input 'x' of shape [1, 2, 3, 4] does not take sounds"),
    ],
)
def test_a_sound_that_does_not_fit_is_refused(tmp_path, frames, channels, shape, message):
    path = tmp_path / "a.wav"
    sound(path, frames, channels)
    with refused(message.format(path=path), InputError):
        list(load_data(path, taking(x=shape)).samples)


def test_a_sound_longer_than_a_run_is_no_sample_of_a_model_with_states(tmp_path):
    sound(tmp_path / "a.wav", 7)
    with refused(
        f"{tmp_path / 'a.wav'} has 7 frames, but the input takes 6; "
        "give what its runs take as an .npz",
        InputError,
    ):
        list(load_data(tmp_path / "a.wav", leaky_sum()).samples)


def test_sounds_of_two_rates_are_refused(tmp_path):
    sound(tmp_path / "a.wav", 100)
    sound(tmp_path / "b.wav", 100, rate=16000)
    message = f"{tmp_path / 'b.wav'} has 16,000 frames a second, but {tmp_path / 'a.wav'} has 8,000"
    with refused(message, InputError):
        load_data(tmp_path, taking(x=(1, 100)))


def test_a_damaged_sound_is_named(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFFno more")
    with pytest.raises(InputError) as refusal:
        load_data(path, taking(x=(1, 100)))
    assert str(refusal.value).startswith(f"{path} is not a sound that can be read: ")


def test_a_header_that_says_too_much_is_refused_before_it_is_believed(tmp_path):
    path = tmp_path / "a.flac"
    sound(path, 100)
    content = bytearray(path.read_bytes())
    # the 36 bits of the count of frames, in STREAMINFO
    content[21:26] = bytes([content[21] | 0x0F, 255, 255, 255, 255])
    path.write_bytes(content)
    message = f"{path} has 68,719,476,735 frames, but the input takes 100; cut it"
    with refused(message, InputError):
        list(load_data(path, taking(x=(1, 100))).samples)


def test_a_missing_soundfile_names_its_extra(tmp_path, monkeypatch):
    sound(tmp_path / "a.wav", 100)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    message = "soundfile is not installed; install it with: pip install 'edgeinfer[audio]'"
    with refused(message, MissingExtraError):
        load_data(tmp_path / "a.wav", taking(x=(1, 100)))
