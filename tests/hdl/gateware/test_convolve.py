"""Buffer, feed, array and accumulators compute convolutions, a fetch a cycle without gaps."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from amaranth.sim import Simulator

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.hdl.gateware.compute import Compute
from edgeinfer.hdl.isa import Mode, passes

CONFIGS = ["4x4", "8x16", "9x16", "8x8-16", "16x16"]

ORIGIN = 9
"""The word where a test's tensors begin."""


@dataclass(frozen=True)
class Layer:
    """One tile of a layer. ``packed``: the source's pixels are not rounded up to words."""

    mode: Mode
    source: tuple[int, int, int]
    kernel: tuple[int, int]
    outputs: int = 1
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    packed: bool = False
    shared_pads: bool = False

    @property
    def extent(self) -> tuple[int, int]:
        """Output rows and columns."""
        return tuple(
            (self.source[i] + self.pads[i] + self.pads[i + 2] - self.dilations[i] * (k - 1) - 1)
            // self.strides[i]
            + 1
            for i, k in enumerate(self.kernel)
        )


@dataclass(frozen=True)
class Job:
    """What the core is to do, and the sums [pixels, columns] of each group that it must give.

    ``words`` lie in the buffer from word ``origin`` on.
    """

    words: np.ndarray
    tiles: np.ndarray
    program: list[isa.Instruction]
    expected: list[np.ndarray]
    fetches: int
    origin: int = ORIGIN


def expected_sums(layer: Layer, x: np.ndarray, pad: int, weights: np.ndarray) -> np.ndarray:
    """The definition of a convolution, [pixels, output channels]."""
    top, left, bottom, right = layer.pads
    x = np.pad(x, ((top, bottom), (left, right), (0, 0)), constant_values=pad)
    rows, columns = layer.extent
    taps = []
    for ky, kx in np.ndindex(layer.kernel):
        y0, x0 = ky * layer.dilations[0], kx * layer.dilations[1]
        seen = x[y0:, x0:][:: layer.strides[0], :: layer.strides[1]][:rows, :columns]
        if layer.mode is Mode.DENSE:
            taps.append(seen @ weights[:, ky, kx].T)
        elif layer.mode is Mode.DEPTHWISE:
            taps.append(seen * weights[:, ky, kx, 0])
        else:
            taps.append(seen)
    total = np.max(taps, 0) if layer.mode is Mode.MAXIMUM else np.sum(taps, 0)
    return total.reshape(rows * columns, -1)


