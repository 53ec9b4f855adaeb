"""Faults of many kinds, each planted in a real model: fixed ones, and ones drawn at random.

A fault has cost at least ``LEAST_LOSS`` dB on samples that nobody has seen, else it is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import Executor
from edgeinfer.quant.calibration import one_blas_thread
from edgeinfer.quant.explanation import Cause
from edgeinfer.quant.outputs import has_classes
from tests.accuracy.planting.edits import (
    group_of,
    pairs,
    scaled_channel,
    stretched,
    with_channel,
    with_column,
)
from tests.accuracy.planting.subjects import ZOO, Subject, final_values, fresh_db, made, sound

__all__ = ["FIXED", "KINDS", "LEAST_LOSS", "Fault", "NoFaultError", "Plant", "drawn", "plant"]

LEAST_LOSS = 3.0
"""In dB, what a fault costs at least."""

Places: TypeAlias = frozenset[str]


class NoFaultError(Exception):
    """What was planted costs too little, or cannot be planted in that model."""


@dataclass(frozen=True)
class Plant:
    """What is to be planted: a kind in a model, and the numbers by which it is drawn."""

    kind: str
    model: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}, {self.model}, {self.seed}"


@dataclass(frozen=True)
class Fault:
    """A model that was spoilt.

    Parameters
    ----------
    plant : Plant
        What was planted.
    text : str
        Where, and how strong.
    graph, quantized : Graph
        The float Graph, and the integer one with the fault.
    given, fresh : numpy.ndarray
        Samples to explain with, and samples to judge by.
    expected : tuple of (Cause, Places)
        The right causes, and where each is found.
    sound_db, spoilt_db : float
        SQNR on ``fresh`` without the fault, quantized by the samples that are given, and with it.
    """

    plant: Plant
    text: str
    graph: Graph
    quantized: Graph
    given: np.ndarray
    fresh: np.ndarray
    expected: tuple[tuple[Cause, Places], ...]
    sound_db: float
    spoilt_db: float


@dataclass(frozen=True)
class _Spoilt:
    """What a kind gives: its text, the two Graphs and what is right to say of it."""

    text: str
    graph: Graph
    quantized: Graph
    sound: Graph
    expected: tuple[tuple[Cause, Places], ...]
    subject: Subject


_Kind: TypeAlias = Callable[[Subject, np.random.Generator], _Spoilt]
KINDS: dict[str, _Kind] = {}


def plant(wanted: Plant, subject: Subject) -> Fault:
    """The fault, made and measured.

    Raises
    ------
    NoFaultError
        It costs too little, or there is no place for it.
    """
    rng = np.random.default_rng([wanted.seed, *wanted.kind.encode()])
    spoilt = KINDS[wanted.kind](subject, rng)
    fresh = spoilt.subject.fresh
    without = fresh_db(spoilt.graph, spoilt.sound, fresh)
    found = fresh_db(spoilt.graph, spoilt.quantized, fresh)
    if found > without - LEAST_LOSS:
        raise NoFaultError(f"{wanted}: {spoilt.text}: {without:.1f} dB, spoilt {found:.1f}")
    return Fault(
        wanted,
        spoilt.text,
        spoilt.graph,
        spoilt.quantized,
        spoilt.subject.given,
        fresh,
        spoilt.expected,
        without,
        found,
    )


def _kind(function: _Kind) -> _Kind:
    KINDS[function.__name__.replace("_", " ")] = function
    return function


def _pick(rng: np.random.Generator, candidates: list[Any]) -> Any:
    if not candidates:
        raise NoFaultError("there is no place for it")
    return candidates[int(rng.integers(len(candidates)))]


def _reaches(subject: Subject, value: str) -> np.ndarray:
    """How far each channel of ``value`` reaches on the calibration samples."""
    executor = Executor(subject.graph.with_outputs((value,)))
    kind = subject.graph.types[subject.graph.inputs[0]].shape
    with one_blas_thread():
        found = [
            np.abs(executor.run({subject.graph.inputs[0]: x.reshape(kind)})[value])
            for x in subject.calibration[:32]
        ]
    return np.max(found, axis=tuple(range(found[0].ndim)))


def _loud(subject: Subject, value: str, rng: np.random.Generator) -> int:
    """A channel that reaches at least half as far as the middle one."""
    reaches = _reaches(subject, value)
    alive = reaches[reaches > 0]
    return int(_pick(rng, np.flatnonzero(reaches >= np.median(alive) / 2).tolist()))


def _edited(
    subject: Subject,
    text: str,
    without: Graph | None,
    spoilt: Graph,
    *expected: tuple[Cause, Places],
) -> _Spoilt:
    """Calibrated well; ``without`` is the Graph without the fault, the subject's own if None."""
    good = sound(subject, subject.given) if without is None else made(without, subject.given)
    quantized = made(spoilt, subject.calibration).graph
    return _Spoilt(text, spoilt, quantized, good.graph, expected, subject)


