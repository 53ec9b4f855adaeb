"""The results of coverage.py as a line each, and as a page of Markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from edgeinfer.cli.onnx_int8 import MOVING

Result = Mapping[str, Any]

AGREES = 1e-4
"""The largest difference to onnxruntime, relative to the output's largest magnitude."""

POOR_INT16_DB = 45.0
"""Below this, 16 bits have lost what 8 would lose: the page names such networks."""

_IMPORT_OPERATORS = re.compile(r"(\w+) \([\w.]+ opset \d+\) at ")
_INTEGER_OPERATORS = re.compile(r"(?:: |, )([A-Z]\w*) '")
_MOST = 110
_CLOSE_DB = 1.0
_EXACT_DB = 999

_PROTOCOL = """\
Written by `python benchmarks/coverage.py --models FOLDER -o FILE.json --markdown docs/coverage.md`,
on {processor}, at {commits}, {date}.
The machine had a load of {load:.0f} as it began.

- The networks are those of [benchmarks/architectures](../benchmarks/architectures/__init__.py):
  built from PyPI's packages or written for this, the latter named `_like` where they are small
  re-creations. None is trained: weights are drawn, channels have different sizes, batch norms have
  the statistics of data that went through them, somewhat off. Such a network passes noise on less
  well than a trained one; what counts is a column beside another.
- PyTorch's have a file of each of its two exporters, and `both` says that both were imported;
  Keras' come from tf2onnx, others from their packages' converters.
- *differs*: the largest difference of a float output to onnxruntime's on {compared} samples, as a
  share of the output's largest magnitude. More than {agrees:g} is a bug, or the network enlarges
  what float32 itself rounds off.
- Ranges are from {calibration} samples. SQNR in dB is on {evaluation} others, and on
  {evaluation_small} of networks below 1 MiB, against onnxruntime's float outputs, of the output
  that has the least. onnxruntime's int8 is its static quantization (QDQ, uint8 activations, int8
  weights by channel, min-max) of the same file with the same samples, run without fusions, which
  saturate on processors without VNNI; *floats* is how many of its operators compute on floats
  still, where any do.
- *s*: seconds to quantize to int8, its search and its judgement included, on one thread. *MiB*: the
  peak of the process that imports and quantizes in all schemes.
- *blocked by*: what a refusal names. FILE.json has the whole messages."""


# ---- what a result says


def blocked(result: Result) -> str:
    """The message that stands between a network and integers; empty where none does."""
    for part in ("build", "ours"):
        if ended := result.get(part, {}).get("ended"):
            return f"{part} {ended}"
    if "exporters" not in result:
        return "not built"
    if not result["exporters"]:
        return "no exporter takes it: " + "; ".join(result["errors"].values())
    ours = result["ours"]
    refusals = [_obstacle(one) for one in ours["imports"].values()]
    if all(refusals):
        return refusals[0]
    return next((text for one in ours.get("schemes", {}).values() if (text := _obstacle(one))), "")


def _obstacle(one: Mapping[str, Any]) -> str:
    return one.get("blocked") or one.get("crash", "")


def obstacles(message: str) -> list[str]:
    """The operators that a refusal names; the message itself where it names none."""
    named = _IMPORT_OPERATORS.findall(message)
    if not named and "cannot be made integer yet" in message:
        named = _INTEGER_OPERATORS.findall(message.split("; replace")[0])
    return sorted(set(named)) or [message[:_MOST] + ("..." if message[_MOST:] else "")]


def imported(result: Result) -> list[str]:
    """The exporters whose files were imported."""
    imports = result.get("ours", {}).get("imports", {})
    return [name for name, one in imports.items() if not _obstacle(one)]


def difference(result: Result) -> float | None:
    """The largest difference to onnxruntime of any exporter's file."""
    imports = result.get("ours", {}).get("imports", {}).values()
    return max((one["difference"] for one in imports if "difference" in one), default=None)


def sqnr(result: Result, scheme: str) -> float | None:
    """Of the worst output, in a scheme."""
    return result.get("ours", {}).get("schemes", {}).get(scheme, {}).get("sqnr_db")


def peer_floats(result: Result) -> list[str]:
    """The operators that onnxruntime's int8 computes on floats, but for what only moves them."""
    floats = result.get("peer", {}).get("int8", {}).get("floats", ())
    return [operator for operator in floats if operator not in MOVING]


def peer_sqnr(result: Result) -> float | None:
    """Of onnxruntime's int8."""
    return result.get("peer", {}).get("int8", {}).get("sqnr_db")


# ---- a line


