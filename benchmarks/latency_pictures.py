"""What cpu_latency.py has measured as pictures: peers, rooflines, and how it was before."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "svg.hashsalt": "edgeinfer",
}
GREY, BLUE, RED, GREEN = "#a8adb4", "#2763a5", "#b3261e", "#2e7d32"
RUNTIMES = {"edgeinfer": BLUE, "onnxruntime": RED, "OpenVINO": GREEN, "LiteRT": "#8e5ea2"}
_ROW = 0.62  # inches
_PANEL = (3.6, 2.7)
_LABELS = 6  # of a panel
_NEAR = 9  # points


def pictures(report: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """SVG by file name; none of what there is nothing to see of."""
    with matplotlib.rc_context(STYLE):
        made = {}
        if report["results"]:
            made = {"latency.svg": latency(report), "roofline.svg": rooflines(report)}
        same = ("processor", "isa", "threads")
        lines = [line for line in history if all(line[key] == report[key] for key in same)]
        lines = [line for line in lines if line["edges"] == "float"]
        if lines:
            made["history.svg"] = ratios_over_commits(lines)
        return made


def latency(report: Mapping[str, Any]) -> str:
    """Each runtime's median over that of the fastest peer, a row a network."""
    results = report["results"]
    figure = Figure(figsize=(7, 1 + _ROW * len(results)), layout="constrained")
    axes = figure.add_subplot()
    seen = set()
    for row, result in enumerate(results):
        timings = result["timings"]["float"]
        peers = [each["median_us"] for each in timings if each["runtime"] != "edgeinfer"]
        unit = min(peers, default=min((each["median_us"] for each in timings), default=1))
        for each in timings:
            runtime, is_ours = each["runtime"], each["name"] == "edgeinfer"
            axes.scatter(
                each["median_us"] / unit,
                row,
                s=60 if is_ours else 26,
                marker="D" if is_ours else "o" if "int8" in each["name"] else "s",
                facecolor=RUNTIMES[runtime] if "float" not in each["name"] else "none",
                edgecolor=RUNTIMES[runtime],
                label=None if runtime in seen else runtime,
                zorder=3,
            )
            seen.add(runtime)
            low, high = (q / unit for q in each["quartiles_us"])
            axes.plot([low, high], [row, row], color=RUNTIMES[runtime], lw=1)
    axes.axvline(1, color=GREY, lw=1, zorder=1)
    axes.set(
        yticks=range(len(results)),
        yticklabels=[result["network"] for result in results],
        xlabel="latency over the fastest peer's, floats in and out; hollow: in float32",
        xscale="log",
        title=f"{report['processor']}, {report['isa']}, threads: {report['threads']}",
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.invert_yaxis()
    axes.grid(axis="y", color=GREY, lw=0.3)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=4)
    return _svg(figure)


def rooflines(report: Mapping[str, Any]) -> str:
    """A panel a network: its layers under what the core can multiply and move."""
    results = report["results"]
    columns = min(3, len(results))
    rows = math.ceil(len(results) / columns)
    size = (_PANEL[0] * columns, _PANEL[1] * rows + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(
        "Layers under the measured integer peaks and bandwidths of copies; "
        "the larger, the more of the time"
    )
    layers = [each for result in results for each in result["layers"] if each["macs"]]
    peaks = {
        each["isa"]: each["peak_gmacs_per_second"]
        for each in layers
        if each["peak_gmacs_per_second"]
    }
    span = [each["macs"] / each["bytes"] for each in layers]
    left, right = min(span, default=1) / 2, max(span, default=100) * 3
    for i, result in enumerate(results):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.set(title=result["network"], xscale="log", yscale="log", xlim=(left, right))
        top = max(peaks.values(), default=None)
        for where, rate in report["bandwidths"].items():
            end = right if top is None else min(right, top * 1e9 / rate)
            axes.plot([left, end], [left * rate / 1e9, end * rate / 1e9], color=GREY, lw=1)
            axes.annotate(
                where,
                (left, left * rate / 1e9),
                xytext=(2, 3),
                textcoords="offset points",
                color="#666666",
                fontsize=6,
                rotation=0,
            )
        for isa, peak in peaks.items():
            axes.axhline(peak, color=GREY, lw=1)
            axes.annotate(
                f"{isa} {peak:,.0f}",
                (right, peak),
                xytext=(-2, 2),
                textcoords="offset points",
                ha="right",
                color="#666666",
                fontsize=6,
            )
        _points(axes, [each for each in result["layers"] if each["macs"]])
        if i % columns == 0:
            axes.set_ylabel("GMAC/s")
        if i + columns >= len(results):
            axes.set_xlabel("multiply-accumulates a byte")
    return _svg(figure)


def _points(axes: Any, layers: Sequence[Mapping[str, Any]]) -> None:
    """Dots, and the names of those that take most where nothing lies in their way."""
    colors = dict(zip(sorted({each["isa"] for each in layers}), (BLUE, RED, GREEN), strict=False))
    dots = [(each["macs"] / each["bytes"], each["gmacs_per_second"]) for each in layers]
    for each, dot in zip(layers, dots, strict=True):
        size = 6 + 300 * each["share"]
        axes.scatter(*dot, s=size, color=colors.get(each["isa"], GREY), alpha=0.6, lw=0, zorder=3)
    if dots:
        axes.set_ylim(min(y for _, y in dots) / 2, None)
    taken: list[tuple[float, float]] = []
    order = sorted(range(len(layers)), key=lambda i: -layers[i]["share"])
    for i in order:
        x, y = axes.transData.transform(dots[i])
        if len(taken) == _LABELS:
            break
        # a label is wide, and a line high
        if any(abs(x - a) < _NEAR * 9 and abs(y - b) < _NEAR for a, b in taken):
            continue
        taken.append((x, y))
        axes.annotate(
            _short(layers[i]["node"]).replace("$", r"\$"),
            dots[i],
            xytext=(-4, 4),
            textcoords="offset points",
            ha="right",
            fontsize=5.5,
            zorder=4,
        )


def _short(name: str, room: int = 22) -> str:
    """The end of a name, which tells layers apart."""
    parts = name.rstrip("/").split("/")
    while len(parts) > 1 and sum(map(len, parts)) > room:
        parts = parts[1:]
    return "/".join(parts)[-room:]


def ratios_over_commits(lines: Sequence[Mapping[str, Any]]) -> str:
    """How many times as fast as the fastest peer, commit by commit."""
    commits = list(dict.fromkeys(line["commit"] for line in lines))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for network in dict.fromkeys(line["network"] for line in lines):
        # of several measurements of a commit, the last
        found = {line["commit"]: line["ratio"] for line in lines if line["network"] == network}
        places = [i for i, each in enumerate(commits) if each in found]
        ratios = [found[commits[i]] for i in places]
        axes.plot(places, ratios, marker="o", ms=3, lw=1, label=network)
    axes.axhline(1, color=GREY, lw=1, zorder=1)
    axes.set(
        title=f"{lines[-1]['processor']}, {lines[-1]['isa']}, threads: {lines[-1]['threads']}",
        ylabel="the fastest peer's latency over ours",
        yscale="log",
        xticks=range(len(commits)),
        xticklabels=commits,
    )
    axes.tick_params(axis="x", rotation=60)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return _svg(figure)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
