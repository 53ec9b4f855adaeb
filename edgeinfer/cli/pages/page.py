"""Findings of compare, evaluate and explain into pages, by the templates beside this file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer import __version__
from edgeinfer.cli import screen
from edgeinfer.cli.pages.figures import (
    cause_bars,
    class_name,
    confusion_of,
    memory_of,
    range_of,
)
from edgeinfer.errors import MissingExtraError
from edgeinfer.graph import Graph
from edgeinfer.printable import printable

if TYPE_CHECKING:
    from edgeinfer.cli.profiling import LayerTime
    from edgeinfer.quant import LayerError
    from edgeinfer.quant.explanation import Explanation, Fixed
    from edgeinfer.quant.observers import Histogram

try:
    import jinja2
except ImportError as _error:
    raise MissingExtraError("jinja2", "html") from _error

__all__ = ["comparison_page", "evaluation_page", "explanation_page"]

_TEMPLATES = Path(__file__).parent / "templates"


def comparison_page(
    title: str,
    facts: Sequence[tuple[str, str]],
    errors: Sequence[LayerError],
    seen: Mapping[str, Histogram],
    model: Graph,
    times: Sequence[LayerTime],
) -> bytes:
    """The page of ``compare``: layers by SQNR, ranges and cuts, and where time and memory go.

    Parameters
    ----------
    facts : sequence of (str, str)
        Names and values for the head of the page.
    errors : sequence of LayerError
        The worst first.
    seen : mapping of str to Histogram
        What values the first model has, by name.
    model : Graph
        The second model, whose types cut them.
    times : sequence of LayerTime
        Of the second model; none, where it is a float model.
    """
    layers = [
        {
            "name": e.value,
            "operator": e.operator,
            "is_output": e.is_output,
            "sqnr": screen.decibels(e.sqnr_db),
            "bar": _of_80_db(e.sqnr_db),
            "largest": f"{e.largest:.4g}",
            "range": range_of(seen[e.value], model.types[e.value]),
        }
        for e in errors
    ]
    return _rendered("comparison", title, facts, model, times, layers=layers)


def evaluation_page(
    title: str,
    facts: Sequence[tuple[str, str]],
    results: Mapping[str, Any],
    classes: Sequence[str],
    model: Graph,
    times: Sequence[LayerTime],
) -> bytes:
    """The page of ``evaluate``: what was measured, confusion, and where time and memory go.

    Parameters
    ----------
    facts : sequence of (str, str)
        What was measured, as the screen shows it.
    results : mapping of str to Any
        The metrics' results, of which ``confusion`` and ``iou`` are drawn.
    classes : sequence of str
        Their names, or none.
    model : Graph
        The model.
    times : sequence of LayerTime
        What its layers take; none, where it is a float model.
    """
    confusion = None
    if "confusion" in results:
        confusion = confusion_of(results["confusion"], classes)
    overlaps = [
        {"name": class_name(classes, i), "share": share}
        for i, share in enumerate(results.get("iou", ()))
    ]
    return _rendered(
        "evaluation", title, facts, model, times, confusion=confusion, overlaps=overlaps
    )


def explanation_page(
    title: str,
    facts: Sequence[tuple[str, str]],
    found: Explanation,
    fixed: Fixed | None,
) -> bytes:
    """The page of ``explain``: findings and remedies, and each layer's causes.

    Parameters
    ----------
    facts : sequence of (str, str)
        Names and values for the head of the page.
    found : Explanation
        What was found.
    fixed : Fixed or None
        What the remedies made of the model, where they were taken.
    """
    gains = [*found.whole.values(), *(g for layer in found.layers for g in layer.causes.values())]
    longest = max([1.0, *gains])
    layers = [
        {
            "name": layer.value,
            "operator": layer.operator or "input",
            "alone": "-" if layer.noise_db is None else screen.decibels(layer.noise_db),
            "bar": None if layer.noise_db is None else _of_80_db(layer.noise_db),
            "causes": cause_bars(layer.causes, longest),
        }
        for layer in found.layers
    ]
    most = max([1.0, *(max(f.gain, f.remedied) for f in found.findings)])
    findings = [
        {
            "cause": finding.cause,
            "text": finding.text,
            "undone": "" if finding.is_dead else f"{finding.gain:+.1f}",
            "bar": max(0.0, finding.gain / most),
            "remedy": None if finding.remedy is None else finding.remedy.text,
            "remedied": f"{finding.remedied:+.1f}",
            "remedied_bar": max(0.0, finding.remedied / most),
            "agreement": finding.agreement,
        }
        for finding in found.findings
    ]
    return _rendered(
        "explanation",
        title,
        facts,
        None,
        (),
        findings=findings,
        layers=layers,
        meanings={f.cause: f.cause.meaning for f in found.findings},
        whole=cause_bars(found.whole, longest),
        taken=None if fixed is None else [remedy.text for remedy in fixed.remedies],
        notes=found.notes,
    )


def _of_80_db(ratio: float) -> float:
    """The length of a bar for a ratio in dB: 80 dB, or no difference, fill it."""
    return 1.0 if ratio == math.inf else min(max(ratio, 0.0) / 80, 1.0)


def _rendered(
    template: str,
    title: str,
    facts: Sequence[tuple[str, str]],
    model: Graph | None,
    times: Sequence[LayerTime],
    **found: Any,
) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        # names come from models of strangers
        autoescape=True,
        finalize=_printable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"kib": screen.kib, "duration": screen.milliseconds}
    page = environment.get_template(f"{template}.html.j2").render(
        title=title,
        facts=facts,
        version=__version__,
        times=times,
        memory=memory_of(model) if model is not None and model.is_integer else None,
        **found,
    )
    return page.encode()


def _printable(value: Any) -> Any:
    """Text as it may be printed; what is HTML already is of another class."""
    return printable(value) if type(value) is str else value
