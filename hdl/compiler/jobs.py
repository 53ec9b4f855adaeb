"""Layers into jobs: groups whose constants are in the NPU together, and their image in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgeinfer.errors import UnsupportedError
from edgeinfer.hdl.compiler.bands import Bands
from edgeinfer.hdl.compiler.constants import Block
from edgeinfer.hdl.compiler.kernel import Kernel, LineShape, kernel_of, tiles_of
from edgeinfer.hdl.compiler.layers import Layer
from edgeinfer.hdl.compiler.layout import Layout
from edgeinfer.hdl.compiler.streams import plan_slots
from edgeinfer.hdl.config import NpuConfig

__all__ = ["ALIGNMENT", "ConstantImage", "Job"]

ALIGNMENT = 64
"""Of everything in host memory: any bus's beats, and whole cache lines."""


@dataclass(frozen=True)
class Job:
    """Some groups of a layer, whose weights are in the NPU together.

    Parameters
    ----------
    kernel : Kernel
    group, groups : int
        The first of the kernel's groups, and how many.
    weights, parameters : int
        Numbers of their blocks.
    repeat : bool
        The block is one tile for all passes.
    shared : bool
        The block is one group's parameters for all groups.
    """

    kernel: Kernel
    group: int
    groups: int
    weights: int
    parameters: int
    repeat: bool
    shared: bool


