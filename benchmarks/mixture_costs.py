"""The coefficients of ``quant/mixtures/costs.py``, fitted to the kernels' times on this machine.

    EDGEINFER_ZOO=DIR python benchmarks/mixture_costs.py [ENTRY ...]

Each entry in every scheme, and in two random mixtures with each width of weights. Two entries are
not the zoo's: ``products``, those of two values in attentions of five sizes, and ``small``,
convolutions of a few thousand multiply-accumulates, as the demo's. The least of 80
times of each kernel on one thread, so that a machine that does other things as well serves. Prints
Markdown: nanoseconds a multiply-accumulate, an element and a call, none below 0, with the least sum
of squared relative errors; how many kernels were fitted, and the median of their errors. Takes two
minutes, and scikit-learn's SciPy.
"""

from __future__ import annotations

import argparse
import itertools
import random
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from scipy.optimize import nnls
from zoo_accuracy import ENTRIES
from zoo_folder import load

from edgeinfer.converters import from_onnx
from edgeinfer.graph import Graph, GraphBuilder, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import cost
from edgeinfer.quant import Options, quantize, quantize_and_judge
from edgeinfer.quant.sharing import shared_quantization
from edgeinfer.runtime.session import Session

TIMES = 80
PRODUCTS, SMALL = "products", "small"
# heads, rows, depth, columns
SIZES: tuple[tuple[int, ...], ...] = (
    (4, 65, 16, 65),
    (4, 65, 65, 16),
    (3, 196, 64, 196),
    (3, 196, 196, 64),
    (8, 16, 32, 16),
)
# extent, channels
SMALL_SIZES = ((4, 16), (8, 4), (8, 16), (16, 8))

Feed = Mapping[str, np.ndarray]
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


def products(size: tuple[int, ...], rng: np.random.Generator) -> Iterator[tuple[Graph, Feed]]:
    """A product of two values, in all widths."""
    heads, rows, depth, columns = size
    shapes = {"a": (1, heads, rows, depth), "b": (1, heads, depth, columns)}
    builder = GraphBuilder("product")
    names = [builder.input(name, TensorType(shape)) for name, shape in shapes.items()]
    graph = builder.graph(builder.add(ops.MatMul(), *names, output="y"))
    feeds = [{n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()} for _ in "1234"]
    for x, y in itertools.product(("int8", "int16"), repeat=2):
        options = Options("int8", "minmax", {"a": x, "b": x, "y": y})
        yield quantize_and_judge(graph, feeds, options).graph, feeds[0]


def small(extent: int, channels: int) -> tuple[Graph, np.ndarray]:
    """A convolution of 3x3, a depthwise one and one of 1x1, three times with more channels."""
    rng = np.random.default_rng(extent)
    builder = GraphBuilder("small")
    value = builder.input("x", TensorType((1, extent, extent, channels)))
    for _ in range(3):
        for out, kernel, group in ((channels, 3, 1), (channels, 3, channels), (2 * channels, 1, 1)):
            shape = out, kernel, kernel, builder.shape(value)[-1] // group
            weights = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
            constants = [
                builder.constant("weights", weights.astype(np.float32)),
                builder.constant("bias", rng.normal(size=out).astype(np.float32)),
            ]
            op = ops.Conv(pads=(kernel // 2,) * 4, group=group, lo=0.0)
            value = builder.add(op, value, *constants)
        channels *= 2
    x = rng.normal(size=(8, *builder.graph(value).types["x"].shape[1:]))
    return builder.graph(value), x.astype(np.float32)


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
    if isinstance(node.op, ops.QMatMul):
        return f"{PRODUCTS} {sizes[0]}, {sizes[-1]}, {sizes[1]}"
    if isinstance(node.op, ops.Weighted):
        weights = graph.types[node.input("weights")]
        sizes.append(str(weights.itemsize))
        return f"{family(node.op, weights.shape, values[0].shape[-1])} {', '.join(sizes)}"
    return f"{type(node.op).__name__} {', '.join(sizes)}"


def samples(graph: Graph, x: np.ndarray | Feed) -> Iterator[tuple[str, Sample]]:
    session = Session(graph)
    least: dict[str, int] = {}
    for _ in range(TIMES):
        for name, took in session.profile(x).items():
            least[name] = min(least.get(name, took), took)
    work = {layer.node.name: layer.macs for layer in cost(graph).layers}
    for node in graph.nodes:
        if node.name in least:
            is_pair = isinstance(node.op, ops.Weighted | ops.Broadcasting | ops.QMatMul)
            names = node.outputs if is_pair else node.operands
            elements = sum(graph.types[n].elements for n in names if n not in graph.constants)
            yield kind(graph, node), (work[node.name], elements, least[node.name])


def made(name: str) -> Iterator[tuple[Graph, np.ndarray | Feed]]:
    """Integer Graphs, each with an input."""
    if name == PRODUCTS:
        rng = np.random.default_rng(0)
        for size in SIZES:
            yield from products(size, rng)
        return
    if name == SMALL:
        for extent, channels in SMALL_SIZES:
            floats, x = small(extent, channels)
            for graph in mixtures(floats, x):
                yield graph, x[:1]
        return
    entry = load(name)
    for graph in mixtures(from_onnx(entry.model), entry.calib):
        yield graph, entry.x[:1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("entries", nargs="*", default=(*ENTRIES, PRODUCTS, SMALL))
    warnings.simplefilter("ignore")
    found: dict[str, list[Sample]] = defaultdict(list)
    for name in parser.parse_args().entries:
        for graph, x in made(name):
            for what, sample in samples(graph, x):
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
