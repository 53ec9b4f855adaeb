"""A function of the user's gives samples, as often as they are wanted."""

import numpy as np
import pytest

from edgeinfer.data import load_data
from edgeinfer.data.samples import runs
from edgeinfer.errors import InputError
from tests.data_graphs import taking
from tests.refusals import refused

MODULE = """
import numpy as np

X = np.arange(12, dtype="f4").reshape(6, 2)
Y = np.arange(6)
calls = 0

def array():
    global calls
    calls += 1
    return X

def by_name():
    return {"x": X, "y": Y}

def pair():
    return X, Y

def batches():
    for start in range(0, 6, 2):
        yield [X[start : start + 2].tolist(), Y[start : start + 2].tolist()]

def for_ever():
    while True:
        yield X[:4], Y[:4]

def one_number():
    yield X, 3

def two_shapes():
    yield X, Y
    yield X, X

def some_labelled():
    yield X, Y
    yield X

def failing():
    yield X
    raise OSError("the disk is gone")

def asking(count):
    return X

number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "samples_of_mine.py").write_text(MODULE)
    (tmp_path / "broken_of_mine.py").write_text("import a_package_that_is_not_there")
    monkeypatch.chdir(tmp_path)
    yield
    import sys

    sys.modules.pop("samples_of_mine", None)


@pytest.mark.parametrize(
    "name, labelled", [("array", False), ("by_name", True), ("pair", True), ("batches", True)]
)
def test_a_function_gives_samples_again_and_again(name, labelled):
    graph = taking(x=(1, 2))
    data = load_data(f"samples_of_mine:{name}", graph)
    assert data.count == 6
    for _ in range(2):
        given = np.concatenate([feed["x"] for feed in runs(graph, data.samples)])
        np.testing.assert_array_equal(given, np.arange(12).reshape(6, 2))
    assert (None if data.labels is None else data.labels.tolist()) == (
        list(range(6)) if labelled else None
    )


def test_a_function_may_go_on_for_ever_where_samples_are_counted():
    graph = taking(x=(1, 2))
    data = load_data("samples_of_mine:for_ever", graph, samples=6)
    assert (data.count, data.labels.tolist()) == (6, [0, 1, 2, 3, 0, 1])
    assert len(list(runs(graph, data.samples, limit=6))) == 6


@pytest.mark.parametrize(
    "name, message",
    [
        (
            "no_such_module:f",
            "there is neither a file no_such_module:f nor a module no_such_module",
        ),
        ("samples_of_mine:no", "module samples_of_mine has no function no"),
        ("samples_of_mine:number", "module samples_of_mine has no function number"),
        (
            "broken_of_mine:f",
            "broken_of_mine:f raised ModuleNotFoundError: No module named "
            "'a_package_that_is_not_there' (--debug shows where)",
        ),
        (
            "samples_of_mine:failing",
            "samples_of_mine:failing raised OSError: the disk is gone (--debug shows where)",
        ),
        (
            "samples_of_mine:asking",
            "samples_of_mine:asking raised TypeError: asking() missing 1 required positional "
            "argument: 'count' (--debug shows where)",
        ),
        (
            "samples_of_mine:two_shapes",
            "samples_of_mine:two_shapes gives labels of one shape for some batches, of another for "
            "others",
        ),
        (
            "samples_of_mine:some_labelled",
            "samples_of_mine:some_labelled gives labels for some batches, but not for others",
        ),
    ],
)
def test_a_function_that_fails_is_named(name, message):
    with refused(message, InputError):
        load_data(name, taking(x=(1, 2)))


def test_samples_that_do_not_fit_are_refused_with_the_function_s_name():
    message = "samples_of_mine:array: input 'x' has shape [1, 3], but the data has shape [6, 2]"
    with refused(message, InputError):
        load_data("samples_of_mine:array", taking(x=(1, 3)))
