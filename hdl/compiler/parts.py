"""Kernels of which not all fits at once, in parts whose sums stay in the accumulators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from edgeinfer.hdl.compiler.kernel import LineShape, kernel_of
from edgeinfer.hdl.compiler.layers import Layer
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Mode

__all__ = ["Box", "weights_box"]


@dataclass(frozen=True)
class Box:
    """What a part of a layer's kernel has at most.

    Parameters
    ----------
    rows, columns, channels : int
    """

    rows: int
    columns: int
    channels: int

    @classmethod
    def whole(cls, layer: Layer) -> Box:
        """All of the kernel."""
        return cls(*layer.kernel, layer.weights.shape[3])

    @classmethod
    def within(
        cls,
        layer: Layer,
        shape: LineShape,
        positions: tuple[int, ...],
        config: NpuConfig,
        most: int,
    ) -> Box:
        """The largest part found of ``most`` passes; the smallest there is where none has so few.

        Parameters
        ----------
        layer : Layer
        shape : LineShape
            Of the source.
        positions : tuple of int
            Where the source has its channels.
        config : NpuConfig
        most : int
        """
        box = cls.whole(layer)
        while True:
            kernels = kernel_of(next(box.parts(layer)), shape, positions, config)
            smaller = box._smaller(layer, config.rows)
            if smaller is None or max(kernel.passes for kernel in kernels) <= most:
                return box
            box = smaller

    def _smaller(self, layer: Layer, rows: int) -> Box | None:
        """Half of it: of its rows, then of its columns, then of its channels."""
        if self.rows > 1:
            return replace(self, rows=-(-self.rows // 2))
        if self.columns > 1:
            return replace(self, columns=-(-self.columns // 2))
        return self.shallower(layer, rows)

    def flatter(self) -> Box | None:
        """With half of its rows."""
        return replace(self, rows=-(-self.rows // 2)) if self.rows > 1 else None

    def shallower(self, layer: Layer, multiple: int) -> Box | None:
        """With half of its channels, a ``multiple``; the array must sum them up."""
        channels = -(-self.channels // (2 * multiple)) * multiple
        sums = layer.mode is Mode.DENSE and layer.group == 1
        return replace(self, channels=channels) if sums and channels < self.channels else None

    def parts(self, layer: Layer) -> Iterator[Layer]:
        """The parts of ``layer`` in order; those that read the same follow each other."""
        height, width, depth = *layer.kernel, layer.weights.shape[3]
        for rows in _stretches(height, self.rows):
            for channels in _stretches(depth, self.channels):
                for columns in _stretches(width, self.columns):
                    yield layer.part(rows, columns, channels)


def _stretches(count: int, most: int) -> Iterator[range]:
    for start in range(0, count, most):
        yield range(start, min(start + most, count))


def weights_box(
    layer: Layer, shape: LineShape, positions: tuple[int, ...], config: NpuConfig
) -> Box:
    """The parts of ``layer`` that pass through the weight memory one after another.

    All of the kernel where half of the memory holds it, or where all passes have the same tile.
    """
    kernels = kernel_of(layer, shape, positions, config)
    same = (
        layer.mode is not Mode.DENSE
        and layer.kernel[1] % kernels[0].setting.taps == 0
        and bool((layer.weights == layer.weights.flat[0]).all())
    )
    if same or max(kernel.passes for kernel in kernels) <= config.weight_tiles // 2:
        return Box.whole(layer)
    # a quarter of the memory at once lets the next part come while this one is used
    return Box.within(layer, shape, positions, config, max(1, config.weight_tiles // 4))
