"""What a layer takes, in an integer Graph and in its reference, as sums over windows.

All are sums of products of integers, below 2^53, which float64 holds: the order in which a BLAS
adds them up, its threads and its processor change no bit, and sums of parts of the data add up to
those of all. A product of 16-bit integers is below 2^30, and so 2^23 windows may be summed; as
many as ``_LEAST`` are, or ``_TIMES`` as many as there are weights in each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.windows import windows

__all__ = ["Layer", "Moments", "moments_of"]

# a layer is judged by this many windows, or by so many times the weights of each
_LEAST, _TIMES = 8192, 4

# float64s made at once
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Layer:
    """A QConv or QDense whose weights are to be rounded.

    Parameters
    ----------
    node : Node
        In the integer Graph.
    kernel : tuple of int
        The shape of its weights, channel first.
    zero_point : int
        Of what it takes; in the reference that is 0.
    """

    node: Node
    kernel: tuple[int, ...]
    zero_point: int

    @property
    def groups(self) -> int:
        """Of channels that see windows of their own."""
        return self.node.op.group if isinstance(self.node.op, ops.QConv) else 1

    @property
    def length(self) -> int:
        """How many weights a channel has."""
        return math.prod(self.kernel[1:])


@dataclass
class Moments:
    """Sums over windows, by group of channels, of ``q - zero_point`` as float64.

    Parameters
    ----------
    count : int
        How many windows.
    sums, references : numpy.ndarray
        [groups, K]: of the integer Graph's, and of the reference's.
    products : list of numpy.ndarray
        For each block of weights [groups, block, block]: of the integer Graph's with each other.
    """

    count: int
    sums: np.ndarray
    references: np.ndarray
    products: list[np.ndarray]

    def add(self, other: Moments) -> None:
        """Take in those of other windows."""
        self.count += other.count
        self.sums += other.sums
        self.references += other.references
        for mine, others in zip(self.products, other.products, strict=True):
            mine += others


def moments_of(layer: Layer, x: np.ndarray, reference: np.ndarray, blocks: list[slice]) -> Moments:
    """Of the windows that ``layer`` sees in all runs, or of some evenly drawn from all.

    Parameters
    ----------
    layer : Layer
        What sees them.
    x, reference : numpy.ndarray
        [runs, ...]: the integers that it takes, and those of the reference.
    blocks : list of slice
        Of a channel's weights, those whose products are wanted; none for sums alone.
    """
    rows = _dense_rows if isinstance(layer.node.op, ops.QDense) else _conv_rows
    made: Moments | None = None
    for a, b in rows(layer, x, reference):
        parts = [a[:, :, block] for block in blocks]
        products = [np.matmul(part.transpose(0, 2, 1), part) for part in parts]
        found = Moments(a.shape[1], a.sum(1), b.sum(1), products)
        if made is None:
            made = found
        else:
            made.add(found)
    assert made is not None
    return made


_Rows = Iterator[tuple[np.ndarray, np.ndarray]]


def _wanted(layer: Layer) -> int:
    return max(_LEAST, _TIMES * layer.length)


def _dense_rows(layer: Layer, x: np.ndarray, reference: np.ndarray) -> _Rows:
    """Both as [1, rows, K], a part at a time."""
    a, b = (array.reshape(-1, layer.length) for array in (x, reference))
    every = -(-len(a) // _wanted(layer))
    a, b = a[::every], b[::every]
    step = max(1, _CHUNK // layer.length)
    for first in range(0, len(a), step):
        part = slice(first, first + step)
        yield a[None, part].astype(np.float64) - layer.zero_point, b[None, part].astype(np.float64)


def _conv_rows(layer: Layer, x: np.ndarray, reference: np.ndarray) -> _Rows:
    """Both as [groups, rows, K], a part at a time."""
    op = layer.node.op
    assert isinstance(op, ops.QConv)
    kernel = layer.kernel[1], layer.kernel[2]

    def seen(array: np.ndarray, zero_point: int) -> np.ndarray:
        return windows(array, kernel, op.strides, op.pads, op.dilations, zero_point)

    batch, height, width = seen(x[0], 0).shape[:3]
    every = 1
    # of a value of many pixels every second, third ... down and across
    while every < max(height, width) and (
        len(x) * batch * -(-height // every) * -(-width // every) > _wanted(layer)
    ):
        every += 1
    each = batch * -(-height // every) * -(-width // every) * layer.length * layer.groups
    step = max(1, _CHUNK // each)
    for first in range(0, len(x), step):
        parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for run in range(first, min(len(x), first + step)):
            # other pixels in each run: what layers of strides 2 and 4 make of them differs
            down, across = run % min(every, height), run // every % min(every, width)
            for array, zero, part in zip((x, reference), (layer.zero_point, 0), parts, strict=True):
                view = seen(array[run], zero)[:, down::every, across::every]
                pixels = (view.astype(np.float64) - zero).reshape(
                    -1, layer.groups, layer.kernel[3], *kernel
                )
                part.append(pixels.transpose(1, 0, 3, 4, 2).reshape(layer.groups, -1, layer.length))
        a, b = (np.concatenate(part, 1) for part in parts)
        yield a, b
