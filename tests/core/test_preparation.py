"""A preparation says how an image becomes an input, or which of its fields cannot be."""

import numpy as np
import pytest

from edgeinfer.errors import InputError
from edgeinfer.graph import Preparation
from tests.refusals import refused

PIXELS = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)


@pytest.mark.parametrize("layout, axes", [("nhwc", (0, 1, 2)), ("nchw", (2, 0, 1))])
def test_pixels_are_shifted_scaled_and_put_in_order(layout, axes):
    made = Preparation(layout, "rgb", mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    expected = (PIXELS.astype("f4") - np.float32([1, 2, 3])) / np.float32([4, 5, 6])
    given = made.pixels_to_input(PIXELS)
    assert given.dtype == np.float32
    np.testing.assert_array_equal(given, expected.transpose(axes))


@pytest.mark.parametrize(
    "layout, channels, shape", [("nchw", "bgr", (1, 3, 5, 7)), ("nhwc", "grey", (2, 5, 7, 1))]
)
def test_height_and_width_are_the_input_s(layout, channels, shape):
    assert Preparation(layout, channels).extent(shape) == (5, 7)


@pytest.mark.parametrize("shape", [(1, 5, 7, 3), (1, 3, 35), (1, 1, 5, 7)])
def test_an_input_that_takes_no_such_images_is_refused(shape):
    with refused((f"an input of shape {list(shape)} does not take rgb images in nchw"), InputError):
        Preparation("nchw", "rgb").extent(shape)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"layout": "chw"}, "layout must be one of nchw, nhwc, not 'chw'"),
        ({"channels": "yuv"}, "channels must be one of grey, rgb, bgr, not 'yuv'"),
        ({"size": 0}, "an image's size must be between 1 and 65536, not 0"),
        ({"mean": (1.0, 2.0)}, "mean has 2 numbers for rgb, which takes 1 or 3"),
        (
            {"channels": "grey", "std": (1.0, 2.0)},
            "std has 2 numbers for grey, which takes 1",
        ),
        ({"mean": (1e300,)}, "a mean must be finite as a float32, not [1e+300]"),
        (
            {"std": (1e-320,)},
            "a standard deviation must be positive and finite as a float32, not [1e-320]",
        ),
    ],
)
def test_a_field_that_cannot_be_is_refused(fields, message):
    with refused(message, InputError):
        Preparation(**{"layout": "nchw", "channels": "rgb"} | fields)
