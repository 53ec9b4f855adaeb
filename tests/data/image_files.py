"""Image files put together by hand, of kinds that Pillow reads but does not write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

__all__ = ["deflated_zeros", "jpeg_of_scans", "png", "ramp", "tiff"]

_DEFLATE = 8


def png(
    width: int,
    rows: Sequence[bytes],
    depth: int,
    colour: int,
    *chunks: tuple[bytes, bytes],
    height: int | None = None,
) -> bytes:
    """A PNG of ``rows``, packed; it may say that it is higher than these."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        size, check = len(content), zlib.crc32(kind + content)
        return struct.pack(">I", size) + kind + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height or len(rows), depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    middle = (*chunks, (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunk(*each) for each in middle)


def tiff(
    width: int,
    height: int,
    pixels: bytes,
    bits: Sequence[int],
    *,
    order: str = "<",
    photometric: int = 1,
    sample_format: int | None = None,
    extra: int | None = None,
    orientation: int | None = None,
    deflated: bool = False,
) -> bytes:
    """A TIFF of one strip; its ``order`` of bytes as struct has it, the rest as TIFF does."""
    samples = len(bits)
    tags: dict[int, tuple[str, Sequence[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", bits),
        259: ("H", [_DEFLATE if deflated else 1]),
        262: ("H", [photometric]),
        273: ("I", [0]),
        277: ("H", [samples]),
        278: ("I", [height]),
        279: ("I", [len(pixels)]),
    }
    for tag, value in ((274, orientation), (338, extra)):
        if value is not None:
            tags[tag] = ("H", [value])
    if sample_format is not None:
        tags[339] = ("H", [sample_format] * samples)
    end = 8 + 2 + 12 * len(tags) + 4
    # values that do not fit into four bytes lie behind the directory, and the pixels behind these
    kept = {tag: struct.pack(f"{order}{len(v)}{code}", *v) for tag, (code, v) in tags.items()}
    behind = b""
    records = b""
    kept[273] = struct.pack(f"{order}I", end + sum(len(v) for v in kept.values() if len(v) > 4))
    for tag, value in sorted(kept.items()):
        code, values = tags[tag]
        if len(value) > 4:
            value, behind = struct.pack(f"{order}I", end + len(behind)), behind + value
        records += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[code], len(values))
        records += value.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    count = struct.pack(f"{order}IH", 8, len(tags))
    return mark + count + records + bytes(4) + behind + pixels


def jpeg_of_scans(jpeg: bytes, count: int) -> bytes:
    """The progressive grey ``jpeg`` with so many scans more, of one coefficient, without data."""
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 1, 0)
    end = jpeg.rindex(b"\xff\xd9")
    return jpeg[:end] + scan * count + jpeg[end:]


def deflated_zeros(count: int) -> bytes:
    """So many bytes of 0, compressed without being held."""
    packer = zlib.compressobj(9)
    piece = bytes(1 << 20)
    whole, rest = divmod(count, len(piece))
    parts = [packer.compress(piece) for _ in range(whole)]
    return b"".join([*parts, packer.compress(piece[:rest]), packer.flush()])


def ramp(order: str) -> bytes:
    """Each number of 16 bits, once."""
    return np.arange(1 << 16, dtype=f"{order}u2").tobytes()
