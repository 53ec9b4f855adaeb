"""Small models, one for each block of the NPU, and inputs under which a wrong block shows.

They are the same for every model that is exported: what a port of the gateware, or a change of it,
gets wrong is found here even where the model at hand does not ask for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.graph import DType, Graph, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import output_shapes
from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.sequencer import Fault
from edgeinfer.hdl.golden import GoldenSimulator
from edgeinfer.hdl.isa import Memory, Unit

__all__ = ["KnownProgram", "known_graphs", "known_programs"]

_DONE = 2
_PAGE = 4096


class _Sketch:
    """An integer Graph of a configuration's elements, node by node.

    Parameters
    ----------
    config : NpuConfig
    name : str
        Of the block; the numbers are drawn from it.
    """

    def __init__(self, config: NpuConfig, name: str) -> None:
        self.name = name
        self.bits = config.width
        self.dtype: DType = "int8" if self.bits == 8 else "int16"
        self.lo, self.hi = -(1 << self.bits - 1), (1 << self.bits - 1) - 1
        self.rng = np.random.default_rng(list(name.encode()))
        # 16-bit values have no zero points
        self.zero_point = 5 if self.bits == 8 else 0
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[str] = []

    def input(self, *shape: int) -> str:
        """A new input."""
        name = f"x{len(self.inputs)}"
        self.types[name] = self._type(shape)
        self.inputs.append(name)
        return name

    def node(self, op: ops.Operator, *inputs: str) -> str:
        """A node and the value that it makes."""
        name = f"v{len(self.nodes)}"
        (shape,) = output_shapes(op, *(self.types[each].shape for each in inputs))
        self.types[name] = self._type(shape)
        self.nodes.append(Node(f"n{len(self.nodes)}", op, tuple(inputs), (name,)))
        return name

    def constant(self, values: ArrayLike, dtype: DType) -> str:
        """A constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.array(values, dtype)
        self.types[name] = TensorType(self.constants[name].shape, dtype)
        return name

    def stage(self, **changes: Any) -> dict[str, Any]:
        """How a requantizing operator ends, but for ``changes``."""
        end = {"output_zero_point": self.zero_point, "lo": self.lo, "hi": self.hi}
        return {**end, "rounding": "single", **changes}

    def conv(
        self, x: str, outputs: int, kernel: tuple[int, int], group: int = 1, **how: Any
    ) -> str:
        """A convolution with a multiplier a channel; some of its results saturate."""
        depth = self.types[x].shape[3] // group
        taps = depth * math.prod(kernel)
        weights = self.rng.integers(-127, 128, (outputs, *kernel, depth))
        # twice the range for the sums' deviation, or half of it
        deviation = math.sqrt(taps) * 73 * (self.hi - self.lo) / math.sqrt(12)
        ratios = self.hi / deviation * self.rng.uniform(0.5, 2, outputs)
        pairs = [fixedpoint.multiplier_and_shift(r, 31 if self.bits == 8 else 24) for r in ratios]
        bias = self.rng.integers(-(self.hi * 40), self.hi * 40, outputs)
        return self.node(
            ops.QConv(
                input_zero_point=self.zero_point,
                group=group,
                strides=how.get("strides", (1, 1)),
                pads=how.get("pads", (0, 0, 0, 0)),
                dilations=how.get("dilations", (1, 1)),
                **self.stage(rounding=how.get("rounding", "single")),
            ),
            x,
            self.constant(weights, "int8"),
            self.constant(bias, "int32" if self.bits == 8 else "int64"),
            self.constant([m for m, _ in pairs], "int32"),
            self.constant([s for _, s in pairs], "int8"),
        )

    def rescale(self, x: str, multiplier: int, shift: int, **changes: Any) -> str:
        """R1 of ``x``, or R2."""
        op = ops.Rescale(
            input_zero_point=self.zero_point,
            multiplier=multiplier,
            shift=shift,
            **self.stage(**changes),
        )
        return self.node(op, x)

    def pair(self, operator: type[ops.QAdd], a: str, b: str) -> str:
        """A sum or a difference of two values at different scales."""
        parameters = fixedpoint.add_parameters(0.05, 0.02, 0.06, bits=self.bits)
        op = operator(
            a_zero_point=self.zero_point, b_zero_point=self.zero_point, **parameters, **self.stage()
        )
        return self.node(op, a, b)

    def product(self, a: str, b: str) -> str:
        """A product of two values."""
        multiplier, shift = fixedpoint.multiplier_and_shift(3 / self.hi, 24)
        op = ops.QMul(
            a_zero_point=self.zero_point,
            b_zero_point=self.zero_point,
            multiplier=multiplier,
            shift=shift,
            **self.stage(),
        )
        return self.node(op, a, b)

    def graph(self) -> Graph:
        """All that was sketched; what nothing takes is an output."""
        taken = {name for node in self.nodes for name in node.inputs}
        outputs = tuple(n.outputs[0] for n in self.nodes if n.outputs[0] not in taken)
        inputs = tuple(self.inputs)
        return Graph(self.name, tuple(self.nodes), self.types, inputs, outputs, self.constants)

    def _type(self, shape: tuple[int, ...]) -> TensorType:
        return TensorType(shape, self.dtype, Quantization((0.0625,), self.zero_point, None))


