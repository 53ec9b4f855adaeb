"""Which tensors do not stay in the buffer, and the bands in which layers pass over them.

A tensor that does not stay lies in host memory. A layer that reads or writes one goes over its
output in bands of rows, for some groups of channels at a time; a band's input lines, with the halo
that the kernel needs, and its output lines have places in the buffer, twice where there is room,
so that one band moves while another is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph.lifetimes import spans
from edgeinfer.hdl.compiler.kernel import LineShape, bank_conflict, kernel_of
from edgeinfer.hdl.compiler.layers import Layer
from edgeinfer.hdl.compiler.layout import Layout, Tensor, View
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
    source, second, output : BandForm or None
        The bands' forms; None where the tensor stays in the buffer.
    bases : dict of str to tuple of int
        The words where the copies of each begin; set by ``place``.
    """

    rows: int
    groups: int
    copies: int
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
        self.spilled: set[int] = set()
        # what the plans of all spills have in common
        self._known_choices: dict[tuple[int, bool, bool, bool], list[Bands]] = {}
        self._known_pitches: dict[tuple[int, int], int] = {}
        self._known_passes: dict[int, int] = {}
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
            for name in (layer.output, layer.source, *_seconds(layer)):
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
                if key not in self.spilled and b.first <= index <= b.last
            ]
            if candidates:
                self.spilled.add(max(candidates, key=lambda k: self.lives[k].size))
                self._residents = []
                return
        needed = max(
            min((b.words for b in self._choices(index)), default=0)
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
        columns = self.config.columns
        output = self.layout.views[layer.output]
        kernel = self._kernel(layer)
        groups = output.words(columns)
        limit = max(1, self.config.weight_tiles // 2 // kernel)
        limit = min(limit, self.config.parameter_rows // 2 // self.config.steps)
        height = output.tensor.height
        for count in sorted({min(groups, limit), *_halves(min(groups, limit))}):
            for rows in sorted({height, *_halves(height)}):
                for copies in (2, 1):
                    yield self._cut(layer, rows, count, copies)

    def _kernel(self, layer: Layer) -> int:
        """Passes of a group."""
        if id(layer) in self._known_passes:
            return self._known_passes[id(layer)]
        source = self.layout.views[layer.source]
        tensor = source.tensor
        shape = LineShape.of(tensor.pixel, tensor.width, tensor.pitch)
        at = self.layout.views[layer.output].positions
        kernels = kernel_of(layer, shape, source.positions, self.config, at)
        self._known_passes[id(layer)] = max(k.passes for k in kernels)
        return self._known_passes[id(layer)]

    def _cut(self, layer: Layer, rows: int, groups: int, copies: int) -> Bands:
        views, columns = self.layout.views, self.config.columns
        source, output = views[layer.source], views[layer.output]
        lines = (rows - 1) * layer.strides[0] + (layer.kernel[0] - 1) * layer.dilations[0] + 1
        forms: dict[str, BandForm | None] = {"source": None, "second": None, "output": None}
        if self._is_spilled(source):
            tensor = source.tensor
            whole = layer.mode is Mode.DENSE or groups * columns >= tensor.pixel
            pixel = tensor.pixel if whole else groups * columns
            pitch = tensor.pitch if whole else self._pitch(layer, tensor, pixel)
            forms["source"] = BandForm(min(lines, tensor.height), pixel, pitch)
        for name in _seconds(layer):
            second = views[name]
            if self._is_spilled(second):
                height = min(rows, second.tensor.height)
                forms["second"] = _part(second.tensor, height, groups, columns)
        if self._is_spilled(output):
            forms["output"] = _part(output.tensor, rows, groups, columns)
        return Bands(rows, groups, copies, bases={}, **forms)

    def _is_spilled(self, view: View) -> bool:
        return id(view.tensor) in self.spilled

    def _pitch(self, layer: Layer, tensor: Tensor, pixel: int) -> int:
        """The least pitch of lines of ``pixel`` elements a pixel without bank conflicts."""
        key = id(layer), pixel
        if key not in self._known_pitches:
            least = tensor.width * pixel // self.config.columns
            self._known_pitches[key] = least
            for pitch in range(least, least + BANKS):
                shape = LineShape.of(pixel, tensor.width, pitch)
                kernels = kernel_of(layer, shape, (pixel - 1,), self.config)
                if not bank_conflict(kernels, shape, self.config, layer):
                    self._known_pitches[key] = pitch
                    break
        return self._known_pitches[key]

    def _cost(self, layer: Layer, bands: Bands) -> float:
        """Words of the source that the bus moves, and a little for every band."""
        views, columns = self.layout.views, self.config.columns
        output = views[layer.output]
        groups = output.words(columns)
        chunks, parts = -(-groups // bands.groups), -(-output.tensor.height // bands.rows)
        moved = 0.0
        if bands.source is not None:
            whole = bands.source.pixel == views[layer.source].tensor.pixel
            moved += bands.source.words * parts * (1 if whole and parts == 1 else chunks)
        items = chunks * parts
        # a single copy keeps the array waiting for the bus
        return moved * (2 if bands.copies == 1 else 1) + 64 * items

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


def _halves(count: int) -> Iterator[int]:
    while count > 1:
        count = -(-count // 2)
        yield count


def _part(tensor: Tensor, rows: int, groups: int, columns: int) -> BandForm:
    """``rows`` of ``tensor``, ``groups`` of its channels; as it lies in host memory where all."""
    if groups * columns >= tensor.pixel:
        return BandForm(rows, tensor.pixel, tensor.pitch)
    return BandForm(rows, groups * columns, tensor.width * groups)


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
