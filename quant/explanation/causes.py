"""What an explanation is made of: causes, what undoing each is worth, findings and remedies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Action", "Cause", "Explanation", "Finding", "Layer", "Measured", "Remedy"]


class Cause(Enum):
    """Why an integer model differs from its float one."""

    CLIPPING = "clipping"
    WEIGHT_ROUNDING = "rounding of weights"
    ACTIVATION_ROUNDING = "rounding of activations"
    TABLE = "table"
    INPUT_SATURATION = "saturation of the input"
    CONSTANT_CHANNEL = "constant channel"
    OUTLIERS = "range dominated by outliers"
    DISTRIBUTION = "data unlike calibration's"

    @property
    def meaning(self) -> str:
        """What it is, for a reader who does not know the term."""
        return _MEANINGS[self]


_MEANINGS = {
    Cause.CLIPPING: "numbers beyond the range of a value's integers became the end of it",
    Cause.WEIGHT_ROUNDING: "weights became the next of few integers",
    Cause.ACTIVATION_ROUNDING: "what a layer gives became the next of few integers",
    Cause.TABLE: "integers compute a function by a table or a series, not exactly",
    Cause.INPUT_SATURATION: "numbers of the input beyond its range became the end of it",
    Cause.CONSTANT_CHANNEL: "a channel says nothing: it is the same number on all samples",
    Cause.OUTLIERS: (
        "a few large numbers, or ones that never come, made the range so wide that all others have "
        "few integers"
    ),
    Cause.DISTRIBUTION: "the ranges were chosen by samples that are not like these",
}


class Action(Enum):
    """What a remedy does."""

    CALIBRATE = "calibrate again"
    WIDEN = "16 bits"
    WIDEN_WEIGHTS = "16-bit weights"
    RANGE = "another range"
    EQUALIZE = "equalize channels"
    ROUND = "round weights in turn"
    PRUNE = "remove constant channels"


@dataclass(frozen=True)
class Remedy:
    """What could be done.

    Parameters
    ----------
    action : Action
        What.
    where : str
        The value, or the layer, that it is done to; empty for the whole model.
    rule : str
        The observer that another range is by.
    """

    action: Action
    where: str = ""
    rule: str = ""

    @property
    def asks_for_more(self) -> bool:
        """It makes the model larger or slower."""
        return self.action in (Action.WIDEN, Action.WIDEN_WEIGHTS)

    @property
    def text(self) -> str:
        """What is to be done, for a reader."""
        match self.action:
            case Action.CALIBRATE:
                return "calibrate again with these data"
            case Action.WIDEN:
                return f"16 bits for {self.where!r}"
            case Action.WIDEN_WEIGHTS:
                return f"16-bit weights for {self.where!r}, and 16 bits for what it takes"
            case Action.RANGE:
                return f"the range of {self.where!r} from these data, by {self.rule}"
            case Action.EQUALIZE:
                return f"equalize the channels of {self.where!r}"
            case Action.ROUND:
                return "round the weights in turn after these data"
            case Action.PRUNE:
                return "remove the constant channels"


@dataclass(frozen=True)
class Measured:
    """How near to float's an integer Graph's outputs are.

    Parameters
    ----------
    sqnr_db : float
        Of all runs together, where the outputs' signals are taken as equal.
    agreement : float or None
        The share of samples of which the class is float's; None where outputs are no classes.
    """

    sqnr_db: float
    agreement: float | None


@dataclass(frozen=True)
class Layer:
    """A value, or several that share their integers, and the layer that gives it.

    Parameters
    ----------
    value : str
        The first of the values; an input's own name.
    node, operator : str
        What gives it; both empty for an input.
    noise_db : float or None
        The ratio of signal to noise of the model's last layers where this one alone has the file's
        integers, and all others have 16 bits; None where there was no time to measure it.
    causes : mapping of Cause to float
        By how much that ratio of the whole model gets better, in dB, when this cause alone is
        undone here. One that is not there, such as clipping where nothing is clipped, is left out,
        and so is one that was not measured as too little of it is seen.
    """

    value: str
    node: str
    operator: str
    noise_db: float | None
    causes: Mapping[Cause, float]


@dataclass(frozen=True)
class Finding:
    """One reason for a loss, with what can be done.

    Parameters
    ----------
    cause : Cause
        The reason.
    where : str
        The value or the node that it is found at; empty for the whole model.
    gain : float
        In dB, what undoing the cause alone is worth.
    text : str
        What was seen, in a sentence.
    is_of_weights : bool
        ``where`` is a node, whose weights it is about.
    remedy : Remedy or None
        The best of those that were tried; None where none helps.
    remedied : float
        In dB, what the remedy was measured to be worth.
    agreement : float or None
        The share of samples with float's class after the remedy.
    """

    cause: Cause
    where: str
    gain: float
    text: str
    is_of_weights: bool = False
    remedy: Remedy | None = None
    remedied: float = 0.0
    agreement: float | None = None

    @property
    def is_dead(self) -> bool:
        """It is of channels that are one number in the float model too, which nothing undoes."""
        return self.cause is Cause.CONSTANT_CHANNEL and self.gain == 0


@dataclass(frozen=True)
class Explanation:
    """Where an integer Graph loses what its float Graph has, and why.

    Parameters
    ----------
    before : Measured
        The integer Graph as it is.
    samples : int
        How many runs measured it.
    whole : mapping of Cause to float
        In dB, what undoing a cause everywhere is worth.
    layers : list of Layer
        The one that adds most noise first.
    findings : list of Finding
        The worst first.
    notes : list of str
        What could not be measured, and why.
    """

    before: Measured
    samples: int
    whole: Mapping[Cause, float]
    layers: list[Layer]
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)
