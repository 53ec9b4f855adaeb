"""Layers with places into instructions: bands, tiles, and the waits between the units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from edgeinfer.graph import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.bands import Bands, Surface
from edgeinfer.hdl.compiler.constants import Constants
from edgeinfer.hdl.compiler.kernel import Kernel
from edgeinfer.hdl.compiler.layers import Layer, Region
from edgeinfer.hdl.compiler.layout import Tensor, View
from edgeinfer.hdl.compiler.program import Binding
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Memory, Mode, Operation, Unit

__all__ = ["Emitter", "Job", "Tile", "tiles_of_output"]

_ADDRESSES = 1 << 20
_WINDOW = (1 << 15) - 1
_LINES = 4096
"""Of one READ_HOST or WRITE_HOST."""


@dataclass(frozen=True)
class Tile:
    """Output pixels that the accumulators take at once."""

    top: int
    rows: int
    left: int
    columns: int


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


def tiles_of_output(region: Region, depth: int) -> list[Tile]:
    """``region`` in tiles of ``depth`` pixels at most.

    Whole rows where they fit. A region of several rows is two tiles at least, so that the next
    layer can begin with the first while the last one passes through the lanes.
    """
    height, width = region.bottom - region.top, region.right - region.left
    parts = -(-width // depth)
    columns = -(-width // parts)
    bands = -(-height // max(1, depth // columns))
    if height > 1:
        bands = max(2, bands)
    rows = -(-height // bands)
    return [
        Tile(top, min(rows, region.bottom - top), left, min(columns, region.right - left))
        for top in range(region.top, region.bottom, rows)
        for left in range(region.left, region.right, columns)
    ]


@dataclass(frozen=True)
class _Part:
    """Lines of a tensor, pixels of each line, and words of each pixel."""

    lines: range
    pixels: range
    words: range

    @classmethod
    def of(cls, tensor: Tensor, lines: range, columns: int) -> _Part:
        """All of ``lines``."""
        return cls(lines, range(tensor.width), range(-(-tensor.pixel // columns)))


@dataclass(frozen=True)
class _Item:
    """A job over a band of output rows."""

    job: Job
    region: Region


def _items(region: Region, jobs: Sequence[Job], bands: Bands | None) -> Iterator[_Item]:
    rows = region.bottom - region.top if bands is None else bands.rows
    for job in jobs:
        for top in range(region.top, region.bottom, rows):
            bottom = min(top + rows, region.bottom)
            yield _Item(job, Region(top, region.left, bottom, region.right))


@dataclass
class _Copies:
    """The places in the buffer of a tensor's bands, used in turn.

    Parameters
    ----------
    bases : tuple of int
    """

    bases: tuple[int, ...]

    def __post_init__(self) -> None:
        self.contents: list[object] = [None] * len(self.bases)
        self.loaded = [0] * len(self.bases)  # LOAD's count when the contents are there
        self.free = [0] * len(self.bases)  # the user's count when they are not needed any more
        self._order = list(range(len(self.bases)))

    def find(self, contents: object) -> int | None:
        """The place that has ``contents``."""
        return self.contents.index(contents) if contents in self.contents else None

    def keep(self, index: int) -> None:
        """The next fetch may have any other place."""
        self._order.remove(index)
        self._order.append(index)

    def take(self, contents: object) -> int:
        """The place that was not used for longest, for ``contents``."""
        index = self._order.pop(0)
        self._order.append(index)
        self.contents[index] = contents
        return index


@dataclass
class _Written:
    """Rows of a tensor and the count of the unit that wrote them."""

    top: int
    bottom: int
    unit: Unit
    count: int


@dataclass
class Emitter:
    """A program in the making.

    Parameters
    ----------
    config : NpuConfig
    views : dict of str to View
    weights, parameters : Constants
    """

    config: NpuConfig
    views: dict[str, View]
    weights: Constants
    parameters: Constants
    program: list[isa.Instruction] = field(default_factory=list)
    counts: dict[Unit, int] = field(default_factory=lambda: dict.fromkeys(Unit, 0))

    def __post_init__(self) -> None:
        self._known: dict[tuple[Unit, Unit], int] = defaultdict(int)
        self._settings: dict[type[isa.Instruction], isa.Instruction] = {}
        self._written: dict[int, list[_Written]] = defaultdict(list)
        self._copies: dict[str, _Copies] = {}
        self._storing: dict[range, int] = {}  # bands in the buffer by STORE's count when it is done
        self._table_used = 0
        self._table: int | None = None
        self.parameters.advance(self)
        self.weights.advance(self)

    def emit(self, instruction: isa.Instruction) -> None:
        """Append ``instruction``; a setting only where it changes something."""
        if isinstance(
            instruction,
            isa.SetSource | isa.SetKernel | isa.SetOutput | isa.SetOperands | isa.SetSum,
        ):
            if self._settings.get(type(instruction)) == instruction:
                return
            self._settings[type(instruction)] = instruction
        self.program.append(instruction)
        if isinstance(instruction, isa.Convolve | isa.Activate):
            self.counts[instruction.unit] += instruction.groups
        elif instruction.unit in (Unit.LOAD, Unit.STORE, Unit.WEIGHTS):
            self.counts[instruction.unit] += 1

    def wait(self, waiter: Unit, on: Unit, count: int) -> None:
        """Let ``waiter`` wait until ``on`` has completed ``count``, unless it has already.

        Counters are compared modulo 2^16: what lies 2^15 or more behind would seem to lie ahead.
        """
        count = max(count, self.counts[on] - _WINDOW)
        if self._known[waiter, on] < count:
            self._known[waiter, on] = count
            self.emit(isa.Sync(waiter=waiter, on=on, count=count & 0xFFFF))

    def load(self, binding: Binding) -> None:
        """An input from host memory, unless it stays there."""
        tensor = binding.view.tensor
        if not tensor.spilled:
            self._move(isa.ReadHost, tensor, binding.host, *self._whole(tensor))
            self._note(tensor, 0, tensor.height, Unit.LOAD)

    def store(self, binding: Binding) -> None:
        """An output into host memory, unless it is there already."""
        tensor = binding.view.tensor
        if not tensor.spilled:
            self._await_rows(Unit.STORE, tensor, 0, tensor.height)
            self._move(isa.WriteHost, tensor, binding.host, *self._whole(tensor))

    def _whole(self, tensor: Tensor) -> tuple[Surface, _Part]:
        surface = Surface(tensor.base, tensor.pixel, tensor.pitch)
        return surface, _Part.of(tensor, range(tensor.height), self.config.columns)

    def _move(
        self,
        instruction: type[isa.ReadHost] | type[isa.WriteHost],
        tensor: Tensor,
        host: int,
        surface: Surface,
        part: _Part,
    ) -> None:
        """A part of a tensor between its image at ``host`` and ``surface``."""
        lines = part.lines
        if not lines:
            return
        columns, word_bytes = self.config.columns, self.config.word_bytes
        memory = {"memory": Memory.BUFFER} if instruction is isa.ReadHost else {}
        as_in_host = surface.pixel == tensor.pixel
        if as_in_host and part == _Part.of(tensor, lines, columns):
            for first in range(lines.start, lines.stop, _LINES):
                self.emit(
                    instruction(
                        host=host + first * tensor.pitch * word_bytes,
                        address=surface.base + (first - surface.top) * surface.pitch,
                        lines=min(_LINES, lines.stop - first),
                        words=tensor.pitch,
                        host_step=tensor.pitch * word_bytes,
                        step=tensor.pitch,
                        **memory,
                    )
                )
            return
        pixel = tensor.pixel // columns
        first = part.words.start if as_in_host else surface.group
        for y in lines:
            start = y * tensor.pitch + part.pixels.start * pixel + part.words.start
            self.emit(
                instruction(
                    host=host + start * word_bytes,
                    address=surface.word(y, part.pixels.start, first, columns),
                    lines=len(part.pixels),
                    words=len(part.words),
                    host_step=pixel * word_bytes,
                    step=surface.pixel // columns,
                    **memory,
                )
            )

    def halt(self) -> list[isa.Instruction]:
        """The finished program."""
        self.emit(isa.Halt())
        return self.program

    def layer(
        self, layer: Layer, jobs: Sequence[Job], bands: Bands | None, table: int | None
    ) -> None:
        """``layer`` in ``jobs``; ``table`` is where its table lies in host memory."""
        self._load_table(table)
        output = self.views[layer.output].tensor
        region = layer.region or Region(0, 0, output.height, output.width)
        items = list(_items(region, jobs, bands))
        if bands is None:
            self._await_stores(output)
        else:
            self._copies = {name: _Copies(bases) for name, bases in bands.bases.items()}
            self._fence()
            self._fetch(layer, bands, items[0])
        for item, following in zip(items, [*items[1:], None], strict=True):
            if bands is not None and following is not None and bands.copies > 1:
                self._fetch(layer, bands, following)
            self._item(layer, bands, item)
            if following is None or following.job is not item.job:
                self.weights.used(self, item.job.weights)
                self.parameters.used(self, item.job.parameters)
            if bands is not None and following is not None and bands.copies == 1:
                self._fetch(layer, bands, following)
        if layer.table is not None:
            self._table_used = self.counts[Unit.ACTIVATE]

    def _await_stores(self, output: Tensor) -> None:
        """Before ``output`` is written: what is still being stored from its place has gone."""
        words = range(output.base, output.base + output.words)
        for stored, count in self._storing.items():
            if stored.start < words.stop and words.start < stored.stop:
                self.wait(Unit.ACTIVATE, Unit.STORE, count)

    def _fence(self) -> None:
        """Before a layer's bands are moved: what was in their places before is done with."""
        self._storing.clear()
        for unit in (Unit.CONVOLVE, Unit.ACTIVATE, Unit.STORE):
            self.wait(Unit.LOAD, unit, self.counts[unit])
        self.wait(Unit.ACTIVATE, Unit.STORE, self.counts[Unit.STORE])

    def _lines(self, layer: Layer, item: _Item, name: str) -> range:
        """The lines of a tensor that ``item`` reads or writes."""
        region = item.region
        if name != "output" and _is_one_pixel(self._values(layer)[name].tensor):
            return range(1)
        if name != "source":
            return range(region.top, region.bottom)
        down, pad = layer.strides[0], layer.pads[0]
        reach = (layer.kernel[0] - 1) * layer.dilations[0] + 1
        height = self.views[layer.source].tensor.height
        first = max(0, region.top * down - pad)
        return range(first, max(first, min(height, (region.bottom - 1) * down - pad + reach)))

    def _groups(self, layer: Layer, item: _Item, name: str) -> range:
        """The words of a pixel that ``item`` reads or writes."""
        job = item.job
        if name == "source" and layer.mode is Mode.DENSE:
            return range(self.views[layer.source].words(self.config.columns))
        first = job.kernel.first + job.group
        return range(first, first + job.groups)

    def _values(self, layer: Layer) -> dict[str, View]:
        """The views of a layer's operands and result by their part in it."""
        values = {"source": layer.source, "output": layer.output}
        if layer.second is not None:
            values["second"] = layer.second.value
        return {name: self.views[value] for name, value in values.items()}

    def _fetch(self, layer: Layer, bands: Bands, item: _Item) -> None:
        """Bring the lines that ``item`` needs, where they are not there yet."""
        for name, user in (("source", Unit.CONVOLVE), ("second", Unit.ACTIVATE)):
            form = getattr(bands, name)
            if form is None:
                continue
            view = self._values(layer)[name]
            tensor = view.tensor
            lines = self._lines(layer, item, name)
            groups = self._groups(layer, item, name)
            part = _Part.of(tensor, lines, self.config.columns)
            if form.pixel == tensor.pixel:
                groups = range(0)
            else:
                words = range(view.word + groups.start, view.word + groups.stop)
                part = replace(part, words=words)
            copies = self._copies[name]
            found = copies.find((lines, groups))
            if found is not None:
                copies.keep(found)
                continue
            index = copies.take((lines, groups))
            self.wait(Unit.LOAD, user, copies.free[index])
            self._await_rows(Unit.LOAD, tensor, lines.start, lines.stop)
            surface = Surface(copies.bases[index], form.pixel, form.pitch, lines.start)
            self._move(isa.ReadHost, tensor, tensor.host, surface, part)
            copies.loaded[index] = self.counts[Unit.LOAD]

    def _surface(self, layer: Layer, bands: Bands | None, item: _Item, name: str) -> Surface:
        """Where ``item`` finds an operand, or puts its result."""
        view = self._values(layer)[name]
        tensor = view.tensor
        form = getattr(bands, name) if bands is not None else None
        if form is None:
            return Surface(tensor.base + view.word, tensor.pixel, tensor.pitch)
        lines = self._lines(layer, item, name)
        groups = self._groups(layer, item, name)
        whole = form.pixel == tensor.pixel
        copies = self._copies[name]
        contents = (lines, range(0) if whole else groups)
        if name == "output":
            index = copies.take(contents)
            self.wait(Unit.ACTIVATE, Unit.STORE, copies.free[index])
        else:
            found = copies.find(contents)
            assert found is not None
            index = found
            user = Unit.CONVOLVE if name == "source" else Unit.ACTIVATE
            self.wait(user, Unit.LOAD, copies.loaded[index])
        base = copies.bases[index]
        if whole:
            return Surface(base + view.word, form.pixel, form.pitch, lines.start)
        return Surface(base, form.pixel, form.pitch, lines.start, groups.start)

    def _item(self, layer: Layer, bands: Bands | None, item: _Item) -> None:
        """Compute one band, or all of a layer, and store what does not stay."""
        views = self._values(layer)
        surfaces = {name: self._surface(layer, bands, item, name) for name in views}
        self._settings_of(layer, surfaces)
        for tile in tiles_of_output(item.region, self.config.accumulator_depth):
            self._tile(layer, item.job, tile, surfaces, bands)
        for name, form in bands.slices() if bands is not None else ():
            copies = self._copies[name]
            surface = surfaces[name]
            index = next(
                i for i, base in enumerate(copies.bases) if base <= surface.base < base + form.words
            )
            if name != "output":
                unit = Unit.CONVOLVE if name == "source" else Unit.ACTIVATE
                copies.free[index] = self.counts[unit]
                continue
            view = views[name]
            tensor = view.tensor
            lines, groups = self._lines(layer, item, name), self._groups(layer, item, name)
            words = range(view.word + groups.start, view.word + groups.stop)
            part = _Part(lines, range(item.region.left, item.region.right), words)
            self.wait(Unit.STORE, Unit.ACTIVATE, self.counts[Unit.ACTIVATE])
            whole = Surface(copies.bases[index], form.pixel, form.pitch, lines.start)
            self._move(isa.WriteHost, tensor, tensor.host, whole, part)
            copies.free[index] = self.counts[Unit.STORE]
            place = range(whole.base, whole.base + form.words)
            self._storing[place] = self.counts[Unit.STORE]
            self._note(tensor, lines.start, lines.stop, Unit.STORE)

    def _load_table(self, table: int | None) -> None:
        if table is None or table == self._table:
            return
        self._table = table
        self.wait(Unit.LOAD, Unit.ACTIVATE, self._table_used)
        entries = 256 if self.config.width == 8 else 512 * 2 * 2
        beats = entries // self.config.bus_bytes
        self.emit(isa.ReadHost(memory=Memory.TABLE, host=table, address=0, words=beats))
        self.wait(Unit.ACTIVATE, Unit.LOAD, self.counts[Unit.LOAD])

    def _settings_of(self, layer: Layer, surfaces: dict[str, Surface]) -> None:
        source, output, columns = surfaces["source"], surfaces["output"], self.config.columns
        tensor = self.views[layer.source].tensor
        down, across = layer.strides
        by_pixel = layer.mode is not Mode.DEPTHWISE or layer.kernel[1] == 1
        self.emit(
            isa.SetSource(
                height=tensor.height,
                line_end=tensor.width * source.pixel,
                row_step=down * source.pitch,
                kernel_step=layer.dilations[0] * source.pitch,
                stride=down,
                dilation=layer.dilations[0],
                pixel_step=(across if by_pixel else 1) * source.pixel,
                pad=layer.pad,
            )
        )
        second = layer.second
        rows = pixels = 0
        if second is not None and not self._broadcasts(layer):
            rows, pixels = surfaces["second"].pitch, surfaces["second"].pixel // columns
        self.emit(
            isa.SetOutput(
                row_step=output.pitch,
                column_step=output.pixel // columns,
                residual_row_step=rows,
                residual_column_step=pixels,
                zero_point=layer.zero_point,
                lo=layer.lo,
                hi=layer.hi,
                operation=second.operation if second else Operation.NONE,
                double=layer.double,
                table=layer.table is not None,
            )
        )
        if second is not None:
            self._operands(second.op, second.swapped)

    def _broadcasts(self, layer: Layer) -> bool:
        """Whether the second operand is one pixel for all."""
        assert layer.second is not None
        return _is_one_pixel(self.views[layer.second.value].tensor)

    def _operands(self, op: ops.QAdd | ops.QMul, swapped: bool) -> None:
        a: tuple[int, int, int] = (op.a_zero_point, 0, 0)
        b: tuple[int, int, int] = (op.b_zero_point, 0, 0)
        left_shift = 0
        if isinstance(op, ops.QAdd):
            a = (op.a_zero_point, op.a_multiplier, op.a_shift)
            b = (op.b_zero_point, op.b_multiplier, op.b_shift)
            left_shift = op.left_shift
        if swapped:
            a, b = b, a
        self.emit(
            isa.SetOperands(
                a_zero_point=a[0],
                a_multiplier=a[1],
                a_shift=a[2],
                b_zero_point=b[0],
                b_multiplier=b[1],
                b_shift=b[2],
            )
        )
        self.emit(
            isa.SetSum(
                multiplier=op.multiplier,
                shift=op.shift,
                zero_point=op.output_zero_point,
                lo=op.lo,
                hi=op.hi,
                left_shift=left_shift,
            )
        )

    def _tile(
        self,
        layer: Layer,
        job: Job,
        tile: Tile,
        surfaces: dict[str, Surface],
        bands: Bands | None,
    ) -> None:
        kernel, columns = job.kernel, self.config.columns
        source, output = surfaces["source"], surfaces["output"]
        self.emit(kernel.setting)
        block = self.weights.blocks[job.weights]
        self.weights.await_block(self, job.weights)
        self.emit(
            isa.ReadWeights(
                address=block.slot.address, count=job.groups * kernel.passes, repeat=job.repeat
            )
        )
        tensor = self.views[layer.source].tensor
        y = tile.top * layer.strides[0] - layer.pads[0]
        reach = (tile.rows - 1) * layer.strides[0] + (layer.kernel[0] - 1) * layer.dilations[0]
        if not tensor.spilled:
            self._await_rows(Unit.CONVOLVE, tensor, y, y + reach + 1)
        x = (tile.left * layer.strides[1] - layer.pads[1]) * source.pixel
        period, tail = _fetches(layer, kernel, tile, tensor)
        self.emit(
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
            )
        )
        self.parameters.await_block(self, job.parameters)
        first = kernel.first + job.group
        residual = 0
        if layer.second is not None:
            second, place = surfaces["second"], (tile.top, tile.left)
            other = self.views[layer.second.value].tensor
            if self._broadcasts(layer):
                place = (0, 0)
            if not other.spilled:
                self._await_rows(Unit.ACTIVATE, other, place[0], place[0] + tile.rows)
            residual = second.word(*place, first, columns)
        self.emit(
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
        written = self.views[layer.output].tensor
        if not written.spilled:
            self._note(written, tile.top, tile.top + tile.rows, Unit.ACTIVATE)

    def _note(self, tensor: Tensor, top: int, bottom: int, unit: Unit) -> None:
        """``unit`` has written rows ``top`` to ``bottom`` of ``tensor``."""
        self._written[id(tensor)].append(_Written(top, bottom, unit, self.counts[unit]))

    def _await_rows(self, waiter: Unit, tensor: Tensor, top: int, bottom: int) -> None:
        """Let ``waiter`` wait for rows ``top`` to ``bottom`` of ``tensor``."""
        latest: dict[Unit, int] = {}
        for written in self._written[id(tensor)]:
            if written.top < bottom and top < written.bottom:
                latest[written.unit] = max(latest.get(written.unit, 0), written.count)
        for unit, count in latest.items():
            self.wait(waiter, unit, count)


def _fetches(layer: Layer, kernel: Kernel, tile: Tile, tensor: Tensor) -> tuple[int, int]:
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


def _is_one_pixel(tensor: Tensor) -> bool:
    return tensor.height == tensor.width == 1
