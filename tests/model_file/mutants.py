"""Model files into others that say something else, their checksums and shapes made right again.

Damage that a checksum finds is not of interest here: whoever means harm makes a new one. A mutant
is a change or a few of a legal file, of a kind that knows what a Graph is; what follows from it,
such as the extent of a constant, is most often made to agree, so that many mutants are legal Graphs
that no quantizer would write.
"""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from edgeinfer.files.model_file import from_bytes, to_bytes
from edgeinfer.graph import Graph
from edgeinfer.graph.operators import OPERATORS
from tests import strategies
from tests.campaigns.outcomes import MOST_ELEMENTS, accepted, loaded
from tests.model_file.digits_models import digits_file, parts, sealed

NUMBERS = (
    0,
    1,
    2,
    3,
    5,
    7,
    8,
    31,
    62,
    63,
    127,
    128,
    255,
    256,
    32767,
    65536,
    2**31 - 1,
    2**31,
    2**62,
)
VALUES = [
    *(sign * number for number in NUMBERS for sign in (1, -1)),
    *(2**63, 10**400, 0.0, -0.0, 0.5, -1.5, 1e-45, 3.4e38, 1e300, "inf", "-inf", "nan"),
    *(None, True, False, "", "x", "image", "scores", [], [1], [1, 1], [0, 1, 2, 3], {}, {"a": 1}),
    *("Add", "QAdd", "Reshape", "Lookup", "QSoftmax", "int8", "int16", "float32", "int64", "bool"),
    *("single", "double"),
    *(["exp", "x"], ["log", "x"], ["mul", "x", ["sigmoid", "x"]], ["pow", "x", 0.5], ["exp"]),
]


class ModelFile(NamedTuple):
    """What a file consists of."""

    document: dict[str, Any]
    constants: dict[str, np.ndarray]


def corpus(seed: int, graphs: int) -> list[ModelFile]:
    """The digits' model, float and in all schemes, and random integer Graphs of all operators."""
    files = [digits_file(scheme) for scheme in ("float32", "int8", "int16x8", "int16")]

    @seeded(seed)
    @settings(
        max_examples=graphs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies.integer_graphs())
    def draw(graph: Graph) -> None:
        files.append(to_bytes(graph))

    draw()
    return [ModelFile(*parts(data)) for data in files]


def mutant(rng: random.Random, files: list[ModelFile]) -> bytes:
    """One of ``files`` with one to three changes, and with a checksum that fits."""
    made = ModelFile(*copy.deepcopy(rng.choice(files)))
    for _ in range(rng.choice((1, 1, 2, 3))):
        try:
            rng.choice(CHANGES)(rng, made)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            break  # an earlier change has left nothing that this one could apply to
    if rng.random() < 0.9:
        _agree(made)
    return sealed(made.document, made.constants)


def outcome(data: bytes) -> str:
    """What becomes of a file: "refused", "accepted" (its run was refused, or is too much work), or
    "run".

    Raises
    ------
    AssertionError
        The Session and the reference do not agree, or a refusal is no line.
    Exception
        Whatever else is no error of edgeinfer.
    """
    graph = loaded(from_bytes, data)
    return "refused" if graph is None else accepted(graph, len(data))


# ---- changes -----------------------------------------------------------------------------------


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The paths of everything in a JSON document."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*path, key))


def change_a_field(rng: random.Random, file: ModelFile) -> None:
    """Another value anywhere in the graph, a removal, a copy or an exchange."""
    graph = file.document["graph"]
    paths = [path for path in _places(graph) if path]
    # as often deep in a node as anywhere: most fields are those of types
    nodes = [path for path in paths if path[0] == "nodes"]
    path, other = rng.choice(rng.choice((nodes or paths, paths))), rng.choice(paths)
    holder = graph
    for key in path[:-1]:
        holder = holder[key]
    kind = rng.randrange(6)
    if kind == 0:
        del holder[path[-1]]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(path[-1], copy.deepcopy(holder[path[-1]]))
    elif kind == 2:
        source = graph
        for key in other:
            source = source[key]
        holder[path[-1]] = copy.deepcopy(source)
    elif kind in (3, 4) and type(holder[path[-1]]) is int:
        holder[path[-1]] += rng.choice((-100, -1, 1, 1, 5))
    else:
        holder[path[-1]] = copy.deepcopy(rng.choice(VALUES))


def change_an_attribute(rng: random.Random, file: ModelFile) -> None:
    """Of an operator, also one that the file leaves out because it is as by default."""
    node = rng.choice(file.document["graph"]["nodes"])
    field = rng.choice(dataclasses.fields(OPERATORS[node["operator"]]))
    attributes = node.setdefault("attributes", {})
    now = attributes.get(field.name, field.default)
    attributes[field.name] = _another(rng, now)


