"""A table of numbers as text into samples: a line is a sample, its column ``y`` the label."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeinfer.data.arrays import LABELS
from edgeinfer.data.data_set import class_numbers, only_input
from edgeinfer.errors import InputError
from edgeinfer.files.input_file import read_file
from edgeinfer.graph import Graph

__all__ = ["SUFFIXES", "read_table"]

SUFFIXES = frozenset({".csv", ".tsv"})

_DELIMITERS = ",;\t"

Rows = list[list[str]]


def read_table(
    path: Path, graph: Graph
) -> tuple[dict[str, np.ndarray], np.ndarray | None, tuple[str, ...]]:
    """The samples of the only input of ``graph``, the labels, and the names of their classes.

    The first line may name the columns. Labels are numbers, or names of classes.

    Raises
    ------
    InputError
        The file is no such table, or its columns do not fit the input.
    """
    name = only_input(graph)
    shape = graph.types[name].shape[1:]
    names, rows, first = _parsed(path)
    taken = [i for i, column in enumerate(names) if column != LABELS]
    if len(taken) != math.prod(shape):
        raise InputError(
            f"{path} has {len(taken)} columns of numbers, but a sample of input {name!r} has "
            f"{math.prod(shape)}; a first line names the columns, and {LABELS} that of the labels"
        )
    numbers = _numbers(path, rows, taken, first)
    samples = numbers.reshape(len(rows), *shape)
    if graph.types[name].dtype == "int64" and (samples == np.rint(samples)).all():
        samples = samples.astype(np.int64)
    if LABELS not in names:
        return {name: samples}, None, ()
    cells = [row[names.index(LABELS)] for row in rows]
    return {name: samples}, *_labels(path, cells, graph.labels)


def _parsed(path: Path) -> tuple[list[str], Rows, int]:
    """The columns' names, the rows, and the line of the first one."""
    try:
        text = read_file(path).decode("utf-8-sig")
        lines = text.splitlines()
        head = lines[0] if lines else ""
        delimiter = max(_DELIMITERS, key=head.count)
        rows = [row for row in csv.reader(lines, delimiter=delimiter, strict=True) if row]
    except (UnicodeError, csv.Error) as error:
        raise InputError(f"{path} is not a table: {error}") from error
    if not rows:
        raise InputError(f"{path} holds no samples")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{path}: line {number} has {len(row)} columns, but the first has {len(rows[0])}"
            )
    names = [cell.strip() for cell in rows[0]]
    numbered = names == [str(i) for i in range(len(names))]  # as pandas names columns
    if not numbered and all(map(_is_number, names)):
        return [""] * len(names), rows, 1
    if len(rows) == 1:
        raise InputError(f"{path} holds no samples")
    return names, rows[1:], 2


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(path: Path, rows: Rows, columns: Sequence[int], first: int) -> np.ndarray:
    cells = [[row[i] for i in columns] for row in rows]
    try:
        return np.array(cells, np.float64)
    except ValueError:
        for number, row in enumerate(rows, start=first):
            for i in columns:
                if not _is_number(row[i]):
                    raise InputError(
                        f"{path}: line {number}, column {i + 1}: {row[i]!r} is not a number"
                    ) from None
        raise


def _labels(
    path: Path, cells: list[str], known: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    words = [cell.strip() for cell in cells]
    if all(map(_is_number, words)):
        numbers = np.array(words, np.float64)
        whole = np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()
        exact = whole and "." not in "".join(words)
        return numbers.astype(np.int64) if exact else numbers, ()
    try:
        classes = class_numbers(words, known)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return np.array([classes[word] for word in words], np.int64), tuple(classes)
