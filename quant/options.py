"""How a Graph is to be quantized: what a user may choose, checked as it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from edgeinfer.errors import InputError
from edgeinfer.graph.operators import Rounding
from edgeinfer.pools import HERE, Pool
from edgeinfer.quant.calibration import Progress
from edgeinfer.quant.goals import Goal
from edgeinfer.quant.observers import OBSERVERS
from edgeinfer.quant.rounding import WAYS
from edgeinfer.quant.schemes import SCHEMES

__all__ = ["AUTO", "DEFAULT_OBSERVER", "DEFAULT_ROUNDING", "Options"]

AUTO = "auto"
"""The scheme that a goal decides."""

DEFAULT_OBSERVER = DEFAULT_ROUNDING = "auto"


@dataclass(frozen=True)
class Options:
    """The options of ``quantize``.

    Parameters
    ----------
    scheme : str
        ``int8``; ``int16x8``, 16-bit activations with 8-bit weights; ``int16``, both 16-bit; or
        ``auto``, 16 bits only where ``goal`` asks for them (``mixtures/``).
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
    rounding_weights : str
        How 8-bit weights become integers. ``nearest``; ``bias``, nearest with biases by which the
        mean error is 0; ``in-turn``, one after another after what calibration runs really give
        each layer (``rounding/``), with such biases; ``auto`` does so unless runs that are held
        back speak against it, and is ``nearest`` for fewer than 16 runs and for models with states.
        16-bit weights are always rounded to nearest.
    stream : int, optional
        Of a recurrent model over whole sequences, make one that takes so many steps a run and keeps
        its state: run after run gives the bits that the whole sequence gives at once.
    progress : callable
        Called as ``progress(stage, done, total)`` while samples are run (``calibrating``), ranges
        tried (``searching``) and weights rounded (``rounding``); the total is None where it is not
        known.
    pool : Pool
        Who does the work that can be shared. What comes of it is the same as in this process.
    goal : Goal, optional
        What the scheme ``auto`` is to reach, and no other.
    expected_ranges : mapping of str to (float, float)
        By input, from where to where its numbers go. Samples that lie outside are refused, and a
        finding says where they span little of it (``expectations.py``).

    Raises
    ------
    InputError
        A scheme, an observer or a rounding is unknown, ``stream`` is no number of steps, or
        there is a goal without the scheme ``auto`` or that scheme without a goal.
    """

    scheme: str = "int8"
    observer: str = DEFAULT_OBSERVER
    overrides: Mapping[str, str] = field(default_factory=dict)
    samples: int | None = None
    seed: int = 0
    rounding: Rounding = "single"
    stream: int | None = None
    progress: Progress | None = None
    pool: Pool = HERE
    rounding_weights: str = DEFAULT_ROUNDING
    goal: Goal | None = None
    expected_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, given, known in (
            ("scheme", self.scheme, (*SCHEMES, AUTO)),
            ("observer", self.observer, (DEFAULT_OBSERVER, *OBSERVERS)),
            ("rounding", self.rounding, get_args(Rounding)),
            ("rounding_weights", self.rounding_weights, (DEFAULT_ROUNDING, *WAYS)),
        ):
            if given not in known:
                raise InputError(f"{what} must be one of {', '.join(known)}, not {given!r}")
        if (self.scheme == AUTO) != (self.goal is not None):
            raise InputError(
                f"scheme {AUTO} needs a goal, max_drop, min_sqnr, max_latency or max_bytes, "
                "and no other scheme has one"
            )
        if self.scheme == AUTO and self.rounding == "double":
            raise InputError("rounding 'double' is for int8 only, in every layer")
        if self.stream is not None and (type(self.stream) is not int or self.stream < 1):
            raise InputError(f"stream must be a number of steps, 1 or more, not {self.stream!r}")
