"""Bands of tensors that lie in host memory: into the buffer before their use, and back after it."""

from __future__ import annotations

from dataclasses import replace

from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.bands import Bands, Surface
from edgeinfer.hdl.compiler.layers import Grid
from edgeinfer.hdl.compiler.layout import Tensor
from edgeinfer.hdl.compiler.operands import Item, Operands
from edgeinfer.hdl.compiler.transfers import Part, move
from edgeinfer.hdl.compiler.waits import Schedule
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Unit

__all__ = ["LayerTraffic", "Stores"]

_USERS = {"source": Unit.CONVOLVE, "second": Unit.ACTIVATE}


class Stores:
    """Bands in the buffer that are still being stored, by STORE's count when that is done."""

    def __init__(self) -> None:
        self._counts: dict[range, int] = {}

    def add(self, words: range, count: int) -> None:
        """``words`` are free when STORE has reached ``count``."""
        self._counts[words] = count

    def await_free(self, output: Tensor, schedule: Schedule) -> None:
        """Let ACTIVATE wait until what is being stored from the place of ``output`` has gone."""
        words = range(output.base, output.base + output.words)
        for stored, count in self._counts.items():
            if stored.start < words.stop and words.start < stored.stop:
                schedule.wait(Unit.ACTIVATE, Unit.STORE, count)

    def fence(self, schedule: Schedule) -> None:
        """Let LOAD and ACTIVATE wait until all that was in the buffer is done with."""
        self._counts.clear()
        for unit in (Unit.CONVOLVE, Unit.ACTIVATE, Unit.STORE):
            schedule.wait(Unit.LOAD, unit)
        schedule.wait(Unit.ACTIVATE, Unit.STORE)


class _Copies:
    """The places in the buffer of a tensor's bands, used in turn.

    Parameters
    ----------
    bases : tuple of int
    """

    def __init__(self, bases: tuple[int, ...]) -> None:
        self.bases = bases
        self.contents: list[object] = [None] * len(bases)
        self.loaded = [0] * len(bases)  # LOAD's count when the contents are there
        self.free = [0] * len(bases)  # the user's count when they are not needed any more
        self._order = list(range(len(bases)))

    def find(self, contents: object) -> int | None:
        """The place that has ``contents``."""
        return self.contents.index(contents) if contents in self.contents else None

    def keep(self, index: int) -> None:
        """The next fetch may have any other place."""
        self._order.remove(index)
        self._order.append(index)

    def take(self, contents: object) -> int:
        """The place that was not used for longest, for ``contents``."""
        index = self._order[0]
        self.keep(index)
        self.contents[index] = contents
        return index


class LayerTraffic:
    """One layer's bands on their way; where all of it stays in the buffer, nothing moves.

    Parameters
    ----------
    operands : Operands
    bands : Bands or None
    schedule : Schedule
    stores : Stores
        Of all layers.
    config : NpuConfig
    """

    def __init__(
        self,
        operands: Operands,
        bands: Bands | None,
        schedule: Schedule,
        stores: Stores,
        config: NpuConfig,
    ) -> None:
        self.operands, self.schedule, self.stores = operands, schedule, stores
        self.config = config
        self._forms = dict(bands.forms()) if bands is not None else {}
        self._copies = {name: _Copies(bands.bases[name]) for name in self._forms} if bands else {}
        self._in_use: dict[str, int] = {}
        if bands is None:
            stores.await_free(operands.tensor("output"), schedule)
        else:
            stores.fence(schedule)

    def fetch(self, item: Item) -> None:
        """Bring the lines that ``item`` needs, where they are not there yet."""
        for name, user in _USERS.items():
            if name not in self._forms or name not in self.operands.names(item.job):
                continue
            view, form, copies = self.operands.views[name], self._forms[name], self._copies[name]
            tensor = view.tensor
            lines, groups = self._contents(item, name)
            part = Part.of(tensor, lines, self.config.columns)
            if groups:
                words = range(view.word + groups.start, view.word + groups.stop)
                part = replace(part, words=words)
            found = copies.find((lines, groups))
            if found is not None:
                copies.keep(found)
                continue
            index = copies.take((lines, groups))
            self.schedule.wait(Unit.LOAD, user, copies.free[index])
            self.schedule.await_rows(Unit.LOAD, tensor, lines.start, lines.stop)
            surface = Surface(copies.bases[index], form.pixel, form.pitch, lines.start)
            for each in move(isa.ReadHost, tensor, tensor.host, surface, part, self.config):
                self.schedule.emit(each)
            copies.loaded[index] = self.schedule.counts[Unit.LOAD]

    def _contents(self, item: Item, name: str) -> tuple[range, range]:
        """What a band of ``item`` holds: lines, and groups; none of these where it has all."""
        whole = self._forms[name].pixel == self.operands.tensor(name).pixel
        groups = range(0) if whole else self.operands.groups(item, name)
        return self.operands.lines(item, name), groups

    def surface(self, item: Item, name: str) -> Surface:
        """Where ``item`` finds an operand, or puts its result; its user waits for the place."""
        view = self.operands.views[name]
        tensor = view.tensor
        if name not in self._forms:
            grid = item.job.layer.grid if name == "output" else Grid()
            whole = Surface(tensor.base + view.word, tensor.pixel, tensor.pitch)
            return whole.of_grid(grid, self.config.columns)
        form, copies = self._forms[name], self._copies[name]
        lines, groups = contents = self._contents(item, name)
        if name == "output":
            index = copies.take(contents)
            self.schedule.wait(Unit.ACTIVATE, Unit.STORE, copies.free[index])
        else:
            found = copies.find(contents)
            assert found is not None
            index = found
            self.schedule.wait(_USERS[name], Unit.LOAD, copies.loaded[index])
        self._in_use[name] = index
        base = copies.bases[index]
        if not groups:
            return Surface(base + view.word, form.pixel, form.pitch, lines.start)
        return Surface(base, form.pixel, form.pitch, lines.start, groups.start)

    def done(self, item: Item) -> None:
        """``item`` has been computed: its operands' places are free, its result is stored."""
        for name in self._forms:
            if name not in self.operands.names(item.job):
                continue
            copies, index = self._copies[name], self._in_use[name]
            if name == "output":
                self._store(item, copies.bases[index])
                copies.free[index] = self.schedule.counts[Unit.STORE]
            else:
                copies.free[index] = self.schedule.counts[_USERS[name]]

    def _store(self, item: Item, base: int) -> None:
        view, form = self.operands.views["output"], self._forms["output"]
        tensor, schedule = view.tensor, self.schedule
        lines, groups = self.operands.lines(item, "output"), self.operands.groups(item, "output")
        words = range(view.word + groups.start, view.word + groups.stop)
        grid, region = item.job.layer.grid, item.region
        pixels = grid.pixels(range(region.left, region.right))
        part = Part(grid.lines(lines), pixels, words)
        schedule.wait(Unit.STORE, Unit.ACTIVATE)
        surface = Surface(base, form.pixel, form.pitch)
        write, left = isa.WriteHost, region.left
        for each in move(write, tensor, tensor.host, surface, part, self.config, left):
            schedule.emit(each)
        self.stores.add(range(base, base + form.words), schedule.counts[Unit.STORE])
        schedule.note(tensor, part.lines.start, part.lines.stop, Unit.STORE)
