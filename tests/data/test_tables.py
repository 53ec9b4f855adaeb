"""A table of text gives samples and labels, or says which line or column is wrong."""

from dataclasses import replace

import pytest

from edgeinfer.data import load_data
from edgeinfer.errors import InputError
from tests.data_graphs import taking
from tests.refusals import refused


def table(tmp_path, text, shape=(1, 2), labels=()):
    path = tmp_path / "a.csv"
    path.write_text(text)
    return load_data(path, replace(taking(x=shape), labels=labels))


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4.5\n",
        "a,b\n1,2\n3,4.5\n",
        "0,1\n1,2\n3,4.5\n",  # as pandas names columns
        "\ufeffa;b\r\n1;2\r\n3;4.5\r\n\r\n",
        'a\tb\n"1"\t2\n3\t4.5',
    ],
)
def test_a_line_is_a_sample_with_and_without_names(tmp_path, text):
    data = table(tmp_path, text)
    assert data.samples["x"].tolist() == [[1, 2], [3, 4.5]]
    assert (data.count, data.labels) == (2, None)


def test_columns_fill_any_shape_in_order(tmp_path):
    data = table(tmp_path, "1,2,3,4\n", (1, 2, 1, 2))
    assert data.samples["x"].tolist() == [[[[1, 2]], [[3, 4]]]]


@pytest.mark.parametrize(
    "labels, known, expected, classes",
    [
        (("1", "0"), (), [1, 0], ()),
        (("1.5", "0.5"), (), [1.5, 0.5], ()),
        (("1.0", "0.0"), (), [1, 0], ()),
        (("dog", "cat"), (), [1, 0], ("cat", "dog")),
        (("dog", "cat"), ("dog", "cow", "cat"), [0, 2], ("dog", "cow", "cat")),
    ],
)
def test_the_column_y_is_labels_numbers_or_names(tmp_path, labels, known, expected, classes):
    data = table(tmp_path, f"a,y,b\n1,{labels[0]},2\n3,{labels[1]},4\n", labels=known)
    assert data.samples["x"].tolist() == [[1, 2], [3, 4]]
    assert (data.labels.tolist(), data.classes) == (expected, classes)
    assert data.labels.dtype.kind == ("f" if "." in "".join(labels) else "i")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "{path} holds no samples"),
        ("a,b\n", "{path} holds no samples"),
        ("1,2\n3\n", "{path}: line 2 has 1 columns, but the first has 2"),
        ("a,b\n1,2\n3,\n", "{path}: line 3, column 2: '' is not a number"),
        ("1;2\n3;4,5\n", "{path}: line 2, column 2: '4,5' is not a number"),
        (
            "a,b,c\n1,2,3\n",
            "{path} has 3 columns of numbers, but a sample of input 'x' has 2; a first line names "
            "the columns, and y that of the labels",
        ),
        ("1,nan\n", "{path}: the data for input 'x' holds a value that is not finite"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, text, message):
    with refused(message.format(path=tmp_path / "a.csv"), InputError):
        table(tmp_path, text)


def test_a_label_that_the_model_does_not_have_is_named(tmp_path):
    message = f"{tmp_path / 'a.csv'}: 'emu' is not one of the model's labels"
    with refused(message, InputError):
        table(tmp_path, "a,b,y\n1,2,cat\n3,4,emu\n", labels=("cat", "dog"))


def test_a_table_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe1,2")
    message = (
        f"{path} is not a table: 'utf-8' codec can't decode byte 0xff in position 0: "
        "invalid start byte"
    )
    with refused(message, InputError):
        load_data(path, taking(x=(1, 2)))
