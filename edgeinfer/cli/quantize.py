"""``edgeinfer quantize``: an ONNX model and calibration data into an integer model file."""

from __future__ import annotations

import importlib
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeinfer.cli import screen
from edgeinfer.cli.cluster import dask_option, pool_at
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.mixtures import described, goal_options, shown
from edgeinfer.cli.models import Import, check_output, file_bytes, open_model, read_labels
from edgeinfer.cli.onnx_peer import onnx_peer
from edgeinfer.cli.options import FILE, image_options, import_options
from edgeinfer.errors import InputError
from edgeinfer.printable import one_line

if TYPE_CHECKING:
    from edgeinfer.data import DataSet
    from edgeinfer.graph import Graph
    from edgeinfer.quant import Goal, Judgement, LayerError, OutputQuality, Rounded

__all__ = ["OBSERVERS", "ROUNDINGS", "SCHEMES", "WIDTHS", "quantize"]

SCHEMES = ("int8", "int16x8", "int16")
AUTO = "auto"
WIDTHS = ("int8", "int16")
OBSERVERS = ("auto", "mse", "minmax", "percentile", "entropy")
ROUNDINGS = ("auto", "nearest", "bias", "in-turn")

_POOR_DB = 15.0
_MEASURED = 16  # runs that the quality is measured on; enough to tell a poor one
_WORST = 3


