"""Files and folders become samples that fit a Graph's inputs, labels and all."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edgeinfer.data import Preprocessing, load_data
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops


def taking(**shapes: tuple[int, ...]) -> Graph:
    types = {name: TensorType(shape) for name, shape in shapes.items()}
    nodes = tuple(Node(f"n {n}", ops.Reshape(s), (n,), (f"{n} out",)) for n, s in shapes.items())
    types |= {f"{name} out": kind for name, kind in types.items()}
    outputs = tuple(f"{name} out" for name in shapes)
    return Graph("g", nodes, types, tuple(shapes), outputs, {}, free_batch=True)


def picture(path, pixels) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(np.array(pixels, np.uint8)).save(path)


def test_an_npz_gives_its_arrays_by_name_and_its_labels(tmp_path):
    np.savez(tmp_path / "d.npz", a=np.ones((3, 2)), b=np.ones((3, 5)), y=[2, 0, 1])
    data = load_data(tmp_path / "d.npz", taking(a=(1, 2), b=(1, 5)))
    assert data.count == 3
    assert set(data.samples) == {"a", "b"}
    assert data.labels.tolist() == [2, 0, 1]


def test_an_input_called_y_is_not_labels(tmp_path):
    np.savez(tmp_path / "d.npz", y=np.ones((3, 2)))
    assert load_data(tmp_path / "d.npz", taking(y=(1, 2))).labels is None


def test_one_array_of_any_name_feeds_the_only_input(tmp_path):
    np.savez(tmp_path / "d.npz", np.ones((3, 2)), y=[0, 0, 0])
    np.save(tmp_path / "d.npy", np.ones((3, 2)))
    for name in ("d.npz", "d.npy"):
        assert list(load_data(tmp_path / name, taking(x=(1, 2))).samples) == ["x"]


def test_one_array_does_not_feed_two_inputs(tmp_path):
    np.save(tmp_path / "d.npy", np.ones((3, 2)))
    with pytest.raises(InputError) as refusal:
        load_data(tmp_path / "d.npy", taking(a=(1, 2), b=(1, 2)))
    assert str(refusal.value) == (
        f"{tmp_path / 'd.npy'}: the data is for 'd.npy', but the model's inputs are 'a', 'b'"
    )


def test_a_folder_of_images_is_labelled_by_its_sorted_subfolders(tmp_path):
    for name, value in (("cat", 10), ("ape", 20), ("dog", 30)):
        for i in range(2):
            picture(tmp_path / name / f"{i}.png", np.full((4, 4), value + i))
    (tmp_path / "cat" / "notes.txt").touch()
    data = load_data(tmp_path, taking(x=(1, 4, 4, 1)))
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [int(feed["x"][0, 0, 0, 0]) for feed in data.samples] == [20, 21, 10, 11, 30, 31]


def test_a_seed_shuffles_images_and_labels_alike(tmp_path):
    for value in range(20):
        picture(tmp_path / f"{value:02}" / "a.png", np.full((4, 4), value))
    data = load_data(tmp_path, taking(x=(1, 4, 4, 1)), seed=1)
    assert [int(feed["x"].mean()) for feed in data.samples] == data.labels.tolist()
    assert data.labels.tolist() != list(range(20))
    assert sorted(data.labels.tolist()) == list(range(20))


@pytest.mark.parametrize(
    "labels, expected", [(("dog", "cat"), [0, 1]), (("a", "b", "c"), [1, 0]), ((), [1, 0])]
)
def test_the_model_s_own_labels_number_the_subfolders(tmp_path, labels, expected):
    picture(tmp_path / "cat" / "1.png", np.full((4, 4), 1))
    picture(tmp_path / "dog" / "0.png", np.full((4, 4), 0))
    data = load_data(tmp_path, replace(taking(x=(1, 4, 4, 1)), labels=labels))
    by_value = {int(f["x"].mean()): int(n) for f, n in zip(data.samples, data.labels, strict=True)}
    assert [by_value[0], by_value[1]] == expected


def test_images_take_the_input_s_layout_size_and_normalization(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 5, 3), np.uint8)
    picture(tmp_path / "a.png", pixels)
    how = Preprocessing(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    expected = (pixels.astype("f4") - np.float32([1, 2, 3])) / np.float32([4, 5, 6])
    (nhwc,) = load_data(tmp_path, taking(x=(1, 6, 5, 3)), how).samples
    np.testing.assert_array_equal(nhwc["x"], expected[None])
    (nchw,) = load_data(tmp_path / "a.png", taking(x=(1, 3, 6, 5)), how).samples
    np.testing.assert_array_equal(nchw["x"], expected.transpose(2, 0, 1)[None])


def test_deviations_below_1_are_fractions_of_255(tmp_path):
    picture(tmp_path / "a.png", np.full((2, 2), 255))
    how = Preprocessing(mean=(0.5,), std=(0.25,))
    (feed,) = load_data(tmp_path, taking(x=(1, 2, 2, 1)), how).samples
    np.testing.assert_array_equal(feed["x"], np.full((1, 2, 2, 1), 2, "f4"))


def test_a_size_scales_the_shorter_side_and_keeps_the_middle(tmp_path):
    pixels = np.arange(4 * 8, dtype=np.uint8).reshape(4, 8)
    picture(tmp_path / "a.png", pixels)
    (feed,) = load_data(tmp_path, taking(x=(1, 2, 2, 1)), Preprocessing(size=4)).samples
    np.testing.assert_array_equal(feed["x"][0, :, :, 0], pixels[1:3, 3:5])
    how = Preprocessing(size=1)
    with pytest.raises(InputError, match=r"^size 1 leaves less than 2x2$"):
        list(load_data(tmp_path, taking(x=(1, 2, 2, 1)), how).samples)


def test_images_come_in_the_model_s_batches(tmp_path):
    for i in range(4):
        picture(tmp_path / f"{i}.png", np.full((4, 4), i))
    data = load_data(tmp_path, taking(x=(2, 4, 4, 1)))
    assert data.count == 2
    assert [feed["x"].shape for feed in data.samples] == [(2, 4, 4, 1)] * 2
    with pytest.raises(
        InputError, match=r"^the model takes batches of 3, which do not divide 4 images$"
    ):
        load_data(tmp_path, taking(x=(3, 4, 4, 1)))


@pytest.mark.parametrize(
    "shapes, message",
    [
        ({"a": (1, 2), "b": (1, 2)}, "images feed one input, but the model has 2; give an .npz"),
        (
            {"x": (1, 3, 9, 3)},
            "an input of shape [1, 3, 9, 3] does not tell its layout; say nchw or nhwc",
        ),
        ({"x": (1, 640)}, "input 'x' of shape [1, 640] does not take images"),
    ],
)
def test_a_model_that_takes_no_images_says_so(tmp_path, shapes, message):
    picture(tmp_path / "a.png", np.zeros((4, 4)))
    with pytest.raises(InputError) as refusal:
        load_data(tmp_path, taking(**shapes))
    assert str(refusal.value) == message
