"""A layer's kernel into passes: the settings of CONVOLVE and the tiles of weights that it takes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.layers import Layer
from edgeinfer.hdl.config import BANKS, NpuConfig
from edgeinfer.hdl.isa import Mode, Pass, pass_count, passes

__all__ = ["Kernel", "LineShape", "bank_conflict", "kernel_of", "tiles_of"]


@dataclass(frozen=True)
class LineShape:
    """What a kernel must know of the tensor that it slides over.

    Parameters
    ----------
    pixel : int
        Elements from a pixel to the next.
    line_end : int
        Elements of a line.
    pitch : int
        Words from a line to the next.
    """

    pixel: int
    line_end: int
    pitch: int

    @classmethod
    def of(cls, layer: Layer, pixel: int, width: int, pitch: int) -> LineShape:
        """A source of ``layer``, of lines of ``width`` pixels."""
        return cls(layer.pixel(pixel), width * pixel, pitch)


@dataclass(frozen=True)
class Kernel:
    """The passes of neighbouring groups of output channels.

    Parameters
    ----------
    setting : SetKernel
    offset : int
        Elements from a pixel's beginning to the first group's first element.
    group_step : int
        Elements from a group's input to the next's.
    first, groups : int
        The first group and their number.
    passes : int
        Tiles of a group.
    """

    setting: isa.SetKernel
    offset: int
    group_step: int
    first: int
    groups: int
    passes: int


def kernel_of(
    layer: Layer,
    shape: LineShape,
    positions: tuple[int, ...],
    config: NpuConfig,
    out_positions: tuple[int, ...] | None = None,
) -> list[Kernel]:
    """The kernels of ``layer``, most often one, over channels that lie at ``positions``."""
    positions = layer.read(positions)
    if layer.mode is not Mode.DENSE:
        words = -(-(positions[-1] + 1) // config.columns)
        setting = _filter_setting(layer, shape, config)
        if _streams_conflict(setting, layer, shape):
            setting = replace(setting, streams=1)
        count = pass_count(setting, config.rows)
        return [Kernel(setting, 0, config.columns, 0, words, count)]
    if layer.group > 1:
        return _grouped(layer, shape, positions, config)
    last = (out_positions or range(len(layer.weights)))[-1]
    groups = last // config.columns + 1
    start, end = positions[0], positions[-1] + 1
    choices = [_dense(layer, shape, start, end, flat, span) for flat, span in _ways(layer)]
    kernels = []
    for setting in choices:
        count = pass_count(setting, config.rows)
        kernel = Kernel(setting, start, 0, 0, groups, count)
        if not setting.span or not bank_conflict([kernel], shape, config, layer):
            kernels.append(kernel)
    return [min(kernels, key=lambda k: k.passes)]


def _ways(layer: Layer) -> list[tuple[bool, bool]]:
    """Whether a kernel row is one run, and whether a pass may reach into the next one."""
    if layer.dilations[1] > 1:
        return [(False, False)]
    return [(False, False), (True, False), (True, True)]


def _dense(
    layer: Layer, shape: LineShape, start: int, end: int, flat: bool, span: bool
) -> isa.SetKernel:
    kh, kw = layer.kernel
    if flat:
        run = (kw - 1) * shape.pixel + end - start
        return isa.SetKernel(mode=Mode.DENSE, run=run, runs=1, run_step=0, lines=kh, span=span)
    step = layer.dilations[1] * shape.pixel
    return isa.SetKernel(
        mode=Mode.DENSE, run=end - start, runs=kw, run_step=step if kw > 1 else 0, lines=kh
    )


def _filter_setting(layer: Layer, shape: LineShape, config: NpuConfig) -> isa.SetKernel:
    kh, kw = layer.kernel
    if layer.mode is Mode.MAXIMUM:
        step = layer.dilations[1] * shape.pixel
        return isa.SetKernel(
            mode=layer.mode, run=1, runs=kw, run_step=step if kw > 1 else 0, lines=kh
        )
    taps = min(kw, config.rows, 8)
    runs = -(-kw // taps)
    taps = -(-kw // runs)
    # no two streams may read lines of one bank, and lines a multiple of BANKS apart always do
    apart = BANKS // math.gcd(layer.dilations[0], BANKS)
    streams = min(config.streams, config.rows // taps, kh, apart)
    if (layer.weights == layer.weights.flat[0]).all() and kh % streams:
        streams = 1  # all passes then have the same tile
    return isa.SetKernel(
        mode=layer.mode,
        run=1,
        runs=runs,
        run_step=taps * shape.pixel if runs > 1 else 0,
        lines=kh,
        taps=taps,
        streams=streams,
        emit=layer.strides[1] if taps > 1 else 1,
    )


def _grouped(
    layer: Layer, shape: LineShape, positions: tuple[int, ...], config: NpuConfig
) -> list[Kernel]:
    """A kernel for each word of output channels, over the input channels of its groups."""
    out, depth = len(layer.weights), layer.weights.shape[3]
    kernels: list[Kernel] = []
    for first in range(0, out, config.columns):
        members = np.arange(first, min(first + config.columns, out)) // (out // layer.group)
        low, high = int(members[0]) * depth, (int(members[-1]) + 1) * depth
        start = positions[low] // config.rows * config.rows
        setting = _dense(layer, shape, start, positions[high - 1] + 1, False, False)
        count = pass_count(setting, config.rows)
        kernel = Kernel(setting, start, 0, first // config.columns, 1, count)
        kernels = _merged(kernels, kernel)
    return kernels


def _merged(kernels: list[Kernel], new: Kernel) -> list[Kernel]:
    """``new`` after ``kernels``, as one more group of the last where its input follows in step."""
    if not kernels or kernels[-1].setting != new.setting:
        return [*kernels, new]
    last = kernels[-1]
    step = new.offset - last.offset - (last.groups - 1) * last.group_step
    if step < 0 or (last.groups > 1 and step != last.group_step):
        return [*kernels, new]
    return [*kernels[:-1], replace(last, groups=last.groups + 1, group_step=step)]


def tiles_of(
    layer: Layer,
    kernel: Kernel,
    shape: LineShape,
    positions: tuple[int, ...],
    out_positions: tuple[int, ...],
    config: NpuConfig,
) -> np.ndarray:
    """The tiles of ``kernel``, int64 [groups x passes, R, C]; one tile where all are equal."""
    build = _dense_tiles if layer.mode is Mode.DENSE else _filter_tiles
    tiles = build(layer, kernel, shape, layer.read(positions), out_positions, config)
    return tiles[:1] if (tiles == tiles[0]).all() else tiles


def _filter_tiles(
    layer: Layer,
    kernel: Kernel,
    shape: LineShape,
    positions: tuple[int, ...],
    out_positions: tuple[int, ...],
    config: NpuConfig,
) -> np.ndarray:
    setting, columns = kernel.setting, config.columns
    kh, kw = layer.kernel
    uniform = (layer.weights == layer.weights.flat[0]).all()
    # room for passes that reach beyond the kernel; channels that are not there are like the others
    taps = np.zeros((kernel.groups * columns, kh + setting.streams, kw + setting.taps), np.int64)
    chosen = slice(None) if uniform else np.array(positions)
    taps[chosen, :kh, :kw] = layer.weights.flat[0] if uniform else layer.weights[..., 0]
    tiles = np.zeros((kernel.groups, kernel.passes, config.rows, columns), np.int64)
    for i, each in enumerate(passes(setting, config.rows)):
        for s in range(setting.streams):
            for t in range(setting.taps):
                tap = taps[:, each.line + s, each.run * setting.taps + t]
                tiles[:, i, s * setting.taps + t] = tap.reshape(kernel.groups, columns)
    return tiles.reshape(-1, config.rows, columns)


def _dense_tiles(
    layer: Layer,
    kernel: Kernel,
    shape: LineShape,
    positions: tuple[int, ...],
    out_positions: tuple[int, ...],
    config: NpuConfig,
) -> np.ndarray:
    setting, rows, columns = kernel.setting, config.rows, config.columns
    kh, kw = layer.kernel
    out, depth = len(layer.weights), layer.weights.shape[3]
    place = np.array(positions)
    at = np.array(out_positions)
    tiles = np.zeros((kernel.groups, kernel.passes, rows, columns), np.int64)
    low = kernel.first * columns
    # elements of each kernel row's runs by column, with room behind for passes that reach there
    room = np.zeros(
        (kh + 2, setting.runs, setting.run + 2 * rows, kernel.groups * columns), np.int64
    )
    members = np.flatnonzero((at >= low) & (at < low + kernel.groups * columns))
    # channels that read the same elements: of one of the layer's groups, in one of the kernel's
    readers = members // (out // layer.group) * kernel.groups + (at[members] - low) // columns
    for reader in np.unique(readers):
        o = members[readers == reader]
        own = o[0] // (out // layer.group) * depth + np.arange(depth)
        element = place[own] - kernel.offset - reader % kernel.groups * kernel.group_step
        for kx in range(kw):
            run, shift = (kx, 0) if setting.runs > 1 else (0, kx * shape.pixel)
            weights = layer.weights[o, :, kx].transpose(1, 2, 0)  # [kh, depth, O]
            room[:kh, run, (element + shift)[:, None], at[o] - low] = weights
    for i, each in enumerate(passes(setting, rows)):
        tiles[:, i] = (
            _rows_of(room, each, rows).reshape(rows, kernel.groups, columns).transpose(1, 0, 2)
        )
    return tiles.reshape(-1, rows, columns)


def _rows_of(room: np.ndarray, each: Pass, rows: int) -> np.ndarray:
    """The weights [R, C] under a pass's elements."""
    own = room[each.line, each.run, each.k : each.k + each.split]
    rest = room[each.line + 1, each.run, : rows - each.split]
    return np.concatenate([own, rest])


