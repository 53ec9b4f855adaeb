"""Configurations worth trying for a model: arrays of every size, memories that it fills or less."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from edgeinfer.graph import Graph
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import BANKS, NpuConfig, usual_port

__all__ = ["CANDIDATES", "SIDES", "arrays", "candidates"]

SIDES = (4, 8, 9, 16, 32, 64, 128, 256)
"""Rows of the arrays that are tried; nine hold a 3x3 kernel's taps."""

_PARTS = (1, 2, 8)
CANDIDATES = len(_PARTS) ** 2
"""Configurations of an array at most."""

_LARGEST = 1 << 27
"""Bytes of a memory that holds all of any model."""

_ADDRESSES = 1 << 20
"""Words, or tiles, of a memory at most."""


def arrays(width: int, largest: int) -> Iterator[NpuConfig]:
    """Square arrays, those with twice the columns and 9x16, with few lanes and with many."""
    for rows, ratio, slower in product(SIDES, (1, 2), (4, 2, 1)):
        square = 1 << (rows - 1).bit_length()
        columns = square * ratio
        # with a quarter of the lanes 9x16 has no more multipliers than an ECP5-85F
        if columns > largest or (slower == 4 if rows == square else ratio == 2):
            continue
        yield _sized(
            NpuConfig(
                rows,
                columns,
                width,
                buffer_bytes=BANKS * columns * width // 8,
                weight_bytes=rows * columns * width // 8,
                lanes=columns // slower,
                weight_port=usual_port(rows),
                bus_bytes=min(8, columns * width // 8),
                tables=True,
            ),
            _LARGEST,
            _LARGEST,
            1 << 14,
        )


def candidates(graph: Graph, roomy: NpuConfig) -> Iterator[NpuConfig]:
    """``roomy`` with memories that the model fills, and with a half and an eighth of them.

    Raises
    ------
    UnsupportedError
        The model does not compile for ``roomy``.
    """
    program = compile(graph, roomy).program
    words, tiles = program.buffer_words, program.weight_tiles
    # a layer takes the less weights at once, the less room there is for them, and each part of it
    # has parameters of its own: a weight memory that is just filled takes more of them
    filled = _sized(roomy, words * roomy.word_bytes, tiles * roomy.tile_bytes, roomy.parameter_rows)
    rows = max(4 * roomy.steps, compile(graph, filled).program.parameter_rows)
    seen = set()
    for part, other in product(_PARTS, _PARTS):
        config = _sized(
            roomy,
            -(-words // part) * roomy.word_bytes,
            -(-tiles // other) * roomy.tile_bytes,
            rows,
        )
        if config not in seen:
            seen.add(config)
            yield config


def _sized(config: NpuConfig, buffer: int, weights: int, parameters: int) -> NpuConfig:
    """``config`` with memories of at least so many bytes and rows."""
    bank = BANKS * config.word_bytes
    return config.replace(
        buffer_bytes=min(-(-buffer // bank) * bank, _ADDRESSES * config.word_bytes),
        weight_bytes=min(
            -(-weights // config.tile_bytes) * config.tile_bytes, _ADDRESSES * config.tile_bytes
        ),
        parameter_rows=parameters,
    )
