"""An image becomes the input that a viewer of it would expect."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edgeinfer.data import ImageOptions, load_data
from edgeinfer.errors import InputError
from edgeinfer.graph import Preparation
from tests.data_graphs import image, taking
from tests.refusals import refused


def test_images_take_the_input_s_layout_size_and_normalization(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 5, 3), np.uint8)
    image(tmp_path / "a.png", pixels)
    how = ImageOptions(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    expected = (pixels.astype("f4") - np.float32([1, 2, 3])) / np.float32([4, 5, 6])
    (nhwc,) = load_data(tmp_path, taking(x=(1, 6, 5, 3)), how).samples
    np.testing.assert_array_equal(nhwc["x"], expected[None])
    (nchw,) = load_data(tmp_path / "a.png", taking(x=(1, 3, 6, 5)), how).samples
    np.testing.assert_array_equal(nchw["x"], expected.transpose(2, 0, 1)[None])


def test_deviations_below_1_are_fractions_of_255(tmp_path):
    image(tmp_path / "a.png", np.full((2, 2), 255))
    how = ImageOptions(mean=(0.5,), std=(0.25,))
    (feed,) = load_data(tmp_path, taking(x=(1, 2, 2, 1)), how).samples
    np.testing.assert_array_equal(feed["x"], np.full((1, 2, 2, 1), 2, "f4"))


def test_a_size_scales_the_shorter_side_and_keeps_the_middle(tmp_path):
    pixels = np.arange(4 * 8, dtype=np.uint8).reshape(4, 8)
    image(tmp_path / "a.png", pixels)
    (feed,) = load_data(tmp_path, taking(x=(1, 2, 2, 1)), ImageOptions(size=4)).samples
    np.testing.assert_array_equal(feed["x"][0, :, :, 0], pixels[1:3, 3:5])
    how = ImageOptions(size=1)
    with pytest.raises(InputError, match=r"^size 1 leaves less than 2x2$"):
        list(load_data(tmp_path, taking(x=(1, 2, 2, 1)), how).samples)


@pytest.mark.parametrize(
    "shapes, message",
    [
        (
            {"a": (1, 2), "b": (1, 2)},
            "such data feeds one input, but the model has 2; give an .npz",
        ),
        (
            {"x": (1, 3, 9, 3)},
            "an input of shape [1, 3, 9, 3] does not tell its layout; say nchw or nhwc",
        ),
        ({"x": (1, 640)}, "input 'x' of shape [1, 640] does not take images"),
    ],
)
def test_a_model_that_takes_no_images_says_so(tmp_path, shapes, message):
    image(tmp_path / "a.png", np.zeros((4, 4)))
    with pytest.raises(InputError) as refusal:
        load_data(tmp_path, taking(**shapes))
    assert str(refusal.value) == message


def sample(path, shape, **options) -> np.ndarray:
    """The only sample, without its batch."""
    (feed,) = load_data(path, taking(x=shape), ImageOptions(**options)).samples
    return feed["x"][0]


def test_colours_may_be_wanted_in_the_other_order(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    image(tmp_path / "a.png", pixels)
    given = sample(tmp_path / "a.png", (1, 4, 5, 3), channels="bgr", mean=(1.0, 2.0, 3.0))
    np.testing.assert_array_equal(given, pixels[:, :, ::-1] - np.float32([1, 2, 3]))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, suffix):
    values = np.array([[0, 257, 0x7FFF], [0x8080, 0xFEFE, 0xFFFF]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    expected = [[0, 1, 127], [128, 254, 255]]
    assert sample(tmp_path / f"a.{suffix}", (1, 2, 3, 1))[..., 0].tolist() == expected
    assert sample(tmp_path / f"a.{suffix}", (1, 2, 3, 3))[..., 2].tolist() == expected


def test_a_image_of_floats_has_no_known_range(tmp_path):
    path = tmp_path / "a.tiff"
    Image.fromarray(np.ones((2, 3), np.float32)).save(path)
    message = f"{path} holds numbers of no known range; give them as an .npy"
    with refused(message, InputError):
        sample(path, (1, 2, 3, 1))


def test_what_is_transparent_is_white(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = 255, 0, 51
    Image.fromarray(pixels).save(tmp_path / "a.png")
    given = sample(tmp_path / "a.png", (1, 1, 3, 3), layout="nhwc")
    assert given[0].tolist() == [[200, 0, 0], [255, 255, 255], [244, 204, 204]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([9, 9, 9, 7, 7, 7])
    palette.save(tmp_path / "b.gif", transparency=1)
    assert sample(tmp_path / "b.gif", (1, 1, 2, 1), layout="nhwc")[0, :, 0].tolist() == [9, 255]


def test_a_image_is_turned_as_its_camera_says(tmp_path):
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, 8:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the right side was up: turn it clockwise
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=100)
    given = sample(tmp_path / "a.jpg", (1, 16, 8, 1))[..., 0]
    assert given[:7].max() < 20 < 230 < given[9:].min()


def test_a_image_is_prepared_as_the_model_says_unless_told_otherwise(tmp_path):
    image(tmp_path / "a.png", np.full((4, 4, 3), (30, 20, 10)))
    carried = Preparation("nhwc", "bgr", 4, (10.0,), (2.0,))
    graph = replace(taking(x=(1, 4, 4, 3)), preparation={"x": carried})
    data = load_data(tmp_path / "a.png", graph)
    assert data.preparation == {"x": carried}
    assert next(iter(data.samples))["x"][0, 0, 0].tolist() == [0, 5, 10]
    data = load_data(tmp_path / "a.png", graph, ImageOptions(mean=(20.0,), channels="rgb"))
    assert data.preparation == {"x": Preparation("nhwc", "rgb", 4, (20.0,), (1.0,))}
    assert next(iter(data.samples))["x"][0, 0, 0].tolist() == [10, 0, -10]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": 0}, "an image's size must be between 1 and 65536, not 0"),
        (
            {"std": (0.0,)},
            "a standard deviation must be positive and finite as a float32, not [0.0]",
        ),
        ({"mean": (1.0, 2.0)}, "mean has 2 numbers for rgb, which takes 1 or 3"),
        (
            {"channels": "grey"},
            "an input of shape [1, 3, 4, 5] does not take grey images in nchw",
        ),
        ({"layout": "nhwc"}, "images have 1 or 3 channels, but the model's input has 5"),
    ],
)
def test_an_option_that_cannot_be_is_refused(tmp_path, options, message):
    image(tmp_path / "a.png", np.zeros((4, 4)))
    with refused(message, InputError):
        sample(tmp_path / "a.png", (1, 3, 4, 5), **options)
