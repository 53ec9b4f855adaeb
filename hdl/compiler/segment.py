"""One segment's Graph into a Program: layout, memories, constants, instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph.cost import macs
from edgeinfer.graph.site import Site
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.bands import Bands, place
from edgeinfer.hdl.compiler.constants import Block, Constants, parameter_rows
from edgeinfer.hdl.compiler.emission import Emitter, Job
from edgeinfer.hdl.compiler.kernel import Kernel, Shape, kernel_of, tiles_of
from edgeinfer.hdl.compiler.layers import Layer, lower_graph
from edgeinfer.hdl.compiler.layout import Layout, lay_out
from edgeinfer.hdl.compiler.program import Binding, LayerRecord, Program, Watch
from edgeinfer.hdl.compiler.streams import plan_slots
from edgeinfer.hdl.compiler.timing import predict
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Memory, Unit

__all__ = ["compile_segment"]

_ALIGNMENT = 64
"""Of everything in host memory: any bus's beats, and whole cache lines."""


def compile_segment(graph: Graph, config: NpuConfig, *, stream: bool) -> Program:
    """The Program of a Graph whose every node runs on the NPU.

    Raises
    ------
    UnsupportedError
        The model does not fit the configuration's memories.
    """
    fast = _compiled(graph, config, stream, tight=False)
    if not any(watch.binding.view.tensor.spilled for watch in fast.watches):
        return fast
    small = _compiled(graph, config, stream, tight=True)
    return min(fast, small, key=lambda program: predict(program.infer, config).cycles)