class ConstantImage:
    """Weights, parameters and tables in host memory, as layer after layer adds them.

    Parameters
    ----------
    config : NpuConfig

    Attributes
    ----------
    image : bytearray
        From the base address on.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        self.image = bytearray()
        self._weights: list[tuple[int, int]] = []  # where a block lies, and its size
        self._parameters: list[tuple[int, int]] = []
        self._tables: dict[bytes, int] = {}

    def _put(self, data: bytes) -> int:
        at = len(self.image)
        self.image += data + bytes(-len(data) % ALIGNMENT)
        return at

    def jobs(self, layer: Layer, layout: Layout, bands: Bands | None) -> list[Job]:
        """The jobs of ``layer``, its constants in blocks.

        Raises
        ------
        UnsupportedError
            One group's weights are more than the weight memory holds.
        """
        config = self.config
        source, output = layout.views[layer.source], layout.views[layer.output]
        tensor = source.tensor
        shape = LineShape.of(tensor.pixel, tensor.width, tensor.pitch)
        if bands is not None and bands.source is not None:
            shape = LineShape.of(bands.source.pixel, tensor.width, bands.source.pitch)
        at = output.positions
        jobs = []
        for kernel in kernel_of(layer, shape, source.positions, config, at):
            tiles = tiles_of(layer, kernel, shape, source.positions, at, config)
            jobs += self._kernel_jobs(layer, kernel, tiles, np.array(at), bands)
        return jobs

    def _kernel_jobs(
        self,
        layer: Layer,
        kernel: Kernel,
        tiles: np.ndarray,
        at: np.ndarray,
        bands: Bands | None,
    ) -> list[Job]:
        config = self.config
        repeat = len(tiles) == 1
        shared = all(
            (values == values[0]).all() for values in (layer.bias, layer.multiplier, layer.shift)
        )
        if not repeat and kernel.passes > config.weight_tiles:
            raise UnsupportedError(
                f"one group of output channels takes {kernel.passes} tiles of weights, the "
                f"weight memory of {config.name} holds {config.weight_tiles}. Take a larger "
                "configuration",
                node=layer.node.name,
                operator=type(layer.node.op).__name__,
            )
        if bands is not None:
            part = bands.groups
        elif repeat:
            part = kernel.groups
        else:
            # a quarter of the memory at once lets the next weights come while these are used
            part = max(1, config.weight_tiles // 4 // kernel.passes)
        if not shared:
            part = min(part, config.parameter_rows // 2 // config.steps)
        part = min(part, kernel.groups)
        jobs = []
        for group in range(0, kernel.groups, part):
            groups = min(part, kernel.groups - group)
            own = tiles if repeat else tiles[group * kernel.passes :][: groups * kernel.passes]
            data = own.astype(f"<i{config.element_bytes}").tobytes()
            self._weights.append((self._put(data), len(own)))
            first = kernel.first + group
            rows = _parameter_rows(layer, range(first, first + groups), at, shared, config)
            self._parameters.append((self._put(rows), len(rows) // config.parameter_row_bytes))
            jobs.append(
                Job(
                    kernel=kernel,
                    group=group,
                    groups=groups,
                    weights=len(self._weights) - 1,
                    parameters=len(self._parameters) - 1,
                    repeat=repeat,
                    shared=shared,
                )
            )
        return jobs

    def table(self, layer: Layer) -> int | None:
        """Where the table of ``layer`` lies in host memory; equal ones lie there once."""
        if layer.table is None:
            return None
        data = _table_bytes(layer.table)
        if data not in self._tables:
            self._tables[data] = self._put(data)
        return self._tables[data]

    def blocks(self, *, stream: bool) -> tuple[list[Block], list[Block]]:
        """The blocks of weights and those of parameters, with their slots."""
        config = self.config
        both = []
        for placed, capacity in (
            (self._weights, config.weight_tiles),
            (self._parameters, config.parameter_rows),
        ):
            slots = plan_slots([size for _, size in placed], capacity, stream=stream)
            both.append([Block(h, s, slot) for (h, s), slot in zip(placed, slots, strict=True)])
        return both[0], both[1]


def _parameter_rows(
    layer: Layer, groups: range, at: np.ndarray, shared: bool, config: NpuConfig
) -> bytes:
    """The records of a layer's output channels in ``groups`` of columns, as host memory has them.

    Parameters
    ----------
    layer : Layer
    groups : range
    at : int array [O]
        The column of each output channel, counted through all groups.
    shared : bool
        Whether one group's records serve all.
    config : NpuConfig
    """
    columns, bits = config.columns, config.accumulator_bits
    if shared:
        groups, at = range(1), np.arange(columns)
        layer = replace(
            layer,
            bias=np.repeat(layer.bias[:1], columns),
            multiplier=np.repeat(layer.multiplier[:1], columns),
            shift=np.repeat(layer.shift[:1], columns),
        )
    column = at - groups.start * columns
    here = (column >= 0) & (column < len(groups) * columns)
    bias, multiplier, shift = (np.zeros(len(groups) * columns, np.uint64) for _ in range(3))
    shift[:] = 2  # of columns without a channel
    bias[column[here]] = layer.bias[here].astype(np.uint64) & np.uint64((1 << bits) - 1)
    multiplier[column[here]] = layer.multiplier[here]
    shift[column[here]] = layer.shift[here]
    # bias, multiplier and shift side by side in 128 bits, of which a shift drops what is beyond 64
    low = bias | multiplier << np.uint64(bits)
    high = multiplier >> np.uint64(64 - bits)
    at_shift = bits + 31
    if at_shift < 64:
        low |= shift << np.uint64(at_shift)
        high |= shift >> np.uint64(64 - at_shift)
    else:
        high |= shift << np.uint64(at_shift - 64)
    whole = np.stack([low, high], 1).astype("<u8").view(np.uint8)
    records = whole[:, : config.parameter_bytes]
    rows = records.reshape(-1, config.lanes * config.parameter_bytes)
    padded = np.zeros((len(rows), config.parameter_row_bytes), np.uint8)
    padded[:, : rows.shape[1]] = rows
    return padded.tobytes()


def _table_bytes(table: np.ndarray) -> bytes:
    if len(table) == 256:
        return table.astype("<i1").tobytes()
    pairs = np.stack([table[:-1], np.diff(table)], 1)
    return pairs.astype("<i2").tobytes()
