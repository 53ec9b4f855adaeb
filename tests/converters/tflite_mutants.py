"""TensorFlow Lite's files into others: models of other operators and tensors, and other bytes.

A model is changed as what it says, and written again, constants as long as their shapes; one in
three is changed as bytes, where words are offsets, counts and numbers alike.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgeinfer.converters import from_tflite, to_tflite
from edgeinfer.converters.tflite.model import Model, Quantized, Tensor
from edgeinfer.converters.tflite.reading import parse
from edgeinfer.converters.tflite.writing import serialize
from edgeinfer.quant import quantize
from tests.campaigns.outcomes import MOST_ELEMENTS, imported
from tests.converters import test_tflite
from tests.converters.test_quantized_models import SAMPLES
from tests.converters.tflite_models import CASES
from tests.converters.tflite_stateful_models import lstm, summing

__all__ = ["corpus", "mutant", "outcome"]

NUMBERS = (0, 1, 2, 3, 5, 8, 16, 127, 255, 256, 65536, 2**24, 2**31 - 1)
DTYPES = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool")
SCALES = (0.0, 1e-38, 1e-6, 0.3, 1.0, 77.7, 3e38, math.inf, math.nan, -1.0)


def corpus(seed: int, small: bool) -> list[bytes]:
    """Each operator that is read, of floats; layers with states; quantized networks."""
    cases = list(CASES.values())
    files = [case.content() for case in (cases[::2] if small else cases)]
    files += [lstm(3), summing(np.ones((1, 4), np.float32))]
    for graph in (test_tflite.enlarged(), test_tflite.network())[: 1 if small else 2]:
        for scheme in ("int8", "int16x8"):
            files.append(to_tflite(quantize(graph, SAMPLES, scheme=scheme, observer="minmax")))
    return files


def mutant(rng: random.Random, files: Sequence[bytes]) -> bytes:
    """One of ``files`` with one to three changes."""
    content = rng.choice(files)
    if rng.random() < 1 / 3:
        return _as_bytes(rng, content)
    model = parse(content, "it")
    for _ in range(rng.choice((1, 1, 2, 3))):
        try:
            changed = rng.choice(CHANGES)(rng, model)
            content, model = serialize(_agreeing(changed), {}, {}, "a test"), changed
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError, struct.error):
            continue  # nothing that this could apply to, or no number that a file can hold
    return content


def outcome(data: bytes) -> str:
    """What becomes of a file, as ``imported`` says."""
    return imported(from_tflite, data, len(data))


# ---- changes of what a file says ---------------------------------------------------------------


def _another(rng: random.Random, value: Any) -> Any:
    """A number of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return rng.choice((value * rng.choice((0.5, -1.0, 1e30)), *SCALES))
    if isinstance(value, int):
        near = (value + rng.choice((-2, -1, 1, 2)), value * 2, -value)
        return rng.choice((*near, rng.choice(NUMBERS), -rng.choice(NUMBERS)))
    return value


def _with(items: Sequence[Any], at: int, item: Any) -> Any:
    return type(items)((*items[:at], item, *items[at + 1 :]))


def change_an_option(rng: random.Random, model: Model) -> Model:
    """Of an operator."""
    at = rng.randrange(len(model.operators))
    node = model.operators[at]
    name = rng.choice(sorted(node.options))
    options = {**node.options, name: _another(rng, node.options[name])}
    return replace(model, operators=_with(model.operators, at, replace(node, options=options)))


def change_an_operator(rng: random.Random, model: Model) -> Model:
    """Another one on the same tensors; other tensors, more or fewer."""
    at = rng.randrange(len(model.operators))
    node = model.operators[at]
    inputs = list(node.inputs)
    match rng.randrange(5):
        case 0:
            case = rng.choice(list(CASES.values()))
            node = replace(node, name=case.operator, options=case.options)
        case 1:
            del inputs[rng.randrange(len(inputs))]
        case 2:
            inputs.append(rng.randrange(-1, len(model.tensors)))
        case _:
            inputs[rng.randrange(len(inputs))] = rng.randrange(-1, len(model.tensors))
    node = replace(node, inputs=tuple(inputs))
    return replace(model, operators=_with(model.operators, at, node))


def change_the_order(rng: random.Random, model: Model) -> Model:
    """Operators change places, or go, or stand twice; and so do inputs and outputs."""
    what = rng.choice(("operators", "inputs", "outputs"))
    items = list(getattr(model, what))
    a, b = rng.randrange(len(items)), rng.randrange(len(items))
    match rng.randrange(4):
        case 0:
            items[a], items[b] = items[b], items[a]
        case 1:
            del items[a]
        case 2:
            items.insert(a, items[b])
        case _:
            items[a] = items[a] if what == "operators" else rng.randrange(len(model.tensors))
    made: Any = items if what == "operators" else tuple(items)
    return replace(model, **{what: made})