def line(result: Result) -> str:
    """One network, as a log has it."""
    message, apart = blocked(result), difference(result)
    parts = [f"{result['name']:32}"]
    if apart is not None:
        parts.append(f"differs by {apart:.0e}" + (" !" if apart > AGREES else ""))
    schemes = result.get("ours", {}).get("schemes", {})
    parts += [f"{scheme} {_db(sqnr(result, scheme)) or '-'}" for scheme in schemes]
    parts.append(f"onnxruntime {_db(peer_sqnr(result)) or '-'}")
    if message:
        parts.append("blocked by " + ", ".join(obstacles(message)))
    return "  ".join(parts)


def _db(value: float | None) -> str:
    if value is None:
        return ""
    return "exact" if value >= _EXACT_DB else f"{value:.1f}"


# ---- the page


def page(report: Mapping[str, Any]) -> str:
    """All of it, of what coverage.py keeps in its JSON."""
    results = list(report["results"].values())
    protocol = _PROTOCOL.format(
        agrees=AGREES,
        commits=" and ".join(sorted({result["commit"] for result in results})),
        **{key: report[key] for key in ("processor", "date", "load")},
        **report["samples"],
    )
    schemes = [s for s in ("int8", "int16x8", "int16") if any(_tried(r, s) for r in results)]
    families = dict.fromkeys(result["family"] for result in results)
    parts = [
        "# Coverage",
        "Which networks come through, how well, and what stands in the way of the others.",
        protocol,
        "## Together",
        _together(results),
        "## What blocks",
        _blockers(results),
        *_to_look_at(results),
    ]
    for family in families:
        rows = [result for result in results if result["family"] == family]
        parts += [f"## {family[0].upper()}{family[1:]}", _table(rows, schemes)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _tried(result: Result, scheme: str) -> bool:
    return scheme in result.get("ours", {}).get("schemes", {})


def _together(results: Sequence[Result]) -> str:
    integer = [result for result in results if not blocked(result)]
    peers = [result for result in results if peer_sqnr(result) is not None]
    whole = [result for result in peers if not peer_floats(result)]
    lines = [
        f"{len(results)} networks; {sum(bool(imported(r)) for r in results)} are imported, "
        f"{len(integer)} of them become wholly integer. onnxruntime quantizes {len(peers)}, "
        f"{len(whole)} of them without an operator on floats."
    ]
    pairs = [
        (ours, theirs, result)
        for result in integer
        if (ours := sqnr(result, "int8")) is not None
        and (theirs := peer_sqnr(result)) is not None
        and max(ours, theirs) < _EXACT_DB
    ]
    if pairs:
        apart = [ours - theirs for ours, theirs, _ in pairs]
        worse = [result for ours, theirs, result in pairs if ours < theirs - _CLOSE_DB]
        mixed = sum(bool(peer_floats(result)) for result in worse)
        lines.append(
            f"Where both give int8 ({len(pairs)} networks), the SQNR is {mean(apart):+.1f} dB "
            f"beside onnxruntime's on average (medians {median(pair[0] for pair in pairs):.1f} and "
            f"{median(pair[1] for pair in pairs):.1f}); "
            f"{sum(a > _CLOSE_DB for a in apart)} are better by more than {_CLOSE_DB:g} dB and "
            f"{len(worse)} worse, of which onnxruntime has {mixed} with operators on floats."
        )
    wide = [value for result in integer if (value := sqnr(result, "int16")) is not None]
    if wide:
        poor = sum(value < POOR_INT16_DB for value in wide)
        lines.append(
            f"int16 has {median(wide):.1f} dB in the median and {min(wide):.1f} at least; {poor} "
            f"of {len(wide)} have less than {POOR_INT16_DB:g}."
        )
    return "\n".join(lines)


def _blockers(results: Sequence[Result]) -> str:
    named, alone = Counter[str](), Counter[str]()
    for result in results:
        if message := blocked(result):
            found = obstacles(message)
            named.update(found)
            alone.update(found if len(found) == 1 else ())
    if not named:
        return "Nothing."
    rows = [(what, str(count), str(alone[what])) for what, count in named.most_common()]
    return _markdown(("", "networks", "by it alone"), rows)


# what was found out of networks that no better ranges help
_REASONS = {
    "timm_levit_128s": (
        "The network is unstable: noise of 2^-24 of its input, which float32's rounding is, leaves "
        "50 dB of onnxruntime's float outputs, where other networks keep 106 to 121; and an input "
        "of 16 bits with floats everywhere else leaves 20, where others keep 64 to 81."
    ),
    "timm_starnet_s1": (
        "Its products of two branches pass noise on: an input of 16 bits with floats everywhere "
        "else leaves 64 dB, where others keep 80. Four of 32 samples have nine tenths of the noise."
    ),
    "timm_efficientvit_b0": (
        "One of 32 samples has six tenths of the noise, and nothing of it is clipped; the others "
        "have 46 dB."
    ),
    "yolov10_like": (
        "Boxes come in the order of their scores, and these differ by less than a step. Compared "
        "by place and class, int16 finds all 160 boxes of 8 pictures (64 dB), int16x8 139 and int8 "
        "99."
    ),
    "centernet_like": (
        "A peak is what equals the largest beside it, and of two that round alike both are. Of "
        "7,731 peaks int16 keeps 7,730 (86 dB) and adds 10; int8 keeps 7,671 (46 dB), adds 990."
    ),
    "sk_random_forest": (
        "In two of 256 samples a feature lies within a step of a threshold, and goes to another "
        "leaf."
    ),
    "lightgbm_regressor": (
        "In one of 256 samples a feature lies within a step of a threshold, and goes to another "
        "leaf."
    ),
}

_TREES = (
    "Its trees are on floats there, and nothing is quantized; ours loses what 8 bits of leaves and "
    "of the output do"
)

# the same of 8 bits
_REASONS_INT8 = {
    "crnn_ocr": (
        "Its scores are given out as floats there; with 16 bits for them alone ours has 60.1."
    ),
    "lightgbm_regressor": f"{_TREES}: with 16 for the output it has 39.7.",
    "xgboost_classifier": f"{_TREES}: with 16 for the output it has 47.3.",
    "sk_mlp_regressor": (
        "It quantizes no activation there, for it does not know the Scaler before them. With 16 "
        "bits for all but the output ours has 36.5."
    ),
    "yolov10_like": "Of boxes in the order of their scores; see above.",
}


def _to_look_at(results: Sequence[Result]) -> list[str]:
    """Networks that something is wrong with that is no refusal."""
    found = []
    for result in results:
        name, apart, wide = result["name"], difference(result), sqnr(result, "int16")
        if apart is not None and apart > AGREES:
            found.append(f"- {name} differs from onnxruntime by {apart:.1e}.")
        if wide is not None and wide < POOR_INT16_DB:
            loses = result["ours"]["schemes"]["int16"]["loses"]
            reason = _REASONS.get(
                name,
                f"{loses['operator']} `{loses['node']}` has {loses['db']:.1f} of the "
                f"{loses['db_before']:.1f} dB that it is given.",
            )
            found.append(f"- {name} has {wide:.1f} dB in int16. {reason}")
        floats, ours, theirs = imported(result), sqnr(result, "int8"), peer_sqnr(result)
        if len(floats) < len(result.get("exporters", ())) and floats:
            found.append(f"- {name} is imported of {' and '.join(floats)} only.")
        if ours is not None and theirs is not None and ours < theirs - _CLOSE_DB:
            kinds = Counter(peer_floats(result))
            on_floats = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing"
            reason = _REASONS_INT8.get(name, "")
            shown = "exact results" if theirs >= _EXACT_DB else f"{theirs:.1f}"
            found.append(
                f"- {name} has {ours:.1f} dB in int8, onnxruntime {shown} with {on_floats} on "
                f"floats. {reason}".rstrip()
            )
    return ["## To look at", "\n".join(found)] if found else []


def _table(results: Sequence[Result], schemes: Sequence[str]) -> str:
    headings = (
        "network",
        "imported",
        "differs",
        *schemes,
        "onnxruntime int8",
        "floats",
        "s",
        "MiB",
        "blocked by",
    )
    rows = []
    for result in results:
        apart, message, ours = difference(result), blocked(result), result.get("ours", {})
        peer = result.get("peer", {}).get("int8", {})
        seconds = ours.get("schemes", {}).get("int8", {}).get("seconds")
        rows.append(
            (
                result["name"],
                _imported(result),
                "" if apart is None else f"{apart:.0e}",
                *(_db(sqnr(result, scheme)) for scheme in schemes),
                _db(peer_sqnr(result)) or ("failed" if "error" in peer else ""),
                str(len(peer_floats(result)) or ""),
                "" if seconds is None or message else f"{seconds:.1f}",
                f"{ours['mib']:.0f}" if "mib" in ours and not message else "",
                _cell(", ".join(obstacles(message))) if message else "",
            )
        )
    return _markdown(headings, rows)


def _imported(result: Result) -> str:
    exporters, names = result.get("exporters", ()), imported(result)
    if len(names) == len(exporters):
        return "both" if len(names) > 1 else "yes"
    return ", ".join(names) if names else "no"


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ").replace("<", "&lt;")


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
