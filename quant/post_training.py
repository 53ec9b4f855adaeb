"""A float Graph and calibration data into an integer Graph."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeinfer.data.samples import Data
from edgeinfer.errors import EdgeInferWarning, InputError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.pools import pool_of
from edgeinfer.quant.calibration import Progress
from edgeinfer.quant.calibration_summary import KEY, summarize, to_text
from edgeinfer.quant.choose_types import choose, observe
from edgeinfer.quant.goals import Goal
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.judgement import Judgement, Reference, judge
from edgeinfer.quant.lowering import Lowering, lower_to_integers
from edgeinfer.quant.mixtures.front import Mixture
from edgeinfer.quant.mixtures.mixing import mix
from edgeinfer.quant.options import AUTO, DEFAULT_OBSERVER, DEFAULT_ROUNDING, Options
from edgeinfer.quant.rounding.choice import Rounded, choose_rounding
from edgeinfer.quant.sharing import shared_quantization
from edgeinfer.quant.stated import STATED, read_stated, states_integers
from edgeinfer.quant.streaming import in_steps

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Quantized", "quantize", "quantize_and_judge"]


@dataclass(frozen=True)
class Quantized:
    """An integer Graph, and what samples that were held back say of it.

    ``whole`` is the Graph for whole sequences where ``graph`` takes them in steps, else the same;
    ``rounded`` is how weights became integers, ``mixture`` what the scheme ``auto`` chose from,
    and None of another.
    """

    graph: Graph
    whole: Graph
    judgement: Judgement
    rounded: Rounded
    mixture: Mixture | None = None


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
    rounding_weights: str = DEFAULT_ROUNDING,
    stream: int | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
    goal: Goal | None = None,
    expected_ranges: Mapping[str, tuple[float, float]] | None = None,
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
    client : distributed.Client, optional
        Whose workers do what can be shared. What comes of it is the same as without.
    scheme, observer, overrides, samples, seed, rounding, rounding_weights, stream, progress, goal,
    expected_ranges
        See ``Options``.

    Raises
    ------
    UnsupportedError
        Some operators have no integer meaning yet, and the message names every node; or the model
        cannot ``stream``.
    QuantizationError
        A value or a layer cannot be made integer.
    InputError
        An option is unknown, the data does not fit, or the goal cannot be met; or the cluster has
        gone.
    """
    options = Options(
        scheme=scheme,
        observer=observer,
        overrides=overrides or {},
        samples=samples,
        seed=seed,
        rounding=rounding,
        rounding_weights=rounding_weights,
        stream=stream,
        progress=progress,
        pool=pool_of(client),
        goal=goal,
        expected_ranges=expected_ranges or {},
    )
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

    A fifth of the samples judges ranges that the others alone gave; then all make those of the
    result.

    Parameters
    ----------
    reference : callable
        The model that ``graph`` was made from: outputs by name for the inputs of one run. The
        import is held against it.
    """
    options = options or Options()
    if isinstance(graph, Graph) and states_integers(graph):
        return _stated(graph, data, options, reference)
    stepped = None if options.stream is None else in_steps(graph, options.stream)
    mixture = mix(graph, data, options) if options.scheme == AUTO else None
    if mixture is None:
        choice = choose(graph, data, options)
        rounded, notes = choose_rounding(graph, choice, options), choice.notes
    else:
        chosen = mixture.chosen
        choice, rounded = chosen.choice, chosen.rounded
        notes = [*choice.notes, *mixture.notes]
        # as one would give them: the same options make the same file
        options = replace(options, scheme=chosen.scheme, overrides=chosen.overrides, goal=None)
    whole = lower_to_integers(
        graph, choice.types, weights=rounded.weights, rounding=options.rounding
    )
    provenance = {
        **graph.provenance,
        "scheme": options.scheme,
        "observer": options.observer,
        "rounding": options.rounding,
        "rounding_weights": rounded.way,
        **({"overrides": _text(options.overrides)} if options.overrides else {}),
        **({"stream": str(options.stream)} if options.stream is not None else {}),
        KEY: to_text(summarize(graph, choice.seen)),
    }
    integer = whole
    if stepped is not None:
        types = stepped.types(choice.types)
        integer = lower_to_integers(
            stepped.graph, types, weights=rounded.weights, rounding=options.rounding
        )
    trial = Lowering(graph, weights=rounded.trial, rounding=options.rounding).graph_of(choice.trial)
    judgement = judge(graph, trial, choice.seen, notes=notes, reference=reference)
    return Quantized(replace(integer, provenance=provenance), whole, judgement, rounded, mixture)


def _stated(graph: Graph, data: Data, options: Options, reference: Reference | None) -> Quantized:
    """Of a model that is quantized already: all that it states is kept, and the rest calibrated."""
    if options.scheme == AUTO or options.stream is not None:
        option = "scheme 'auto'" if options.scheme == AUTO else "stream"
        raise InputError(f"{option} is for float models, and this one is quantized already")
    stated = read_stated(graph)
    if stated.open:
        choice = choose(stated.graph, data, options)
        types, seen, notes = choice.types, choice.seen, choice.notes
        judged, reference = stated.graph, None  # the model has floats there
    else:
        types, notes, judged = IntegerTypes({}), [], graph
        seen = observe(graph, data, options, shared_quantization(graph, average_pool=False))
    types = replace(types, values=stated.with_others(types.values))
    integer = lower_to_integers(
        stated.graph, types, weights=stated.weights, rounding=options.rounding
    )
    judgement = judge(judged, integer, seen, notes=notes, reference=reference)
    provenance = {
        **graph.provenance,
        "scheme": STATED,
        "rounding": options.rounding,
        KEY: to_text(summarize(judged, seen)),
    }
    integer = replace(integer, provenance=provenance)
    return Quantized(integer, integer, judgement, Rounded(STATED, stated.weights, stated.weights))


def _text(overrides: Mapping[str, str]) -> str:
    return ", ".join(f"{pattern}={width}" for pattern, width in overrides.items())
