"""What a kernel is called with, and what its choice may look at; numbers that many calls share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from edgeinfer.cython_kernels.runtime import KERNELS, SUPPORTED, fields_of
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.site import Site

__all__ = [
    "CACHE_BYTES",
    "Ints",
    "KernelCall",
    "KernelSite",
    "Link",
    "Parameters",
    "along",
    "broadcast_strides",
    "collapse",
    "fields",
    "having",
    "lower",
    "output_stage",
    "overwritable",
    "pair_widths",
    "scaled_pair",
    "strides_of",
    "window",
]

# the work of an element on its way from memory through a cheap operation and back
ELEMENT_WORK = 32

CACHE_BYTES = 24576
"""What fits a first-level cache beside what it meets there."""

Parameters = Mapping[str, int | tuple[int, ...]]
Ints = Sequence[int]


@dataclass(frozen=True)
class Link:
    """An elementwise operator of int16 that may be computed together with its neighbours.

    Parameters
    ----------
    function : int
        A ``Function`` of ``catalogue.chains``.
    takes : tuple of str
        Its inputs, of as many elements as what it gives.
    gives : str
        Its output.
    elements, bytes : int
        How many that has, and how many bytes each.
    numbers : tuple of int
        The fields of chain_s16.h from the clamp on.
    table : numpy.ndarray, optional
        The knots between which it interpolates.
    """

    function: int
    takes: tuple[str, ...]
    gives: str
    elements: int
    bytes: int
    numbers: tuple[int, ...]
    table: np.ndarray | None = None


@dataclass(frozen=True)
class KernelCall:
    """One kernel at work.

    Parameters
    ----------
    kernel : str
        Its name in the kernel table.
    operands : tuple of str or numpy.ndarray
        Values by name, or constants packed for this kernel; the outputs come last.
    parameters : mapping
        The fields of the kernel's parameter struct.
    units : int
        Into how many disjoint parts of the output it can be divided.
    work : int
        About how many products in registers take as long; see ``ELEMENT_WORK``.
    scratch : int
        Bytes that each thread needs beside the operands.
    in_place : tuple of str
        Inputs over which the output may be written, element by element.
    isa : str, optional
        The instruction set whose kernel it is; the best that has one, where it is not said.
    outputs : int
        How many of the operands are outputs.
    links : tuple of Link
        The operators that it computes, where these may be joined with others.
    """

    kernel: str
    operands: tuple[str | np.ndarray, ...]
    parameters: Parameters
    units: int
    work: int
    scratch: int = 0
    in_place: tuple[str, ...] = ()
    isa: str | None = None
    outputs: int = 1
    links: tuple[Link, ...] = ()


def having(kernel: str, isa: str) -> Iterator[str]:
    """The instruction sets up to ``isa`` that have ``kernel``, the best first."""
    allowed = SUPPORTED[SUPPORTED.index(isa) :]
    return (name for name in allowed if name in KERNELS.get(kernel, ()))


def fields(kernel: str, parameters: Parameters, rank: int) -> list[int]:
    """``parameters`` in the order of ``kernel``'s struct, whose arrays have ``rank`` places."""
    found: list[int] = []
    for name, is_ranked in fields_of(kernel):
        value = parameters[name]
        numbers = [*map(int, value)] if isinstance(value, tuple) else [int(value)]
        found += numbers + [0] * (rank - len(numbers) if is_ranked else 0)
    return found


@dataclass(frozen=True)
class KernelSite(Site):
    """A node for which kernels are chosen, with what was packed for others.

    Parameters
    ----------
    packs : dict
        Constants packed for kernels, by the constant and how it was packed; each with the constant,
        so that no other takes its place in memory.
    isa : str
        The best instruction set that kernels may use.
    cache_bytes : int
        What plain loops may keep in their scratch to read it again and again.
    """

    packs: dict[tuple[object, ...], tuple[np.ndarray, np.ndarray]]
    isa: str = "scalar"
    cache_bytes: int = CACHE_BYTES

    def having(self, kernel: str) -> Iterator[str]:
        """The instruction sets that have ``kernel``, the best first."""
        return having(kernel, self.isa)

    def packed(
        self, role: str, make: Callable[[np.ndarray], np.ndarray], *how: object
    ) -> np.ndarray:
        """``make`` of the constant in ``role``, made once for all that pack it like ``how``."""
        constant = self.constant(role)
        key = (id(constant), make.__name__, *how)
        if key not in self.packs:
            self.packs[key] = constant, make(constant)
        return self.packs[key][1]


