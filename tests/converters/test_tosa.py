"""Which operators TOSA has a form for, and what is said of others; no tool is needed for that."""

from __future__ import annotations

import os

import numpy as np
import pytest

import edgeinfer
from edgeinfer.converters.tosa.lowering import lowered
from edgeinfer.converters.tosa.rules import lower
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph, GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.operators.families import OPERATORS, FloatOperator
from tests.refusals import refused

Q8, Q16 = Quantization.per_tensor(0.1, 3), Quantization.per_tensor(0.001)


def test_every_integer_operator_has_a_form_but_these():
    integer = {c for c in OPERATORS.values() if not issubclass(c, FloatOperator)}
    assert {c.__name__ for c in integer if lower.dispatch(c) is lower.dispatch(object)} == {
        "IndexArithmetic",
        "NonMaxSuppression",
        "QDiv",
        "QNormalization",
        "QReduceL2",
        "QSoftmax",
        "TopIndices",
    }


def beside(op: ops.Operator, *operands: TensorType | np.ndarray, like: TensorType) -> Graph:
    """A Graph of ``op`` and of a Transpose, which has a form."""
    b = GraphBuilder()
    x = b.input("x", TensorType((2, 3), "int8", Q8))
    names = [
        b.constant(f"c{place}", each)
        if isinstance(each, np.ndarray)
        else b.input(f"x{place}", each)
        for place, each in enumerate(operands)
    ]
    y = b.add(op, *names, output="y", dtype=like.dtype, quantization=like.quantization)
    return b.graph(y, b.add(ops.Transpose((1, 0)), x, output="t"))


def layer(weights: np.ndarray, bias: int) -> tuple[np.ndarray, ...]:
    """What a QDense takes behind x."""
    ones = np.ones(len(weights), np.int64)
    ratios = ((ones * 2**23).astype(np.int32), (ones * 45).astype(np.int8))
    return weights, ones * bias, *ratios


IMAGE = TensorType((1, 8, 8, 2), "int8", Q8)
ROW = TensorType((1, 4), "int16", Q16)
INDICES = TensorType((4,), "int64")


@pytest.mark.parametrize(
    ("op", "operands", "like", "reason"),
    [
        (
            ops.MaxPool(kernel=(2, 2), dilations=(2, 1)), (IMAGE,), IMAGE,
            "MaxPool: TOSA's MAX_POOL2D has no dilations",
        ),
        (
            ops.QDense(lo=-32768, hi=32767), (ROW, *layer(np.ones((3, 4), np.int16), 0)), ROW,
            "QDense: TOSA's convolutions take no weights of 16 bits",
        ),
        (
            ops.QDense(lo=-32768, hi=32767), (ROW, *layer(np.ones((3, 4), np.int8), 2**31)), ROW,
            "QDense: TOSA scales sums beyond 32 bits by multipliers of 15 bits alone",
        ),
        (
            ops.QMatMul(multiplier=2**23, shift=45, lo=-32768, hi=32767),
            (TensorType((3, 4), "int16", Q16), TensorType((4, 2), "int16", Q16)), ROW,
            "QMatMul: TOSA scales sums beyond 32 bits by multipliers of 15 bits alone",
        ),
        (
            ops.QPRelu(multiplier=2**30, shift=31, rounding="double"),
            (IMAGE, np.array([-(2**30)], np.int32), np.array([33], np.int8)), IMAGE,
            "QPRelu: TOSA's multipliers are not negative",
        ),
        (
            ops.Rescale(multiplier=1, shift=2, lo=-32768, hi=32767), (ROW,), ROW,
            "Rescale: TOSA takes no shift so small beside accumulators so large",
        ),
        (
            ops.Reshape((1, 2, 2, 2, 2, 2, 2, 2)), (IMAGE,), IMAGE,
            "Reshape: TOSA's tensors have 6 axes at most",
        ),
        (ops.Transpose((0,)), (INDICES,), INDICES, "Transpose: TOSA's operators take no int64"),
        (
            ops.IndexArithmetic("add"), (INDICES, INDICES), INDICES,
            "IndexArithmetic: TOSA has no operator for it",
        ),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, ops.Operator) else None,
)  # fmt: skip
def test_what_has_no_form_is_named_and_the_rest_is_written(op, operands, like, reason):
    made = lowered(beside(op, *operands, like=like))
    assert made.absent == {"y": reason}
    assert (list(made.takes), list(made.gives)) == (["x"], ["t"])
    ((block,),) = (region["blocks"] for region in made.document["regions"])
    assert [operator["op"] for operator in block["operators"]] == ["TRANSPOSE"]
    assert {tensor["name"] for tensor in block["tensors"]} == {*block["inputs"], *block["outputs"]}


def quotients() -> Graph:
    """A Graph of operators that have no form."""
    b = GraphBuilder()
    x = b.input("x", ROW)
    y = b.add(ops.QDiv(multiplier=2**30, shift=40), x, x, quantization=Q16)
    return b.graph(b.add(ops.TopIndices(1, 2), y))


def transposed() -> Graph:
    b = GraphBuilder()
    x = b.input("x", TensorType((2, 3), "int8", Q8))
    return b.graph(b.add(ops.Transpose((1, 0)), x, output="t"))


def test_a_model_of_which_nothing_has_a_form_is_refused():
    message = (
        "TOSA has a form for none of the operators: QDiv: TOSA has no operator for it; "
        "TopIndices: TOSA has no operator for it"
    )
    with refused(message, UnsupportedError):
        lowered(quotients())


# ---- the program


def test_without_the_program_it_is_said_how_it_comes(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = (
        "tosa_reference_model is not on PATH; it needs an environment of its own: "
        "python3 -m venv tosa && tosa/bin/pip install 'tosa-tools>=2026.8,<2027', and then: "
        'export PATH="$PWD/tosa/bin:$PATH"'
    )
    with refused(message, InputError):
        edgeinfer.verify(transposed(), ("tosa",))


@pytest.fixture
def tools(monkeypatch, tmp_path):
    """A folder on PATH, and what puts a shell script as a program there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), os.pathsep)

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    write("tosa_reference_model", "exit 0")
    return folder, write


def test_a_program_without_its_schema_is_not_tosa_tools(tools):
    folder, write = tools
    write("flatc", "exit 0")
    message = (
        f"{folder}/tosa_reference_model is not of tosa-tools, which install it beside flatc and "
        "tosa.fbs"
    )
    with refused(message, InputError):
        edgeinfer.verify(transposed(), ("tosa",))


@pytest.mark.parametrize("program", ["flatc", "tosa_reference_model"])
def test_what_a_program_complains_of_is_told(tools, program):
    folder, write = tools
    (folder / "tosa.fbs").touch()
    write("flatc", "exit 0")
    write(program, "echo WARNING: old; echo it broke; echo because >&2; exit 1")
    with refused(f"{program} fails: it broke because", UnsupportedError):
        edgeinfer.verify(transposed(), ("tosa",))


def test_a_program_that_gives_nothing_is_no_agreement(tools):
    folder, write = tools
    (folder / "tosa.fbs").touch()
    write("flatc", "exit 0")
    with refused("tosa_reference_model gives no results: no message", UnsupportedError):
        edgeinfer.verify(transposed(), ("tosa",))