def job(layer: Layer, config: NpuConfig, seed: int = 0, origin: int = ORIGIN) -> Job:
    """Random tensors for ``layer``, and what a compiler makes of it."""
    rng = np.random.default_rng(seed)
    low, high = -(1 << config.width - 1), (1 << config.width - 1) - 1
    height, width, channels = layer.source
    columns = config.columns
    pixel = channels if layer.packed else -(-channels // columns) * columns
    x = rng.integers(low, high, layer.source, endpoint=True)
    pad = int(rng.integers(low, high, endpoint=True))
    dense = layer.mode is Mode.DENSE
    outputs = layer.outputs if dense else channels
    depth = channels if dense else 1
    weights = rng.integers(low, high, (outputs, *layer.kernel, depth), endpoint=True)
    weights[rng.random(weights.shape) < 0.1] = low

    kernel = (_dense_kernel if dense else _depthwise_kernel)(layer, config, pixel)
    pitch = _pitch(layer, kernel, -(-width * pixel // columns))
    lines = rng.integers(low, high, (height, pitch * columns), endpoint=True)
    pixels = lines[:, : width * pixel].reshape(height, width, pixel)
    pixels[..., :channels] = x

    rows, row = layer.extent
    emit = kernel.emit
    needed = (row - 1) * emit + kernel.taps
    period = width + layer.pads[1] if layer.shared_pads else needed
    convolve = isa.Convolve(
        base=(origin - layer.pads[0] * pitch) % (1 << 20),
        y=-layer.pads[0],
        x=-layer.pads[1] * pixel,
        rows=rows,
        columns=row,
        period=period,
        tail=max(0, needed - period),
        groups=-(-outputs // columns),
        group_step=0 if dense else columns,
    )
    source = isa.SetSource(
        height=height,
        line_end=width * pixel,
        row_step=layer.strides[0] * pitch,
        kernel_step=layer.dilations[0] * pitch,
        stride=layer.strides[0],
        dilation=layer.dilations[0],
        pixel_step=pixel * (layer.strides[1] if emit == 1 else 1),
        pad=pad,
    )
    if layer.mode is Mode.MAXIMUM:
        weights[:] = 1
    tiles = [
        _tile(layer, config, kernel, each, weights, group, pixel)
        for group in range(convolve.groups)
        for each in passes(kernel, config.rows)
    ]
    sums = np.zeros((rows * row, convolve.groups * columns), np.int64)
    sums[:, :outputs] = expected_sums(layer, x, pad, weights)
    if not dense:
        # channels of the gaps that round a pixel up
        gaps = [x, pixels[..., channels:]]
        filled = np.concatenate([weights, np.zeros((pixel - channels, *layer.kernel, 1), int)])
        if layer.mode is Mode.MAXIMUM:
            filled[:] = 1
            tiles = [np.tile(tile[:, :1], columns) for tile in tiles]
        sums[:] = expected_sums(layer, np.concatenate(gaps, 2), pad, filled)
    return Job(
        words=lines.reshape(-1, columns),
        tiles=np.array(tiles),
        program=[source, kernel, convolve],
        expected=np.split(sums, convolve.groups, 1),
        fetches=len(tiles) * (rows * period + convolve.tail),
        origin=origin,
    )


def in_a_row(layers: list[Layer], config: NpuConfig) -> Job:
    """``layers`` one after another, each with a tensor of its own."""
    jobs: list[Job] = []
    for seed, layer in enumerate(layers):
        jobs.append(job(layer, config, seed, ORIGIN + sum(len(each.words) for each in jobs)))
    return Job(
        words=np.concatenate([each.words for each in jobs]),
        tiles=np.concatenate([each.tiles for each in jobs]),
        program=[instruction for each in jobs for instruction in each.program],
        expected=[sums for each in jobs for sums in each.expected],
        fetches=sum(each.fetches for each in jobs),
    )


def _dense_kernel(layer: Layer, config: NpuConfig, pixel: int) -> isa.SetKernel:
    if layer.dilations[1] > 1:
        run, runs = pixel, layer.kernel[1]
    else:
        run, runs = layer.kernel[1] * pixel, 1
    return isa.SetKernel(
        mode=Mode.DENSE,
        run=run,
        runs=runs,
        run_step=layer.dilations[1] * pixel,
        lines=layer.kernel[0],
        # both windows lie in two words of their lines
        span=int(layer.packed and run <= config.columns + 1),
    )


def _depthwise_kernel(layer: Layer, config: NpuConfig, pixel: int) -> isa.SetKernel:
    maximum = layer.mode is Mode.MAXIMUM
    lines, width = layer.kernel
    runs = width if maximum else -(-width // config.rows)
    taps = -(-width // runs)
    return isa.SetKernel(
        mode=layer.mode,
        run=1,
        runs=runs,
        run_step=taps * pixel,
        lines=lines,
        taps=taps,
        streams=1 if maximum else min(config.streams, config.rows // taps, lines),
        emit=1 if maximum else layer.strides[1],
    )


def _pitch(layer: Layer, kernel: isa.SetKernel, words: int) -> int:
    """The least pitch of ``words`` or more under which no fetch meets a bank twice."""
    for pitch in itertools.count(words):
        step = layer.dilations[0] * pitch % 4
        if (not kernel.span or step == 2) and (kernel.streams == 1 or step % 2):
            return pitch
    raise AssertionError


def _tile(
    layer: Layer,
    config: NpuConfig,
    kernel: isa.SetKernel,
    each: object,
    weights: np.ndarray,
    group: int,
    pixel: int,
) -> np.ndarray:
    """The weights of a pass, [rows, columns]: zeros wherever the kernel has none."""
    tile = np.zeros((config.rows, config.columns), np.int64)
    outputs, lines, width, depth = weights.shape
    channels = np.arange(group * config.columns, min((group + 1) * config.columns, outputs))
    for r in range(config.rows):
        if layer.mode is Mode.DENSE:
            own = r < each.split
            ky, element = (each.line, each.k + r) if own else (each.line + 1, r - each.split)
            kx, channel = divmod(element, pixel)
            if kernel.runs > 1:
                kx = each.run if kx == 0 else width
            inside = element < kernel.run and channel < depth
        else:
            stream, tap = divmod(r, kernel.taps)
            ky, kx, channel = each.line + stream, each.run * kernel.taps + tap, 0
            inside = stream < kernel.streams
        if inside and ky < lines and kx < width:
            tile[r, : len(channels)] = weights[channels, ky, kx, channel]
    return tile


class Bench:
    """A core in simulation, run for one job after another from reset."""

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        self.dut = Compute(config)
        self.simulator = Simulator(self.dut)
        self.simulator.add_clock(1e-6)
        self.simulator.add_testbench(self._testbench)
        self.used = False

    def run(self, job: Job, *, reader_from: int = 0, wanted: int | None = None) -> list[np.ndarray]:
        """The sums of each half; nothing is read before cycle ``reader_from``.

        Word ``wanted`` of the buffer is asked for in every cycle; ``stored`` counts how often it
        came while the core was busy.
        """
        self.job, self.reader_from, self.wanted, self.stored = job, reader_from, wanted, 0
        self.busy = self.waiting = self.completed = 0
        self.halves: list[np.ndarray] = []
        if self.used:
            self.simulator.reset()
        self.used = True
        self.simulator.run()
        return self.halves

    async def _testbench(self, ctx) -> None:
        await self._fill(ctx)
        dut, job = self.dut, self.job
        convolve = list(job.program)
        weights = [isa.ReadWeights(address=0, count=len(job.tiles))]
        sizes = [len(each) for each in job.expected]
        pixels: list[int] = []
        position = half = 0
        answered = asked = False
        ctx.set(dut.store.valid, self.wanted is not None)
        ctx.set(dut.store.address, self.wanted or 0)
        for cycle in itertools.count():
            assert cycle < 20 * job.fetches + 1000, "the core hangs"
            for control, queue in ((dut.convolve, convolve), (dut.weights, weights)):
                ctx.set(control.command.valid, bool(queue))
                if queue:
                    ctx.set(control.command.payload, isa.encode(queue[0]))
            reads = (
                half < len(sizes) and cycle >= self.reader_from and ctx.get(dut.accumulators.full)
            )
            ctx.set(dut.accumulators.address, position)
            ctx.set(dut.accumulators.release, bool(reads and position == sizes[half] - 1))
            for control, queue in ((dut.convolve, convolve), (dut.weights, weights)):
                if queue and ctx.get(control.command.ready):
                    queue.pop(0)
            busy = ctx.get(dut.convolve.busy)
            self.busy += busy
            self.stored += busy and self.wanted is not None and ctx.get(dut.store.ready)
            self.waiting += ctx.get(dut.convolve.waiting)
            self.completed += ctx.get(dut.convolve.completed)
            assert not ctx.get(dut.out_of_range)
            await ctx.tick()
            answered, asked = asked, reads
            if reads:
                position += 1
                if position == sizes[half]:
                    position, half = 0, half + 1
            if answered:
                pixels.append(ctx.get(dut.accumulators.data.as_value()))
                if len(pixels) == sizes[len(self.halves)]:
                    self.halves.append(self._sums(pixels))
                    pixels = []
            elif len(self.halves) == len(sizes) and not (convolve or busy):
                break

    async def _fill(self, ctx) -> None:
        """The buffer, word by word, and the weights, read by read, from job."""
        dut, config = self.dut, self.config
        element = np.dtype(f"<i{config.element_bytes}")

        def packed(values: np.ndarray) -> int:
            return int.from_bytes(values.astype(element).tobytes(), "little")

        reads = self.job.tiles.reshape(-1, config.weight_port * config.columns)
        for address in range(max(len(reads), len(self.job.words))):
            ctx.set(dut.load.valid, address < len(self.job.words))
            if address < len(self.job.words):
                ctx.set(dut.load.address, self.job.origin + address)
                ctx.set(dut.load.data, packed(self.job.words[address]))
            ctx.set(dut.weight_write.enable, address < len(reads))
            if address < len(reads):
                ctx.set(dut.weight_write.address, address)
                ctx.set(dut.weight_write.data, packed(reads[address]))
            await ctx.tick()
        ctx.set(dut.load.valid, 0)
        ctx.set(dut.weight_write.enable, 0)

    def _sums(self, pixels: list[int]) -> np.ndarray:
        bits, columns = self.config.accumulator_bits, self.config.columns
        values = [
            [pixel >> c * bits & ((1 << bits) - 1) for c in range(columns)] for pixel in pixels
        ]
        sums = np.array(values, np.int64)
        return sums - ((sums >> bits - 1) << bits)


@functools.cache
def bench(name: str) -> Bench:
    return Bench(preset(name))


LAYERS = {
    "1x1": Layer(Mode.DENSE, (3, 5, 19), (1, 1), 19),
    "3x3": Layer(Mode.DENSE, (5, 6, 5), (3, 3), 3, pads=(1, 1, 1, 1)),
    "3x3 of stride 2": Layer(Mode.DENSE, (6, 7, 3), (3, 3), 5, (2, 2), pads=(0, 0, 1, 1)),
    "3x3 of dilation 2": Layer(Mode.DENSE, (5, 6, 3), (3, 3), 2, (1, 1), (2, 2), (2, 2, 2, 2)),
    "stem of three channels": Layer(
        Mode.DENSE, (7, 8, 3), (3, 3), 8, (2, 2), pads=(0, 0, 1, 1), packed=True
    ),
    "stem of one channel": Layer(Mode.DENSE, (4, 6, 1), (3, 3), 8, pads=(1, 1, 1, 1), packed=True),
    "stem of 10x4": Layer(
        Mode.DENSE, (12, 7, 1), (10, 4), 8, (2, 2), pads=(4, 1, 5, 1), packed=True
    ),
    "stem of two channels": Layer(Mode.DENSE, (5, 6, 2), (5, 3), 8, pads=(2, 1, 2, 1), packed=True),
    "dense": Layer(Mode.DENSE, (1, 1, 37), (1, 1), 33),
    "depthwise 3x3": Layer(Mode.DEPTHWISE, (5, 6, 17), (3, 3), pads=(1, 1, 1, 1), shared_pads=True),
    "depthwise 3x3, no pads": Layer(Mode.DEPTHWISE, (5, 7, 3), (3, 3)),
    "depthwise 3x3 of stride 2": Layer(
        Mode.DEPTHWISE, (7, 7, 5), (3, 3), strides=(2, 2), pads=(1, 1, 1, 1)
    ),
    "depthwise 5x5": Layer(Mode.DEPTHWISE, (5, 5, 4), (5, 5), pads=(2, 2, 2, 2)),
    "depthwise 2x1": Layer(Mode.DEPTHWISE, (5, 5, 4), (2, 1)),
    "depthwise 1x1": Layer(Mode.DEPTHWISE, (2, 3, 4), (1, 1)),
    "maximum 3x3 of stride 2": Layer(
        Mode.MAXIMUM, (7, 7, 5), (3, 3), strides=(2, 2), pads=(1, 1, 1, 1)
    ),
    "maximum 2x2": Layer(Mode.MAXIMUM, (4, 5, 17), (2, 2)),
}


def check(core: Bench, todo: Job, **options: int | None) -> None:
    for got, expected in zip(core.run(todo, **options), todo.expected, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("config", CONFIGS)
def test_a_layer_gives_the_sums_of_its_definition(config, layer):
    core = bench(config)
    todo = job(LAYERS[layer], core.config)
    check(core, todo)
    assert core.completed == len(todo.expected)


@pytest.mark.parametrize("config", CONFIGS)
def test_layers_follow_each_other_at_once(config):
    core = bench(config)
    names = ["1x1", "depthwise 3x3", "maximum 2x2", "stem of one channel", "dense", "3x3"]
    check(core, in_a_row([LAYERS[name] for name in names], core.config))


@pytest.mark.parametrize("config", CONFIGS)
def test_delayed_words_are_not_overtaken_by_those_of_a_pass_with_fewer_taps(config):
    core = bench(config)
    layers = [Layer(Mode.DEPTHWISE, (3, taps + 1, 2), (3, taps)) for taps in (3, 2, 1, 2, 1, 3, 1)]
    check(core, in_a_row(layers, core.config))


@pytest.mark.parametrize("layer", ["3x3", "depthwise 5x5", "maximum 3x3 of stride 2"])
@pytest.mark.parametrize("config", CONFIGS)
def test_two_instructions_share_accumulators(config, layer):
    core = bench(config)
    # several groups cannot share accumulators
    todo = job(replace(LAYERS[layer], source=(5, 5, 4)), core.config)
    source, kernel, convolve = todo.program
    lines = kernel.streams
    below = replace(
        convolve,
        y=convolve.y + lines * source.dilation,
        base=(convolve.base + lines * source.kernel_step) % (1 << 20),
        first=0,
    )
    program = [source, replace(kernel, lines=lines), replace(convolve, last=0)]
    program += [replace(kernel, lines=kernel.lines - lines), below]
    check(core, replace(todo, program=program))


def idle_cycles(core: Bench) -> int:
    """Busy cycles without a fetch where nothing waits: a pass is made, the last sums go down."""
    return core.config.rows + 15


@pytest.mark.parametrize("layer", ["1x1", "3x3", "stem of 10x4", "depthwise 3x3"])
@pytest.mark.parametrize("config", CONFIGS)
def test_passes_follow_each_other_without_gaps(config, layer):
    core = bench(config)
    todo = job(LAYERS[layer], core.config)
    check(core, todo)
    assert (core.busy, core.waiting) == (todo.fetches + idle_cycles(core), 0)


@pytest.mark.parametrize(("config", "cycles"), [("4x4", 2), ("8x16", 2), ("16x16", 4)])
def test_passes_of_one_fetch_take_a_tile_of_weights_as_fast_as_it_can_be_read(config, cycles):
    core = bench(config)
    todo = job(replace(LAYERS["dense"], source=(1, 1, 16 * core.config.rows)), core.config)
    check(core, todo)
    assert max(2, core.config.weight_reads) == cycles
    # after the last loads of a burst nothing waits for the ones after
    assert 0 <= cycles * todo.fetches - (core.busy - idle_cycles(core)) < core.config.rows


@pytest.mark.parametrize("settings", [0, 2])
@pytest.mark.parametrize("config", CONFIGS)
def test_instructions_follow_each_other_without_gaps(config, settings):
    core = bench(config)
    todo = job(Layer(Mode.DENSE, (1, 4, 2), (1, 1)), core.config)
    count = 9
    program = todo.program[:2]
    for i in range(count):
        program += todo.program[:settings]
        program.append(replace(todo.program[2], first=int(i == 0), last=int(i == count - 1)))
    tiles = np.concatenate([todo.tiles] * count)
    check(core, Job(todo.words, tiles, program, [count * todo.expected[0]], count * todo.fetches))
    assert (core.busy, core.waiting) == (count * todo.fetches + idle_cycles(core), 0)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_late_reader_makes_the_core_wait_and_loses_nothing(config):
    core = bench(config)
    layer = Layer(Mode.DEPTHWISE, (2, 2, 5 * core.config.columns), (2, 2), pads=(0, 0, 1, 1))
    todo = job(layer, core.config)
    late = 40 * core.config.rows
    check(core, todo, reader_from=late)
    assert core.waiting > late // 2
    assert core.busy - core.waiting == todo.fetches + idle_cycles(core)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_pass_reads_no_line_behind_its_kernels_last_one(config):
    core = bench(config)
    layer = replace(LAYERS["depthwise 3x3, no pads"], source=(3, 7, 3))
    words = len(job(layer, core.config).words)
    todo = job(layer, core.config, origin=core.config.buffer_words - words)
    source, *rest = todo.program
    # of a tensor in bands the lines that follow are not in the buffer, which ends here
    check(core, replace(todo, program=[replace(source, height=6), *rest]))


# windows of nine rows reach into a second word, and so into another bank, now and then
@pytest.mark.parametrize("config", [c for c in CONFIGS if c != "9x16"])
def test_passes_over_one_bank_leave_it_to_another_reader_at_times(config):
    core = bench(config)
    # a pixel has four words: the fetches of the first passes all meet the same bank
    layer = Layer(Mode.DENSE, (4, 8, 4 * core.config.columns), (1, 1), 1)
    todo = job(layer, core.config)
    check(core, todo, wanted=ORIGIN)
    # the reader waits for eight cycles; four later the fetch that was not made is felt
    own = 4 * 8 * core.config.columns // core.config.rows
    held = 1 + (own - 8) // 12
    assert (core.busy, core.waiting) == (todo.fetches + idle_cycles(core) + held, held)
    assert core.stored == core.busy - own
