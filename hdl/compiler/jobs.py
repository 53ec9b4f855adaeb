"""Layers into jobs: groups, or parts of a kernel, whose constants are in the NPU together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from edgeinfer.errors import UnsupportedError
from edgeinfer.hdl.compiler.bands import Bands
from edgeinfer.hdl.compiler.constant_image import ConstantImage, Placed
from edgeinfer.hdl.compiler.kernel import Kernel, LineShape, kernel_of, tiles_of
from edgeinfer.hdl.compiler.layers import Factor, Layer, Region
from edgeinfer.hdl.compiler.layout import Layout, Tensor
from edgeinfer.hdl.compiler.parts import Box, weights_box

__all__ = ["Job", "jobs_of"]


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


def jobs_of(layer: Layer, layout: Layout, bands: Bands | None, image: ConstantImage) -> list[Job]:
    """The jobs of ``layer``, its constants in blocks of ``image``.

    Raises
    ------
    UnsupportedError
        The weights of one group, or of a part of them, are more than the weight memory holds.
    """
    source, output = layout.views[layer.source], layout.views[layer.output]
    tensor = source.tensor
    shape = LineShape.of(layer, tensor.pixel, tensor.width, tensor.pitch)
    if bands is not None and bands.source is not None:
        shape = LineShape.of(layer, bands.source.pixel, tensor.width, bands.source.pitch)
    making = _Making(image, layer, shape, source.positions, output.positions)
    if layer.factor is not None:
        return making.products(layer.factor, layer.region or _whole(output.tensor))
    region = layer.region or _whole(output.tensor)
    box = making.box() if bands is None else bands.box
    if box == Box.whole(layer) and len(layer.shares(image.config.largest_weight)) == 1:
        return making.whole(region, None if bands is None else bands.groups)
    return making.parts(box, region.bands(region.rows if bands is None else bands.rows))


def _whole(tensor: Tensor) -> Region:
    return Region(0, 0, tensor.height, tensor.width)


def _addends(value: int, bits: int) -> list[int]:
    """``value``, unless it is 0, as integers of so many ``bits``, of which it is the sum."""
    if -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        return [value] if value else []
    return [value // 2, value - value // 2]


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

    @cached_property
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

    def _parameters(self, kernel: Kernel, group: int, groups: int) -> int:
        first = kernel.first + group
        own = range(first, first + groups)
        return self.image.add_parameters(self.layer, own, self.at, shared=self.shared)

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
                        weights=self.image.add_weights(self.image.put_tiles(own)),
                        parameters=self._parameters(kernel, group, groups),
                        repeat=repeat,
                        shared=self.shared,
                    )
                )
        return jobs

    def parts(self, box: Box, regions: Sequence[Region]) -> list[Job]:
        """Jobs of parts of the kernel, tile by tile: the weights come anew for each."""
        most = self.image.config.largest_weight
        layers = [share for part in box.parts(self.layer) for share in part.shares(most)]
        # each part has as many kernels of as many groups
        kernels = [self._kernels(layer) for layer in layers]
        tiles = [t for each in regions for t in each.tiles(self.image.config.accumulator_depth)]
        jobs = []
        for number, one in enumerate(kernels[0]):
            parts = [
                (layer, own[number], self._placed(layer, own[number]))
                for layer, own in zip(layers, kernels, strict=True)
            ]
            for group in range(one.groups):
                parameters = self._parameters(one, group, 1)
                for tile in tiles:
                    for index, (layer, kernel, placed) in enumerate(parts):
                        jobs.append(
                            Job(
                                layer=layer,
                                region=tile,
                                kernel=kernel,
                                group=group,
                                groups=1,
                                weights=self.image.add_weights(placed[group]),
                                parameters=parameters,
                                repeat=placed[group][1] < kernel.passes,
                                shared=self.shared,
                                first=index == 0,
                                last=index == len(parts) - 1,
                            )
                        )
        return jobs

    def products(self, factor: Factor, region: Region) -> list[Job]:
        """Jobs of a product with a value in the place of weights: "Products" in npu-design.md.

        Beside a b, which is all where the zero points are 0, the accumulators sum -za b, with
        padding that reads as -za in the place of a, and -zb a, with weights of -zb.
        """
        config, layer = self.image.config, self.layer
        (kernel,) = self._kernels(layer)
        self._check(kernel, False)
        padding = [
            replace(layer, pads=(1, 0), pad=pad)
            for pad in _addends(-factor.source_zero_point, config.width)
        ]
        weighed = [
            (weights, self._placed(weights, kernel))
            for value in _addends(-factor.zero_point, config.width)
            for weights in [replace(layer, weights=np.full_like(layer.weights, value))]
        ]
        jobs: list[Job] = []
        last_placed, block = None, -1
        for group in range(kernel.groups):
            parameters = self._parameters(kernel, group, 1)
            computed = self.image.reserve_tiles(kernel.passes)
            parts = [(each, computed) for each in (layer, *padding)]
            parts += [(each, placed[group]) for each, placed in weighed]
            for tile in region.tiles(config.accumulator_depth, least=2):
                for index, (part, placed) in enumerate(parts):
                    if placed != last_placed:
                        last_placed, block = placed, self.image.add_weights(placed)
                    jobs.append(
                        Job(
                            layer=part,
                            region=tile,
                            kernel=kernel,
                            group=group,
                            groups=1,
                            weights=block,
                            parameters=parameters,
                            repeat=placed[1] < kernel.passes,
                            shared=self.shared,
                            first=index == 0,
                            last=index == len(parts) - 1,
                        )
                    )
        return jobs

    def _placed(self, layer: Layer, kernel: Kernel) -> list[Placed]:
        """Where the weights of each group of a part lie."""
        tiles = self._tiles(layer, kernel)
        repeat = len(tiles) == 1
        self._check(kernel, repeat)
        if repeat:
            return [self.image.put_tiles(tiles)] * kernel.groups
        return [self.image.put_tiles(own) for own in np.split(tiles, kernel.groups)]

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
