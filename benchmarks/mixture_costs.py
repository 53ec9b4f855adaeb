"""The coefficients of ``quant/mixtures/costs.py``, fitted to the kernels' times on this machine.

    EDGEINFER_ZOO=DIR python benchmarks/mixture_costs.py [ENTRY ...]

Each entry in every scheme, and in two random mixtures with each width of weights; the least of 80
times of each kernel on one thread, so that a machine that does other things as well serves. Prints
Markdown: nanoseconds a multiply-accumulate, an element and a call, none below 0, with the least sum
of squared relative errors; how many kernels were fitted, and the median of their errors. Takes two
minutes, and scikit-learn's SciPy.
"""

from __future__ import annotations

import argparse
import random
import warnings
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from scipy.optimize import nnls
from zoo_accuracy import ENTRIES
from zoo_folder import load

from edgeinfer.converters import from_onnx
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import cost
from edgeinfer.quant import quantize
from edgeinfer.quant.sharing import shared_quantization
from edgeinfer.runtime.session import Session

TIMES = 80
Sample = tuple[int, int, int]
"""Multiply-accumulates, elements, nanoseconds."""


def mixtures(graph: Graph, calibration: np.ndarray) -> Iterator[Graph]:
    draw = random.Random(0)
    roots = sorted(set(shared_quantization(graph, average_pool=False).values()))
    for scheme in ("int8", "int16x8", "int16"):
        widths = [{root: draw.choice(["int8", "int16"]) for root in roots} for _ in range(2)]
        for overrides in ({}, *(widths if scheme != "int16x8" else ())):
            yield quantize(
                graph, calibration[:8], scheme=scheme, observer="minmax", overrides=overrides
            )


def family(op: ops.Operator, weights: tuple[int, ...], channels: int) -> str:
    """The layers that ``costs.py`` tells apart."""
    if not isinstance(op, ops.QConv):
        return "dense"
    if 1 < op.group == channels:
        return "depthwise"
    return "points" if weights[1:3] == (1, 1) else "windows"


def kind(graph: Graph, node: Node) -> str:
    """What is fitted together: a family, and the bytes of what it takes, gives and weighs by."""
    values = [graph.types[n] for n in node.operands if n not in graph.constants]
    sizes = [str(t.itemsize) for t in (*values, graph.types[node.output])]
    if isinstance(node.op, ops.Weighted):
        weights = graph.types[node.input("weights")]
        sizes.append(str(weights.itemsize))
        return f"{family(node.op, weights.shape, values[0].shape[-1])} {', '.join(sizes)}"
    return f"{type(node.op).__name__} {', '.join(sizes)}"


def samples(graph: Graph, x: np.ndarray) -> Iterator[tuple[str, Sample]]:
    session = Session(graph)
    least: dict[str, int] = {}
    for _ in range(TIMES):
        for name, took in session.profile(x).items():
            least[name] = min(least.get(name, took), took)
    work = {layer.node.name: layer.macs for layer in cost(graph).layers}
    for node in graph.nodes:
        if node.name in least:
            is_pair = isinstance(node.op, ops.Weighted | ops.Broadcasting)
            names = node.outputs if is_pair else node.operands
            elements = sum(graph.types[n].elements for n in names if n not in graph.constants)
            yield kind(graph, node), (work[node.name], elements, least[node.name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("entries", nargs="*", default=ENTRIES)
    warnings.simplefilter("ignore")
    found: dict[str, list[Sample]] = defaultdict(list)
    for name in parser.parse_args().entries:
        entry = load(name)
        for graph in mixtures(from_onnx(entry.model), entry.calib):
            for what, sample in samples(graph, entry.x[:1]):
                found[what].append(sample)
    print("| kernels, bytes | a MAC | an element | a call | fitted | median error |")
    print("|---|---|---|---|---|---|")
    for what, measured in sorted(found.items()):
        macs, elements, took = np.array(measured, float).T
        columns = np.stack([macs, elements, np.ones_like(took)], 1) / took[:, None]
        fitted = nnls(columns, np.ones_like(took))[0]
        error = np.median(np.abs(columns @ fitted - 1))
        cells = f"{fitted[0]:.4f} | {fitted[1]:.3f} | {fitted[2]:.0f}"
        print(f"| {what} | {cells} | {len(took)} | {error:.0%} |")


if __name__ == "__main__":
    main()
