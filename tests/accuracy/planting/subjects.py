"""The models that faults are planted in, with samples to calibrate, to explain and to judge."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeinfer.converters import from_onnx
from edgeinfer.data.samples import runs
from edgeinfer.demo import CALIBRATION, MODEL, TEST
from edgeinfer.errors import EdgeInferWarning
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import Executor
from edgeinfer.quant.calibration import one_blas_thread
from edgeinfer.quant.calibration_summary import KEY, summarize, to_text
from edgeinfer.quant.choose_types import Choice, choose
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.lowering import lower_to_integers
from edgeinfer.quant.options import Options
from edgeinfer.quant.rounding.choice import choose_rounding
from edgeinfer.runtime.session import Session
from tests.accuracy.exported_models import MODELS, samples
from tests.accuracy.sqnr import sqnr_db

__all__ = [
    "EXPORTED",
    "ZOO",
    "Made",
    "Subject",
    "final_values",
    "fresh_db",
    "made",
    "sound",
    "subject",
]

# zoo entries of a few million multiply-accumulates a run, and what a checkout has itself
ZOO = ("ic_resnet8", "kws_dscnn", "ad_autoencoder", "armkws_ds_cnn_s", "cifar10_resnet20")
EXPORTED = (
    "digits",
    "plain_cnn",
    "resnet_with_unfolded_batch_norm",
    "efficientnet_silu",
    "raw_pixels",
    "dense_autoencoder_with_mul_and_add",
    "mlp_of_many_activations",
    "depthwise_keyword_spotting",
    "transformer_of_two_heads",
    "unet_of_linear_resizes",
)

# how many samples calibrate, are given to explain, and judge what came of it
_CALIBRATE, _EXPLAIN, _FRESH = 100, 100, 100

# the axis of red, green and blue, where samples are pictures
_COLOURS = {"ic_resnet8": 3, "cifar10_resnet20": 1} | dict.fromkeys(
    ("plain_cnn", "resnet_with_unfolded_batch_norm", "efficientnet_silu", "raw_pixels"), 1
)


@dataclass(frozen=True)
class Subject:
    """A float Graph and its samples.

    Parameters
    ----------
    name : str
        Of the zoo's entry or the exported model.
    graph : Graph
        The float Graph, of one input.
    calibration, given, fresh : numpy.ndarray
        float32, the batch first: samples to calibrate with, to explain with, and to judge by.
    colours : int or None
        The axis of red, green and blue.
    """

    name: str
    graph: Graph
    calibration: np.ndarray
    given: np.ndarray
    fresh: np.ndarray
    colours: int | None = None


@dataclass(frozen=True)
class Made:
    """An integer Graph, and the choice of types that it was made from."""

    graph: Graph
    choice: Choice


def subject(name: str, load: Callable[[str], Any] | None = None) -> Subject:
    """The subject of that name; ``load`` gives entries of the zoo."""
    if name in ZOO:
        assert load is not None
        return _of_zoo(name, load)
    return _of_checkout(name)


@functools.cache
def _of_zoo(name: str, load: Callable[[str], Any]) -> Subject:
    entry = load(name)
    # of windows that overlap, those that are far apart
    x = entry.x[:: max(1, len(entry.x) // (_EXPLAIN + _FRESH))]
    return Subject(
        name,
        from_onnx(entry.model),
        entry.calib[:_CALIBRATE],
        x[:_EXPLAIN],
        x[_EXPLAIN : _EXPLAIN + _FRESH],
        _COLOURS.get(name),
    )


@functools.cache
def _of_checkout(name: str) -> Subject:
    if name == "digits":
        with np.load(CALIBRATION) as calibration, np.load(TEST) as test:
            x, y = (z["image"].astype(np.float32) for z in (calibration, test))
        graph = from_onnx(MODEL)
        return Subject(name, graph, x[:_CALIBRATE], y[:_EXPLAIN], y[_EXPLAIN:][:_FRESH])
    model = MODELS[name]()
    parts = [
        samples(model, n, seed) for seed, n in enumerate((_CALIBRATE, _EXPLAIN, _FRESH), start=1)
    ]
    return Subject(name, from_onnx(model), *parts, _COLOURS.get(name))


def made(
    graph: Graph,
    data: np.ndarray,
    *,
    spoil: Callable[[IntegerTypes], IntegerTypes] | None = None,
    chosen: Choice | None = None,
) -> Made:
    """As ``quantize`` makes it by default, its types spoilt before weights are rounded."""
    options = Options()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeInferWarning)
        choice = chosen or choose(graph, data, options)
        if spoil is not None:
            choice = Choice(
                spoil(choice.types),
                spoil(choice.trial),
                choice.reference,
                choice.seen,
                choice.notes,
            )
        rounded = choose_rounding(graph, choice, options)
        integer = lower_to_integers(graph, choice.types, weights=rounded.weights)
    said = {
        **graph.provenance,
        "scheme": options.scheme,
        "observer": options.observer,
        "rounding": options.rounding,
        "rounding_weights": rounded.way,
        KEY: to_text(summarize(graph, choice.seen)),
    }
    return Made(replace(integer, provenance=said), choice)


def sound(of: Subject, data: np.ndarray) -> Made:
    """The subject as it is made of its own ``data`` without any fault."""
    key = of.name, id(data)
    if key not in _SOUND:
        # the array is kept, so that no other gets its id
        _SOUND[key] = data, made(of.graph, data)
    return _SOUND[key][1]


_SOUND: dict[tuple[str, int], tuple[np.ndarray, Made]] = {}


def final_values(graph: Graph) -> tuple[str, ...]:
    """The outputs, of a Softmax what it takes: its result depends on the few unsure samples."""
    producers = graph.producers()
    found = []
    for name in graph.outputs:
        node = producers[name]
        found.append(node.inputs[0] if isinstance(node.op, ops.Softmax) else name)
    return tuple(found)


def fresh_db(graph: Graph, integer: Graph, fresh: np.ndarray) -> float:
    """The SQNR of ``integer``'s final values beside the float ``graph``'s, in dB; the worst."""
    names = final_values(graph)
    executor = Executor(graph.with_outputs(names))
    session = Session(integer, keep_values=True)
    floats: dict[str, list[np.ndarray]] = {name: [] for name in names}
    integers: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with one_blas_thread():
        for feed in runs(graph, fresh):
            expected = executor.run(feed)
            session.run(dict(feed))
            for name in names:
                q = integer.types[name].quantization
                assert q is not None
                floats[name].append(expected[name])
                integers[name].append(q.dequantize(session.value(name)))
    return min(sqnr_db(np.stack(floats[name]), np.stack(integers[name])) for name in names)
