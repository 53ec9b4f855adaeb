"""A float Graph and calibration data into an integer Graph."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeinfer.data.samples import Data
from edgeinfer.errors import EdgeInferWarning
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.quant.calibration import Progress
from edgeinfer.quant.choose_types import choose
from edgeinfer.quant.judgement import Judgement, Reference, judge
from edgeinfer.quant.lowering import Lowering, lower_to_integers
from edgeinfer.quant.options import DEFAULT_OBSERVER, Options

__all__ = ["Quantized", "quantize", "quantize_and_judge"]


@dataclass(frozen=True)
class Quantized:
    """An integer Graph, and what samples that were held back say of it."""

    graph: Graph
    judgement: Judgement


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

    What a user should know of the result, such as an output that became constant, is an
    ``EdgeInferWarning``; ``quantize_and_judge`` gives it back instead.

    Parameters
    ----------
    graph : Graph
        A float Graph in canonical form, from ``edgeinfer.converters.from_onnx``.
    data : array, dict of arrays, or iterable of either
        Calibration samples as the model takes them, a hundred or so; never written to.
    scheme, observer, overrides, samples, seed, rounding, progress
        See ``Options``.

    Raises
    ------
    UnsupportedError
        Some operators have no integer meaning yet; the message names every node.
    QuantizationError
        A value or a layer cannot be made integer.
    InputError
        An option is unknown, or the data does not fit.
    """
    options = Options(scheme, observer, overrides or {}, samples, seed, rounding, progress)
    made = quantize_and_judge(graph, data, options)
    for finding in made.judgement.findings:
        warnings.warn(finding, EdgeInferWarning, stacklevel=2)
    return made.graph


def quantize_and_judge(
    graph: Graph,
    data: Data,
    options: Options | None = None,
    *,
    reference: Reference | None = None,
) -> Quantized:
    """As ``quantize``, its options in one, and what is known of the result.

    Every fifth sample judges ranges that the others alone gave; then all make those of the result.

    Parameters
    ----------
    reference : callable
        The model that ``graph`` was made from: outputs by name for the inputs of one run. The
        import is held against it.
    """
    options = options or Options()
    choice = choose(graph, data, options)
    integer = lower_to_integers(graph, choice.types, rounding=options.rounding)
    provenance = {
        **graph.provenance,
        "scheme": options.scheme,
        "observer": options.observer,
        "rounding": options.rounding,
        **({"overrides": _text(options.overrides)} if options.overrides else {}),
    }
    trial = Lowering(graph, rounding=options.rounding).graph_of(choice.trial)
    judgement = judge(graph, trial, choice.seen, notes=choice.notes, reference=reference)
    return Quantized(replace(integer, provenance=provenance), judgement)


def _text(overrides: Mapping[str, str]) -> str:
    return ", ".join(f"{pattern}={width}" for pattern, width in overrides.items())