def _another(rng: random.Random, value: Any) -> Any:
    """A value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        near = value + rng.choice((-2, -1, 1, 1, 2))
        return rng.choice((near, near, near, -value, rng.choice(NUMBERS), -rng.choice(NUMBERS)))
    if isinstance(value, float):
        return value * rng.choice((0.5, 0.999, 1.001, 2.0, -1.0, 1e30, 1e-30))
    if isinstance(value, list | tuple) and value:
        changed, at = list(value), rng.randrange(len(value))
        match rng.randrange(4):
            case 0:
                changed.insert(at, changed[at])
            case 1:
                del changed[at]
            case _:
                changed[at] = _another(rng, changed[at])
        return changed
    return copy.deepcopy(rng.choice(VALUES))


def rewire(rng: random.Random, file: ModelFile) -> None:
    """A node reads another value, most often one of the same type."""
    graph = file.document["graph"]
    node = rng.choice(graph["nodes"])
    at = rng.randrange(len(node["inputs"]))
    types = graph["types"]
    kind = types[node["inputs"][at]]
    like = [name for name, other in types.items() if other["shape"] == kind["shape"]]
    node["inputs"][at] = rng.choice(rng.choice((like, like, like, sorted(types))))


def change_an_extent(rng: random.Random, file: ModelFile) -> None:
    """Everywhere at once, in shapes and attributes, as if the model had been made so."""
    graph = file.document["graph"]
    old = rng.choice([extent for kind in graph["types"].values() for extent in kind["shape"]])
    new = max(0, rng.choice((old - 1, old + 1, old * 2, old // 2, rng.choice(NUMBERS[:12]))))

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(item) for item in value]
        return new if type(value) is int and value == old else value

    for kind in graph["types"].values():
        kind["shape"] = replaced(kind["shape"])
    for node in graph["nodes"]:
        for name, value in node.get("attributes", {}).items():
            node["attributes"][name] = replaced(value) if isinstance(value, list) else value


def change_a_quantization(rng: random.Random, file: ModelFile) -> None:
    """Another scale, zero point or axis of a value."""
    kinds = [kind for kind in file.document["graph"]["types"].values() if "quantization" in kind]
    quantization = rng.choice(kinds)["quantization"]
    match rng.randrange(3):
        case 0:
            scale = float(np.float32(rng.choice((1e-38, 1e-6, 0.3, 1.0, 77.7, 3e38))))
            quantization["scale"] = [scale] * len(quantization["scale"])
        case 1:
            quantization["zero_point"] = rng.choice((-129, -128, -1, 0, 1, 127, 128))
        case _:
            quantization["axis"] = rng.choice((0, 1, 3, -1))


def exchange(rng: random.Random, file: ModelFile) -> None:
    """Two nodes, inputs of a node or outputs of the graph change places."""
    graph = file.document["graph"]
    node = rng.choice(graph["nodes"])
    items = rng.choice((graph["nodes"], node["inputs"], graph["outputs"], graph["inputs"]))
    a, b = rng.randrange(len(items)), rng.randrange(len(items))
    items[a], items[b] = items[b], items[a]


def show(rng: random.Random, file: ModelFile) -> None:
    """A value in the middle becomes an output, or an output none."""
    graph = file.document["graph"]
    if rng.random() < 0.3 and len(graph["outputs"]) > 1:
        del graph["outputs"][rng.randrange(len(graph["outputs"]))]
    else:
        graph["outputs"].append(rng.choice(sorted(graph["types"])))


def graft(rng: random.Random, file: ModelFile) -> None:
    """A node stands a second time at the end, on another value, and gives another output."""
    graph = file.document["graph"]
    node = copy.deepcopy(rng.choice(graph["nodes"]))
    like = [n for n, kind in graph["types"].items() if kind == graph["types"][node["inputs"][0]]]
    node["inputs"][0] = rng.choice(like)
    node["name"] += "_again"
    for at, name in enumerate(node["outputs"]):
        graph["types"][f"{name}_again"] = copy.deepcopy(graph["types"][name])
        node["outputs"][at] = f"{name}_again"
    graph["nodes"].append(node)
    graph["outputs"] += node["outputs"]


def change_a_constant(rng: random.Random, file: ModelFile) -> None:
    """Other bytes, extremes of the type, or another array."""
    name = rng.choice(sorted(file.constants))
    array = file.constants[name]
    match rng.randrange(6):
        case 0 | 1:
            raw = array.reshape(-1).view(np.uint8)
            for _ in range(rng.choice((1, 4, 64))):
                raw[rng.randrange(len(raw))] = rng.randrange(256)
        case 2 | 3:
            info = np.iinfo(array.dtype)
            array[...] = rng.choice((info.min, info.min + 1, max(-1, info.min), 0, 1, info.max))
        case 4:
            file.constants[name] = np.zeros(array.shape, rng.choice(("u1", "f8", "i8", "?")))
        case _:
            file.constants["more"] = array


CHANGES = (
    change_a_field,
    change_an_attribute,
    change_an_attribute,
    rewire,
    change_an_extent,
    change_a_quantization,
    exchange,
    show,
    graft,
    change_a_constant,
)


def _agree(file: ModelFile) -> None:
    """Constants as their types say, and no attribute spelled out that is as by default."""
    graph = file.document["graph"]
    for name, array in file.constants.items():
        try:
            shape, dtype = graph["types"][name]["shape"], graph["types"][name]["dtype"]
            if array.dtype == dtype and np.prod(shape, dtype=object) <= MOST_ELEMENTS:
                file.constants[name] = np.resize(array, shape)
        except (KeyError, TypeError, ValueError):
            continue  # it has no type, or none that there could be
    nodes = graph.get("nodes")
    for node in nodes if isinstance(nodes, list) else ():
        try:
            fields = dataclasses.fields(OPERATORS[node["operator"]])
            usual = {field.name: repr(field.default) for field in fields}
            kept = {
                name: value
                for name, value in node.pop("attributes", {}).items()
                if repr(tuple(value) if isinstance(value, list) else value) != usual.get(name)
            }
            if kept:
                node["attributes"] = kept
        except (AttributeError, KeyError, TypeError):
            continue  # it is no node any more
