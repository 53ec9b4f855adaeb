"""An integer Graph beside its float Graph into what it was made with: types, weights, options."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar, get_args

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant.equalization import equalized_as_stated
from edgeinfer.quant.observers import OBSERVERS
from edgeinfer.quant.options import DEFAULT_OBSERVER, DEFAULT_ROUNDING, Options
from edgeinfer.quant.rounding import WAYS
from edgeinfer.quant.schemes import SCHEMES, Width
from edgeinfer.quant.sharing import shared_quantization
from edgeinfer.quant.weights import GivenWeights

__all__ = ["Recovered", "recover"]

Stated = TypeVar("Stated")

_OTHERS = "the quantized model was not made from the float one"

# of a layer's weights, the least correlation with those that they were made of
_ALIKE = 0.5


@dataclass(frozen=True)
class Recovered:
    """What an integer Graph was made with.

    Parameters
    ----------
    graph : Graph
        The float Graph, with channels equalized as the file says.
    groups : mapping of str to str
        For each float value that is not constant, the representative of its group.
    types : mapping of str to TensorType
        Of every value of the float Graph that is not constant.
    weights : mapping of str to GivenWeights
        By node, the layers' integers.
    options : Options
        As far as the file says them.
    notes : list of str
        What could not be recovered.
    """

    graph: Graph
    groups: Mapping[str, str]
    types: Mapping[str, TensorType]
    weights: Mapping[str, GivenWeights]
    options: Options
    notes: list[str] = field(default_factory=list)

    @cached_property
    def members(self) -> dict[str, list[str]]:
        """The values of each group, in the order of the flow."""
        found: dict[str, list[str]] = {}
        for name, root in self.groups.items():
            found.setdefault(root, []).append(name)
        return found

    @property
    def width(self) -> Width:
        """The width of weights behind 16-bit activations."""
        return SCHEMES[self.options.scheme].weights

    @property
    def corrects_biases(self) -> bool:
        """Biases make up for what weights and activations are off by in the mean."""
        return self.options.rounding_weights in ("bias", "in-turn")


def recover(graph: Graph, quantized: Graph) -> Recovered:
    """What ``quantized`` was made of ``graph`` with.

    Raises
    ------
    InputError
        One is no float or no integer Graph, they do not belong together, or they keep states.
    """
    if graph.is_integer:
        raise InputError(f"{graph.name!r} is quantized; give the float model it was made from")
    if not quantized.is_integer:
        raise InputError(f"{quantized.name!r} is not quantized; give what quantize made of it")
    for what, a, b in (
        ("inputs", graph.inputs, quantized.inputs),
        ("outputs", graph.outputs, quantized.outputs),
    ):
        mine = {name: graph.types[name].shape for name in a}
        theirs = {name: quantized.types[name].shape for name in b}
        if mine != theirs:
            raise InputError(
                f"{_OTHERS}: its {what} are {_shapes(theirs)}, the float one's {_shapes(mine)}"
            )
    if graph.states:
        raise InputError(
            "explain undoes causes on runs apart from each other, and this model keeps states; "
            "compare shows which layers lose what"
        )
    graph = equalized_as_stated(graph, quantized.provenance)
    options = _options(quantized.provenance)
    groups = shared_quantization(graph, average_pool=options.rounding == "double")
    types, pruned = _types(graph, quantized, groups)
    weights, unlike = _weights(graph, quantized)
    notes = []
    if pruned:
        notes.append(
            f"constant channels were removed from {_named(pruned)}; they are measured as if they "
            "were there"
        )
    if unlike:
        raise InputError(f"{_OTHERS}: the weights of {unlike[0]!r} are others")
    return Recovered(graph, groups, types, weights, options, notes)


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name!r} {list(shape)}" for name, shape in shapes.items())


def _named(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if names[3:] else "")


def _types(
    graph: Graph, quantized: Graph, groups: Mapping[str, str]
) -> tuple[dict[str, TensorType], list[str]]:
    """The types, and the values of which channels were removed."""
    known: dict[str, TensorType] = {}
    for name, root in groups.items():
        t = quantized.types.get(name)
        if t is not None and t.quantization is not None:
            known.setdefault(root, t)
    types, pruned = {}, []
    for name, kind in graph.types.items():
        if name in graph.constants:
            continue
        if name not in groups:
            types[name] = kind
            continue
        found = quantized.types.get(name, known.get(groups[name]))
        if found is None or found.quantization is None:
            raise InputError(f"{_OTHERS}: it has no value {name!r}")
        if name in quantized.types and found.shape != kind.shape:
            if found.shape[:-1] != kind.shape[:-1] or found.shape[-1] > kind.shape[-1]:
                raise InputError(
                    f"{_OTHERS}: its value {name!r} has shape {list(found.shape)}, and in the "
                    f"float one {list(kind.shape)}"
                )
            pruned.append(name)
        types[name] = TensorType(kind.shape, found.dtype, found.quantization)
    return types, pruned


def _weights(graph: Graph, quantized: Graph) -> tuple[dict[str, GivenWeights], list[str]]:
    """The integers of layers, and the layers whose integers stand for other numbers."""
    named = {node.name: node for node in quantized.nodes}
    found, unlike = {}, []
    for node in graph.nodes:
        at = named.get(node.name)
        if not isinstance(node.op, ops.Conv | ops.Dense) or at is None:
            continue
        if not isinstance(at.op, ops.QConv | ops.QDense):
            continue
        floats = graph.constants.get(node.input("weights"))
        name = at.input("weights")
        scale = quantized.types[name].quantization
        if floats is None or scale is None or name not in quantized.constants:
            continue
        integers = quantized.constants[name]
        # without constant channels there are fewer: what is left of them is rounded again
        if integers.shape != floats.shape:
            continue
        found[node.name] = GivenWeights(
            integers,
            np.array(scale.scale, np.float32),
            0,
            quantized.constants[at.input("bias")].astype(np.int64),
        )
        if not _alike(floats, scale.dequantize(integers)):
            unlike.append(node.name)
    return found, unlike


def _alike(floats: np.ndarray, integers: np.ndarray) -> bool:
    a, b = floats.astype(np.float64).ravel(), integers.astype(np.float64).ravel()
    norms = float((a * a).sum() * (b * b).sum())
    return norms == 0 or float((a * b).sum()) >= _ALIKE * norms**0.5


def _options(provenance: Mapping[str, str]) -> Options:
    """The options of ``quantize``, those that the file does not say as they are by default."""

    def stated(key: str, known: Iterable[Stated], default: Stated) -> Stated:
        return next((each for each in known if each == provenance.get(key)), default)

    found = re.findall(r"(.+?)=(int8|int16)(?:, |$)", provenance.get("overrides", ""))
    return Options(
        scheme=stated("scheme", SCHEMES, "int8"),
        observer=stated("observer", (DEFAULT_OBSERVER, *OBSERVERS), DEFAULT_OBSERVER),
        overrides=dict(found),
        rounding=stated("rounding", get_args(ops.Rounding), "single"),
        rounding_weights=stated("rounding_weights", (DEFAULT_ROUNDING, *WAYS), "nearest"),
    )
