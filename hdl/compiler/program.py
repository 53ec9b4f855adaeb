"""A compiled model: instructions, host memory, and where every value lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgeinfer.graph import DType
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.layout import View
from edgeinfer.hdl.compiler.timing import Prediction, predict
from edgeinfer.hdl.config import NpuConfig

__all__ = ["Binding", "LayerRecord", "Program", "Watch"]


@dataclass(frozen=True)
class Binding:
    """An input's or output's place in host memory.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Its shape in the Graph.
    dtype : str
    view : View
        Its place in its tensor, which host memory holds whole.
    host : int
        Bytes from the base address.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    view: View
    host: int

    def image(self, values: np.ndarray, config: NpuConfig) -> bytes:
        """``values`` as they lie in host memory, and in the buffer."""
        view = self.view
        block = values.reshape(view.tensor.height, view.tensor.width, -1)
        words = view.pack(block, config.columns)
        return words.astype(f"<i{config.element_bytes}").tobytes()

    def values(self, image: np.ndarray) -> np.ndarray:
        """The value from the tensor's words [words, columns]."""
        return self.view.unpack(image).reshape(self.shape).astype(self.dtype)


@dataclass(frozen=True)
class Watch:
    """When a value of the Graph is complete, and where it is then to be found.

    Parameters
    ----------
    binding : Binding
        Its place; not in host memory.
    count : int
        ACTIVATE's groups after which it is there.
    intermediate : bool
        It is the first operand of a fused addition: step 0's words, not the buffer's.
    """

    binding: Binding
    count: int
    intermediate: bool


@dataclass(frozen=True)
class LayerRecord:
    """What a report says of a layer.

    Parameters
    ----------
    name, operator : str
        Of its node.
    output : str
        The value that it makes.
    macs : int
        Multiply-accumulates of the Graph's node, or its share of them.
    first, last : int
        ACTIVATE's count before its first and after its last group.
    """

    name: str
    operator: str
    output: str
    macs: int
    first: int
    last: int


@dataclass(frozen=True)
class Program:
    """A Graph compiled for one configuration.

    Parameters
    ----------
    config : NpuConfig
    infer : list of Instruction
        One inference in the buffer.
    sections : dict of str to callable
        What writes each other list of instructions, when it is asked for.
    image : bytes
        The constants, from the host's base address on.
    host_bytes : int
        Host memory that inputs, outputs and constants take.
    inputs, outputs : tuple of Binding
    watches : tuple of Watch
        In the order of ``count``, which holds for ``infer`` and ``run`` alike.
    layers : tuple of LayerRecord
    buffer_words, weight_tiles, parameter_rows : int
        What it takes of each memory.
    """

    config: NpuConfig
    infer: list[isa.Instruction]
    sections: Mapping[str, Callable[[], list[isa.Instruction]]]
    image: bytes
    host_bytes: int
    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]
    watches: tuple[Watch, ...]
    layers: tuple[LayerRecord, ...]
    buffer_words: int
    weight_tiles: int
    parameter_rows: int

    @cached_property
    def setup(self) -> list[isa.Instruction]:
        """Puts what stays on the chip into its memories; once."""
        return self.sections["setup"]()

    @cached_property
    def load(self) -> list[isa.Instruction]:
        """The inputs from host memory."""
        return self.sections["load"]()

    @cached_property
    def store(self) -> list[isa.Instruction]:
        """The outputs to host memory."""
        return self.sections["store"]()

    @cached_property
    def run(self) -> list[isa.Instruction]:
        """``load``, ``infer`` and ``store`` in one."""
        return self.sections["run"]()

    @cached_property
    def prediction(self) -> Prediction:
        """The cycles of ``infer``, by the compiler's model."""
        return predict(self.infer, self.config)

    @property
    def streams(self) -> bool:
        """Whether an inference reads or writes host memory."""
        return any(isinstance(each, isa.ReadHost | isa.WriteHost) for each in self.infer)
