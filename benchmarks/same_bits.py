"""Which targets compute the same bits: the zoo through each of them, every layer compared.

    EDGEINFER_ZOO=DIR python benchmarks/same_bits.py [ENTRY ...] > docs/same-bits.md

TensorFlow Lite Micro and onnxruntime must be installed (the extra ``bench``), and Arm's TOSA
reference model must be on PATH (``edgeinfer verify`` says how it comes).
"""

from __future__ import annotations

import argparse
import platform
import warnings
from collections import Counter
from collections.abc import Sequence

from zoo_accuracy import ENTRIES
from zoo_folder import load

from edgeinfer import __version__
from edgeinfer.agreement import Agreement, digest, random_inputs, verify
from edgeinfer.converters import from_onnx
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.quant import quantize

PEERS = ("tflm", "onnxruntime", "tosa")
# of each entry's calibration samples, and runs of random integers
_SAMPLES, _RUNS = 40, 8

_HEAD = """\
# The same bits

Written by `python benchmarks/same_bits.py`, on {machine}, with edgeinfer {version}.

- Each model of the zoo is quantized with the default settings and {samples} samples, rounding once
  (`single`) or twice (`double`), and runs on {runs} samples of random integers. Every value of
  every layer on each target is compared with the Session's: *0* is no difference in all of them,
  and `n, s` are n values that differ, by s steps at most.
- The reference, the kernels of every instruction set of this machine and the exported C promise 0.
  [processors.md](processors.md) has that C on other processors. TensorFlow Lite
  Micro does for what rounds twice, until the first function or softmax. onnxruntime, which computes
  floats, promises nothing, and its differences add up from layer to layer.
- Arm's reference model of TOSA promises 0 for each layer that TOSA has operators for; the Session
  gives it what the others compute. *0 on 15* is no difference on 15 layers, which have one.
- The digest is the beginning of `edgeinfer verify --digest` over these runs: it must be the same on
  every machine.
"""


def cell(found: Agreement) -> str:
    shown = f"{found.differing:,}, {found.largest}" if found.differing else "0"
    return f"{shown} on {found.layers}" if found.absent else shown


def against(graph: Graph, target: str, runs: Sequence[dict]) -> tuple[str, list[Agreement]]:
    """What stands in a table, and what it is of."""
    try:
        found = verify(graph, (target,), runs)
    except UnsupportedError:
        return "no form there", []
    return " ".join(dict.fromkeys(map(cell, found))), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("entries", nargs="*", default=ENTRIES)
    entries = parser.parse_args().entries
    warnings.simplefilter("ignore")
    machine = f"{platform.system()}, {platform.machine()}"
    print(_HEAD.format(machine=machine, version=__version__, samples=_SAMPLES, runs=_RUNS))
    targets = ("reference", "kernels", "c", *PEERS)
    print("| model | rounding | layers | values |", " | ".join(targets), "| digest |")
    print("|---" * (5 + len(targets)) + "|")
    values, differing = Counter[str](), dict[tuple[str, str], int]()
    for name in entries:
        entry = load(name)
        for rounding in ("single", "double"):
            try:
                graph = quantize(from_onnx(entry.model), entry.calib[:_SAMPLES], rounding=rounding)
            except UnsupportedError:
                continue  # recurrent layers round once
            runs = random_inputs(graph, _RUNS)
            row = []
            kinds = {v: type(n.op).__name__ for n in graph.nodes for v in n.outputs}
            for target in targets:
                shown, found = against(graph, target, runs)
                row.append(shown)
                if target == "reference":
                    (own,) = found
                elif target in PEERS and rounding == "double":
                    for each in found:
                        for value, count in each.by_layer.items():
                            place = kinds[value], target
                            differing[place] = differing.get(place, 0) + count
            if rounding == "double":
                for value, kind in kinds.items():
                    values[kind] += graph.types[value].elements * _RUNS
            sizes = f"{own.layers} | {own.values:,}"
            print(f"| {name} | {rounding} | {sizes} |", " | ".join(row), end="")
            print(f" | `{digest(graph, runs)[:16]}` |", flush=True)
    print("\nOf the models that round twice, by operator: how many values there are, and how many")
    print("differ, those included that only take what differs already. What is empty has no such")
    print("operator.\n")
    print("| operator | values |", " | ".join(PEERS), "|")
    print("|---" * (2 + len(PEERS)) + "|")
    for kind, count in sorted(values.items()):
        shown = (f"{differing[kind, p]:,}" if (kind, p) in differing else "" for p in PEERS)
        print(f"| {kind} | {count:,} |", " | ".join(shown), "|")


if __name__ == "__main__":
    main()