def change_a_tensor(rng: random.Random, model: Model) -> Model:
    """Its shape, type, name, quantization or data, or what it is."""
    at = rng.randrange(len(model.tensors))
    tensor = model.tensors[at]
    shape = list(tensor.shape)
    match rng.randrange(7):
        case 0:
            place = rng.randrange(len(shape))
            shape[place] = max(0, _another(rng, shape[place]))
        case 1:
            shape.insert(rng.randrange(len(shape) + 1), rng.choice((0, 1, 2)))
        case 2:
            del shape[rng.randrange(len(shape))]
        case 3:
            tensor = replace(tensor, dtype=np.dtype(rng.choice(DTYPES)))
        case 4:
            tensor = _quantized(rng, tensor)
        case 5:
            flags = {"is_open": rng.random() < 0.5, "is_variable": rng.random() < 0.2}
            tensor = replace(tensor, name=rng.choice(("", "a\nb", tensor.name)), **flags)
        case _:
            tensor = _filled(rng, tensor)
    return replace(model, tensors=_with(model.tensors, at, replace(tensor, shape=tuple(shape))))


def _quantized(rng: random.Random, tensor: Tensor) -> Tensor:
    old = tensor.quantized
    if old is None or rng.random() < 0.2:
        count = rng.choice((1, 1, tensor.shape[-1] if tensor.shape else 1, 3))
        old = Quantized(np.full(count, 0.1, np.float32), np.zeros(count, np.int64), 0)
    scale, zero_point = old.scale.copy(), old.zero_point.copy()
    at = rng.randrange(len(scale))
    match rng.randrange(3):
        case 0:
            scale[at] = rng.choice(SCALES)
        case 1:
            zero_point[at] = rng.choice((-129, -128, -1, 0, 1, 127, 128, 255, 2**40))
        case _:
            return replace(
                tensor, quantized=Quantized(scale, zero_point, rng.choice((0, 1, 3, -1)))
            )
    return replace(tensor, quantized=Quantized(scale, zero_point, old.axis))


def _filled(rng: random.Random, tensor: Tensor) -> Tensor:
    """With other elements, none, or some where it had none."""
    if tensor.data is None:
        return replace(tensor, data=np.full(tensor.shape, rng.choice((0, 1, 2)), tensor.dtype))
    if rng.random() < 0.2:
        return replace(tensor, data=None)
    data = tensor.data.copy().reshape(-1)
    data[rng.randrange(len(data))] = _another(rng, data[0].item())
    return replace(tensor, data=data.reshape(tensor.shape))


def change_an_extent(rng: random.Random, model: Model) -> Model:
    """Everywhere at once, as if the model had been made so."""
    old = rng.choice([extent for tensor in model.tensors for extent in tensor.shape])
    new = max(0, rng.choice((old - 1, old + 1, old * 2, old // 2, rng.choice(NUMBERS[:9]))))
    tensors = [
        replace(t, shape=tuple(new if extent == old else extent for extent in t.shape))
        for t in model.tensors
    ]
    return replace(model, tensors=tensors)


CHANGES: tuple[Callable[[random.Random, Model], Model], ...] = (
    change_an_option,
    change_an_option,
    change_an_operator,
    change_the_order,
    change_a_tensor,
    change_a_tensor,
    change_an_extent,
)


def _agreeing(model: Model) -> Model:
    """Constants as long as their shapes say, names of their own."""
    tensors = []
    for tensor in model.tensors:
        if tensor.data is not None and math.prod(tensor.shape) <= MOST_ELEMENTS:
            data = np.resize(tensor.data, tensor.shape)
            with np.errstate(all="ignore"):
                tensor = replace(tensor, data=data.astype(tensor.dtype))
        tensors.append(tensor)
    return replace(model, tensors=tensors)


# ---- changes of bytes --------------------------------------------------------------------------


def _as_bytes(rng: random.Random, content: bytes) -> bytes:
    made = bytearray(content)
    match rng.randrange(4):
        case 0:
            for _ in range(rng.choice((1, 3, 6))):
                made[rng.randrange(8, len(made))] = rng.choice((0, 1, 127, 128, 255))
        case 1:
            del made[rng.randrange(8, len(made)) :]
        case _:
            at = 4 * rng.randrange(2, len(made) // 4)
            (word,) = struct.unpack_from("<i", made, at)
            struct.pack_into("<I", made, at, _another(rng, word) & 0xFFFFFFFF)
    return bytes(made)
