"""Lines of tensors between their images in host memory and the buffer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.bands import Surface
from edgeinfer.hdl.compiler.layout import Tensor
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Memory

__all__ = ["LINES", "Part", "move"]

LINES = 4096
"""Of one READ_HOST or WRITE_HOST."""


@dataclass(frozen=True)
class Part:
    """Lines of a tensor, pixels of each line, and words of each pixel."""

    lines: range
    pixels: range
    words: range

    @classmethod
    def of(cls, tensor: Tensor, lines: range, columns: int) -> Part:
        """All of ``lines``."""
        return cls(lines, range(tensor.width), range(-(-tensor.pixel // columns)))


def move(
    instruction: type[isa.ReadHost] | type[isa.WriteHost],
    tensor: Tensor,
    host: int,
    surface: Surface,
    part: Part,
    config: NpuConfig,
    left: int = 0,
) -> Iterator[isa.ReadHost | isa.WriteHost]:
    """The transfers of ``part`` of a tensor between its image at ``host`` and ``surface``.

    On ``surface`` its lines follow each other from the first on, its pixels from ``left`` on.
    """
    lines = part.lines
    if not lines:
        return
    columns, word_bytes = config.columns, config.word_bytes
    memory = {"memory": Memory.BUFFER} if instruction is isa.ReadHost else {}
    as_in_host = surface.pixel == tensor.pixel
    if as_in_host and part == Part.of(tensor, lines, columns):
        for first in range(0, len(lines), LINES):
            yield instruction(
                host=host + lines[first] * tensor.pitch * word_bytes,
                address=surface.base + first * surface.pitch,
                lines=min(LINES, len(lines) - first),
                words=tensor.pitch,
                host_step=lines.step * tensor.pitch * word_bytes,
                step=surface.pitch,
                **memory,
            )
        return
    pixel = tensor.pixel // columns
    first = part.words.start if as_in_host else surface.group
    for row, y in enumerate(lines):
        start = y * tensor.pitch + part.pixels.start * pixel + part.words.start
        yield instruction(
            host=host + start * word_bytes,
            address=surface.word(surface.top + row, left, first, columns),
            lines=len(part.pixels),
            words=len(part.words),
            host_step=part.pixels.step * pixel * word_bytes,
            step=surface.pixel // columns,
            **memory,
        )
