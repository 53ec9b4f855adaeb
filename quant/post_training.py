"""A float Graph and calibration data into an integer Graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeinfer.data.samples import Data
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.quant.calibration import Progress
from edgeinfer.quant.choose_types import DEFAULT_OBSERVER, choose_types
from edgeinfer.quant.lowering import lower_to_integers

__all__ = ["quantize"]


def quantize(
    graph: Graph,
    data: Data,
    *,
    scheme: str = "int8",
    observer: str = DEFAULT_OBSERVER,
    overrides: Mapping[str, str] | None = None,
    samples: int | None = None,
    seed: int = 0,
    rounding: ops.Rounding = "single",
    progress: Progress | None = None,
) -> Graph:
    """Make every value of ``graph`` an integer: ``choose_types``, then ``lower_to_integers``.

    Parameters
    ----------
    graph : Graph
        A float Graph in canonical form, from ``edgeinfer.converters.from_onnx``.
    data : array, dict of arrays, or iterable of either
        Calibration samples as the model takes them, a hundred or so; never written to.
    scheme : str
        ``int8``; ``int16x8``, 16-bit activations with 8-bit weights; or ``int16``, both 16-bit.
    observer : str
        How ranges are chosen from what was seen. ``minmax``, ``percentile``, ``entropy`` and
        ``mse`` look at each value alone; ``auto`` lets the outputs decide between them
        (``search.py``), and is ``minmax`` for 16-bit activations, which need no cutting.
    overrides : mapping of str to str
        Another width, ``int8`` or ``int16``, for the activations that a shell pattern names, by
        their own names or by their nodes'; the last pattern that names a value counts. Values
        that share their scale, such as a Reshape's, change together.
    samples, seed : int
        Of an array, how many samples to draw, and by which seed; of a stream, how many to take.
    rounding : str
        ``single``, or ``double`` for the bits of TFLM, CMSIS-NN and Ethos-U (int8 only).
    progress : callable
        Called as ``progress(stage, done, total)`` while samples are run (``calibrating``) and
        ranges tried (``searching``); the total is None where it is not known.

    Raises
    ------
    UnsupportedError
        Some operators have no integer meaning yet; the message names every node.
    QuantizationError
        A value or a layer cannot be made integer.
    InputError
        An option is unknown, or the data does not fit.
    """
    types = choose_types(
        graph,
        data,
        scheme=scheme,
        observer=observer,
        overrides=overrides,
        samples=samples,
        seed=seed,
        rounding=rounding,
        progress=progress,
    )
    integer = lower_to_integers(graph, types, rounding=rounding)
    provenance = {
        **graph.provenance,
        "scheme": scheme,
        "observer": observer,
        "rounding": rounding,
        **({"overrides": _text(overrides)} if overrides else {}),
    }
    return replace(integer, provenance=provenance)


def _text(overrides: Mapping[str, str]) -> str:
    return ", ".join(f"{pattern}={width}" for pattern, width in overrides.items())