def overwritable(site: KernelSite, *roles: str) -> tuple[str, ...]:
    """Those of the inputs whose elements stand where the output's will."""
    output = site.output
    return tuple(
        site.node.input(role)
        for role in roles
        if site.shape(role) == output.shape and site.itemsize(role) == output.itemsize
    )


@singledispatch
def lower(op: ops.Operator, site: KernelSite) -> list[KernelCall]:
    """The kernel calls that compute ``op`` at ``site``, in order.

    None where the output is the first input under another shape: the same bytes in the same
    order.

    Raises
    ------
    UnsupportedError
        No kernel computes the operator.
    """
    raise NotImplementedError(type(op).__name__)


@lower.register
def _float_operator(op: ops.FloatOperator, site: KernelSite) -> list[KernelCall]:
    raise UnsupportedError(
        "the integer runtime has no such operator; quantize the graph first",
        node=site.node.name,
        operator=site.operator,
    )


def strides_of(shape: Ints) -> tuple[int, ...]:
    """Elements from one index to the next along each axis of a packed array."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def broadcast_strides(shape: Ints, rank: int) -> list[int]:
    """Elements from one index to the next along each of ``rank`` axes that a packed array is
    broadcast to; 0 where it has one."""
    shape = (1,) * (rank - len(shape)) + tuple(shape)
    return [0 if n == 1 else step for n, step in zip(shape, strides_of(shape), strict=True)]


def collapse(extents: Ints, *strides: Ints) -> tuple[list[int], list[list[int]]]:
    """The same walk over fewer axes: those of one element dropped, neighbours joined where every
    operand's strides allow it. At least one axis is left."""
    kept: list[tuple[int, ...]] = []
    for extent, *steps in zip(extents, *strides, strict=True):
        if extent == 1:
            continue
        if kept and all(
            outer == inner * extent for outer, inner in zip(kept[-1][1:], steps, strict=True)
        ):
            kept[-1] = (kept[-1][0] * extent, *steps)
        else:
            kept.append((extent, *steps))
    if not kept:
        kept = [(1, *[0] * len(strides))]
    joined, *walks = map(list, zip(*kept, strict=True))
    return joined, walks


def output_stage(op: ops.Requantizing) -> dict[str, int]:
    """The fields that end every requantizing kernel."""
    return {
        "output_zero_point": op.output_zero_point,
        "lo": op.lo,
        "hi": op.hi,
        "twice": int(op.rounding == "double"),
    }


def pair_widths(site: KernelSite) -> dict[str, int]:
    """The bytes of an element of both operands and of the output."""
    return {
        "a_bytes": site.itemsize("a"),
        "b_bytes": site.itemsize("b"),
        "out_bytes": site.output.itemsize,
    }


def scaled_pair(op: ops.QMul | ops.QDiv | ops.QMatMul, site: KernelSite) -> dict[str, int]:
    """The fields of what multiplies or divides two operands, but for their shapes."""
    return {
        **output_stage(op),
        **pair_widths(site),
        "a_zero_point": op.a_zero_point,
        "b_zero_point": op.b_zero_point,
        "multiplier": op.multiplier,
        "shift": op.shift,
    }


def window(
    x: Ints, out: Ints, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints
) -> dict[str, int]:
    """The fields that every kernel over windows of an NHWC value has."""
    return {
        "in_height": x[1],
        "in_width": x[2],
        "out_height": out[1],
        "out_width": out[2],
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_height": strides[0],
        "stride_width": strides[1],
        "dilation_height": dilations[0],
        "dilation_width": dilations[1],
        "pad_top": pads[0],
        "pad_left": pads[1],
    }


def along(site: KernelSite, role: str, axis: int) -> dict[str, int]:
    """The fields that every kernel along an axis has."""
    x = site.shape(role)
    return {"bytes": site.itemsize(role), "extent": x[axis], "inner": math.prod(x[axis + 1 :])}