def _compiled(graph: Graph, config: NpuConfig, stream: bool, *, tight: bool) -> Program:
    layout = lay_out(graph, lower_graph(graph, config), config, tight=tight)
    buffer_words, bands, spilled = place(graph, layout, config)
    constants = _Constants(config)
    jobs = [
        constants.jobs(layer, layout, band)
        for layer, band in zip(layout.layers, bands, strict=True)
    ]
    weights, parameters = constants.blocks(stream=stream)
    end = len(constants.image)
    # tensors in host memory, and those that come from it or go there
    bindings = {name: _binding(graph, layout, name) for name in (*graph.inputs, *graph.outputs)}
    images = {id(t): t for t in (*spilled, *(b.view.tensor for b in bindings.values()))}
    at = {}
    for key, tensor in images.items():
        at[key] = end
        end += -(-tensor.words * config.word_bytes // _ALIGNMENT) * _ALIGNMENT
    for tensor in spilled:
        tensor.host = at[id(tensor)]
    placed = {
        name: replace(binding, host=at[id(binding.view.tensor)])
        for name, binding in bindings.items()
    }
    inputs = tuple(placed[name] for name in graph.inputs)
    outputs = tuple(placed[name] for name in graph.outputs)

    def program(*, load: bool, infer: bool, store: bool) -> tuple[list[isa.Instruction], list[int]]:
        emitter = Emitter(
            config,
            layout.views,
            _stream(Memory.WEIGHTS, weights if infer else [], config),
            _stream(Memory.PARAMETERS, parameters if infer else [], config),
        )
        for binding in inputs if load else ():
            emitter.load(binding)
        counts = []
        if infer:
            for layer, own, band in zip(layout.layers, jobs, bands, strict=True):
                try:
                    emitter.layer(layer, own, band, constants.table(layer))
                except InputError as error:
                    raise UnsupportedError(
                        f"asks for more than an instruction can say ({error})",
                        node=layer.node.name,
                        operator=type(layer.node.op).__name__,
                    ) from error
                counts.append(emitter.counts[Unit.ACTIVATE])
        for binding in outputs if store else ():
            emitter.store(binding)
        return emitter.halt(), counts

    infer, counts = program(load=False, infer=True, store=False)
    setup = [
        *_stream(Memory.WEIGHTS, weights, config).setup(),
        *_stream(Memory.PARAMETERS, parameters, config).setup(),
        isa.Halt(),
    ]
    return Program(
        config=config,
        setup=setup,
        load=program(load=True, infer=False, store=False)[0],
        infer=infer,
        store=program(load=False, infer=False, store=True)[0],
        run=program(load=True, infer=True, store=True)[0],
        image=bytes(constants.image),
        host_bytes=end,
        inputs=inputs,
        outputs=outputs,
        watches=_watches(graph, layout, counts),
        layers=_records(graph, layout, counts),
        buffer_words=buffer_words,
        weight_tiles=sum(b.size for b in weights),
        parameter_rows=sum(b.size for b in parameters),
    )


@dataclass
class _Constants:
    """Weights and parameters in host memory as layer after layer adds them."""

    config: NpuConfig
    image: bytearray = field(default_factory=bytearray)
    weights: list[tuple[int, int]] = field(default_factory=list)
    parameters: list[tuple[int, int]] = field(default_factory=list)
    tables: dict[bytes, int] = field(default_factory=dict)

    def _put(self, data: bytes) -> int:
        at = len(self.image)
        self.image += data + bytes(-len(data) % _ALIGNMENT)
        return at

    def jobs(self, layer: Layer, layout: Layout, bands: Bands | None) -> list[Job]:
        """The jobs of ``layer``, its constants in blocks."""
        config = self.config
        source, output = layout.views[layer.source], layout.views[layer.output]
        tensor = source.tensor
        shape = Shape.of(tensor.pixel, tensor.width, tensor.pitch)
        if bands is not None and bands.source is not None:
            shape = Shape.of(bands.source.pixel, tensor.width, bands.source.pitch)
        at = output.positions
        kernels = kernel_of(layer, shape, source.positions, config, at)
        if layer.table is not None:
            data = _table_bytes(layer.table)
            self.tables.setdefault(data, -1)
            if self.tables[data] < 0:
                self.tables[data] = self._put(data)
        jobs = []
        for kernel in kernels:
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
            self.weights.append((self._put(data), len(own)))
            first = kernel.first + group
            rows = self._parameter_rows(layer, range(first, first + groups), at, shared)
            count = len(rows) // config.parameter_row_bytes
            self.parameters.append((self._put(rows), count))
            jobs.append(
                Job(
                    kernel=kernel,
                    group=group,
                    groups=groups,
                    weights=len(self.weights) - 1,
                    parameters=len(self.parameters) - 1,
                    repeat=repeat,
                    shared=shared,
                )
            )
        return jobs

    def _parameter_rows(self, layer: Layer, groups: range, at: np.ndarray, shared: bool) -> bytes:
        if not shared:
            return parameter_rows(layer, groups, at, self.config)
        columns = self.config.columns
        one = replace(
            layer,
            bias=np.repeat(layer.bias[:1], columns),
            multiplier=np.repeat(layer.multiplier[:1], columns),
            shift=np.repeat(layer.shift[:1], columns),
        )
        return parameter_rows(one, range(1), np.arange(columns), self.config)

    def table(self, layer: Layer) -> int | None:
        """Where the table of ``layer`` lies in host memory."""
        return None if layer.table is None else self.tables[_table_bytes(layer.table)]

    def blocks(self, *, stream: bool) -> tuple[list[Block], list[Block]]:
        """The blocks of both kinds with their slots."""
        config = self.config
        both = []
        for placed, capacity in (
            (self.weights, config.weight_tiles),
            (self.parameters, config.parameter_rows),
        ):
            slots = plan_slots([size for _, size in placed], capacity, stream=stream)
            both.append([Block(h, s, slot) for (h, s), slot in zip(placed, slots, strict=True)])
        return both[0], both[1]


def _table_bytes(table: np.ndarray) -> bytes:
    if len(table) == 256:
        return table.astype("<i1").tobytes()
    pairs = np.stack([table[:-1], np.diff(table)], 1)
    return pairs.astype("<i2").tobytes()


def _stream(memory: Memory, blocks: Sequence[Block], config: NpuConfig) -> Constants:
    if memory is Memory.WEIGHTS:
        word = config.weight_port * config.word_bytes
        return Constants(memory, blocks, config.weight_reads, word, Unit.WEIGHTS)
    return Constants(memory, blocks, 1, config.parameter_row_bytes, Unit.ACTIVATE)


def _binding(graph: Graph, layout: Layout, name: str) -> Binding:
    kind = graph.types[name]
    return Binding(name, kind.shape, kind.dtype, layout.views[name], -1)


def _watches(graph: Graph, layout: Layout, counts: Sequence[int]) -> tuple[Watch, ...]:
    """Every value of the Graph that a layer makes, when it is complete."""
    watches = []
    done: dict[str, int] = {}
    for layer, count in zip(layout.layers, counts, strict=True):
        done[layer.output] = count
        second = layer.second
        if second is not None and second.intermediate is not None:
            view = layout.views[layer.output]
            kind = graph.types[second.intermediate]
            binding = Binding(second.intermediate, kind.shape, kind.dtype, view, -1)
            watches.append(Watch(binding, count, True))
    watches += [
        Watch(_binding(graph, layout, name), count, False)
        for name, count in done.items()
        if name in graph.types
    ]
    return tuple(sorted(watches, key=lambda w: w.count))


def _records(graph: Graph, layout: Layout, counts: Sequence[int]) -> tuple[LayerRecord, ...]:
    records, first = [], 0
    for layer, count in zip(layout.layers, counts, strict=True):
        node = layer.node
        records.append(
            LayerRecord(
                name=node.name,
                operator=type(node.op).__name__,
                output=layer.output,
                macs=macs(node.op, Site(node, graph)),
                first=first,
                last=count,
            )
        )
        first = count
    return tuple(records)
