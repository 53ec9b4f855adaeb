"""``edgeinfer hdl simulate``: a model on the simulated NPU, compared and accounted for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.hdl.comparison import Comparison
from edgeinfer.cli.hdl.options import config_option
from edgeinfer.cli.models import open_integer_model
from edgeinfer.cli.options import FILE, SVG, image_options, samples_option

if TYPE_CHECKING:
    from edgeinfer.hdl.simulation.simulation import InferenceReport, LayerReport, Simulation

__all__ = ["simulate"]


@command(example="edgeinfer hdl simulate digits.eqm --config 8x16 --data digits_test.npz")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@config_option
@click.option("--data", metavar="DATA", type=FILE, required=True, help="What to run.")
@samples_option(default=1)
@click.option("--trace", metavar="FILE.json", type=FILE, help="Write what every layer took.")
@click.option("--timeline", metavar="FILE.svg", type=SVG, help="Draw what the units did.")
@click.option(
    "--events",
    metavar="FILE.json",
    type=FILE,
    help="Write what the units did as trace events, for ui.perfetto.dev or chrome://tracing.",
)
@click.option(
    "--vcd",
    metavar="FILE.vcd",
    type=FILE,
    help="Write waveforms: 10 to 40 MB for every 1,000 cycles.",
)
@click.option("--host-ops", is_flag=True, help="Leave to the CPU what the NPU cannot run.")
@click.option(
    "--stream-weights", is_flag=True, help="Bring all weights from host memory in every run."
)
@image_options
def simulate(
    model: Path,
    config: str,
    data: Path,
    samples: int,
    trace: Path | None,
    timeline: Path | None,
    events: Path | None,
    vcd: Path | None,
    host_ops: bool,
    stream_weights: bool,
    **images: Any,
) -> Report:
    """Run MODEL.eqm on the simulated hardware of an NPU.

    Every layer's tensor is compared with the CPU's; a difference ends with exit code 1. Cycles are
    of the last sample: busy is the share of the multipliers that do useful work, stalled the cycles
    in which the array waits. The first simulation of a configuration builds its simulator, which
    takes half a minute.
    """
    from edgeinfer.data import ImageOptions, load_data
    from edgeinfer.files.atomic_write import atomic_write, check_distinct, check_writable
    from edgeinfer.hdl import Simulation

    check_distinct(trace, timeline, events, vcd)
    for path in (trace, timeline, events, vcd):
        if path is not None:
            check_writable(path, model, data)
    graph = open_integer_model(model)
    dataset = load_data(data, graph, ImageOptions(**images), samples=samples)
    with screen.progress() as progress:
        progress("preparing the simulator", 0, None)
        simulation = Simulation(
            graph, config, host_ops=host_ops, stream_weights=stream_weights, vcd=vcd
        )
    with simulation, screen.tracked("simulating", graph, dataset, samples) as feeds:
        comparison = Comparison.of(simulation, feeds)
        measured = simulation.report()
    layers = [_layer(layer, simulation) for layer in measured.layers]
    found = {
        "model": str(model),
        "config": simulation.config.text,
        "cycles": measured.cycles,
        "predicted": measured.predicted,
        "macs": measured.macs,
        "utilization": measured.utilization,
        "units": {name: dataclasses.asdict(unit) for name, unit in measured.units.items()},
        "layers": layers,
    } | comparison.data
    written = []
    if trace is not None:
        atomic_write(trace, (json.dumps(found, indent=2) + "\n").encode())
        written.append(trace)
    title = f"{model.name} on {simulation.config.name}"
    if timeline is not None:
        from edgeinfer.hdl.simulation.timeline import timeline_svg

        atomic_write(timeline, timeline_svg(measured, title).encode())
        written.append(timeline)
    if events is not None:
        from edgeinfer.hdl.simulation.trace_events import trace_events

        atomic_write(events, trace_events(measured, title))
        written.append(events)
    written += simulation.waveforms
    return Report(
        found,
        [
            _table(measured, simulation),
            "",
            *screen.pairs([*_summary(measured), comparison.line("value")]),
            *([""] if written else []),
            *(f"wrote {path}" for path in written),
        ],
        failure=comparison.failure,
    )


def _layer(layer: LayerReport, simulation: Simulation) -> dict[str, Any]:
    return {
        "value": layer.output,
        "node": layer.name,
        "operator": layer.operator,
        "macs": layer.macs,
        "cycles": layer.cycles,
        "predicted": layer.predicted,
        "end": layer.end,
        "utilization": layer.macs / (simulation.config.macs * max(1, layer.cycles)),
        "waiting": layer.waiting,
    }


def _table(measured: InferenceReport, simulation: Simulation) -> Any:
    rows = [
        (
            layer.output,
            f"{number}",
            layer.operator,
            f"{layer.cycles:,}",
            f"{layer.predicted:,}",
            f"{layer.macs / (simulation.config.macs * max(1, layer.cycles)):.0%}",
            f"{layer.waiting['convolve']:,}",
        )
        for number, layer in enumerate(measured.layers)
    ]
    headings = ("value", "layer", "operator", "cycles", "predicted", "busy", "stalled")
    return screen.table(headings, rows, left=3)


def _summary(measured: InferenceReport) -> list[tuple[str, str]]:
    shown = [
        ("cycles", f"{measured.cycles:,} (predicted {measured.predicted:,})"),
        ("MACs", f"{measured.macs:,}, {measured.utilization:.1%} of the multipliers busy"),
    ]
    for name, unit in measured.units.items():
        if unit.busy:
            shown.append(
                (
                    f"unit {name}",
                    f"{unit.busy:,} cycles with something to do, {unit.waiting:,} of them waiting",
                )
            )
    return shown
