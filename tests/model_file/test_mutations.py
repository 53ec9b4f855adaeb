"""Whatever is done to a model file, reading it gives one of our errors or a Graph that runs."""

import copy
import random

import numpy as np
import pytest

from edgeinfer.errors import EdgeInferError, ModelError
from edgeinfer.files.model_file import from_bytes
from edgeinfer.graph import Graph
from edgeinfer.graph.cost import cost
from edgeinfer.meaning import float_executor, reference
from edgeinfer.runtime.session import Session
from tests.model_file.digits_models import digits_file, parts, sealed

SCHEMES = ["float32", "int8", "int16"]
VALUES = [
    *(0, 1, -1, 2, 3, 7, 62, 63, 127, -128, 128, 2**15, 2**31 - 1, 2**31, -(2**31), 2**63, 10**400),
    *(0.0, -0.0, 0.5, -1.5, 1e-45, 3.4e38, 1e300, "inf", "-inf", "nan"),
    *(None, True, False, "", "x", "image", "scores", [], [1], [1, 1], {}, {"a": 1}),
    *("Add", "QAdd", "Reshape", "Lookup", "QSoftmax", "int8", "int16", "float32", "int64", "bool"),
]


def runs_or_refuses(data: bytes) -> bool:
    """Whether ``data`` is read; if so, it is run, unless its legal work would take too long."""
    try:
        graph = from_bytes(data)
    except ModelError:
        return False
    if cost(graph).macs < 10**7 and sum(t.elements for t in graph.types.values()) < 10**6:
        run(graph)
    return True


def run(graph: Graph) -> None:
    feed = {n: np.ones(graph.types[n].shape, graph.types[n].dtype) for n in graph.inputs}
    if not graph.is_integer:
        try:
            float_executor.execute(graph, feed)
        except EdgeInferError:
            assert any(t.dtype != "float32" for t in graph.types.values())
        return
    ours = Session(graph).run(feed)
    for name, expected in reference.execute(graph, feed).items():
        got = ours if isinstance(ours, np.ndarray) else ours[name]
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_flipped_bits_never_pass(scheme):
    rng, original = random.Random(1), digits_file(scheme)
    for _ in range(300):
        data = bytearray(original)
        # half of them in the header, where they are read rather than summed
        end = 8 + int.from_bytes(data[:8], "little") if rng.random() < 0.5 else len(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(end)] ^= 1 << rng.randrange(8)
        assert bytes(data) == original or not runs_or_refuses(bytes(data))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_truncated_and_extended_files_never_pass(scheme):
    rng, data = random.Random(2), digits_file(scheme)
    lengths = [*range(40), *(rng.randrange(len(data)) for _ in range(200)), len(data) - 1]
    for length in lengths:
        assert not runs_or_refuses(data[:length])
    for tail in (b"\0", b" ", data):
        assert not runs_or_refuses(data + tail)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_header_length_is_survived(scheme):
    data = digits_file(scheme)
    for length in (0, 1, 7, 2**20, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1):
        assert not runs_or_refuses(length.to_bytes(8, "little") + data[8:])


def places(value, path=()):
    """The paths of everything in a JSON document."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def mutate(document, rng):
    """One change anywhere in the graph: another value, a removal, a copy or an exchange."""
    paths = [p for p in places(document["graph"]) if p]
    # as often deep in a node as anywhere: most fields are those of types
    nodes = [p for p in paths if p[0] == "nodes"]
    path, other = rng.choice(rng.choice((nodes or paths, paths))), rng.choice(paths)
    holder = document["graph"]
    for key in path[:-1]:
        holder = holder[key]
    kind = rng.randrange(6)
    if kind == 0:
        del holder[path[-1]]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(path[-1], copy.deepcopy(holder[path[-1]]))
    elif kind == 2:
        source = document["graph"]
        for key in other:
            source = source[key]
        holder[path[-1]] = copy.deepcopy(source)
    elif kind in (3, 4) and type(holder[path[-1]]) is int:
        holder[path[-1]] += rng.choice((-100, -1, 1, 1, 5))
    else:
        holder[path[-1]] = copy.deepcopy(rng.choice(VALUES))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_edited_fields_with_a_checksum_that_fits(scheme):
    rng = random.Random(4)
    document, constants = parts(digits_file(scheme))
    passed = 0
    for _ in range(600):
        edited = copy.deepcopy(document)
        for _ in range(rng.choice((1, 1, 2))):
            mutate(edited, rng)
        passed += runs_or_refuses(sealed(edited, constants))
    # a name or a clamp may well change: what is then a legal Graph has run
    assert 0 < passed < 60


@pytest.mark.parametrize("scheme", SCHEMES)
def test_edited_constants_with_a_checksum_that_fits(scheme):
    rng = random.Random(5)
    document, constants = parts(digits_file(scheme))
    for _ in range(150):
        changed = {name: array.copy() for name, array in constants.items()}
        name = rng.choice(sorted(changed))
        raw = changed[name].reshape(-1).view(np.uint8)
        for _ in range(rng.choice((1, 4, 64))):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        runs_or_refuses(sealed(document, changed))
        kind = rng.randrange(4)
        if kind == 0:
            del changed[name]
        elif kind == 1:
            changed["more"] = changed[name]
        elif kind == 2:
            changed[name] = np.zeros(changed[name].shape, rng.choice(("u1", "f8", "i8", "?")))
        else:
            changed[name] = changed[name].reshape(-1)[:1]
        runs_or_refuses(sealed(document, changed))
