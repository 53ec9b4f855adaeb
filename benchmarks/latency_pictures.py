"""What cpu_latency.py has measured as pictures: peers, rooflines, and how it was before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from edgeinfer.drawing import BLUE, GREY, RED, svg

STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "svg.hashsalt": "edgeinfer",
}
GREEN = "#2e7d32"
RUNTIMES = {"edgeinfer": BLUE, "onnxruntime": RED, "OpenVINO": GREEN, "LiteRT": "#8e5ea2"}
_ROW = 0.62  # inches
_PANEL = (3.6, 2.7)
_LABELS = 7  # of a panel
_CHARACTER, _LINE = 4.4, 13.0  # pixels of a label


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
    figure = Figure(figsize=(7, 1.4 + _ROW * len(results)), layout="constrained")
    axes = figure.add_subplot()
    for row, result in enumerate(results):
        timings = result["timings"]["float"]
        peers = [each["median_us"] for each in timings if each["runtime"] != "edgeinfer"]
        unit = min(peers, default=min((each["median_us"] for each in timings), default=1))
        for each in timings:
            color, marker, size, is_filled = _mark(each)
            low, high = (q / unit for q in each["quartiles_us"])
            axes.plot([low, high], [row, row], color=color, lw=1)
            axes.scatter(
                each["median_us"] / unit,
                row,
                s=size,
                marker=marker,
                facecolor=color if is_filled else "white",
                edgecolor=color,
                zorder=3,
            )
    axes.axvline(1, color=GREY, lw=1, zorder=1)
    axes.set(
        yticks=range(len(results)),
        yticklabels=[result["network"] for result in results],
        ylim=(len(results) - 0.5, -0.5),
        xlabel="latency over the fastest peer's, floats in and out (hollow: computes in floats)",
        xscale="log",
        title=f"{report['processor']}, {report['isa']}, threads: {report['threads']}",
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(axis="y", color=GREY, lw=0.3)
    present = {each["runtime"] for result in results for each in result["timings"]["float"]}
    handles = [
        Line2D([], [], color=color, marker="D" if name == "edgeinfer" else "o", lw=0, label=name)
        for name, color in RUNTIMES.items()
        if name in present
    ]
    handles.append(Line2D([], [], color=BLUE, marker="d", ms=4, lw=0, label="edgeinfer pruned"))
    figure.legend(handles=handles, frameon=False, loc="outside upper center", ncols=len(handles))
    return svg(figure)


def _mark(timing: Mapping[str, Any]) -> tuple[str, str, int, bool]:
    """Color, marker, size of a timing, and whether it is filled."""
    color = RUNTIMES[timing["runtime"]]
    if timing["runtime"] == "edgeinfer":
        is_whole = timing["name"] == "edgeinfer"
        return color, "D" if is_whole else "d", 44 if is_whole else 20, True
    return color, "o", 26, "int8" in timing["name"]


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
    rates = [each["gmacs_per_second"] for each in layers]
    left, right = min(span, default=1) / 2, max(span, default=100) * 2
    low, high = min(rates, default=1) / 2, max([*rates, *peaks.values()], default=1e3) * 2
    colors = dict(zip(sorted({each["isa"] for each in layers}), (BLUE, RED, GREEN), strict=False))
    styles = dict(zip(report["bandwidths"], ("-", "--", ":"), strict=False))
    for i, result in enumerate(results):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.set(title=result["network"], xscale="log", yscale="log")
        axes.set(xlim=(left, right), ylim=(low, high))
        top = max(peaks.values(), default=high)
        for where, rate in report["bandwidths"].items():
            end = min(right, top * 1e9 / rate)
            axes.plot([left, end], [left * rate / 1e9, end * rate / 1e9], styles[where], color=GREY)
        for isa, peak in peaks.items():
            axes.axhline(peak, color=colors[isa], lw=0.8)
        _points(axes, [each for each in result["layers"] if each["macs"]], colors)
        if i % columns == 0:
            axes.set_ylabel("GMAC/s")
        if i + columns >= len(results):
            axes.set_xlabel("multiply-accumulates a byte")
    handles = [
        Line2D([], [], color=GREY, ls=styles[where], label=f"{where}, {rate / 1e9:,.0f} GB/s")
        for where, rate in report["bandwidths"].items()
    ]
    for isa, color in colors.items():
        known = f", peak {peaks[isa]:,.0f} GMAC/s" if isa in peaks else ""
        handles.append(Line2D([], [], color=color, marker="o", label=f"{isa}{known}"))
    figure.legend(handles=handles, frameon=False, loc="outside lower center", ncols=2)
    return svg(figure)


def _points(axes: Any, layers: Sequence[Mapping[str, Any]], colors: Mapping[str, str]) -> None:
    """Dots, and the names of those that take most where nothing lies in their way."""
    dots = [(each["macs"] / each["bytes"], each["gmacs_per_second"]) for each in layers]
    for each, dot in zip(layers, dots, strict=True):
        size = 6 + 300 * each["share"]
        axes.scatter(*dot, s=size, color=colors[each["isa"]], alpha=0.6, lw=0, zorder=3)
    places = axes.transData.transform(dots) if dots else []
    taken: list[tuple[float, float]] = []
    for i in sorted(range(len(layers)), key=lambda i: -layers[i]["share"]):
        name = _short(layers[i]["node"]).replace("$", r"\$")
        x, y = places[i]
        if len(taken) == _LABELS:
            break
        width = _CHARACTER * len(name)
        # a label lies to the left of its dot, a line high
        near = [(a, b) for a, b in taken if abs(x - a) < width and abs(y - b) < _LINE]
        if near or x - width < axes.transData.transform((axes.get_xlim()[0], 1))[0]:
            continue
        taken.append((x, y))
        axes.annotate(
            name,
            dots[i],
            xytext=(-4, 3),
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
    colors = iter(matplotlib.colormaps["tab20"].colors)
    for network in dict.fromkeys(line["network"] for line in lines):
        # of several measurements of a commit, the last
        found = {line["commit"]: line["ratio"] for line in lines if line["network"] == network}
        places = [i for i, each in enumerate(commits) if each in found]
        ratios = [found[commits[i]] for i in places]
        axes.plot(places, ratios, marker="o", ms=3, lw=1, label=network, color=next(colors))
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
    return svg(figure)