def _overrides(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Widths by pattern, in the order given."""
    overrides: dict[str, str] = {}
    for value in values:
        pattern, _, width = value.rpartition("=")
        if not pattern or width not in WIDTHS:
            raise click.BadParameter(
                f"{value!r} is not of the form PATTERN={' or PATTERN='.join(WIDTHS)}"
            )
        overrides.pop(pattern, None)
        overrides[pattern] = width
    return overrides


_RANGE = "[NAME=]LOW:HIGH"


def _ranges(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    """Ranges by input; the name of an only input may be left out, and is "" then."""
    found: dict[str, tuple[float, float]] = {}
    for value in values:
        name, _, ends = value.rpartition("=")
        low, _, high = ends.partition(":")
        try:
            given = float(low), float(high)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not of the form {_RANGE}") from None
        if name in found:
            raise click.BadParameter(f"{value!r} is a second range of the same input")
        found[name] = given
    return found


def _calibration(data: Path | None, calib: Path | None) -> Path:
    """The samples' file, also where it is given as 0.1.0 called it."""
    if data is not None and calib is not None:
        raise InputError("--calib is --data now: give one of them")
    if calib is not None:
        logging.getLogger(__name__).warning("--calib is --data now")
    given = calib if data is None else data
    if given is None:
        raise click.UsageError("Missing option '--data'.")
    return given


_UNJUDGED = [
    "each run takes up what the one before left, so no samples can be held back;",
    "evaluate --against judges the sequence of others",
]


@command(example="edgeinfer quantize digits.onnx --data digits_calib.npz -o digits.eqm")
@click.argument("model", metavar="MODEL", type=FILE)
@click.option("--data", metavar="DATA", type=FILE, help="Calibration samples.")
@click.option("--calib", type=FILE, hidden=True)
@click.option("-o", "--out", "output", metavar="OUT.eqm", type=FILE, required=True)
@click.option(
    "--scheme",
    type=click.Choice([*SCHEMES, AUTO]),
    default="int8",
    show_default=True,
    help="auto has 16 bits where they buy most, as far as a goal asks for them.",
)
@goal_options
@click.option(
    "--observer",
    type=click.Choice(OBSERVERS),
    default=OBSERVERS[0],
    show_default=True,
    help="How ranges are chosen from what calibration saw.",
)
@click.option(
    "--override",
    "overrides",
    metavar="PATTERN=int16",
    multiple=True,
    callback=_overrides,
    help="Another width for the activations that a shell pattern names, by their own names or "
    "their nodes'; may be repeated, and the last one that fits counts.",
)
@click.option(
    "--rounding",
    type=click.Choice(["single", "double"]),
    default="single",
    show_default=True,
    help="double gives the bits of TFLM, CMSIS-NN and Ethos-U (int8 only).",
)
@click.option(
    "--rounding-weights",
    type=click.Choice(ROUNDINGS),
    default=ROUNDINGS[0],
    show_default=True,
    help="nearest is the quickest; bias corrects each channel's mean; in-turn also rounds each "
    "weight after the errors of those before it; auto does so unless samples held back speak "
    "against it.",
)
@click.option(
    "--expect-range",
    "expected",
    metavar=_RANGE,
    multiple=True,
    callback=_ranges,
    help="From where to where the numbers of an input go, as 0:255. Samples outside are refused, "
    "and those that span little of it warned of.",
)
@click.option(
    "--samples",
    metavar="N",
    type=click.IntRange(1),
    help="Calibrate on this many samples, drawn by --seed; all, if it is not given.",
)
@click.option("--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--stream",
    metavar="STEPS",
    type=click.IntRange(1),
    help="Of a recurrent model of whole sequences, make one that takes STEPS of them a run and "
    "keeps its state: the same bits, step by step.",
)
@click.option("--prune-constant", is_flag=True, help="Remove channels that are constant.")
@import_options
@click.option(
    "--labels", metavar="FILE", type=FILE, help="Names of the classes, one a line, to keep."
)
@image_options
@dask_option("Calibrate, search and round")
def quantize(
    model: Path,
    data: Path | None,
    calib: Path | None,
    output: Path,
    scheme: str,
    goals: dict[str, Any],
    npu: str | None,
    front: Path | None,
    observer: str,
    overrides: dict[str, str],
    rounding: Any,
    rounding_weights: str,
    expected: dict[str, tuple[float, float]],
    samples: int | None,
    seed: int,
    stream: int | None,
    prune_constant: bool,
    how: Import,
    labels: Path | None,
    dask: str | None,
    **images: Any,
) -> Report:
    """Quantize MODEL to int8 or int16.

    MODEL is an .onnx, a .tflite, .keras or .pt2 of floats, or what edgeinfer convert made. DATA is
    an .npz with an array for each input by its name; or, for a single input, an .npy, a .csv of
    numbers, an image, a .wav, a folder of images, sounds or .npy files, or module:function, a
    Python function that gives arrays. A hundred samples of what the model will really see are
    enough.

    How images are prepared, and the labels, are kept in OUT.eqm for the other commands.
    """
    from edgeinfer.data import ImageOptions, load_data
    from edgeinfer.files.atomic_write import atomic_write, check_distinct, check_writable
    from edgeinfer.files.model_file import to_bytes
    from edgeinfer.graph.cost import cost
    from edgeinfer.quant import (
        Options,
        prune_constant_channels,
        quantize_and_judge,
        raised_channels,
    )

    data = _calibration(data, calib)
    # the file gives what the model gives unless that is cut out of it
    is_whole = model.suffix.lower() == ".onnx" and not (how.inputs or how.outputs)
    check_writable(output, model, data)
    check_output(output)
    goal = _goal(scheme, goals, npu)
    if front is not None:
        if scheme != AUTO:
            raise click.UsageError("--front draws what --scheme auto measured")
        check_distinct(output, front)
        check_writable(front, model, data)
        # what a picture needs is missed before the work, not behind it
        importlib.import_module("matplotlib.figure")
    started = time.perf_counter()
    # a cluster that is not there is missed before the work, too
    with pool_at(dask) as pool:
        graph = _floats(model, how)
        names = graph.labels if labels is None else read_labels(labels, graph)
        dataset = load_data(data, graph, ImageOptions(**images), samples=samples, seed=seed)
        runs = dataset.count_within(samples)
        with screen.progress() as done:
            made = quantize_and_judge(
                graph,
                dataset.samples,
                Options(
                    scheme,
                    observer,
                    overrides,
                    samples,
                    seed,
                    rounding,
                    stream,
                    done,
                    pool,
                    rounding_weights,
                    goal,
                    _by_input(expected, graph),
                ),
                reference=onnx_peer(model, how.constants) if is_whole else None,
            )
    integer, judged, mixture = made.graph, made.judgement, made.mixture
    scheme = integer.provenance["scheme"]
    if mixture is not None:
        overrides = dict(mixture.chosen.overrides)
    unpruned = cost(integer).macs
    if prune_constant:
        integer = prune_constant_channels(integer)
    macs = {"unpruned": unpruned, "written": cost(integer).macs}
    content = to_bytes(
        replace(integer, labels=names, preparation={**integer.preparation, **dataset.preparation})
    )
    picture = None
    if front is not None and mixture is not None:
        from edgeinfer.quant.mixtures.pictures import front_svg

        # drawn before anything is written, so that there is no model without its picture
        picture = front_svg(mixture, one_line(model.name)).encode()
    atomic_write(output, content)
    if front is not None and picture is not None:
        atomic_write(front, picture)
    seconds = time.perf_counter() - started
    errors = _errors(graph, made.whole, dataset)
    raised = raised_channels(integer)
    sizes = {"model": file_bytes(model), "output": len(content)}
    return Report(
        {
            "model": str(model),
            "output": str(output),
            "scheme": scheme,
            "observer": observer,
            "overrides": overrides,
            "rounding": rounding,
            "rounding_weights": {
                "asked": rounding_weights,
                "chosen": made.rounded.way,
                "sqnr_db": dict(made.rounded.sqnr_db),
            },
            "samples": runs,
            "seconds": seconds,
            "bytes": sizes,
            "judged_on": {"samples": judged.samples, "held_back": judged.held_back},
            "outputs": [_described(quality) for quality in judged.outputs],
            "raised_channels": raised,
            "macs": macs,
            **({} if mixture is None else {"mixture": described(mixture)}),
        },
        [
            *([] if mixture is None else shown(mixture)),
            f"wrote {output}: {scheme}, {runs} calibration {_samples(runs)}, {seconds:.1f} s",
            *(_given_widths(overrides) if mixture is None else []),
            *([] if front is None else [f"wrote {front}"]),
            *_rounded(made.rounded),
            f"{model.name} had {sizes['model']:,} bytes, {output.name} has {sizes['output']:,}",
            *_pruned(macs, prune_constant),
            *_quality(judged),
            *(_UNJUDGED if graph.states else []),
            *_coarser(raised),
        ],
        [*judged.findings, *_poor(judged, errors)],
    )


def _goal(scheme: str, goals: dict[str, Any], npu: str | None) -> Goal | None:
    """The one goal of the scheme auto, whose clock is an NPU's where one is given."""
    from edgeinfer.quant import Goal

    if scheme == AUTO and len(goals) != 1:
        raise click.UsageError(
            "--scheme auto has one goal: --max-drop, --min-sqnr, --max-latency or --max-bytes"
        )
    if scheme != AUTO and goals:
        option = "--" + next(iter(goals)).replace("_", "-")
        raise click.UsageError(f"{option} is a goal of --scheme auto")
    if scheme != AUTO and npu is not None:
        raise click.UsageError("--npu counts for the goals of --scheme auto")
    if npu is not None:
        from edgeinfer.hdl.clock import NpuClock

        goals = {**goals, "clock": NpuClock(npu)}
    return Goal(**goals) if goals else None


def _by_input(
    expected: dict[str, tuple[float, float]], graph: Graph
) -> dict[str, tuple[float, float]]:
    """Ranges by the names of the inputs."""
    if "" in expected and len(graph.inputs) > 1:
        inputs = ", ".join(map(repr, graph.inputs))
        raise InputError(
            f"the model has inputs {inputs}: give --expect-range {graph.inputs[0]}=LOW:HIGH"
        )
    named = {name or graph.inputs[0]: ends for name, ends in expected.items()}
    if len(named) < len(expected):
        raise InputError(f"--expect-range is given twice for input {graph.inputs[0]!r}")
    return named


def _floats(model: Path, how: Import) -> Graph:
    graph = open_model(model, how)
    if graph.is_integer:
        raise InputError(f"{model} is quantized already; give the .onnx that it was made from")
    return graph


def _given_widths(overrides: dict[str, str]) -> list[str]:
    given = ", ".join(f"{pattern}={width}" for pattern, width in overrides.items())
    return [f"widths other than the scheme's: {given}"] if given else []


def _rounded(rounded: Rounded) -> list[str]:
    """How the weights became integers, and what it is worth."""
    how = {
        "nearest": "weights rounded to nearest",
        "bias": "biases offset by what rounded weights are off by in the mean",
        "in-turn": "weights rounded in turn, biases offset",
        "as stated": "types and weights as the model states them",
    }[rounded.way]
    if rounded.way == "nearest" or not rounded.sqnr_db:
        return [how]
    best, nearest = (screen.decibels(rounded.sqnr_db[way]) for way in (rounded.way, "nearest"))
    return [how, f"they leave {best} dB at the last layers on samples held back, nearest {nearest}"]


def _pruned(macs: dict[str, int], is_asked: bool) -> list[str]:
    unpruned, written = macs["unpruned"], macs["written"]
    if not is_asked:
        return []
    if written == unpruned:
        return [f"no channel could be removed: {written:,} multiply-accumulates as before"]
    return [f"{unpruned:,} multiply-accumulates are {written:,} without constant channels"]


def _described(quality: OutputQuality) -> dict[str, Any]:
    return {
        "name": quality.name,
        "sqnr_db": quality.sqnr_db,
        "constant": quality.constant,
        "lost": {str(axis): indices for axis, indices in quality.lost.items()},
    }


def _errors(graph: Graph, integer: Graph, data: DataSet) -> list[LayerError]:
    """Every layer against float, the worst first, on some of the calibration data."""
    from edgeinfer.quant import compare

    with screen.tracked("measuring", graph, data, _MEASURED) as feeds:
        return compare(graph, integer, feeds)


def _coarser(raised: dict[str, list[int]]) -> list[str]:
    if not raised:
        return []
    count = sum(map(len, raised.values()))
    channels = f"{count} {'channel has' if count == 1 else 'channels have'}"
    layers = f"{len(raised)} {'layer' if len(raised) == 1 else 'layers'}"
    return [
        f"in {layers} {channels} coarser weights, so that their bias or",
        "their sum fits; --json names them, --prune-constant removes those that are constant",
    ]


def _samples(count: int) -> str:
    return "sample" if count == 1 else "samples"


def _quality(judged: Judgement) -> list[str]:
    """The SQNR of each output, and on what."""
    held = "of the calibration samples"
    if judged.held_back:
        held = f"{_samples(judged.samples)} held back"
    return [
        f"output {output.name}: SQNR {screen.in_decibels(output.sqnr_db)} on "
        f"{judged.samples} {held}"
        for output in judged.outputs
    ]


def _poor(judged: Judgement, errors: list[LayerError]) -> list[str]:
    worst = ", ".join(
        f"{e.operator} {e.node!r} ({screen.in_decibels(e.sqnr_db)})" for e in errors[:_WORST]
    )
    return [
        f"output {output.name!r} has an SQNR of {screen.decibels(output.sqnr_db)} dB, below "
        f"{_POOR_DB:.0f}; the worst layers are {worst}; try --override NAME=int16 for these, "
        "--scheme int16x8, another --observer or more varied samples"
        for output in judged.outputs
        if output.sqnr_db < _POOR_DB
    ]