@_kind
def scaled_channel_by_100(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    pair = _pick(rng, pairs(subject.graph))
    channel = _loud(subject, pair.value, rng)
    return _edited(
        subject,
        f"channel {channel} of {pair.value}",
        None,
        scaled_channel(subject.graph, pair, channel, 100.0),
        (Cause.OUTLIERS, group_of(subject.graph, pair.value)),
    )


@_kind
def faint_channels(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    pair = _pick(rng, pairs(subject.graph))
    graph = subject.graph
    count = max(1, pair.channels // 4)
    reaches = _reaches(subject, pair.value)
    alive = np.flatnonzero(reaches >= np.median(reaches[reaches > 0]) / 2)
    channels = sorted(rng.permutation(alive)[:count].tolist())
    for channel in channels:
        graph = scaled_channel(graph, pair, channel, 1 / 1000)
    return _edited(
        subject,
        f"{len(channels)} channels of {pair.value} a thousandth",
        None,
        graph,
        (Cause.CONSTANT_CHANNEL, group_of(graph, pair.value)),
    )


@_kind
def dead_channel_far_out(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    pair = _pick(rng, pairs(subject.graph))
    channel = int(rng.integers(pair.channels))
    far = float(_reaches(subject, pair.value).max()) * rng.uniform(20, 60)

    def constant(number: float) -> Graph:
        edited = with_channel(
            subject.graph, pair, channel, lambda w, b: (np.zeros_like(w), np.float32(number))
        )
        return with_column(edited, pair, channel, np.zeros_like)

    graph = constant(far)
    at = group_of(graph, pair.value)
    return _edited(
        subject,
        f"channel {channel} of {pair.value} is always {far:.3g}",
        constant(0.0),
        graph,
        (Cause.CONSTANT_CHANNEL, at),
        (Cause.OUTLIERS, at),
    )


@_kind
def weights_of_a_dead_channel(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    pair = _pick(rng, [p for p in pairs(subject.graph) if not p.is_depthwise()])
    channel, times = int(rng.integers(pair.channels)), rng.uniform(30, 100)
    dead = with_channel(
        subject.graph, pair, channel, lambda w, b: (np.zeros_like(w), np.float32(0))
    )
    largest = float(np.abs(dead.constants[pair.second.input("weights")]).max())
    spoilt = with_column(
        dead, pair, channel, lambda w: np.full_like(w, largest * times) * rng.choice([-1, 1])
    )
    at = group_of(spoilt, pair.second.output)
    return _edited(
        subject,
        f"weights of {pair.second.name} for channel {channel}, {times:.0f} times the largest",
        with_column(dead, pair, channel, np.zeros_like),
        spoilt,
        (Cause.WEIGHT_ROUNDING, at),
        (Cause.OUTLIERS, at),
    )


def _values(subject: Subject) -> list[str]:
    """What layers give, but for outputs and what is only moved."""
    final = set(final_values(subject.graph)) | set(subject.graph.outputs)
    return [
        node.output
        for node in subject.graph.nodes
        if isinstance(node.op, ops.Conv | ops.Dense | ops.Add) and node.output not in final
    ]


def _stretched(subject: Subject, value: str, factor: float, *causes: Cause) -> _Spoilt:
    x, graph = subject.calibration, subject.graph
    whole = sound(subject, x)
    spoilt = made(graph, x, spoil=stretched(graph, value, factor), chosen=whole.choice)
    at = group_of(graph, value)
    good = sound(subject, subject.given).graph
    expected = tuple((cause, at) for cause in causes)
    text = f"the range of {value} times {factor:.2g}"
    return _Spoilt(text, graph, spoilt.graph, good, expected, subject)


@_kind
def range_too_narrow(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    value = _pick(rng, _values(subject))
    return _stretched(subject, value, rng.uniform(0.1, 0.4), Cause.CLIPPING)


@_kind
def range_of_input_too_narrow(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    value = subject.graph.inputs[0]
    return _stretched(subject, value, rng.uniform(0.1, 0.5), Cause.INPUT_SATURATION)


@_kind
def range_too_wide(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    value = _pick(rng, _values(subject))
    return _stretched(
        subject, value, rng.uniform(10, 60), Cause.OUTLIERS, Cause.ACTIVATION_ROUNDING
    )


@_kind
def coarse_weights(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    """A layer's weights have 4 bits, in which the other 4 are always 0."""
    graph, whole = subject.graph, sound(subject, subject.calibration).graph
    layers = [
        node
        for node in whole.nodes
        if isinstance(node.op, ops.QConv | ops.QDense)
        and whole.types[node.input("weights")].dtype == "int8"
    ]
    node = _pick(rng, layers)
    name = node.input("weights")
    coarse = np.clip(np.rint(whole.constants[name] / 16), -7, 7).astype(np.int8) * np.int8(16)
    spoilt = replace(whole, constants={**whole.constants, name: coarse})
    return _Spoilt(
        f"weights of {node.name} of 4 bits",
        graph,
        spoilt,
        sound(subject, subject.given).graph,
        ((Cause.WEIGHT_ROUNDING, group_of(graph, node.output)),),
        subject,
    )


def _calibrated(
    subject: Subject, text: str, data: np.ndarray, *expected: tuple[Cause, Places]
) -> _Spoilt:
    """Calibrated on ``data``."""
    quantized = made(subject.graph, data.astype(np.float32)).graph
    good = sound(subject, subject.given).graph
    return _Spoilt(text, subject.graph, quantized, good, expected, subject)


def _data(subject: Subject) -> Places:
    """The input, or no place at all."""
    return group_of(subject.graph, subject.graph.inputs[0]) | {""}


@_kind
def normalised_twice(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    x = subject.calibration
    if x.min() >= 0 and x.max() > 10:
        text, data = "divided by 255 once more", x / 255
    else:
        mean, deviation = rng.uniform(-0.5, 0.5), rng.choice([0.1, 0.2, 4.0, 8.0, 20.0])
        text, data = f"less {mean:.2f}, by {deviation}", (x - mean) / deviation
    return _calibrated(subject, text, data, (Cause.DISTRIBUTION, _data(subject)))


@_kind
def swapped_colours(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    if subject.colours is None:
        raise NoFaultError("its samples have no colours")
    tint = np.array([1.0, rng.uniform(0.3, 0.7), rng.uniform(0.05, 0.2)], np.float32)
    shape = [-1 if axis == subject.colours else 1 for axis in range(4)]
    x, given, fresh = (
        each * tint.reshape(shape) for each in (subject.calibration, subject.given, subject.fresh)
    )
    warm = replace(subject, calibration=x, given=given, fresh=fresh)
    return _calibrated(
        warm,
        f"pictures of tint {', '.join(f'{t:.2f}' for t in tint)}, blue first",
        np.flip(x, subject.colours),
        (Cause.DISTRIBUTION, _data(subject)),
    )


@_kind
def one_class(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    graph, x = subject.graph, subject.calibration
    if subject.name not in (*ZOO, "digits") or not has_classes(graph):
        raise NoFaultError("nothing has taught it classes")
    (name,) = final_values(graph)
    executor = Executor(graph.with_outputs((name,)))
    kind = graph.types[graph.inputs[0]].shape
    with one_blas_thread():
        scores = [executor.run({graph.inputs[0]: each.reshape(kind)})[name].ravel() for each in x]
    taken = np.argmax(scores, axis=1)
    chosen = int(_pick(rng, [c for c in np.unique(taken) if (taken == c).sum() >= 8]))
    return _calibrated(
        subject,
        f"{(taken == chosen).sum()} samples of class {chosen}",
        x[taken == chosen],
        (Cause.DISTRIBUTION, _data(subject)),
    )


@_kind
def outlying_sample(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    data, times = subject.calibration[:16].copy(), rng.uniform(20, 60)
    data[rng.integers(len(data))] *= np.float32(times)
    return _calibrated(
        subject,
        f"one of 16 samples {times:.0f} times as large",
        data,
        (Cause.OUTLIERS, _data(subject)),
    )


@_kind
def outlying_numbers(subject: Subject, rng: np.random.Generator) -> _Spoilt:
    data, times = subject.calibration[:16].copy(), rng.uniform(20, 60)
    flat = data.reshape(len(data), -1)
    for index in range(4):
        flat[index, rng.integers(flat.shape[1])] = np.float32(np.abs(data).max() * times)
        times = 1.0
    return _calibrated(
        subject,
        "a few numbers far out in 4 of 16 samples",
        data,
        (Cause.OUTLIERS, _data(subject)),
    )


def drawn(seed: int, models: tuple[str, ...]) -> Iterator[Plant]:
    """Plants without end, drawn by ``seed``; every kind as often as the others."""
    rng = np.random.default_rng(seed)
    while True:
        for kind in rng.permutation(list(KINDS)):
            yield Plant(str(kind), str(rng.choice(models)), int(rng.integers(2**31)))


FIXED = (
    Plant("scaled channel by 100", "raw_pixels", 1),
    Plant("scaled channel by 100", "kws_dscnn", 1),
    Plant("faint channels", "plain_cnn", 1),
    Plant("faint channels", "ad_autoencoder", 1),
    Plant("dead channel far out", "plain_cnn", 1),
    Plant("dead channel far out", "ic_resnet8", 1),
    Plant("weights of a dead channel", "digits", 1),
    Plant("weights of a dead channel", "armkws_ds_cnn_s", 1),
    Plant("range too narrow", "ad_autoencoder", 1),
    Plant("range too narrow", "cifar10_resnet20", 1),
    Plant("range of input too narrow", "kws_dscnn", 1),
    Plant("range of input too narrow", "efficientnet_silu", 1),
    Plant("range too wide", "ic_resnet8", 1),
    Plant("range too wide", "transformer_of_two_heads", 1),
    Plant("normalised twice", "ic_resnet8", 1),
    Plant("normalised twice", "plain_cnn", 1),
    Plant("swapped colours", "raw_pixels", 1),
    Plant("swapped colours", "ic_resnet8", 1),
    Plant("one class", "ic_resnet8", 1),
    Plant("one class", "digits", 1),
    Plant("outlying sample", "ad_autoencoder", 1),
    Plant("outlying sample", "armkws_ds_cnn_s", 1),
    Plant("outlying numbers", "unet_of_linear_resizes", 1),
    Plant("outlying numbers", "digits", 1),
    Plant("coarse weights", "kws_dscnn", 1),
)
"""The faults that are always the same."""
