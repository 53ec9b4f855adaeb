"""``edgeinfer explain``: why an integer model differs from its float one, and what mends it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import RenderableType

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import check_made_from, check_output, open_model, open_pair
from edgeinfer.cli.options import FILE, html_option, image_options, samples_option
from edgeinfer.errors import InputError

if TYPE_CHECKING:
    from edgeinfer.quant.explanation import Explanation, Finding, Fixed, Layer, Measured

__all__ = ["explain"]

# findings that are shown; JSON holds all
_FINDINGS = 8

# the causes of a table's columns, by their names in JSON
_COLUMNS = {
    "clipping": "clip",
    "rounding of activations": "round",
    "rounding of weights": "weights",
    "range dominated by outliers": "outliers",
    "table": "table",
}

_LEGEND = (
    "all in dB of signal to noise (SQNR) at the last layers; alone: with only this layer in the "
    "file's integers; the others: gained where this cause alone is undone in this layer"
)


@command(example="edgeinfer explain digits.onnx digits.eqm --data digits_test.npz")
@click.argument("model", metavar="MODEL.onnx", type=FILE)
@click.argument("quantized", metavar="MODEL.eqm", type=FILE)
@click.option("--data", metavar="DATA", type=FILE, required=True, help="Good samples.")
@click.option(
    "--calibration",
    metavar="DATA",
    type=FILE,
    help="What MODEL.eqm was calibrated on, where it does not say so itself.",
)
@click.option(
    "--fix",
    metavar="OUT.eqm",
    type=FILE,
    help="Write what the remedies that pay make of MODEL.eqm.",
)
@click.option(
    "--worst",
    metavar="N",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="How many layers to show; 0 shows all. JSON always holds all.",
)
@html_option
@samples_option()
@image_options
def explain(
    model: Path,
    quantized: Path,
    data: Path,
    calibration: Path | None,
    fix: Path | None,
    worst: int,
    html: Path | None,
    samples: int | None,
    **images: Any,
) -> Report:
    """Say why MODEL.eqm differs from the MODEL.onnx it was made of.

    Each cause is measured by undoing it alone, on integers: by how many dB the ratio of signal to
    noise of the last layers gets better. DATA are samples as the model will really see them; what
    MODEL.eqm was calibrated on is held against them. Remedies are made and measured before they
    are named.
    """
    from edgeinfer.data import ImageOptions, load_data
    from edgeinfer.files.atomic_write import atomic_write, check_writable
    from edgeinfer.files.model_file import to_bytes
    from edgeinfer.quant.explanation import explain as explained
    from edgeinfer.quant.explanation import explain_and_fix

    if html is not None:
        from edgeinfer.cli.pages import explanation_page

        check_writable(html, model, quantized, data)
    if fix is not None:
        check_output(fix)
        check_writable(fix, model, quantized, data)
    if quantized.suffix.lower() != ".eqm" or model.suffix.lower() == ".eqm":
        raise InputError(
            f"give the float model first, and then the .eqm that was made of it: not {model} and "
            f"{quantized}"
        )
    check_made_from(model, quantized, open_model(quantized))
    floats, integers = open_pair(model, quantized)

    def loaded(path: Path, limit: int | None) -> Any:
        seed = None if limit is None else 0
        # an .onnx does not say how its input is prepared
        return load_data(path, integers, ImageOptions(**images), samples=limit, seed=seed)

    dataset = loaded(data, samples)
    given = None if calibration is None else loaded(calibration, None).samples
    fixed: Fixed | None = None
    with screen.progress() as done:
        how: dict[str, Any] = {"calibration": given, "limit": samples, "progress": done}
        if fix is None:
            found = explained(floats, integers, dataset.samples, **how)
        else:
            found, fixed = explain_and_fix(floats, integers, dataset.samples, **how)
            atomic_write(fix, to_bytes(fixed.graph))
    if html is not None:
        facts = [
            ("float model", str(model)),
            ("explained", str(quantized)),
            ("samples", f"{dataset.count_within(samples)}, of {data}; {found.samples} judge"),
            ("as it is", _shown(found.before)),
            *([] if fixed is None else [("fixed", f"{_shown(fixed.after)}; wrote {fix}")]),
        ]
        title = f"Why {quantized.name} differs from {model.name}"
        atomic_write(html, explanation_page(title, facts, found, fixed))
    hidden = len(found.layers) - len(found.layers[: worst or None])
    return Report(
        {
            "model": str(model),
            "quantized": str(quantized),
            "samples": dataset.count_within(samples),
            "judged_on": found.samples,
            "before": _measured(found.before),
            "whole": {cause.value: gain for cause, gain in found.whole.items()},
            "layers": [_layer(layer) for layer in found.layers],
            "findings": [_finding(finding) for finding in found.findings],
            "notes": found.notes,
            **({} if fixed is None else {"fixed": {"output": str(fix), **_fixed(fixed)}}),
        },
        [
            _table(found.layers[: worst or None]),
            "",
            *_wrapped(_LEGEND, indent=""),
            *([f"{hidden} layers that add less are not shown"] if hidden else []),
            "",
            *_findings(found),
            *(["", *_advice(found)] if fixed is None else ["", *_mended(fixed, fix)]),
            *([] if html is None else ["", f"wrote {html}"]),
        ],
        found.notes,
    )


def _measured(measured: Measured) -> dict[str, Any]:
    return {"sqnr_db": measured.sqnr_db, "agreement": measured.agreement}


def _layer(layer: Layer) -> dict[str, Any]:
    return {
        "value": layer.value,
        "node": layer.node,
        "operator": layer.operator,
        "noise_db": layer.noise_db,
        "undone_db": {cause.value: gain for cause, gain in layer.causes.items()},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    remedy = finding.remedy
    return {
        "cause": finding.cause.value,
        "where": finding.where,
        "undone_db": finding.gain,
        "text": finding.text,
        "remedy": None
        if remedy is None
        else {
            "action": remedy.action.value,
            "where": remedy.where,
            "text": remedy.text,
            "gain_db": finding.remedied,
            "agreement": finding.agreement,
        },
    }


def _fixed(fixed: Fixed) -> dict[str, Any]:
    return {
        "remedies": [remedy.text for remedy in fixed.remedies],
        "before": _measured(fixed.before),
        "after": _measured(fixed.after),
    }


def _table(layers: list[Layer]) -> RenderableType:
    """What each layer alone leaves, and what undoing a cause there is worth."""
    rows = [
        (
            layer.value,
            layer.operator or "(input)",
            "-" if layer.noise_db is None else screen.decibels(layer.noise_db),
            *(_gain({c.value: g for c, g in layer.causes.items()}, name) for name in _COLUMNS),
        )
        for layer in layers
    ]
    headings = ("value", "operator", "alone", *_COLUMNS.values())
    return screen.table(headings, rows, left=2)


def _gain(causes: dict[str, float], name: str) -> str:
    if name == "clipping" and name not in causes:
        name = "saturation of the input"
    return f"{causes[name]:+.1f}" if name in causes else ""


def _findings(found: Explanation) -> list[str]:
    judges = "1 sample" if found.samples == 1 else f"{found.samples} samples"
    lines = [f"the file as it is: {_shown(found.before)} on {judges}"]
    if not found.findings:
        return [*lines, "no cause alone is worth 0.3 dB"]
    for place, finding in enumerate(found.findings[:_FINDINGS], start=1):
        what = f"{place}. {finding.cause.value}: {finding.text}"
        lines += ["", *_wrapped(what)]
        if not finding.is_dead:
            lines += _wrapped(f"   this alone undone: {_decibels(finding.gain)}")
        same = [other.remedy for other in found.findings].index(finding.remedy) + 1
        remedy = f"that of finding {same}" if finding.remedy and same < place else _remedy(finding)
        lines += _wrapped(f"   remedy: {remedy}")
    hidden = len(found.findings) - _FINDINGS
    return [*lines, "", f"{hidden} more are in --json"] if hidden > 0 else lines


def _wrapped(text: str, indent: str = "   ") -> list[str]:
    """Lines of a terminal's width, those after the first indented."""
    return textwrap.wrap(
        text,
        screen.width(),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _remedy(finding: Finding) -> str:
    if finding.remedy is None:
        return "none that was tried helps"
    agreement = "" if finding.agreement is None else f", agreement {finding.agreement:.1%}"
    return f"{finding.remedy.text}: {_decibels(finding.remedied)}{agreement}"


def _advice(found: Explanation) -> list[str]:
    if all(finding.remedy is None for finding in found.findings):
        return []
    return ["--fix OUT.eqm makes a file with the remedies that pay together"]


def _mended(fixed: Fixed, path: Path | None) -> list[str]:
    if not fixed.remedies:
        return [f"no remedy pays; wrote {path} as the model was"]
    return [
        *(f"did: {remedy.text}" for remedy in fixed.remedies),
        f"before: {_shown(fixed.before)}",
        f"after: {_shown(fixed.after)}",
        f"wrote {path}",
    ]


def _decibels(gain: float) -> str:
    return f"{gain:+.1f} dB"


def _shown(measured: Measured) -> str:
    agreement = "" if measured.agreement is None else f", agreement {measured.agreement:.1%}"
    return f"SQNR {screen.decibels(measured.sqnr_db)} dB{agreement}"
