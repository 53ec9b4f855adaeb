"""Small files that ask for much are refused before much is done, or done with little."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.converters.onnx_agreement import model, node

ROOT = Path(__file__).parents[2]
ZERO = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
HALF = helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])
NODES = 4000


def summed(nodes: list, constants: dict) -> onnx.ModelProto:
    """What the constant ``c`` adds up to, beside an input."""
    ends = [node("ReduceSum", ["c"], ["s"], keepdims=0), node("Add", ["x", "s"], ["y"])]
    return model([*nodes, *ends], (1,), constants)


def chain(operator: str, first: str, name: str, *others: str) -> list[onnx.NodeProto]:
    """So many nodes, each of which takes what the one before gives."""
    names = [first, *(f"{name}{i}" for i in range(NODES))]
    return [node(operator, [a, *others], [b]) for a, b in pairwise(names)]


CASES = {
    "a function of many": summed(
        [node("ConstantOfShape", ["n"], ["k"], value=HALF), node("Erf", ["k"], ["c"])],
        {"n": np.array([2**23 + 1])},
    ),
    "elements by place": summed(
        [
            node("ConstantOfShape", ["n"], ["at"], value=ZERO),
            node("GatherND", ["k", "at"], ["c"]),
        ],
        {"n": np.array([2**23, 1]), "k": np.ones(4, "f4")},
    ),
    "elements put in places": summed(
        [
            node("ConstantOfShape", ["n"], ["at"], value=ZERO),
            node("ConstantOfShape", ["m"], ["k"], value=HALF),
            node("ScatterND", ["d", "at", "k"], ["c"]),
        ],
        {"n": np.array([2**22, 1]), "m": np.array([2**22]), "d": np.ones(4, "f4")},
    ),
    "a sum of too many": model([node("Sum", ["x"] * 20_002, ["y"])], (1, 4), {}),
    "a sum of many": model([node("Sum", ["x"] * NODES, ["y"])], (1, 4), {}),
    "a chain": model([*chain("Relu", "x", "v"), node("Abs", [f"v{NODES - 1}"], ["y"])], (1, 4), {}),
    "a mean far from what is divided": model(
        [
            node("ReduceMean", ["x"], ["m"], axes=[1]),
            *chain("Sigmoid", "m", "f"),
            *chain("Div", "x", "q", f"f{NODES - 1}"),
            node("Abs", [f"q{NODES - 1}"], ["y"]),
        ],
        (1, 4),
        {},
    ),
    "copies": model(
        [node("Identity", ["x"], [f"y{i}"]) for i in range(NODES)],
        (1, 4),
        {},
        outputs=[f"y{i}" for i in range(NODES)],
    ),
}

# all memory that it may take beside what its packages took
PROGRAM = """
import sys
import edgeinfer.converters.onnx_import
from edgeinfer.converters import from_onnx
from edgeinfer.errors import EdgeInferError
from tests.memory_limit import GIB, limit_memory
limit_memory(GIB)
for path in sys.argv[1:]:
    try:
        print(len(from_onnx(path).nodes))
    except EdgeInferError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_no_small_model_takes_a_gigabyte_to_import(tmp_path: Path):
    paths = []
    for name, proto in CASES.items():
        paths.append(tmp_path / f"{name}.onnx")
        onnx.save(proto, paths[-1])
        assert paths[-1].stat().st_size < 2**20
    command = [sys.executable, "-c", PROGRAM, *map(str, paths)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    most = "the constants of the model have more than 67108864 elements"
    told = dict(zip(CASES, done.stdout.splitlines(), strict=True))
    imported = {name for name, text in told.items() if text.isdecimal()}
    assert imported == {
        "a chain",
        "a mean far from what is divided",
        "a sum of many",
        "copies",
        "elements by place",
    }
    assert {name: text for name, text in told.items() if name not in imported} == {
        "a function of many": f"Erf 'c': {most}",
        "elements put in places": f"ScatterND 'c': {most}",
        "a sum of too many": "Sum 'y': the model becomes more than 20000 nodes and constants",
    }
