"""What was undone and what is odd about each value into findings, and remedies to try for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeinfer.quant.explanation.causes import Action, Cause, Finding, Layer, Remedy
from edgeinfer.quant.explanation.distribution import Unlikeness
from edgeinfer.quant.explanation.suspects import Suspect
from edgeinfer.quant.options import Options

__all__ = ["candidates", "findings_of", "ranked"]

# undone, a cause of less is not spoken of
_LEAST_DB = 0.3

# nor is rounding, which there always is, of less than this
_LEAST_ROUNDING_DB = 1.0

# outliers are why values are coarse where undoing them is worth so much of undoing all rounding
_EXPLAINS = 0.5

# everywhere, a cause is worth so much, and twice what any is at the worst place
_MUCH = 1.0

_EVERYWHERE = {
    Cause.CLIPPING: "the ranges of many values are narrower than these data need",
    Cause.OUTLIERS: "the ranges of many values are much wider than these data need",
}

_NAMED = 5


def findings_of(
    found: Sequence[Suspect],
    layers: Mapping[str, Layer],
    whole: Mapping[Cause, float],
    unlike: Sequence[Unlikeness],
) -> list[Finding]:
    """The findings without remedies: data unlike calibration's, which spoil everything, and dead
    layers; then the worst first.

    Parameters
    ----------
    found : sequence of Suspect
        Every group.
    layers : mapping of str to Layer
        What undoing was worth, by the group's representative.
    whole : mapping of Cause to float
        What it was worth everywhere.
    unlike : sequence of Unlikeness
        How these data differ from calibration's.
    """
    made = [finding for s in found for finding in _of(s, layers[s.root].causes)]
    of_data = []
    for each in unlike:
        cause = Cause.OUTLIERS if each.reaches else Cause.DISTRIBUTION
        gain = whole.get(Cause.OUTLIERS, 0.0) if each.reaches else 0.0
        of_data.append(Finding(cause, each.input, gain, each.text))
    if not of_data:
        worst = max((finding.gain for finding in made), default=0.0)
        made += [
            Finding(cause, "", whole[cause], text)
            for cause, text in _EVERYWHERE.items()
            if whole.get(cause, 0.0) >= max(_MUCH, 2 * worst)
        ]
    # a layer that gives nothing is a fault whatever it costs
    dead = _of_dead(found)
    alive = {s.value for s in found if len(s.constant) < s.channels}
    return [
        *of_data,
        *(finding for finding in dead if finding.where not in alive),
        *sorted(made, key=lambda finding: -finding.gain),
        *(finding for finding in dead if finding.where in alive),
    ]


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Findings that are not of data, with their remedies: those of dead layers where they are, and
    the others by what they are worth.

    Ranges were searched beside a fault, and are wrong with it: so what equalizes a channel, say,
    may be worth more than what undoing that alone is. Ranges that are no better where they are
    chosen again clip as the best of 8 bits do, which is no fault.
    """
    kept = [f for f in findings if not _is_everywhere(f) or f.remedy is not None]
    places = [i for i, finding in enumerate(kept) if not finding.is_dead]
    by_worth = sorted((kept[i] for i in places), key=lambda finding: -_worth(finding))
    for i, finding in zip(places, by_worth, strict=True):
        kept[i] = finding
    return kept


def _is_everywhere(finding: Finding) -> bool:
    return finding.text in _EVERYWHERE.values()


def _worth(finding: Finding) -> float:
    remedy = finding.remedy
    if _is_everywhere(finding):
        return min(finding.gain, finding.remedied)
    # what mends the whole model says nothing of one place, nor does it that more bits are better;
    # and a range that is worth more than no rounding at all mends another cause
    coarse = finding.cause is Cause.ACTIVATION_ROUNDING
    if coarse or remedy is None or not remedy.where or remedy.asks_for_more:
        return finding.gain
    return max(finding.gain, finding.remedied)


def _of(suspect: Suspect, gains: Mapping[Cause, float]) -> list[Finding]:
    causes = {cause: gain for cause, gain in gains.items() if gain >= _least(suspect, cause)}
    rounding = causes.get(Cause.ACTIVATION_ROUNDING, 0.0)
    for special in (Cause.OUTLIERS, Cause.CONSTANT_CHANNEL):
        if causes.get(special, 0.0) >= _EXPLAINS * rounding > 0:
            causes.pop(Cause.ACTIVATION_ROUNDING, None)
    if suspect.dominant:
        # what reaches so far is what was cut, and why the others are lost
        for effect in (Cause.CLIPPING, Cause.CONSTANT_CHANNEL):
            if causes.get(Cause.OUTLIERS, 0.0) >= _EXPLAINS * causes.get(effect, 0.0):
                causes.pop(effect, None)
    weights = causes.pop(Cause.WEIGHT_ROUNDING, None)
    made = [
        Finding(cause, suspect.value, gain, _text(suspect, cause)) for cause, gain in causes.items()
    ]
    if weights is not None:
        cause = Cause.OUTLIERS if suspect.outlying else Cause.WEIGHT_ROUNDING
        where = next(iter(suspect.outlying), suspect.layers[0])
        text = _text_of_weights(suspect)
        made.append(Finding(cause, where, weights, text, is_of_weights=True))
    return made


