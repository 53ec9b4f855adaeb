"""Where a model lies in host memory: what a driver must know to load it, feed it and run it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeinfer.graph import Graph, Node
from edgeinfer.hdl.compiler import Binding, Compiled, Program
from edgeinfer.hdl.compiler.host_image import HostImage, Section

__all__ = ["HostOperator", "ModelMap", "TensorMap"]


@dataclass(frozen=True)
class TensorMap:
    """An input or output: element (y, x, c) is at ``offset + y line + x pixel + positions[c]``.

    Parameters
    ----------
    name : str
    shape : tuple of int
        In the Graph.
    dtype : str
        Of the values; in host memory an element has ``element_bytes``, little-endian.
    scale : float
    zero_point : int
        A real number is ``scale * (q - zero_point)``.
    offset : int
        Bytes from the base address.
    height, width : int
        Pixels.
    line, pixel : int
        Bytes from a line, and from a pixel, to the next.
    element_bytes : int
    positions : tuple of int
        Bytes from a pixel's first, for each channel.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    offset: int
    height: int
    width: int
    line: int
    pixel: int
    element_bytes: int
    positions: tuple[int, ...]

    @classmethod
    def of(cls, binding: Binding, graph: Graph, program: Program) -> TensorMap:
        """The place of ``binding``."""
        config, tensor = program.config, binding.view.tensor
        size = config.element_bytes
        first = binding.view.word * config.columns
        quantization = graph.types[binding.name].quantization
        return cls(
            name=binding.name,
            shape=binding.shape,
            dtype=binding.dtype,
            scale=quantization.step if quantization else 1.0,
            zero_point=quantization.zero_point if quantization else 0,
            offset=binding.host,
            height=tensor.height,
            width=tensor.width,
            line=tensor.pitch * config.word_bytes,
            pixel=tensor.pixel * size,
            element_bytes=size,
            positions=tuple((first + p) * size for p in binding.view.positions),
        )


@dataclass(frozen=True)
class HostOperator:
    """What the host does before the NPU, or after it, to one tensor.

    Parameters
    ----------
    operator : str
    options : dict of str to int, bool or tuple of int
        As an axis or a permutation: output axis i is input axis ``permutation[i]``.
    input, output : str
    input_shape, output_shape : tuple of int
    """

    operator: str
    options: Mapping[str, Any]
    input: str
    input_shape: tuple[int, ...]
    output: str
    output_shape: tuple[int, ...]

    @classmethod
    def of(cls, node: Node, graph: Graph) -> HostOperator:
        """What ``node`` of ``graph`` is."""
        source, made = node.inputs[0], node.outputs[0]
        return cls(
            operator=type(node.op).__name__,
            options=dataclasses.asdict(node.op),
            input=source,
            input_shape=graph.types[source].shape,
            output=made,
            output_shape=graph.types[made].shape,
        )

    @property
    def text(self) -> str:
        """For readers: ``Transpose (permutation 0, 2, 3, 1) of image, 1 x 3 x 8 x 8, ...``."""
        options = "; ".join(
            f"{name} {', '.join(map(str, value)) if isinstance(value, tuple) else value}"
            for name, value in self.options.items()
        )
        before, after = (" x ".join(map(str, s)) for s in (self.input_shape, self.output_shape))
        return f"{self.operator} ({options}) of {self.input}, {before}, to {self.output}, {after}"


@dataclass(frozen=True)
class ModelMap:
    """One model for one NPU.

    Parameters
    ----------
    program : Program
    memory : HostImage
        With the sections ``setup`` and ``run``.
    inputs, outputs : tuple of TensorMap
    before, after : tuple of HostOperator
        What is left to the host, on either side of the NPU.
    """

    program: Program
    memory: HostImage
    inputs: tuple[TensorMap, ...]
    outputs: tuple[TensorMap, ...]
    before: tuple[HostOperator, ...]
    after: tuple[HostOperator, ...]

    @classmethod
    def of(cls, compiled: Compiled) -> ModelMap:
        """The map of a model that is one program for the NPU.

        Raises
        ------
        UnsupportedError
            The CPU runs operators between those of the NPU.
        """
        program = compiled.program
        (at,) = (i for i, (_, each) in enumerate(compiled.segments) if each is program)
        graph, _ = compiled.segments[at]

        def operators(
            segments: tuple[tuple[Graph, Program | None], ...],
        ) -> tuple[HostOperator, ...]:
            return tuple(HostOperator.of(n, part) for part, _ in segments for n in part.nodes)

        return cls(
            program=program,
            memory=HostImage.of(program, "setup", "run"),
            inputs=tuple(TensorMap.of(b, graph, program) for b in program.inputs),
            outputs=tuple(TensorMap.of(b, graph, program) for b in program.outputs),
            before=operators(compiled.segments[:at]),
            after=operators(compiled.segments[at + 1 :]),
        )

    @property
    def sections(self) -> dict[str, Section]:
        """``setup`` and ``run``."""
        return self.memory.sections
