"""Files and folders become samples that fit a Graph's inputs, labels and all."""

from dataclasses import replace

import numpy as np
import pytest

from edgeinfer.data import ImageOptions, load_data
from edgeinfer.data.samples import is_batched, samples_in
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from tests.data_graphs import image, taking
from tests.refusals import refused


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
            image(tmp_path / name / f"{i}.png", np.full((4, 4), value + i))
    (tmp_path / "cat" / "notes.txt").touch()
    data = load_data(tmp_path, taking(x=(1, 4, 4, 1)))
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.classes == ("ape", "cat", "dog")
    assert [int(feed["x"][0, 0, 0, 0]) for feed in data.samples] == [20, 21, 10, 11, 30, 31]


def test_a_seed_shuffles_images_and_labels_alike(tmp_path):
    for value in range(20):
        image(tmp_path / f"{value:02}" / "a.png", np.full((4, 4), value))
    data = load_data(tmp_path, taking(x=(1, 4, 4, 1)), seed=1)
    assert [int(feed["x"].mean()) for feed in data.samples] == data.labels.tolist()
    assert data.labels.tolist() != list(range(20))
    assert sorted(data.labels.tolist()) == list(range(20))


@pytest.mark.parametrize(
    "labels, expected", [(("dog", "cat"), [0, 1]), (("a", "b", "c"), [1, 0]), ((), [1, 0])]
)
def test_the_model_s_own_labels_number_the_subfolders(tmp_path, labels, expected):
    image(tmp_path / "cat" / "1.png", np.full((4, 4), 1))
    image(tmp_path / "dog" / "0.png", np.full((4, 4), 0))
    data = load_data(tmp_path, replace(taking(x=(1, 4, 4, 1)), labels=labels))
    by_value = {int(f["x"].mean()): int(n) for f, n in zip(data.samples, data.labels, strict=True)}
    assert [by_value[0], by_value[1]] == expected


def test_images_come_in_the_model_s_batches(tmp_path):
    for i in range(4):
        image(tmp_path / f"{i}.png", np.full((4, 4), i))
    data = load_data(tmp_path, taking(x=(2, 4, 4, 1)))
    assert data.count == 2
    assert [feed["x"].shape for feed in data.samples] == [(2, 4, 4, 1)] * 2
    with pytest.raises(
        InputError, match=r"^the model takes batches of 3, which do not divide 4 files$"
    ):
        load_data(tmp_path, taking(x=(3, 4, 4, 1)))


def test_a_folder_of_arrays_is_read_file_by_file(tmp_path):
    for name, value in (("a/0", 1), ("b/0", 2), ("b/1", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shape = (1, 2, 3) if value == 2 else (2, 3)
        np.save(tmp_path / f"{name}.npy", np.full(shape, value, "f4"))
    data = load_data(tmp_path, taking(x=(1, 2, 3)))
    assert data.names == ("a/0.npy", "b/0.npy", "b/1.npy")
    assert data.labels.tolist() == [0, 1, 1]
    assert [feed["x"].tolist() for feed in data.samples] == [
        np.full((1, 2, 3), value).tolist() for value in (1, 2, 3)
    ]


def test_a_file_of_another_shape_is_named(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 3)))
    message = f"{tmp_path / 'a.npy'} has shape [4, 3], but a sample of input 'x' has shape [2, 3]"
    with refused(message, InputError):
        list(load_data(tmp_path, taking(x=(1, 2, 3))).samples)


def test_a_folder_of_two_kinds_is_refused(tmp_path):
    image(tmp_path / "a.png", np.zeros((4, 4)))
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))
    with refused(f"{tmp_path} holds arrays and images; give one kind", InputError):
        load_data(tmp_path, taking(x=(1, 4, 4, 1)))


def test_subfolders_that_the_model_s_labels_do_not_name_are_refused(tmp_path):
    for name in ("cat", "emu"):
        image(tmp_path / name / "a.png", np.zeros((4, 4)))
    graph = replace(taking(x=(1, 4, 4, 1)), labels=("cat", "dog"))
    with refused(f"{tmp_path}: 'emu' is not one of the model's labels", InputError):
        load_data(tmp_path, graph)


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.csv"])
def test_what_prepares_images_is_refused_for_other_data(tmp_path, name):
    np.savez(tmp_path / "a.npz", np.ones((3, 2)))
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    (tmp_path / "a.csv").write_text("1,2\n")
    message = f"mean and std: for images only, but {tmp_path / name} is taken as it is"
    with refused(message, InputError):
        load_data(tmp_path / name, taking(x=(1, 2)), ImageOptions(mean=(1.0,), std=(2.0,)))


def test_an_archive_that_unpacks_to_much_more_than_its_size_is_refused(tmp_path, monkeypatch):
    packed, plain = tmp_path / "packed.npz", tmp_path / "plain.npz"
    zeros = np.zeros((3 << 10, 1 << 10), "f4")
    np.savez_compressed(packed, zeros)
    np.savez(plain, zeros)
    graph = taking(x=(1, 1024))
    assert load_data(packed, graph).count == 3 << 10
    # as many bytes as this test can afford stand for a GiB
    monkeypatch.setattr("edgeinfer.data.arrays._SMALL", 8 << 20)
    assert load_data(plain, graph).count == 3 << 10
    size = packed.stat().st_size
    unpacked = (12 << 20) + 128
    message = (
        f"{packed} unpacks to 0.0 GiB, {unpacked // size} times its size, and at most 20 times "
        "are read; write it without compression"
    )
    with refused(message, InputError):
        load_data(packed, graph)


def test_the_first_axis_is_samples_where_they_stay_apart_and_not_where_they_mix():
    def graph(op: ops.Operator, shape: tuple[int, ...], given: tuple[int, ...]) -> Graph:
        types = {"x": TensorType(shape), "out": TensorType(given)}
        return Graph("g", (Node("n", op, ("x",), ("out",)),), types, ("x",), ("out",), {})

    apart = graph(ops.Pointwise(("tanh", "x")), (4, 6), (4, 6))
    mixed = graph(ops.Softmax(0), (4, 6), (4, 6))
    one = graph(ops.Softmax(0), (1, 6), (1, 6))
    assert [samples_in(g) for g in (apart, mixed, one)] == [4, 1, 1]
    assert [is_batched(g, "out") for g in (apart, mixed, one)] == [True, False, True]
