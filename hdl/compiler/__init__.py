"""An integer Graph into programs for the NPU.

shuffles        channel shuffles as one operator        partition   nodes for the NPU, for the host
layers          what the array does at once             rules       operators as such layers
lowering        Graphs as such layers                   fusion      additions into layers before
layout          values into lines and words             kernel      kernels into passes and tiles
parts           kernels that do not fit, in parts       bands       tensors that do not, in bands
jobs            groups whose constants come together    constants   blocks into the NPU
constant_image  constants in host memory, in blocks     streams     and their places in it
traffic         bands on their way in and out           transfers   lines between host and buffer
operands        which lines a band needs                settings    numbers in SET instructions
waits           instructions and their SYNCs            emission    layers into instructions
segment         all of these for one segment            program     what comes out
host_image      where it lies in host memory            bus         when its bursts come and go
timing          the cycles that it will take
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.hdl.compiler.partition import Side, partition
from edgeinfer.hdl.compiler.partition import sides as sides_of_nodes
from edgeinfer.hdl.compiler.program import Binding, LayerRecord, Program, Watch
from edgeinfer.hdl.compiler.rules import Taken, takes
from edgeinfer.hdl.compiler.segment import compile_segment
from edgeinfer.hdl.compiler.shuffles import with_gathers
from edgeinfer.hdl.config import NpuConfig, configuration

__all__ = [
    "Binding",
    "Compiled",
    "LayerRecord",
    "Program",
    "Side",
    "Taken",
    "Watch",
    "compile",
    "sides",
    "takes",
]


@dataclass(frozen=True)
class Compiled:
    """A model for one configuration.

    Parameters
    ----------
    graph : Graph
    config : NpuConfig
    segments : tuple of Graph and Program or None
        In the order in which they run; None where the host runs the Graph.
    """

    graph: Graph
    config: NpuConfig
    segments: tuple[tuple[Graph, Program | None], ...]

    @property
    def programs(self) -> tuple[Program, ...]:
        """The segments' programs."""
        return tuple(program for _, program in self.segments if program is not None)

    @property
    def program(self) -> Program:
        """The only one, of a model that the NPU runs as a whole.

        Raises
        ------
        UnsupportedError
            The CPU runs operators between those of the NPU.
        """
        if len(self.programs) != 1:
            raise UnsupportedError(
                f"the model runs on the NPU in {len(self.programs)} segments, with operators of "
                "the CPU between them"
            )
        return self.programs[0]


def compile(
    graph: Graph,
    config: NpuConfig | str,
    *,
    host_ops: bool = False,
    stream_weights: bool = False,
) -> Compiled:
    """Compile an integer Graph with a batch of 1.

    Parameters
    ----------
    graph : Graph
    config : NpuConfig or str
        Or its text, such as ``8x16``.
    host_ops : bool
        Let the CPU run what the NPU cannot, in segments between those of the NPU.
    stream_weights : bool
        Bring all weights and parameters from host memory in every run, even where they would fit.

    Raises
    ------
    UnsupportedError
        The NPU cannot run an operator, or the model does not fit it; the message says what to
        change.
    """
    config = configuration(config) if isinstance(config, str) else config
    segments = []
    for segment in partition(_prepared(graph), config, host_ops=host_ops):
        program = None
        if segment.on_npu:
            program = compile_segment(segment.graph, config, stream=stream_weights)
        segments.append((segment.graph, program))
    return Compiled(graph, config, tuple(segments))


def sides(graph: Graph, config: NpuConfig) -> tuple[Side, ...]:
    """Where each node runs, with reasons; channel shuffles are one node.

    Raises
    ------
    UnsupportedError
        The graph keeps states, which the NPU does not.
    """
    return sides_of_nodes(_prepared(graph), config)


def _prepared(graph: Graph) -> Graph:
    """Without what no output needs.

    Raises
    ------
    UnsupportedError
        It keeps states, which the NPU does not.
    """
    if graph.states:
        names = ", ".join(repr(state.input) for state in graph.states)
        raise UnsupportedError(
            f"the NPU keeps no state from one run to the next: {names}; quantize the model with "
            "its states as inputs and outputs, or over whole sequences, without --state and "
            "--stream"
        )
    return with_gathers(graph.with_nodes(graph.nodes))
