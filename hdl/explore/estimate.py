"""What one NPU would take for a model, by the compiler's cycle model, and what it would cost."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.graph import Graph
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler import Program, compile
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.summary import memories, multipliers_18x18

__all__ = ["Estimate", "LayerEstimate", "estimate"]


@dataclass(frozen=True)
class LayerEstimate:
    """A layer's part.

    Parameters
    ----------
    output : str
        The value that it makes.
    macs, cycles : int
    weight_bytes : int
        Read from the weight memory into the array.
    """

    output: str
    macs: int
    cycles: int
    weight_bytes: int

    @property
    def intensity(self) -> float:
        """Multiply-accumulates for each byte of weights that goes into the array."""
        return self.macs / max(1, self.weight_bytes)


@dataclass(frozen=True)
class Estimate:
    """One NPU with one model.

    Parameters
    ----------
    config : NpuConfig
    cycles : int
        Of one inference, inputs and outputs on the chip, as ``hdl simulate`` counts them.
    macs : int
    memory_bytes : int
        All memories of the NPU.
    multipliers : int
        Of 18 x 18 bits.
    traffic : int
        Bytes between host memory and the NPU in one inference, instructions included.
    layers : tuple of LayerEstimate
    """

    config: NpuConfig
    cycles: int
    macs: int
    memory_bytes: int
    multipliers: int
    traffic: int
    layers: tuple[LayerEstimate, ...]

    @property
    def utilization(self) -> float:
        """The share of the array's multiply-accumulates that the model's are."""
        return self.macs / (self.config.macs * self.cycles)

    def rate(self, megahertz: float) -> float:
        """Inferences a second."""
        return 1e6 * megahertz / self.cycles


def estimate(graph: Graph, config: NpuConfig) -> Estimate:
    """What ``graph`` takes on ``config``.

    Raises
    ------
    UnsupportedError
        It does not compile for ``config``.
    """
    program = compile(graph, config).program
    prediction = program.prediction
    read = _weights_read(program)
    layers = []
    before = 0
    for layer, weight_bytes in zip(program.layers, read, strict=True):
        end = prediction.groups[layer.last - 1]
        layers.append(LayerEstimate(layer.output, layer.macs, end - before, weight_bytes))
        before = end
    return Estimate(
        config=config,
        cycles=prediction.cycles,
        macs=sum(layer.macs for layer in program.layers),
        memory_bytes=sum(m.bits for m in memories(config)) // 8,
        multipliers=multipliers_18x18(config),
        traffic=_traffic(program),
        layers=tuple(layers),
    )


def _traffic(program: Program) -> int:
    config = program.config
    moved = len(program.infer) * isa.INSTRUCTION_BYTES
    for each in program.infer:
        if isinstance(each, isa.ReadHost):
            moved += each.lines * each.words * isa.host_word_bytes(each.memory, config)
        elif isinstance(each, isa.WriteHost):
            moved += each.lines * each.words * config.word_bytes
    return moved


def _weights_read(program: Program) -> list[int]:
    """Bytes that each layer brings from the weight memory into the array."""
    found = [0] * len(program.layers)
    groups = index = 0
    for each in program.infer:
        while index < len(found) - 1 and groups >= program.layers[index].last:
            index += 1
        if isinstance(each, isa.ReadWeights):
            found[index] += each.count * program.config.tile_bytes
        elif isinstance(each, isa.Activate | isa.Reduce):
            groups += isa.completions(each)
    return found