def _of_dead(found: Sequence[Suspect]) -> list[Finding]:
    """Layers that give nothing, in the order of the flow; then channels that do not, in one."""
    whole = [s for s in found if s.node and s.constant and len(s.constant) == s.channels]
    # what others make of such channels says nothing more
    parts = [s for s in found if s.layers and s.constant and s not in whole]
    texts = [(s.value, _text_of_dead(s)) for s in whole]
    if parts:
        most = max(parts, key=lambda s: len(s.constant))
        others = f"; so are {sum(len(s.constant) for s in parts) - len(most.constant)} channels in "
        others += f"{len(parts) - 1} other {'layer' if len(parts) == 2 else 'layers'}"
        texts.append((most.value, _text_of_dead(most) + (others if parts[1:] else "")))
    return [Finding(Cause.CONSTANT_CHANNEL, value, 0.0, text) for value, text in texts]


def _text_of_dead(suspect: Suspect) -> str:
    are = "is" if len(suspect.constant) == 1 else "are"
    return (
        f"{_channels(suspect.constant, suspect.channels)} of {suspect.value!r} {are} one number on "
        "all samples, in the float model too"
    )


def _least(suspect: Suspect, cause: Cause) -> float:
    ordinary = cause is Cause.ACTIVATION_ROUNDING
    ordinary |= cause is Cause.WEIGHT_ROUNDING and not suspect.outlying
    return _LEAST_ROUNDING_DB if ordinary else _LEAST_DB


def _channels(indices: Sequence[int], count: int) -> str:
    if len(indices) == count:
        return f"all {count} channels" if count > 1 else "the only channel"
    named = ", ".join(map(str, indices[:_NAMED])) + (", ..." if indices[_NAMED:] else "")
    return f"{'channel' if len(indices) == 1 else 'channels'} {named}"


def _text(suspect: Suspect, cause: Cause) -> str:
    name = suspect.value
    match cause:
        case Cause.CLIPPING:
            return f"{suspect.beyond:.2%} of {name!r} lie beyond its range"
        case Cause.INPUT_SATURATION:
            return f"{suspect.beyond:.2%} of input {name!r} lie beyond its range"
        case Cause.CONSTANT_CHANNEL:
            return (
                f"{_channels(suspect.lost, suspect.channels)} of {name!r} "
                f"{'is' if len(suspect.lost) == 1 else 'are'} one number once quantized, and not "
                "before"
            )
        case Cause.TABLE:
            return f"integers compute the function of {suspect.node!r} with an error"
        case Cause.OUTLIERS if suspect.dominant:
            return (
                f"{_channels(suspect.dominant, suspect.channels)} of {name!r} "
                f"{'reaches' if len(suspect.dominant) == 1 else 'reach'} {suspect.times:.0f} times "
                "as far as the others"
            )
        case Cause.OUTLIERS:
            return f"the range of {name!r} is {suspect.unused:.1f} times what these data need"
    return f"the steps of {name!r} are coarse beside its values"


def _text_of_weights(suspect: Suspect) -> str:
    for layer, channels in suspect.outlying.items():
        return (
            f"a few weights decide the scale of {len(channels)} output "
            f"{'channel' if len(channels) == 1 else 'channels'} of {layer!r}"
        )
    return f"the steps of the weights of {suspect.layers[0]!r} are coarse"


def candidates(finding: Finding, options: Options, equalizable: bool) -> list[Remedy]:
    """What is worth trying for a finding at a value whose channels can be equalized, or not."""
    where = finding.where
    again = Remedy(Action.CALIBRATE)
    turned = [] if options.rounding_weights == "in-turn" else [Remedy(Action.ROUND)]
    wide = [] if options.rounding == "double" else [Remedy(Action.WIDEN, where)]
    wide_weights = [] if options.rounding == "double" else [Remedy(Action.WIDEN_WEIGHTS, where)]
    equal = [Remedy(Action.EQUALIZE, where)] if equalizable else []
    if finding.is_of_weights:
        return [*turned, *wide_weights]
    match finding.cause:
        case Cause.CONSTANT_CHANNEL:
            return [Remedy(Action.PRUNE)] if finding.is_dead else [again, *equal, *wide]
        case Cause.CLIPPING | Cause.INPUT_SATURATION if where:
            return [again, Remedy(Action.RANGE, where, "minmax"), *wide]
        case Cause.ACTIVATION_ROUNDING:
            return [Remedy(Action.RANGE, where, "mse"), again, *wide]
        case Cause.OUTLIERS if where:
            rules = ("minmax", "percentile", "mse")
            return [again, *equal, *(Remedy(Action.RANGE, where, r) for r in rules), *wide]
        case Cause.TABLE:
            return []
    return [again]
