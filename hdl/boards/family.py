"""What a family of FPGAs is: its devices and boards, and how each tool is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from amaranth.hdl import Instance, Signal, Value

from edgeinfer.hdl.config import NpuConfig

__all__ = ["TOP", "Bitstreams", "Board", "Family", "Fpga", "Pll", "PllLimits", "Tools", "calls"]

TOP = "npu_board"
"""The top module of what is on a board, and its files' name."""


@dataclass(frozen=True)
class Fpga:
    """A device and what it has.

    Parameters
    ----------
    name : str
    family : str
        As in ``FAMILIES``.
    lookup_tables, flip_flops, multipliers, memories : int
        What it has: LUTs of four inputs (six of Xilinx's), multipliers of 18 x 18 bits (16 x 16 on
        iCE40), block memories.
    """

    name: str
    family: str
    lookup_tables: int
    flip_flops: int
    multipliers: int
    memories: int


@dataclass(frozen=True)
class Board:
    """A board.

    Parameters
    ----------
    name : str
    title : str
        As its maker calls it.
    fpga : Fpga
    platform : str
        Module and class of its Amaranth platform.
    place_and_route : tuple of str
        Options of nextpnr that choose device, package and speed.
    oscillator : float
        MHz, at the FPGA's clock pin.
    clock : float
        MHz of the NPU unless the user says otherwise.
    serial : str
        Where the serial line is.
    program : str
        A command that loads ``npu.<suffix>``.
    """

    name: str
    title: str
    fpga: Fpga
    platform: str
    place_and_route: tuple[str, ...]
    oscillator: float
    clock: float
    serial: str
    program: str

    def new_platform(self) -> Any:
        """Its Amaranth platform; one serves one build."""
        module, _, name = self.platform.partition(":")
        make: Callable[[], Any] = getattr(import_module(module), name)
        return make()


@dataclass(frozen=True)
class Pll:
    """A PLL's dividers.

    Parameters
    ----------
    oscillator : float
        MHz that come in.
    reference, feedback, output : int
        Divisors of the reference, of the loop, and of the PLL's own oscillator.
    megahertz : float
        What comes out.
    """

    oscillator: float
    reference: int
    feedback: int
    output: int
    megahertz: float


@dataclass(frozen=True)
class PllLimits:
    """What a PLL can do.

    Parameters
    ----------
    detector, inside : pair of float
        MHz of the phase detector, and of the oscillator inside.
    reference, feedback : range
    output : tuple of int
        The dividers.
    behind_output : bool
        The loop closes behind the output's divider.
    """

    detector: tuple[float, float]
    inside: tuple[float, float]
    reference: range
    feedback: range
    output: tuple[int, ...]
    behind_output: bool = False


@dataclass(frozen=True)
class Tools:
    """What places and routes a netlist, and writes its bits.

    Parameters
    ----------
    package, function : str
        nextpnr's.
    constraints : tuple of str
        Options that name the constraints' file.
    placer : tuple of str
        Options of the placer.
    output : tuple of str
        Options that name what is routed.
    packer, packer_code : str
        The packer's package, and the Python that runs it.
    pack : tuple of str
        Its arguments.
    bitstream : str
        The file that it writes.
    """

    package: str
    function: str
    constraints: tuple[str, ...]
    placer: tuple[str, ...]
    output: tuple[str, ...]
    packer: str
    packer_code: str
    pack: tuple[str, ...]
    bitstream: str


def calls(package: str, function: str) -> str:
    """Python that calls ``function`` of ``package`` with its own arguments."""
    return f"import sys, {package} as p; sys.exit(p.{function}(sys.argv[1:]))"


@dataclass(frozen=True)
class Bitstreams:
    """How a netlist becomes a bitstream.

    Parameters
    ----------
    tools : Tools
    placeable : float
        The share of the lookup tables beyond which nextpnr takes hours, or gives up.
    block_bytes : int
        Of a block memory as wide as a power of two; parity's bits are of no use then.
    pll_limits : PllLimits
    pll : callable
        The instance of a PLL, from the pin to the clock and whether that is locked.
    """

    tools: Tools
    placeable: float
    block_bytes: int
    pll_limits: PllLimits
    pll: Callable[[Pll, Value, Signal, Signal], Instance]


@dataclass(frozen=True)
class Family:
    """How a family is synthesized, how its primitives count, and what there is of it.

    Parameters
    ----------
    fpgas : tuple of Fpga
        Those that a netlist's resources are compared with.
    commands : tuple of str
        Of Yosys; ``{top}`` is the top module.
    lookup_tables, flip_flops, multipliers, memories : dict of str to int
        What each primitive takes of these, by a pattern that its name matches.
    boards : tuple of Board
    bitstreams : Bitstreams or None
        None where only resources are counted.
    finish : callable or None
        What is done to a module of the netlist after Yosys.
    other_places : callable or None
        Lookup tables' places that a module takes for anything else.
    cell : dict of int to str
        The primitive in a cell of the array, by the width of the NPU's elements.
    lane : dict of int to dict of str to int
        How many of which are in a lane, likewise.
    reduction : dict of str to int
        How many of which are in the unit of ``reductions``.
    """

    fpgas: tuple[Fpga, ...]
    commands: tuple[str, ...]
    lookup_tables: Mapping[str, float]
    flip_flops: Mapping[str, float]
    multipliers: Mapping[str, float]
    memories: Mapping[str, float]
    cell: Mapping[int, str]
    lane: Mapping[int, Mapping[str, int]]
    reduction: Mapping[str, int]
    boards: tuple[Board, ...] = ()
    bitstreams: Bitstreams | None = None
    finish: Callable[[dict[str, Any]], object] | None = None
    other_places: Callable[[Mapping[str, Any]], int] | None = None

    def multiplier_cells(self, cells: Mapping[str, int]) -> dict[str, int]:
        """The primitives among ``cells`` that multiply, and how many there are of each."""
        return {name: cells[name] for name in self.multipliers if name in cells}

    def expected_multiplier_cells(self, config: NpuConfig) -> dict[str, int]:
        """Those that an NPU has."""
        count = Counter({self.cell[config.width]: config.macs})
        for name, each in self.lane[config.width].items():
            count[name] += config.lanes * each
        if config.reductions:
            count.update(self.reduction)
        return dict(count)

    def needed_multipliers(self, config: NpuConfig) -> float:
        """What these take of multipliers of 18 x 18 bits."""
        expected = self.expected_multiplier_cells(config)
        return sum(self.multipliers[name] * count for name, count in expected.items())