def known_graphs(config: NpuConfig) -> Iterator[Graph]:
    """The models, of which ``config`` has all blocks."""
    columns = config.columns

    windows = _Sketch(config, "windows")
    stem = windows.conv(windows.input(1, 8, 7, 1), columns + 1, (3, 3), pads=(1, 1, 1, 1))
    wide = windows.conv(stem, 2 * columns, (3, 3), strides=(2, 2), pads=(0, 0, 1, 1))
    dilated = windows.conv(wide, 3, (2, 3), dilations=(2, 1), pads=(1, 1, 1, 1))
    windows.conv(dilated, columns + 2, (1, 1))
    yield windows.graph()

    taps = _Sketch(config, "taps")
    x = taps.input(1, 9, 8, columns + 1)
    # fewer taps at once behind more
    taps.conv(x, columns + 1, (3, 3), columns + 1)
    taps.conv(x, columns + 1, (1, 1), columns + 1)
    layers: tuple[tuple[tuple[int, int], dict[str, Any]], ...] = (
        ((3, 3), {"pads": (1, 1, 1, 1)}),
        ((3, 3), {"dilations": (3, 1), "pads": (3, 1, 3, 1)}),
        ((3, 1), {"pads": (1, 0, 1, 0)}),
        ((5, 2), {"pads": (2, 1, 2, 0)}),
        ((2, 2), {"strides": (2, 2), "dilations": (2, 2), "pads": (1, 1, 1, 1)}),
    )
    for kernel, how in layers:
        x = taps.conv(x, columns + 1, kernel, columns + 1, **how)
    yield taps.graph()

    maxima = _Sketch(config, "maxima")
    x = maxima.input(1, 6, 7, columns + 1)
    for window, strides in (((2, 1), (1, 1)), ((3, 3), (2, 2))):
        pool = ops.MaxPool(kernel=window, strides=strides, pads=(0,) * 4, dilations=(1, 1))
        x = maxima.node(pool, x)
    yield maxima.graph()

    rounding = _Sketch(config, "rounding")
    x = rounding.input(1, 4, 8, columns)
    half, third = 1 << 30, 0x55555555
    roundings = ("single", "double") if config.width == 8 else ("single",)
    for kind in roundings:
        rounding.rescale(x, half, 31, rounding=kind)
        rounding.rescale(x, half, 32, rounding=kind)
        rounding.rescale(x, third, 34, rounding=kind)
        rounding.rescale(x, third, 31, rounding=kind)
        rounding.rescale(x, (1 << 31) - 1, 20, rounding=kind)
        rounding.rescale(x, half, 30, rounding=kind, lo=-30, hi=77)
    yield rounding.graph()

    pairs = _Sketch(config, "pairs")
    a, b = pairs.input(1, 4, 6, 2 * columns), pairs.input(1, 4, 6, 2 * columns)
    # operands of which lines do not lie as those of the result do: they are parts of a Concat
    parts = [pairs.rescale(x, half, 30) for x in (b, a)]
    both = pairs.node(ops.Concat(axis=3), *parts)
    pairs.pair(ops.QAdd, pairs.conv(a, 2 * columns, (1, 1)), parts[0])
    for left, right in ((a, b), (b, a)):
        pairs.pair(ops.QAdd, pairs.conv(left, 2 * columns, (1, 1)), right)
        pairs.pair(ops.QSub, left, pairs.conv(right, 2 * columns, (1, 1)))
        pairs.pair(ops.QSub, pairs.conv(left, 2 * columns, (1, 1)), right)
        pairs.product(left, right)
    pairs.conv(both, columns, (1, 1))
    yield pairs.graph()

    sums = _Sketch(config, "sums")
    x = sums.input(1, 8, 6, 2 * columns + 1)
    multipliers = [fixedpoint.multiplier_and_shift(1.5 / n, 24) for n in range(1, 10)]
    pooled = sums.node(
        ops.QAveragePool(
            kernel=(3, 3),
            strides=(2, 1),
            pads=(1, 1, 1, 1),
            input_zero_point=sums.zero_point,
            pad_value=sums.zero_point,
            **sums.stage(),
        ),
        x,
        sums.constant([m for m, _ in multipliers], "int32"),
        sums.constant([s for _, s in multipliers], "int8"),
    )
    sums.conv(sums.conv(pooled, 3 * columns, (1, 1)), columns, (4, 6))
    yield sums.graph()

    copies = _Sketch(config, "copies")
    x = copies.input(1, 7, 8, columns + 1)
    cut = copies.node(
        ops.Slice(starts=(0, 1, 0, 0), sizes=(1, 3, 4, columns + 1), steps=(1, 2, 2, 1)), x
    )
    padded = copies.node(ops.Pad(before=(0, 1, 0, 0), after=(0, 0, 1, 0), value=-7), cut)
    other = copies.conv(padded, 2, (1, 1))
    copies.conv(copies.node(ops.Concat(axis=3), padded, other), 5, (3, 3), pads=(1, 1, 1, 1))
    yield copies.graph()

    # more activations, and more weights, than the memories hold
    bands = _Sketch(config, "bands")
    x = bands.input(1, -(-config.buffer_words * 2 // (3 * 16)), 16, columns)
    bands.conv(x, columns, (3, 3), columns, pads=(1, 1, 1, 1))
    yield bands.graph()

    tiles = _Sketch(config, "tiles")
    groups = -(-config.weight_tiles * 5 // 4 // (2 * columns // config.rows))
    tiles.conv(tiles.input(1, 2, 2, 2 * columns), groups * columns, (1, 1))
    yield tiles.graph()

    if config.reductions:
        yield from _reductions(config)

    if config.tables:
        table = _Sketch(config, "table")
        entries = table.rng.integers(table.lo, table.hi + 1, 256 if config.width == 8 else 513)
        # slopes must fit 16 bits
        entries = entries if config.width == 8 else entries // 2
        x = table.input(1, 5, 6, columns + 1)
        table.node(ops.Lookup(), x, table.constant(entries, table.dtype))
        yield table.graph()


def _reductions(config: NpuConfig) -> Iterator[Graph]:
    """A softmax and normalizations by each measure, over a full word and one that is not."""
    sketch = _Sketch(config, "reductions")
    count = config.columns + 3
    x = sketch.input(1, 2, 3, count)
    if config.width == 8:
        exponentials = fixedpoint.exponential_table_8(0.05)
    else:
        exponentials = fixedpoint.exponential_table_16(1e-4)
    if 256 * config.element_bytes // config.lanes + config.steps <= config.parameter_rows:
        sketch.node(ops.QSoftmax(axis=3), x, sketch.constant(exponentials, "int32"))
    bits = sketch.hi.bit_length()
    for measure in ("variance", "squares", "magnitudes"):
        epsilon, exponent = fixedpoint.epsilon_and_exponent(float(sketch.hi))
        normalizer = fixedpoint.Normalizer(
            measure, count, sketch.zero_point, epsilon, exponent, is_least=measure == "squares"
        )
        fraction = normalizer.largest_fraction(2 * sketch.hi + 1 + sketch.zero_point)
        steps = sketch.rng.uniform(-0.5, 0.5, (2, count)) * 2.0**bits
        factors, offsets, shift = fixedpoint.affine_parameters(steps[0] * 2.0**-fraction, steps[1])
        op = ops.QNormalization(
            axes=(3,),
            measure=measure,
            input_zero_point=sketch.zero_point,
            epsilon=epsilon,
            exponent=exponent,
            is_least=normalizer.is_least,
            fraction=fraction,
            shift=shift,
            **sketch.stage(),
        )
        x = sketch.node(op, x, sketch.constant(factors, "int32"), sketch.constant(offsets, "int64"))
    yield sketch.graph()


@dataclass(frozen=True)
class KnownProgram:
    """Instructions whose end is known.

    Parameters
    ----------
    name : str
    code : bytes
        The instructions.
    before, after : bytes
        Host memory without them.
    status : int
        Of the register STATUS, when all is at rest.
    """

    name: str
    code: bytes
    before: bytes
    after: bytes
    status: int = _DONE


def known_programs(config: NpuConfig) -> Iterator[KnownProgram]:
    """Transfers over the borders of pages, and programs that must end in a fault."""
    rng = np.random.default_rng(0)
    bus, word = config.bus_bytes, config.word_bytes
    before = rng.bytes(4 * _PAGE)
    # lines that begin a few beats before a page's end, and are no whole number of bursts
    lines: dict[str, Any] = {"address": 3, "lines": 5, "words": 9, "step": 11}
    copy = [
        isa.ReadHost(
            memory=Memory.BUFFER, host=_PAGE - 3 * bus, host_step=9 * word + 2 * bus, **lines
        ),
        isa.Sync(waiter=Unit.STORE, on=Unit.LOAD, count=1),
        isa.WriteHost(host=3 * _PAGE - 5 * bus, host_step=9 * word + bus, **lines),
        isa.Halt(),
    ]
    golden = GoldenSimulator(config, bytearray(before))
    golden.run(copy)
    yield KnownProgram("transfers", isa.to_bytes(copy), before, bytes(golden.host))

    def fault(name: str, cause: Fault, code: bytes) -> KnownProgram:
        return KnownProgram(name, code, b"", b"", _DONE | cause << 8)

    halt = isa.Halt()
    beyond = isa.ReadHost(memory=Memory.BUFFER, host=0, address=config.buffer_words, words=1)
    yield fault("a word beyond the buffer", Fault.OUT_OF_RANGE, isa.to_bytes([beyond, halt]))
    never = isa.Sync(waiter=Unit.LOAD, on=Unit.STORE, count=1)
    yield fault("a wait without an end", Fault.WATCHDOG, isa.to_bytes([never, halt]))
    # a waiter has the three bits above the opcode, and 7 is none
    nobody = isa.encode(never) | 7 << isa.OPCODE_BITS
    wrong = nobody.to_bytes(isa.INSTRUCTION_BYTES, "little") + isa.to_bytes([halt])
    yield fault("a unit that is none", Fault.ILLEGAL_INSTRUCTION, wrong)
    yield fault("no HALT", Fault.NO_HALT, isa.to_bytes([replace(never, count=0)]))
