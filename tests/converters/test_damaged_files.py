"""A damaged ONNX file is imported or refused with an error of edgeinfer, and nothing else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.errors import EdgeInferError, ModelFileError

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SHIPPED = [LIGHT / f"light_{name}.onnx" for name in ("shufflenet", "squeezenet", "inception_v1")]
TRAINED = ("ic_resnet8", "kws_dscnn", "cifar10_resnet20", "armkws_ds_cnn_s")
NUMBERS = (-(2**63), 2**63 - 1, -(2**31), 2**31, 2**40, -1, 0, 1, 2, 7, 65536)
OPERATORS = (
    "Reshape",
    "Gather",
    "Expand",
    "Loop",
    "Resize",
    "If",
    "Split",
    "Pad",
    "Tile",
    "MatMul",
)


def flip(data: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    # structure lies at the ends, weights between: damage both
    reach = len(damaged) if rng.random() < 0.5 else 5000
    for _ in range(rng.choice((1, 3, 20))):
        damaged[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def edit(data: bytes, rng: random.Random) -> onnx.ModelProto:
    """Well-formed protobuf that makes no sense."""
    proto = onnx.load_from_string(data)
    graph = proto.graph
    for _ in range(rng.randint(1, 3)):
        node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
        attribute = rng.choice(node.attribute) if node.attribute else None
        match rng.randrange(8):
            case 0 if attribute is not None and attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)
            case 1 if attribute is not None:
                attribute.type = rng.randrange(15)
            case 2 if attribute is not None:
                node.attribute.remove(attribute)
            case 3 if node.input:
                values = [name for n in graph.node for name in (*n.input, *n.output)]
                node.input[rng.randrange(len(node.input))] = rng.choice([*values, "", "ghost"])
            case 4 if tensor.dims:
                tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
            case 5:
                tensor.data_type = rng.randrange(26)
            case 6:
                node.op_type = rng.choice(OPERATORS)
            case 7:
                dims = rng.choice(graph.input).type.tensor_type.shape.dim
                if dims:
                    dims[rng.randrange(len(dims))].dim_value = rng.choice(NUMBERS)
    return proto


def assert_import_ends_well(source: bytes | onnx.ModelProto) -> None:
    start = time.perf_counter()
    try:
        from_onnx(source)
    except EdgeInferError as error:
        assert str(error)
        assert "\n" not in str(error)
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("damage", [flip, truncate, edit])
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_damaged_topologies(path: Path, damage: Callable):
    rng = random.Random(f"{path.stem} {damage.__name__}")
    data = path.read_bytes()
    for _ in range(35):
        assert_import_ends_well(damage(data, rng))


@pytest.mark.parametrize("damage", [flip, truncate, edit])
@pytest.mark.parametrize("name", TRAINED)
def test_damaged_trained_models(zoo, name: str, damage: Callable):
    rng = random.Random(f"{name} {damage.__name__}")
    data = zoo.load(name).model.read_bytes()
    for _ in range(35):
        assert_import_ends_well(damage(data, rng))


@pytest.mark.parametrize("data", [b"", b"\0", b"PK\3\4", b"<html>", bytes(1000)])
def test_what_was_never_a_model(data: bytes):
    with pytest.raises(ModelFileError):
        from_onnx(data)
