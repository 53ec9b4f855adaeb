"""Layers with places into instructions: jobs over bands, in tiles that the accumulators take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.bands import Bands, Surface
from edgeinfer.hdl.compiler.constants import ConstantStream, TableLoader
from edgeinfer.hdl.compiler.jobs import Job
from edgeinfer.hdl.compiler.kernel import Kernel
from edgeinfer.hdl.compiler.layers import Factor, Layer, Reduced, Region
from edgeinfer.hdl.compiler.layout import Tensor, View
from edgeinfer.hdl.compiler.operands import Item, Operands, items
from edgeinfer.hdl.compiler.program import Binding
from edgeinfer.hdl.compiler.settings import settings
from edgeinfer.hdl.compiler.traffic import LayerTraffic, Stores
from edgeinfer.hdl.compiler.transfers import LINES, Part, move
from edgeinfer.hdl.compiler.waits import Schedule
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Unit

__all__ = ["Emitter"]

_ADDRESSES = 1 << 20


class Emitter:
    """Writes a program, one layer after another.

    Parameters
    ----------
    config : NpuConfig
    views : mapping of str to View
    weights, parameters : ConstantStream
    """

    def __init__(
        self,
        config: NpuConfig,
        views: Mapping[str, View],
        weights: ConstantStream,
        parameters: ConstantStream,
    ) -> None:
        self.config, self.views = config, views
        self.weights, self.parameters = weights, parameters
        self.schedule = Schedule()
        self._stores = Stores()
        self._table = TableLoader(config)
        self.parameters.advance(self.schedule)
        self.weights.advance(self.schedule)

    def load(self, binding: Binding) -> None:
        """An input from host memory, unless it stays there."""
        tensor = binding.view.tensor
        if not tensor.spilled:
            self._move_whole(isa.ReadHost, binding)
            self.schedule.note(tensor, 0, tensor.height, Unit.LOAD)

    def store(self, binding: Binding) -> None:
        """An output into host memory, unless it is there already."""
        tensor = binding.view.tensor
        if not tensor.spilled:
            self.schedule.await_rows(Unit.STORE, tensor, 0, tensor.height)
            self._move_whole(isa.WriteHost, binding)

    def _move_whole(
        self, instruction: type[isa.ReadHost] | type[isa.WriteHost], binding: Binding
    ) -> None:
        tensor = binding.view.tensor
        surface = Surface(tensor.base, tensor.pixel, tensor.pitch)
        part = Part.of(tensor, range(tensor.height), self.config.columns)
        for each in move(instruction, tensor, binding.host, surface, part, self.config):
            self.schedule.emit(each)

    def halt(self) -> list[isa.Instruction]:
        """The finished program."""
        self.schedule.emit(isa.Halt())
        return self.schedule.program

    def layer(
        self, layer: Layer, jobs: Sequence[Job], bands: Bands | None, table: int | None
    ) -> None:
        """``layer`` in ``jobs``; ``table`` is where its table lies in host memory."""
        if table is not None:
            self._table.load(table, self.schedule)
        operands = Operands(layer, self.views, self.config.columns)
        traffic = LayerTraffic(operands, bands, self.schedule, self._stores, self.config)
        if layer.factor is not None:
            self._store_factor(layer.factor, jobs)
        every = list(items(jobs, bands))
        ahead = bands is not None and bands.copies > 1
        traffic.fetch(every[0])
        for item, following in zip(every, [*every[1:], None], strict=True):
            if following is not None and ahead:
                traffic.fetch(following)
            self._item(operands, item, traffic)
            if following is None or following.job.weights != item.job.weights:
                self.weights.used(self.schedule, item.job.weights)
            if following is None or following.job.parameters != item.job.parameters:
                self.parameters.used(self.schedule, item.job.parameters)
            if following is not None and not ahead:
                traffic.fetch(following)
        if table is not None:
            self._table.used(self.schedule)

    def _store_factor(self, factor: Factor, jobs: Sequence[Job]) -> None:
        """The line of a product's second factor into host memory, in tiles as weights have them."""
        view, schedule, columns = self.views[factor.value], self.schedule, self.config.columns
        tensor = view.tensor
        pixel, stored = tensor.pixel // columns, set()
        schedule.await_rows(Unit.STORE, tensor, factor.line, factor.line + 1)
        for job in jobs:
            block = self.weights.blocks[job.weights]
            if not block.computed:
                continue
            if block.host not in stored:
                stored.add(block.host)
                start = tensor.base + factor.line * tensor.pitch + view.word + job.group
                for first in range(0, tensor.width, LINES):
                    schedule.emit(
                        isa.WriteHost(
                            host=block.host + first * self.config.word_bytes,
                            address=start + first * pixel,
                            lines=min(LINES, tensor.width - first),
                            words=1,
                            host_step=self.config.word_bytes,
                            step=pixel,
                        )
                    )
        self._stores.add(
            range(tensor.base, tensor.base + tensor.words), schedule.counts[Unit.STORE]
        )
        for number in dict.fromkeys(job.weights for job in jobs):
            if self.weights.blocks[number].computed:
                self.weights.written(schedule, number)

    def _item(self, operands: Operands, item: Item, traffic: LayerTraffic) -> None:
        """Compute one band, or all of a layer, and store what does not stay."""
        job, region, depth = item.job, item.region, self.config.accumulator_depth
        surfaces = {name: traffic.surface(item, name) for name in operands.names(job)}
        for setting in settings(operands, job, surfaces):
            self.schedule.emit(setting)
        # two, so that the next layer can begin with the first while the last one is in the lanes
        for tile in [region] if job.is_part else region.tiles(depth, least=2):
            self._convolve(operands, job, tile, surfaces["source"])
            if job.last:
                self._activate(operands, job, tile, surfaces)
        traffic.done(item)

    def _convolve(self, operands: Operands, job: Job, tile: Region, source: Surface) -> None:
        """A tile's sums into the accumulators."""
        layer, kernel, schedule = job.layer, job.kernel, self.schedule
        tensor = operands.tensor("source")
        schedule.emit(kernel.setting)
        block = self.weights.blocks[job.weights]
        self.weights.await_block(schedule, job.weights)
        schedule.emit(
            isa.ReadWeights(
                address=block.slot.address, count=job.groups * kernel.passes, repeat=job.repeat
            )
        )
        y = tile.top * layer.strides[0] - layer.pads[0]
        reach = (tile.rows - 1) * layer.strides[0] + (layer.kernel[0] - 1) * layer.dilations[0]
        if not tensor.spilled:
            schedule.await_rows(Unit.CONVOLVE, tensor, y, y + reach + 1)
        columns = self.config.columns
        x = (tile.left * layer.strides[1] - layer.pads[1]) * layer.pixel(source.pixel)
        period, tail = _fetches(layer, kernel, tile, tensor)
        schedule.emit(
            isa.Convolve(
                base=source.word(y, 0, source.group, columns) % _ADDRESSES,
                y=y,
                x=x + kernel.offset + job.group * kernel.group_step - source.group * columns,
                rows=tile.rows,
                columns=tile.columns,
                period=period,
                tail=tail,
                groups=job.groups,
                group_step=kernel.group_step,
                first=job.first,
                last=job.last,
            )
        )

    def _activate(
        self, operands: Operands, job: Job, tile: Region, surfaces: Mapping[str, Surface]
    ) -> None:
        """A tile's sums through the lanes into the buffer."""
        schedule, columns, output = self.schedule, self.config.columns, surfaces["output"]
        self.parameters.await_block(schedule, job.parameters)
        first = job.kernel.first + job.group
        residual = 0
        if "second" in surfaces:
            other = operands.tensor("second")
            place = (0, 0) if operands.broadcasts else (tile.top, tile.left)
            if not other.spilled:
                schedule.await_rows(Unit.ACTIVATE, other, place[0], place[0] + tile.rows)
            residual = surfaces["second"].word(*place, first, columns)
        schedule.emit(
            isa.Activate(
                base=output.word(tile.top, tile.left, first, columns),
                residual=residual,
                parameters=self.parameters.blocks[job.parameters].slot.address,
                shared=job.shared,
                rows=tile.rows,
                columns=tile.columns,
                groups=job.groups,
            )
        )
        if job.layer.reduced is not None:
            self._reduce(job, job.layer.reduced, tile, output)
        written = operands.tensor("output")
        if not written.spilled:
            grid = job.layer.grid
            across = range(tile.left, tile.right) if grid.turned else range(tile.top, tile.bottom)
            lines = grid.lines(across)
            schedule.note(written, lines.start, lines.stop, Unit.ACTIVATE)

    def _reduce(self, job: Job, reduced: Reduced, tile: Region, output: Surface) -> None:
        """A tile's pixels, which the lanes have written, by what their channels have in common."""
        columns = self.config.columns
        block = self.parameters.blocks[job.parameters]
        self.schedule.emit(
            isa.Reduce(
                kind=reduced.kind,
                base=output.word(tile.top, tile.left, 0, columns),
                row_step=output.pitch,
                column_step=output.pixel // columns,
                rows=tile.rows,
                columns=tile.columns,
                channels=len(job.layer.weights),
                parameters=block.slot.address + self.config.steps,
            )
        )


def _fetches(layer: Layer, kernel: Kernel, tile: Region, tensor: Tensor) -> tuple[int, int]:
    """Fetches in a row, and those after the last row: "Feed" in docs/npu-design.md."""
    taps = kernel.setting.taps
    if taps == 1:
        return tile.columns, 0
    own = (tile.columns - 1) * kernel.setting.emit + taps
    left = layer.pads[1]
    right = own - left - tensor.width
    whole = tile.left == 0 and kernel.setting.emit == 1 and kernel.setting.runs == 1
    if whole and 0 < right <= left and tile.rows > 1:
        return own - right, right
    return own, 0
