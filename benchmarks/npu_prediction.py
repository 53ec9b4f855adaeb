"""Cycles that the compiler foresees beside those of the simulated NPU, where tensors stream.

    python benchmarks/npu_prediction.py [--configs 8x16 ...] [--size 96] [mobilenet_v2 resnet_18]

Prints Markdown. The networks have the layers of MobileNetV2 and ResNet-18 and seeded weights; small
ones, a few inverted residuals and a residual block, run in buffers of 1 to 4 KiB. Every value is
held against the CPU's. Takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import inf, prod

import numpy as np
from networks import MOBILENET_V2
from npu_inference import inference

from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant import quantize

PRESETS = ("8x8", "8x16", "9x16", "16x16")
SMALL = (
    "4x4,buffer_bytes=1024,weight_bytes=2048,parameter_rows=16",
    "8x8,buffer_bytes=2048,weight_bytes=8192,weight_port=8,lanes=8",
    "8x16,buffer_bytes=4096",
    "9x16,buffer_bytes=4096,weight_bytes=4608,lanes=16",
    "16x16,buffer_bytes=4096",
)


class Network:
    """A float Graph of convolutions with seeded weights, from its input on."""

    def __init__(self, size: int, channels: int = 3) -> None:
        self.rng = np.random.default_rng(0)
        self.builder = GraphBuilder("network")
        self.value = self.builder.input("x", TensorType((1, size, size, channels), "float32"))

    @property
    def channels(self) -> int:
        return self.builder.shape(self.value)[-1]

    def _normal(self, *shape: int) -> str:
        values = self.rng.normal(size=shape) * np.sqrt(2 / prod(shape[1:]))
        return self.builder.constant("weights", values.astype(np.float32))

    def _bias(self, count: int) -> str:
        values = self.rng.normal(size=count) * 0.1
        return self.builder.constant("bias", values.astype(np.float32))

    def conv(
        self, out: int, kernel: int, stride: int = 1, *, group: int = 1, lo: float = 0, hi: float
    ) -> Network:
        weights = self._normal(out, kernel, kernel, self.channels // group)
        op = ops.Conv(
            strides=(stride, stride),
            pads=(kernel // 2,) * 4,
            group=group,
            lo=float(lo),
            hi=float(hi),
        )
        self.value = self.builder.add(op, self.value, weights, self._bias(out))
        return self

    def join(self, other: str, lo: float = -inf) -> None:
        self.value = self.builder.add(ops.Add(lo=float(lo)), self.value, other)

    def inverted(self, out: int, stride: int, factor: int) -> None:
        before, wide = self.value, factor * self.channels
        narrow = self.channels
        if factor > 1:
            self.conv(wide, 1, hi=6)
        self.conv(wide, 3, stride, group=wide, hi=6).conv(out, 1, lo=-inf, hi=inf)
        if stride == 1 and narrow == out:
            self.join(before)

    def residual(self, out: int, stride: int) -> None:
        before = self.value
        if stride > 1 or self.channels != out:
            before = self.conv(out, 1, stride, lo=-inf, hi=inf).value
            self.value = self.builder.nodes[-1].inputs[0]
        self.conv(out, 3, stride, hi=inf).conv(out, 3, lo=-inf, hi=inf).join(before, lo=0)

    def classified(self, classes: int) -> Graph:
        shape = self.builder.shape(self.value)
        pool = ops.AveragePool(kernel=(shape[1], shape[2]))
        self.value = self.builder.add(pool, self.value)
        self.conv(classes, 1, lo=-inf, hi=inf)
        return self.builder.graph(self.value)


def mobilenet_v2(size: int) -> Graph:
    network = Network(size).conv(32, 3, 2, hi=6)
    for factor, out, count, stride in MOBILENET_V2:
        for index in range(count):
            network.inverted(out, 1 if index else stride, factor)
    return network.conv(1280, 1, hi=6).classified(1000)


def resnet_18(size: int) -> Graph:
    network = Network(size).conv(64, 7, 2, hi=inf)
    pool = ops.MaxPool(kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    network.value = network.builder.add(pool, network.value)
    for out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        network.residual(out, stride)
        network.residual(out, 1)
    return network.classified(1000)


def small_mobilenet() -> Graph:
    network = Network(24, 8).conv(16, 3, 2, hi=6)
    for out, stride in ((16, 1), (24, 2), (24, 1)):
        network.inverted(out, stride, 4)
    return network.classified(10)


def small_resnet() -> Graph:
    network = Network(16, 8).conv(16, 3, hi=inf)
    for out, stride in ((16, 1), (32, 2)):
        network.residual(out, stride)
    return network.classified(10)


LARGE: dict[str, Callable[[int], Graph]] = {"mobilenet_v2": mobilenet_v2, "resnet_18": resnet_18}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=[*LARGE, "small"])
    parser.add_argument("--configs", nargs="*", default=PRESETS)
    parser.add_argument("--size", type=int, default=96)
    arguments = parser.parse_args()
    print("| network | configuration | cycles | predicted | |")
    print("|---|---|---|---|---|")
    for name in arguments.networks:
        if name == "small":
            show("small MobileNetV2", small_mobilenet(), SMALL)
            show("small ResNet", small_resnet(), SMALL)
        else:
            show(name, LARGE[name](arguments.size), arguments.configs)


def show(name: str, network: Graph, configs: tuple[str, ...]) -> None:
    rng = np.random.default_rng(1)
    shape = network.types["x"].shape
    samples = rng.normal(size=(4, *shape[1:])).astype(np.float32)
    graph = quantize(network, samples, observer="minmax")
    (input_name,) = graph.inputs
    x = {input_name: rng.integers(-128, 128, graph.types[input_name].shape, np.int8)}
    for config in configs:
        report, _ = inference(graph, config, x)
        off = report.predicted / report.cycles - 1
        cells = (name, f"`{config}`", f"{report.cycles:,}", f"{report.predicted:,}", f"{off:+.1%}")
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
