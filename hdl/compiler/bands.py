"""Which tensors do not stay in the buffer, and the bands in which layers pass over them.

A tensor that does not stay lies in host memory. A layer that reads or writes one goes over its
output in bands of rows, for some groups of channels at a time; a band's input lines, with the halo
that the kernel needs, and its output lines have places in the buffer, twice where there is room,
so that one band moves while another is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph.lifetimes import spans
from edgeinfer.hdl.compiler.kernel import LineShape, bank_conflict, kernel_of
from edgeinfer.hdl.compiler.layers import Grid, Layer, Region
from edgeinfer.hdl.compiler.layout import Layout, Tensor, View
from edgeinfer.hdl.compiler.parts import Box, weights_box
from edgeinfer.hdl.config import BANKS, NpuConfig
from edgeinfer.hdl.isa import Mode
from edgeinfer.runtime.arena import Buffer, allocate

__all__ = ["BandForm", "Bands", "Surface", "place"]


@dataclass(frozen=True)
class Surface:
    """Lines of a value in the buffer.

    Parameters
    ----------
    base : int
        The word of line ``top``'s first pixel.
    pixel : int
        Elements from a pixel to the next.
    pitch : int
        Words from a line to the next.
    top : int
        The first line.
    group : int
        The group of channels at a pixel's beginning.
    """

    base: int
    pixel: int
    pitch: int
    top: int = 0
    group: int = 0

    def of_grid(self, grid: Grid, columns: int) -> Surface:
        """Where the rows and columns of a layer lie whose results are in ``grid`` of these."""
        base = self.word(grid.top, grid.left, self.group, columns)
        pixel, pitch = self.pixel * grid.across, self.pitch * grid.down
        if grid.turned:
            pixel, pitch = pitch * columns, pixel // columns
        return replace(self, base=base, pixel=pixel, pitch=pitch)

    def word(self, y: int, x: int, group: int, columns: int) -> int:
        """The word of ``group`` of pixel (y, x)."""
        pixel = x * (self.pixel // columns)
        return self.base + (y - self.top) * self.pitch + pixel + group - self.group


@dataclass(frozen=True)
class BandForm:
    """The form of a band of a tensor in the buffer.

    Parameters
    ----------
    lines : int
    pixel, pitch : int
        As in ``Surface``.
    """

    lines: int
    pixel: int
    pitch: int

    @property
    def words(self) -> int:
        """Words of one copy."""
        return self.lines * self.pitch


@dataclass(frozen=True)
class Bands:
    """How a layer passes over tensors in host memory.

    Parameters
    ----------
    rows, groups : int
        Output rows, and groups of channels, of a band.
    box : Box
        The parts of the kernel, each with a band of the source of its own.
    source, second, output : BandForm or None
        The bands' forms; None where the tensor stays in the buffer.
    bases : dict of str to tuple of int
        The words where the copies of each begin; set by ``place``.
    """

    rows: int
    groups: int
    copies: int
    box: Box
    source: BandForm | None
    second: BandForm | None
    output: BandForm | None
    bases: dict[str, tuple[int, ...]]

    def forms(self) -> Iterator[tuple[str, BandForm]]:
        """The forms that there are, by name."""
        for name in ("source", "second", "output"):
            form = getattr(self, name)
            if form is not None:
                yield name, form

    @property
    def words(self) -> int:
        """Words of all copies."""
        return self.copies * sum(form.words for _, form in self.forms())


@dataclass
class _BandPlanner:
    graph: Graph
    layout: Layout
    config: NpuConfig

    def __post_init__(self) -> None:
        constants = {id(self.layout.views[name].tensor) for name in self.layout.constants}
        self.spilled = constants
        # what the plans of all spills have in common
        self._known_choices: dict[tuple[int, bool, bool, bool], list[Bands]] = {}
        self._known_pitches: dict[tuple[int, int], int] = {}
        self._known_passes: dict[int, int] = {}
        views = self.layout.views
        layers = self.layout.layers
        kept = [layer.factor.value for layer in layers if layer.factor is not None]
        kept += [layer.output for layer in layers if layer.grid.turned]
        self._kept = {id(views[name].tensor) for name in kept}  # never spilled
        self._residents: list[int] = []  # by layer, from the inputs' on; none after a spill
        self.tensors = {
            id(tensor): tensor for tensor in (self.layout.views[n].tensor for n, _ in self._uses())
        }
        alive = spans((id(self.layout.views[name].tensor), step) for name, step in self._uses())
        self.lives = {
            key: Buffer(self.tensors[key].words, first, last)
            for key, (first, last) in alive.items()
        }

    def _uses(self) -> Iterator[tuple[str, int]]:
        """The values that each layer reads and writes; inputs before the first, outputs last."""
        yield from ((name, -1) for name in self.graph.inputs)
        for index, layer in enumerate(self.layout.layers):
            for name in (layer.output, *layer.operands):
                yield name, index
        yield from ((name, len(self.layout.layers)) for name in self.graph.outputs)

    def resident(self, index: int) -> int:
        """Words of what stays in the buffer at layer ``index``; -1 is before the first."""
        if not self._residents:
            self._residents = [0] * (len(self.layout.layers) + 2)
            for key, b in self.lives.items():
                if key not in self.spilled:
                    for step in range(b.first, b.last + 1):
                        self._residents[step + 1] += b.size
        return self._residents[index + 1]

    def plan(self) -> tuple[int, list[Bands | None]]:
        """Places for all; the words that they take, and each layer's bands."""
        capacity = self.config.buffer_words
        steps = range(-1, len(self.layout.layers) + 1)
        share = 1.0
        while True:
            if max(map(self.resident, steps)) > capacity:
                self._spill()
                continue
            bands = self._bands(share)
            if bands is not None:
                words = self._allocate(bands)
                if words <= capacity:
                    return words, bands
                if self.spilled and share > 0.5:
                    share -= 0.1
                    continue
            share = 1.0
            self._spill()

    def _spill(self) -> None:
        """Move the largest tensor at the fullest layer to host memory."""
        layers = range(-1, len(self.layout.layers) + 1)
        for index in sorted(layers, key=self.resident, reverse=True):
            candidates = [
                key
                for key, b in self.lives.items()
                if key not in self.spilled | self._kept and b.first <= index <= b.last
            ]
            if candidates:
                self.spilled.add(max(candidates, key=lambda k: self.lives[k].size))
                self._residents = []
                return
        needed = max(
            self.resident(index) + min((b.words for b in self._choices(index)), default=0)
            for index in range(len(self.layout.layers))
        )
        raise UnsupportedError(
            f"one row of a layer takes {needed * self.config.word_bytes} bytes of the buffer, "
            f"{self.config.name} has {self.config.buffer_bytes}. Take a larger configuration"
        )

    def _bands(self, share: float) -> list[Bands | None] | None:
        """Bands for every layer that needs them; None where one has no room."""
        found: list[Bands | None] = []
        for index, layer in enumerate(self.layout.layers):
            if not any(self._spills(layer)):
                found.append(None)
                continue
            room = (self.config.buffer_words - self.resident(index)) * share
            fitting = [b for b in self._choices(index) if b.words <= room]
            if not fitting:
                return None
            found.append(min(fitting, key=lambda b: self._cost(layer, b)))
        return found

    def _spills(self, layer: Layer) -> tuple[bool, bool, bool]:
        """Whether the source, the second operand and the output of ``layer`` are spilled."""
        views = self.layout.views
        second = layer.second is not None and self._is_spilled(views[layer.second.value])
        return (
            self._is_spilled(views[layer.source]),
            second,
            self._is_spilled(views[layer.output]),
        )

    def _choices(self, index: int) -> list[Bands]:
        """Every way to cut layer ``index``."""
        layer = self.layout.layers[index]
        key = (index, *self._spills(layer))
        if key not in self._known_choices:
            self._known_choices[key] = list(self._cuts(layer))
        return self._known_choices[key]

    def _cuts(self, layer: Layer) -> Iterator[Bands]:
        columns, depth = self.config.columns, self.config.accumulator_depth
        output = self.layout.views[layer.output]
        groups = output.words(columns)
        height = self._region(layer).rows
        heights = sorted({height, *_halves(height)})
        for box in self._boxes(layer):
            limit, least = 1, max(1, depth // self._region(layer).columns)
            own = layer.factor is None and len(layer.shares(self.config.largest_weight)) == 1
            if box == Box.whole(layer) and own:
                limit = max(1, self.config.weight_tiles // 2 // self._passes(layer))
                limit = min(limit, self.config.parameter_rows // 2 // self.config.steps)
                least = height
            limit = min(groups, limit)
            # what a pixel's channels have in common is not known of a part of them
            whole = layer.reduced is not None
            for count in (groups,) if whole else sorted({limit, *_halves(limit)}):
                for rows in sorted({min(least, rows) for rows in heights}):
                    for copies in (2, 1):
                        yield self._cut(layer, rows, count, copies, box)

    def _shape(self, layer: Layer) -> LineShape:
        tensor = self.layout.views[layer.source].tensor
        return LineShape.of(layer, tensor.pixel, tensor.width, tensor.pitch)

    def _passes(self, layer: Layer) -> int:
        """Passes of a group."""
        if id(layer) not in self._known_passes:
            views = self.layout.views
            source, at = views[layer.source].positions, views[layer.output].positions
            kernels = kernel_of(layer, self._shape(layer), source, self.config, at)
            self._known_passes[id(layer)] = max(k.passes for k in kernels)
        return self._known_passes[id(layer)]

    def _boxes(self, layer: Layer) -> Iterator[Box]:
        """Parts for the weight memory; where the source has bands, smaller ones for these too."""
        views = self.layout.views
        source = views[layer.source]
        box: Box | None
        box = weights_box(layer, self._shape(layer), source.positions, self.config)
        while box is not None:
            yield box
            if not self._is_spilled(source) or layer.factor is not None:
                return
            smaller = box.flatter()
            if smaller is None and _has_words(source, self.config.columns):
                smaller = box.shallower(layer, self.config.columns)
            box = smaller

    def _region(self, layer: Layer) -> Region:
        tensor = self.layout.views[layer.output].tensor
        return layer.region or Region(0, 0, tensor.height, tensor.width)

    def _cut(self, layer: Layer, rows: int, groups: int, copies: int, box: Box) -> Bands:
        views, columns = self.layout.views, self.config.columns
        source, output = views[layer.source], views[layer.output]
        forms: dict[str, BandForm | None] = {"source": None, "second": None, "output": None}
        if self._is_spilled(source):
            tensor = source.tensor
            lines = (rows - 1) * layer.strides[0] + (box.rows - 1) * layer.dilations[0] + 1
            pixel = self._pixel(layer, source, groups, box)
            whole = pixel == tensor.pixel
            pitch = tensor.pitch if whole else self._pitch(layer, tensor, pixel)
            forms["source"] = BandForm(min(lines, tensor.height), pixel, pitch)
        for name in _seconds(layer):
            second = views[name]
            if self._is_spilled(second):
                height = min(rows, second.tensor.height)
                forms["second"] = _part(second.tensor, height, groups, columns, second.tensor.width)
        if self._is_spilled(output):
            tensor, pixels = output.tensor, output.tensor.width
            if layer.grid != Grid():
                pixels = self._region(layer).columns
            forms["output"] = _part(tensor, rows, groups, columns, pixels)
        return Bands(rows, groups, copies, box, bases={}, **forms)

    def _pixel(self, layer: Layer, source: View, groups: int, box: Box) -> int:
        """Elements of a pixel in a band of the source."""
        columns, pixel = self.config.columns, source.tensor.pixel
        if layer.mode is not Mode.DENSE:
            words = groups
        elif box.channels < layer.weights.shape[3] and _has_words(source, columns):
            words = max(
                own[-1] // columns - own[0] // columns + 1
                for own in (part.read(source.positions) for part in box.parts(layer))
            )
        else:
            return pixel
        return min(pixel, words * columns)

    def _is_spilled(self, view: View) -> bool:
        return id(view.tensor) in self.spilled

    def _pitch(self, layer: Layer, tensor: Tensor, pixel: int) -> int:
        """The least pitch of lines of ``pixel`` elements a pixel without bank conflicts."""
        key = id(layer), pixel
        if key not in self._known_pitches:
            least = tensor.width * pixel // self.config.columns
            self._known_pitches[key] = least
            banks = () if layer.mode is Mode.DENSE else range(least, least + BANKS)
            for pitch in banks:
                shape = LineShape.of(layer, pixel, tensor.width, pitch)
                kernels = kernel_of(layer, shape, (pixel - 1,), self.config)
                if not bank_conflict(kernels, shape, self.config, layer):
                    self._known_pitches[key] = pitch
                    break
        return self._known_pitches[key]

    def _cost(self, layer: Layer, bands: Bands) -> float:
        """Words of the source that the bus moves, and a little for every band and part."""
        views, columns = self.layout.views, self.config.columns
        groups = views[layer.output].words(columns)
        chunks, tops = -(-groups // bands.groups), -(-self._region(layer).rows // bands.rows)
        kernel, box = Box.whole(layer), bands.box
        in_rows, in_channels = -(-kernel.rows // box.rows), -(-kernel.channels // box.channels)
        parts = in_rows * in_channels * -(-kernel.columns // box.columns)
        moved = 0.0
        if bands.source is not None:
            whole = bands.source.pixel == views[layer.source].tensor.pixel
            once = whole and tops == 1 and in_rows == 1
            moved += bands.source.words * tops * (1 if once else chunks) * in_rows * in_channels
        # a single copy keeps the array waiting for the bus
        return moved * (2 if bands.copies == 1 else 1) + 64 * chunks * tops * parts

    def _allocate(self, bands: Sequence[Bands | None]) -> int:
        tensors = {k: b for k, b in self.lives.items() if k not in self.spilled}
        regions: list[tuple[Bands, str, list[Buffer]]] = []
        for index, each in enumerate(bands):
            for name, form in each.forms() if each else ():
                assert each is not None
                copies = [Buffer(form.words, index, index) for _ in range(each.copies)]
                regions.append((each, name, copies))
        buffers = [*tensors.values(), *(b for _, _, copies in regions for b in copies)]
        words = allocate(buffers)
        for key, buffer in tensors.items():
            self.tensors[key].base = buffer.offset
        for each, name, copies in regions:
            each.bases[name] = tuple(b.offset for b in copies)
        return words


def _seconds(layer: Layer) -> tuple[str, ...]:
    return () if layer.second is None else (layer.second.value,)


def _has_words(source: View, columns: int) -> bool:
    """Whether its pixels are whole words, so that a band can have some of them."""
    return source.tensor.pixel % columns == 0


def _halves(count: int) -> Iterator[int]:
    while count > 1:
        count = -(-count // 2)
        yield count


def _part(tensor: Tensor, rows: int, groups: int, columns: int, pixels: int) -> BandForm:
    """``rows`` of ``pixels``, ``groups`` of their channels; as in host memory where that is all."""
    if groups * columns >= tensor.pixel and pixels == tensor.width:
        return BandForm(rows, tensor.pixel, tensor.pitch)
    words = min(groups, tensor.pixel // columns)
    return BandForm(rows, words * columns, pixels * words)


def place(
    graph: Graph, layout: Layout, config: NpuConfig
) -> tuple[int, list[Bands | None], list[Tensor]]:
    """Give every tensor that stays its base.

    Returns
    -------
    words : int
        Words of the buffer that are used.
    bands : list of Bands or None
        A layer each; None where all it reads and writes stays.
    spilled : list of Tensor
        What lies in host memory.

    Raises
    ------
    UnsupportedError
        Even one row of a layer does not fit.
    """
    planner = _BandPlanner(graph, layout, config)
    words, bands = planner.plan()
    # in order of their first use: the same model gives the same program every time
    return words, bands, [t for key, t in planner.tensors.items() if key in planner.spilled]