def bank_conflict(kernels: list[Kernel], shape: LineShape, config: NpuConfig, layer: Layer) -> bool:
    """Whether some fetch would need two words of one bank, or passes are more lest one does."""
    if layer.mode is not Mode.DENSE:
        return _streams_conflict(_filter_setting(layer, shape, config), layer, shape)
    step = layer.dilations[0] * shape.pitch
    for kernel in kernels:
        setting = kernel.setting
        if setting.span:
            first = kernel.offset - layer.pads[1] * shape.pixel
            stride, rows, columns = layer.strides[1], config.rows, config.columns
            if _spans_conflict(setting, shape, step, stride, first, rows, columns):
                return True
    return False


def _streams_conflict(setting: isa.SetKernel, layer: Layer, shape: LineShape) -> bool:
    """Whether two kernel rows of a pass have lines of one bank."""
    step = layer.dilations[0] * shape.pitch
    banks = [s * step % BANKS for s in range(setting.streams)]
    return len(set(banks)) < len(banks)


@functools.lru_cache(maxsize=1 << 14)
def _spans_conflict(
    setting: isa.SetKernel,
    shape: LineShape,
    step: int,
    stride: int,
    first: int,
    rows: int,
    columns: int,
) -> bool:
    """Whether a pass over two kernel rows does; remembered, as every plan of a model asks anew."""
    return any(
        _conflict(each, setting, shape, step, stride, first, rows, columns)
        for each in passes(setting, rows)
        if each.split < rows  # a window of one line lies in two words that follow each other
    )


def _conflict(
    each: Pass,
    setting: isa.SetKernel,
    shape: LineShape,
    step: int,
    stride: int,
    first: int,
    rows: int,
    columns: int,
) -> bool:
    r = np.arange(rows)
    own = r < each.split
    element = each.run * setting.run_step + np.where(own, each.k + r, r - each.split)
    fetches = shape.line_end // (stride * shape.pixel) + 1
    element = first + np.arange(fetches)[:, None] * stride * shape.pixel + element
    # the lines' beginnings are any word: all that counts are the distances
    word = element // columns + np.where(own, 0, step)
    word = np.where((element >= 0) & (element < shape.line_end), word, -1)
    for bank in range(BANKS):
        here = (word >= 0) & (word % BANKS == bank)
        high = np.where(here, word, -1).max(1)
        low = np.where(here, word, 1 << 30).min(1)
        if ((high >= 0) & (high != low)).any():
            return True
    return False
