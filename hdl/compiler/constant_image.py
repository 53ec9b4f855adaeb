"""Weights, parameters and tables in host memory, in blocks in the order of their use."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np

from edgeinfer.hdl.compiler.constants import Block
from edgeinfer.hdl.compiler.layers import Layer
from edgeinfer.hdl.compiler.streams import plan_slots
from edgeinfer.hdl.config import NpuConfig

__all__ = ["ALIGNMENT", "ConstantImage", "Placed", "wide_rows"]

ALIGNMENT = 64
"""Of everything in host memory: any bus's beats, and whole cache lines."""

Placed: TypeAlias = tuple[int, int]
"""Bytes from the base address to a block, and its tiles or rows."""


class ConstantImage:
    """Weights, parameters and tables in host memory, as layer after layer adds them.

    Parameters
    ----------
    config : NpuConfig

    Attributes
    ----------
    image : bytearray
        From the base address on.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        self.image = bytearray()
        self._weights: list[Placed] = []  # of the blocks in the order of their use
        self._parameters: list[Placed] = []
        self._places: dict[bytes, int] = {}
        self._computed: set[int] = set()  # where blocks lie that a run computes

    def _put(self, data: bytes) -> int:
        """Where ``data`` lies; what is equal lies there once."""
        if data not in self._places:
            self._places[data] = len(self.image)
            self.image += data + bytes(-len(data) % ALIGNMENT)
        return self._places[data]

    def put_words(self, words: np.ndarray) -> int:
        """Where ``words`` [count, C] of a tensor lie from now on."""
        return self._put(words.astype(f"<i{self.config.element_bytes}").tobytes())

    def put_tiles(self, tiles: np.ndarray) -> Placed:
        """Where ``tiles`` [count, R, C] of weights lie from now on."""
        data = tiles.astype(f"<i{self.config.element_bytes}").tobytes()
        return self._put(data), len(tiles)

    def reserve_tiles(self, count: int) -> Placed:
        """Where ``count`` tiles will lie that a run computes; until then they are zeros."""
        placed = len(self.image), count
        size = count * self.config.rows * self.config.word_bytes
        self.image += bytes(size + -size % ALIGNMENT)
        self._computed.add(placed[0])
        return placed

    def add_weights(self, placed: Placed) -> int:
        """The number of a block, the next that is used, of weights that are there."""
        self._weights.append(placed)
        return len(self._weights) - 1

    def add_parameters(
        self, layer: Layer, groups: range, at: tuple[int, ...], *, shared: bool
    ) -> int:
        """The number of a block of the parameters of ``layer`` in ``groups`` of columns.

        Parameters
        ----------
        layer : Layer
        groups : range
        at : tuple of int
            The column of each output channel, counted through all groups.
        shared : bool
            Whether one group's records serve all.
        """
        rows = _parameter_rows(layer, groups, np.array(at), shared, self.config)
        if layer.reduced is not None:
            rows += b"".join(wide_rows(entries, self.config) for entries in layer.reduced.entries)
        self._parameters.append((self._put(rows), len(rows) // self.config.parameter_row_bytes))
        return len(self._parameters) - 1

    def table(self, layer: Layer) -> int | None:
        """Where the table of ``layer`` lies in host memory."""
        return None if layer.table is None else self._put(_table_bytes(layer.table))

    def blocks(self, *, stream: bool) -> tuple[list[Block], list[Block]]:
        """The blocks of weights and those of parameters, with their slots."""
        config = self.config
        both = []
        for placed, capacity in (
            (self._weights, config.weight_tiles),
            (self._parameters, config.parameter_rows),
        ):
            slots = plan_slots(placed, capacity, stream=stream, computed=self._computed)
            both.append(
                [
                    Block(*each, slot, each[0] in self._computed)
                    for each, slot in zip(placed, slots, strict=True)
                ]
            )
        return both[0], both[1]


def _parameter_rows(
    layer: Layer, groups: range, at: np.ndarray, shared: bool, config: NpuConfig
) -> bytes:
    """The records of a layer's output channels in ``groups`` of columns, as host memory has them.

    Parameters
    ----------
    layer : Layer
    groups : range
    at : int array [O]
        The column of each output channel, counted through all groups.
    shared : bool
        Whether one group's records serve all.
    config : NpuConfig
    """
    columns, bits = config.columns, config.accumulator_bits
    if shared:
        groups, at = range(1), np.arange(columns)
        layer = replace(
            layer,
            bias=np.repeat(layer.bias[:1], columns),
            multiplier=np.repeat(layer.multiplier[:1], columns),
            shift=np.repeat(layer.shift[:1], columns),
        )
    column = at - groups.start * columns
    here = (column >= 0) & (column < len(groups) * columns)
    bias, multiplier, shift = (np.zeros(len(groups) * columns, np.uint64) for _ in range(3))
    shift[:] = 2  # of columns without a channel
    bias[column[here]] = layer.bias[here].astype(np.uint64) & np.uint64((1 << bits) - 1)
    multiplier[column[here]] = layer.multiplier[here]
    shift[column[here]] = layer.shift[here]
    # bias, multiplier and shift side by side in 128 bits, of which a shift drops what is beyond 64
    low = bias | multiplier << np.uint64(bits)
    high = multiplier >> np.uint64(64 - bits)
    at_shift = bits + 31
    if at_shift < 64:
        low |= shift << np.uint64(at_shift)
        high |= shift >> np.uint64(64 - at_shift)
    else:
        high |= shift << np.uint64(at_shift - 64)
    whole = np.stack([low, high], 1).astype("<u8").view(np.uint8)
    records = whole[:, : config.parameter_bytes]
    rows = records.reshape(-1, config.lanes * config.parameter_bytes)
    padded = np.zeros((len(rows), config.parameter_row_bytes), np.uint8)
    padded[:, : rows.shape[1]] = rows
    return padded.tobytes()


def _table_bytes(table: np.ndarray) -> bytes:
    if len(table) == 256:
        return table.astype("<i1").tobytes()
    pairs = np.stack([table[:-1], np.diff(table)], 1)
    return pairs.astype("<i2").tobytes()


def wide_rows(entries: np.ndarray, config: NpuConfig) -> bytes:
    """Rows of parameters as REDUCE reads them, of int64 ``entries`` [count, 1 or 3] of 32 bits.

    An entry has the lowest bits of one record, or those of two in rows one after the other.
    """
    count, words = entries.shape
    records = -(-words // 2)
    groups = -(-count // config.lanes)
    own = np.zeros((groups * config.lanes, 2 * records), np.int64)
    own[:count, :words] = entries
    low = (own & 0xFFFFFFFF).astype("<u4").reshape(groups, config.lanes, records, 2)
    in_rows = np.ascontiguousarray(low.transpose(0, 2, 1, 3)).view(np.uint8)
    data = np.zeros((groups * records, config.lanes, config.parameter_bytes), np.uint8)
    data[..., :8] = in_rows.reshape(groups * records, config.lanes, 8)
    padded = np.zeros((len(data), config.parameter_row_bytes), np.uint8)
    padded[:, : config.lanes * config.parameter_bytes] = data.reshape(len(data), -1)
    return padded.tobytes()
