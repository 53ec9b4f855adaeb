"""One segment's Graph into a Program: layout, memories, constants, instructions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph.cost import macs
from edgeinfer.graph.site import Site
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.bands import place
from edgeinfer.hdl.compiler.constant_image import ALIGNMENT, ConstantImage
from edgeinfer.hdl.compiler.constants import Block, ConstantStream
from edgeinfer.hdl.compiler.emission import Emitter
from edgeinfer.hdl.compiler.jobs import jobs_of
from edgeinfer.hdl.compiler.layers import Layer, Region
from edgeinfer.hdl.compiler.layout import Layout, lay_out
from edgeinfer.hdl.compiler.lowering import lower_graph
from edgeinfer.hdl.compiler.program import Binding, LayerRecord, Program, Watch
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Memory, Unit

__all__ = ["compile_segment"]


def compile_segment(graph: Graph, config: NpuConfig, *, stream: bool) -> Program:
    """The Program of a Graph whose every node runs on the NPU.

    Raises
    ------
    UnsupportedError
        The model does not fit the configuration's memories.
    """
    lowered = lower_graph(graph, config)
    wide = lay_out(graph, lowered, config, tight=False)
    fast = _compiled(graph, wide, config, stream)
    constants = [wide.views[name].tensor for name in wide.constants]
    if not any(tensor.spilled for tensor in wide.tensors() if tensor not in constants):
        return fast
    close = lay_out(graph, lowered, config, tight=True)
    if [tensor.pitch for tensor in close.tensors()] == [t.pitch for t in wide.tensors()]:
        return fast  # they are the same
    small = _compiled(graph, close, config, stream)
    return min(fast, small, key=lambda program: program.prediction.cycles)


def _compiled(graph: Graph, layout: Layout, config: NpuConfig, stream: bool) -> Program:
    buffer_words, bands, spilled = place(graph, layout, config)
    constants = ConstantImage(config)
    jobs = [
        jobs_of(layer, layout, band, constants)
        for layer, band in zip(layout.layers, bands, strict=True)
    ]
    tables = [constants.table(layer) for layer in layout.layers]
    weights, parameters = constants.blocks(stream=stream)
    for name, values in layout.constants.items():
        view = layout.views[name]
        view.tensor.host = constants.put_words(view.pack(values, config.columns))
    end = len(constants.image)
    # tensors in host memory, and those that come from it or go there
    bindings = {name: _binding(graph, layout, name) for name in (*graph.inputs, *graph.outputs)}
    computed = [tensor for tensor in spilled if not tensor.spilled]
    images = {id(t): t for t in (*computed, *(b.view.tensor for b in bindings.values()))}
    at = {}
    for key, tensor in images.items():
        at[key] = end
        end += -(-tensor.words * config.word_bytes // ALIGNMENT) * ALIGNMENT
    for tensor in computed:
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
            for layer, own, band, table in zip(layout.layers, jobs, bands, tables, strict=True):
                try:
                    emitter.layer(layer, own, band, table)
                except InputError as error:
                    raise UnsupportedError(
                        f"asks for more than an instruction can say ({error})",
                        node=layer.node.name,
                        operator=type(layer.node.op).__name__,
                    ) from error
                counts.append(emitter.schedule.counts[Unit.ACTIVATE])
        for binding in outputs if store else ():
            emitter.store(binding)
        return emitter.halt(), counts

    def setup() -> list[isa.Instruction]:
        streams = (
            _stream(Memory.WEIGHTS, weights, config),
            _stream(Memory.PARAMETERS, parameters, config),
        )
        return [*(each for stream in streams for each in stream.setup()), isa.Halt()]

    infer, counts = program(load=False, infer=True, store=False)
    return Program(
        config=config,
        infer=infer,
        sections={
            "setup": setup,
            "load": lambda: program(load=True, infer=False, store=False)[0],
            "store": lambda: program(load=False, infer=False, store=True)[0],
            "run": lambda: program(load=True, infer=True, store=True)[0],
        },
        image=bytes(constants.image),
        host_bytes=end,
        inputs=inputs,
        outputs=outputs,
        watches=_watches(graph, layout, counts),
        layers=_records(graph, layout, counts),
        buffer_words=buffer_words,
        weight_tiles=sum({b.host: b.size for b in weights}.values()),
        parameter_rows=sum({b.host: b.size for b in parameters}.values()),
    )


def _stream(memory: Memory, blocks: Sequence[Block], config: NpuConfig) -> ConstantStream:
    if memory is Memory.WEIGHTS:
        word = config.weight_port * config.word_bytes
        return ConstantStream(memory, blocks, config.weight_reads, word, Unit.WEIGHTS)
    return ConstantStream(memory, blocks, 1, config.parameter_row_bytes, Unit.ACTIVATE)


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
    shares = _shares(graph, layout)
    for layer, share, count in zip(layout.layers, shares, counts, strict=True):
        node = layer.node
        records.append(
            LayerRecord(
                name=node.name,
                operator=type(node.op).__name__,
                output=layer.output,
                macs=share,
                first=first,
                last=count,
            )
        )
        first = count
    return tuple(records)


def _shares(graph: Graph, layout: Layout) -> list[int]:
    """Each layer's share of its node's multiply-accumulates, by its pixels."""
    pixels = [_pixels(layer, layout) for layer in layout.layers]
    whole, done = Counter[str](), Counter[str]()
    for layer, own in zip(layout.layers, pixels, strict=True):
        whole[layer.node.outputs[0]] += own
    shares = []
    for layer, own in zip(layout.layers, pixels, strict=True):
        name, work = layer.node.outputs[0], macs(layer.node.op, Site(layer.node, graph))
        before, after = done[name], done[name] + own
        shares.append(work * after // whole[name] - work * before // whole[name])
        done[name] = after
    return shares


def _pixels(layer: Layer, layout: Layout) -> int:
    """Of its result."""
    tensor = layout.views[layer.output].tensor
    region = layer.region or Region(0, 0, tensor.height, tensor.width)
    return region.rows * region.columns
