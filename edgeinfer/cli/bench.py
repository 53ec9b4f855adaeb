"""``edgeinfer bench``: an integer model into how long a run takes, where, and beside whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.console import RenderableType

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import check_sequences, open_model
from edgeinfer.cli.options import FILE, image_options, threads_option
from edgeinfer.cli.profiling import LayerRate, LayerTime, layer_rates, profile
from edgeinfer.cli.rivals import Rivalry, check_files, race_against
from edgeinfer.errors import InputError

if TYPE_CHECKING:
    from edgeinfer.graph import Graph

__all__ = ["bench"]

_WARM_UP = 3
_SECONDS = 2.0  # about as long as a measurement without --runs takes
_AT_MOST = 100_000
_TELL_EVERY = 0.1  # seconds: telling is no part of what is timed, but empties caches
_CALIBRATION = 100  # samples for the peers' int8
_NOISE = 16  # samples where there is no data


@command(example="edgeinfer bench digits.eqm --layers")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@click.option(
    "--runs",
    metavar="N",
    type=click.IntRange(1),
    help=f"Default: two seconds' worth, {_AT_MOST} at most.",
)
@click.option("--data", metavar="DATA", type=FILE, help="Run its first sample, not noise.")
@click.option("--layers", is_flag=True, help="Time, MACs a second and share of peak of each layer.")
@click.option(
    "--against",
    "rivals",
    metavar="FILE",
    type=FILE,
    multiple=True,
    help="Also time other runtimes that are installed: the .onnx that MODEL.eqm was made from in "
    "onnxruntime and OpenVINO, float32 and int8; a .tflite in LiteRT. Repeatable.",
)
@click.option(
    "--rounds",
    metavar="N",
    type=click.IntRange(1),
    default=9,
    show_default=True,
    help="How often each of the runtimes has its turn of a tenth of a second.",
)
@threads_option
@image_options
def bench(
    model: Path,
    runs: int | None,
    data: Path | None,
    layers: bool,
    rivals: tuple[Path, ...],
    rounds: int,
    threads: int,
    **images: Any,
) -> Report:
    """Measure how fast MODEL.eqm runs.

    The input is random, or the first sample of DATA, which is as edgeinfer quantize takes it.
    Timed is the whole call from Python, from an array of floats into another that stays.

    Each runtime of --against has a process of its own, as many threads, and the same cores; they
    take turns. Their int8 is onnxruntime's static quantization by channel, calibrated with 100
    samples of DATA at most, with noise where there is no DATA; activations are uint8 (u8), or int8
    with zero points of 0 (s8). OpenVINO's float32 may compute in bfloat16; f32 forced does not.
    """
    from edgeinfer.cli.peers import bound_call
    from edgeinfer.graph.cost import cost
    from edgeinfer.runtime.session import Session

    check_files(rivals)
    graph = open_model(model)
    if not graph.is_integer:
        raise InputError(f"{model} is a float model; quantize it first")
    for rival in rivals:
        check_sequences(model, graph, rival)
    session = Session(graph, num_threads=threads)
    samples = _samples(graph, data, _CALIBRATION if rivals else 1, images)
    feed = samples[0]
    run, _ = bound_call(session, feed)
    for _ in range(_WARM_UP):
        run()
    if runs is None:
        runs = int(np.clip(_SECONDS / max(_time(run), 1e-6), 1, _AT_MOST))
    beside: Rivalry | None = None
    with screen.progress() as done:
        seconds: list[float] = []
        told = 0.0
        while len(seconds) < runs:
            seconds.append(_time(run))
            if time.perf_counter() - told > _TELL_EVERY:
                done("running", len(seconds), runs)
                told = time.perf_counter()
        if rivals:
            beside = race_against(
                rivals, model, graph, samples, rounds=rounds, threads=threads, done=done
            )
    times = profile(graph, session, feed)
    rates = layer_rates(graph, times, threads) if layers else []
    p50, p90, p99 = (float(p) for p in np.percentile(seconds, (50, 90, 99)))
    rate = cost(graph).macs / p50 / 1e9
    found = {
        "model": str(model),
        "threads": threads,
        "runs": runs,
        "median_us": p50 * 1e6,
        "p90_us": p90 * 1e6,
        "p99_us": p99 * 1e6,
        "gmacs_per_second": rate,
        "memory_bytes": session.arena_bytes,
        "layers": [each.as_json() for each in rates]
        or [{"node": layer.node, "share": layer.share} for layer in times],
    }
    shown: list[RenderableType] = [
        *(_rates_table(rates, threads) if layers else [_times_table(times)]),
        "",
        *screen.pairs(
            [
                ("latency, median", screen.milliseconds(p50)),
                ("90 % are below", screen.milliseconds(p90)),
                ("99 % are below", screen.milliseconds(p99)),
                ("throughput", f"{rate:.2f} GMAC/s, threads: {threads}"),
                ("runs", str(runs)),
            ]
        ),
    ]
    if beside is not None:
        calibration = f"{len(samples)} samples of {data or 'noise'}"
        if graph.states:
            calibration += ", all in the first state"
        found["against"] = beside.as_json(calibration)
        shown += ["", *beside.shown(calibration)]
    return Report(found, shown)


def _samples(
    graph: Graph, data: Path | None, count: int, images: Mapping[str, Any]
) -> list[Mapping[str, np.ndarray]]:
    """At most ``count`` runs' inputs: of ``data``, or noise."""
    from edgeinfer.data import ImageOptions, load_data
    from edgeinfer.data.samples import runs as runs_of

    if data is None:
        rng = np.random.default_rng(0)
        return [_noise(graph, rng) for _ in range(min(count, _NOISE))]
    dataset = load_data(data, graph, ImageOptions(**images), samples=count)
    return list(runs_of(graph, dataset.samples, limit=count))


def _times_table(times: Sequence[LayerTime]) -> RenderableType:
    rows = [(layer.node, layer.operator, f"{layer.share:.1%}") for layer in times]
    return screen.table(("layer", "operator", "time"), rows, left=2)


def _rates_table(rates: Sequence[LayerRate], threads: int) -> list[RenderableType]:
    rows = [
        (
            each.layer.node,
            each.isa,
            screen.milliseconds(each.layer.seconds),
            f"{each.macs:,}" if each.macs else "",
            f"{each.rate / 1e9:.1f}" if each.macs else "",
            "" if each.share_of_peak is None else f"{each.share_of_peak:.1%}",
        )
        for each in rates
    ]
    peaks = {each.isa: each.peak for each in rates if each.peak}
    times = "" if threads == 1 else f" times {threads} threads"
    notes = [
        f"peak of {isa}: {peak / threads / 1e9:,.0f} GMAC/s{times}, int8, measured on registers"
        for isa, peak in peaks.items()
    ]
    if any((each.share_of_peak or 0) > 1 for each in rates):
        notes.append("beyond 100 %: layers of 3x3, of which 16 products do the work of 36")
    heading = ("layer", "kernel", "time", "MACs", "GMAC/s", "of peak")
    return [screen.table(heading, rows, left=2), *notes]


def _noise(graph: Graph, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Real numbers that every input can hold; indices stay 0, which is inside every axis."""
    feed = {}
    for name in graph.inputs:
        kind = graph.types[name]
        q = kind.quantization
        if q is None:
            feed[name] = np.zeros(kind.shape, kind.dtype)
            continue
        info = np.iinfo(kind.dtype)
        low, high = ((bound - q.zero_point) * q.step for bound in (info.min, info.max))
        feed[name] = rng.uniform(low, high, kind.shape).astype(np.float32)
    return feed


def _time(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
