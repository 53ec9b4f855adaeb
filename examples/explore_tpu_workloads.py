"""The workloads of Google's first TPU on an array of its size, beside what its paper published.

python explore_tpu_workloads.py

The paper (Jouppi et al., "In-Datacenter Performance Analysis of a Tensor Processing Unit", 2017,
table 1) gives layers, weights and batches, not shapes: here each workload has layers of one shape
with those counts. The TPU read its weights from DRAM at 43 bytes a cycle; here they come from
memory on the chip, or from the host at 16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import Graph, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import NpuConfig
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.compiler.timing import predict

ARRAY = NpuConfig(
    256,
    256,
    buffer_bytes=24 << 20,
    weight_bytes=64 << 20,
    parameter_rows=8192,
    accumulator_depth=256,
    lanes=256,
    weight_port=16,
    bus_bytes=16,
)
OUTPUT = {"output_zero_point": 0, "lo": -128, "hi": 127, "rounding": "single"}


@dataclass(frozen=True)
class Layer:
    """``count`` layers of ``size`` to ``size`` channels, over so many pixels."""

    count: int
    size: int
    pixels: tuple[int, int]
    kernel: int = 1

    def graph(self) -> Graph:
        """One of them, with any weights."""
        shape = (1, *self.pixels, self.size)
        rng = np.random.default_rng(0)
        weights = (self.size, self.kernel, self.kernel, self.size)
        constants = {
            "w": rng.integers(-128, 128, weights).astype(np.int8),
            "b": np.zeros(self.size, np.int32),
            "m": np.full(self.size, 1 << 30, np.int32),
            "s": np.full(self.size, 40, np.int8),
        }
        value = TensorType(shape, "int8", Quantization((0.0625,), 0, None))
        types = {name: TensorType(a.shape, str(a.dtype)) for name, a in constants.items()}
        pad = self.kernel // 2
        conv = ops.QConv(
            **OUTPUT,
            input_zero_point=0,
            strides=(1, 1),
            pads=(pad, pad, pad, pad),
            dilations=(1, 1),
            group=1,
        )
        node = Node("layer", conv, ("x", "w", "b", "m", "s"), ("y",))
        return Graph("layer", (node,), types | {"x": value, "y": value}, ("x",), ("y",), constants)

    @property
    def macs(self) -> int:
        """Of one of them."""
        return self.pixels[0] * self.pixels[1] * (self.size * self.kernel) ** 2


WORKLOADS = {
    # a batch of vectors lies in the buffer as so many pixels; published: array active, %
    "MLP0": ([Layer(5, 2000, (1, 200))], 12.7),
    "MLP1": ([Layer(4, 1118, (1, 168))], 10.6),
    "LSTM0": ([Layer(24, 1472, (1, 64))], 8.2),
    "LSTM1": ([Layer(37, 959, (1, 96))], 10.5),
    "CNN0": ([Layer(16, 236, (19, 19), 3)], 78.2),
    "CNN1": ([Layer(72, 352, (8, 8), 3), Layer(4, 2236, (1, 32))], 46.2),
}


def cycles(layer: Layer, *, stream: bool) -> int:
    """Of one layer, as the compiler predicts them."""
    program = compile(layer.graph(), ARRAY, stream_weights=stream).program
    return predict(program.infer, ARRAY).cycles


def main() -> None:
    print("| workload | weights | MACs | on the chip | from the host | TPU |")
    print("|---|---|---|---|---|---|")
    for name, (layers, published) in WORKLOADS.items():
        macs = sum(each.count * each.macs for each in layers)
        weights = sum(each.count * (each.size * each.kernel) ** 2 for each in layers)
        busy = []
        for stream in (False, True):
            taken = sum(each.count * cycles(each, stream=stream) for each in layers)
            busy.append(macs / (ARRAY.macs * taken))
        print(
            f"| {name} | {weights / 1e6:.0f} M | {macs / 1e6:,.0f} M | {busy[0]:.1%} | "
            f"{busy[1]:.1%} | {published}% |"
        )


if __name__ == "__main__":
    main()
