"""Layers into jobs: groups whose constants are in the NPU together, and their image in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeinfer.errors import UnsupportedError
from edgeinfer.hdl.compiler.bands import Bands
from edgeinfer.hdl.compiler.constants import Block
from edgeinfer.hdl.compiler.kernel import Kernel, LineShape, kernel_of, tiles_of
from edgeinfer.hdl.compiler.layers import Layer, Region
from edgeinfer.hdl.compiler.layout import Layout
from edgeinfer.hdl.compiler.parts import Box, weights_box
from edgeinfer.hdl.compiler.streams import plan_slots
from edgeinfer.hdl.config import NpuConfig

__all__ = ["ALIGNMENT", "ConstantImage", "Job"]

ALIGNMENT = 64
"""Of everything in host memory: any bus's beats, and whole cache lines."""


@dataclass(frozen=True)
class Job:
    """Some groups of a layer, or of a part of its kernel, whose weights are in the NPU together.

    Parameters
    ----------
    layer : Layer
        The layer, or the part.
    region : Region
        The rows and columns of it; one tile of a part.
    first, last : bool
        The accumulators start afresh with it, and are complete after it.
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

    layer: Layer
    region: Region
    kernel: Kernel
    group: int
    groups: int
    weights: int
    parameters: int
    repeat: bool
    shared: bool
    first: bool = True
    last: bool = True

    @property
    def is_part(self) -> bool:
        """Whether others have parts of the same sums."""
        return not (self.first and self.last)


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

    def put(self, data: bytes) -> int:
        """Where ``data`` lie in host memory from now on."""
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
        source, output = layout.views[layer.source], layout.views[layer.output]
        tensor = source.tensor
        shape = LineShape.of(tensor.pixel, tensor.width, tensor.pitch)
        if bands is not None and bands.source is not None:
            shape = LineShape.of(bands.source.pixel, tensor.width, bands.source.pitch)
        whole = Region(0, 0, output.tensor.height, output.tensor.width)
        making = _Making(self, layer, shape, source.positions, output.positions)
        region = layer.region or whole
        box = making.box() if bands is None else bands.box
        if box == Box.whole(layer):
            return making.whole(region, None if bands is None else bands.groups)
        rows = region.rows if bands is None else bands.rows
        return making.parts(box, region.bands(rows))

    def add_weights(self, host: int, tiles: int) -> int:
        """The number of a block of ``tiles`` that lie at ``host``."""
        self._weights.append((host, tiles))
        return len(self._weights) - 1

    def add_parameters(self, rows: bytes) -> int:
        """The number of a block of parameters."""
        self._parameters.append((self.put(rows), len(rows) // self.config.parameter_row_bytes))
        return len(self._parameters) - 1

    def table(self, layer: Layer) -> int | None:
        """Where the table of ``layer`` lies in host memory; equal ones lie there once."""
        if layer.table is None:
            return None
        data = _table_bytes(layer.table)
        if data not in self._tables:
            self._tables[data] = self.put(data)
        return self._tables[data]

    def blocks(self, *, stream: bool) -> tuple[list[Block], list[Block]]:
        """The blocks of weights and those of parameters, with their slots."""
        config = self.config
        both = []
        for placed, capacity in (
            (self._weights, config.weight_tiles),
            (self._parameters, config.parameter_rows),
        ):
            slots = plan_slots(placed, capacity, stream=stream)
            both.append([Block(h, s, slot) for (h, s), slot in zip(placed, slots, strict=True)])
        return both[0], both[1]


@dataclass(frozen=True)
class _Making:
    """The jobs of one layer in the making.

    Parameters
    ----------
    image : ConstantImage
    layer : Layer
    shape : LineShape
        Of the source, or of its bands.
    positions, at : tuple of int
        Where the source has its channels, and the output its own.
    """

    image: ConstantImage
    layer: Layer
    shape: LineShape
    positions: tuple[int, ...]
    at: tuple[int, ...]

    @property
    def shared(self) -> bool:
        """Whether one group's parameters serve all."""
        layer = self.layer
        values = (layer.bias, layer.multiplier, layer.shift)
        return all((each == each[0]).all() for each in values)

    def box(self) -> Box:
        """The parts in which the kernel passes through the weight memory."""
        return weights_box(self.layer, self.shape, self.positions, self.image.config)

    def _kernels(self, layer: Layer) -> list[Kernel]:
        return kernel_of(layer, self.shape, self.positions, self.image.config, self.at)

    def _tiles(self, layer: Layer, kernel: Kernel) -> np.ndarray:
        config = self.image.config
        return tiles_of(layer, kernel, self.shape, self.positions, self.at, config)

    def _put(self, tiles: np.ndarray) -> int:
        return self.image.put(tiles.astype(f"<i{self.image.config.element_bytes}").tobytes())

    def _parameters(self, kernel: Kernel, group: int, groups: int) -> int:
        first = kernel.first + group
        own, at = range(first, first + groups), np.array(self.at)
        rows = _parameter_rows(self.layer, own, at, self.shared, self.image.config)
        return self.image.add_parameters(rows)

    def whole(self, region: Region, most: int | None) -> list[Job]:
        """Jobs of all of the kernel for ``most`` groups, or as many as is best."""
        config = self.image.config
        jobs = []
        for kernel in self._kernels(self.layer):
            tiles = self._tiles(self.layer, kernel)
            repeat = len(tiles) == 1
            self._check(kernel, repeat)
            if most is not None:
                part = most
            elif repeat:
                part = kernel.groups
            else:
                # a quarter of the memory at once lets the next weights come while these are used
                part = max(1, config.weight_tiles // 4 // kernel.passes)
            if not self.shared:
                part = min(part, config.parameter_rows // 2 // config.steps)
            for group in range(0, kernel.groups, part):
                groups = min(part, kernel.groups - group)
                own = tiles if repeat else tiles[group * kernel.passes :][: groups * kernel.passes]
                jobs.append(
                    Job(
                        layer=self.layer,
                        region=region,
                        kernel=kernel,
                        group=group,
                        groups=groups,
                        weights=self.image.add_weights(self._put(own), len(own)),
                        parameters=self._parameters(kernel, group, groups),
                        repeat=repeat,
                        shared=self.shared,
                    )
                )
        return jobs

    def parts(self, box: Box, regions: Sequence[Region]) -> list[Job]:
        """Jobs of parts of the kernel, tile by tile: the weights come anew for each."""
        config = self.image.config
        layers = list(box.parts(self.layer))
        # where each group's weights lie, and their tiles, by part and kernel
        places: dict[tuple[int, int], list[tuple[int, int]]] = {}
        kernels = [self._kernels(layer) for layer in layers]
        for index, layer in enumerate(layers):
            for number, kernel in enumerate(kernels[index]):
                tiles = self._tiles(layer, kernel)
                self._check(kernel, len(tiles) == 1)
                cuts = np.split(tiles, kernel.groups) if len(tiles) > 1 else [tiles]
                placed = [(self._put(own), len(own)) for own in cuts]
                places[index, number] = placed if len(tiles) > 1 else placed * kernel.groups
        jobs = []
        for number, first in enumerate(kernels[0]):
            for group in range(first.groups):
                parameters = self._parameters(first, group, 1)
                for region in regions:
                    for tile in region.tiles(config.accumulator_depth):
                        for index, layer in enumerate(layers):
                            kernel = kernels[index][number]
                            host, size = places[index, number][group]
                            jobs.append(
                                Job(
                                    layer=layer,
                                    region=tile,
                                    kernel=kernel,
                                    group=group,
                                    groups=1,
                                    weights=self.image.add_weights(host, size),
                                    parameters=parameters,
                                    repeat=size < kernel.passes,
                                    shared=self.shared,
                                    first=index == 0,
                                    last=index == len(layers) - 1,
                                )
                            )
        return jobs

    def _check(self, kernel: Kernel, repeat: bool) -> None:
        config, node = self.image.config, self.layer.node
        if not repeat and kernel.passes > config.weight_tiles:
            raise UnsupportedError(
                f"one group of output channels takes {kernel.passes} tiles of weights, the "
                f"weight memory of {config.name} holds {config.weight_tiles}. Take a larger "
                "configuration",
                node=node.name,
                operator=type(node.op).__name__,
            )


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
