"""Where the NPU's rules are registered, what one may look at, and which operators have one.

``rule`` registers what runs, ``refused`` what does not; ``takes`` says of a class which it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.site import Site
from edgeinfer.hdl.compiler.layers import Layer, Lowered, geometry, identity
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Mode

__all__ = ["PHASES", "NpuSite", "Taken", "lower", "refused", "rule", "takes"]

PHASES = 32
"""Layers, a side, of an operator whose result they make by turns."""


@dataclass(frozen=True)
class NpuSite(Site):
    """A node, and what its lowering for the NPU may look at and add to.

    Parameters
    ----------
    config : NpuConfig
    lowered : Lowered
    """

    config: NpuConfig
    lowered: Lowered

    def geometry(self, role: str) -> tuple[int, int, int]:
        """Height, width and channels of the input in ``role``."""
        return geometry(self.shape(role))

    @property
    def source(self) -> str:
        """The first value that it takes."""
        return self.node.inputs[0]

    @property
    def source_geometry(self) -> tuple[int, int, int]:
        """Height, width and channels of that value."""
        return geometry(self.inputs[0].shape)

    @property
    def output_geometry(self) -> tuple[int, int, int]:
        """Height, width and channels of the value that it gives."""
        return geometry(self.output.shape)

    @property
    def channels(self) -> int:
        """Of the first value that it takes."""
        return self.source_geometry[2]

    def add(self, layer: Layer) -> None:
        """One more layer."""
        self.lowered.layers.append(layer)

    def make(self, what: str, geometry: tuple[int, int, int]) -> str:
        """The name of a value that the Graph does not have: its height, width and channels."""
        name = f"{what} of {self.node.outputs[0]}"
        self.lowered.made[name] = geometry
        return name

    def held(self, what: str, values: np.ndarray) -> str:
        """The name of a value that host memory holds: integers [H, W, C], the same in every run."""
        name = self.make(what, values.shape)
        self.lowered.constants[name] = values.astype(np.int64)
        return name

    def refuse(self, why: str) -> UnsupportedError:
        """What says that the NPU cannot run the node."""
        return UnsupportedError(why, node=self.node.name, operator=self.operator)

    def filter(self, **changes: object) -> Layer:
        """A depthwise 1x1 filter of 1 that passes its source on, but for ``changes``.

        Unless they say otherwise, the source is the first value that the node takes.
        """
        source = str(changes.get("source", self.source))
        made = self.lowered.made.get(source)
        channels = (made or geometry(self.graph.types[source].shape))[2]
        ones = np.ones((channels, 1, 1, 1), np.int64)
        return self._of(Mode.DEPTHWISE, ones, changes)

    def dense(self, weights: np.ndarray, **changes: object) -> Layer:
        """A convolution with ``weights``, int64 [O, kh, kw, I], of the same kind."""
        return self._of(Mode.DENSE, weights, changes)

    def _of(self, mode: Mode, weights: np.ndarray, changes: dict[str, object]) -> Layer:
        output, dtype = self.node.outputs[0], self.outputs[0].dtype
        layer = identity(self.node, mode, self.source, output, weights, dtype)
        return replace(layer, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Taken:
    """What the NPU does with the operators of a class.

    Parameters
    ----------
    runs : bool
    why : str
        Where it runs, what it asks of them, if anything; else why it does not.
    """

    runs: bool
    why: str


@singledispatch
def lower(op: ops.Operator, site: NpuSite) -> None:
    """Add the layers that ``op`` is at ``site``.

    Raises
    ------
    UnsupportedError
        The NPU cannot run it.
    """
    raise site.refuse("has no NPU lowering")


_Rule: TypeAlias = Callable[[Any, NpuSite], None]

_TAKEN: dict[_Rule, Taken] = {}


def takes(kind: type[ops.Operator]) -> Taken:
    """What the NPU does with operators of ``kind``."""
    return _TAKEN.get(lower.dispatch(kind), Taken(False, "has no NPU lowering"))


def rule(*kinds: type[ops.Operator], where: str = "") -> Callable[[_Rule], _Rule]:
    """Register the rule of ``kinds``, which runs them ``where`` that holds."""

    def register(function: _Rule) -> _Rule:
        for kind in kinds:
            lower.register(kind, function)
        _TAKEN[function] = Taken(True, where)
        return function

    return register


def refused(why: str, *kinds: type[ops.Operator]) -> None:
    """Register that ``kinds`` do not run, for the reason ``why``."""

    def refuse(op: ops.Operator, site: NpuSite) -> None:
        raise site.refuse(why)

    for kind in kinds:
        lower.register(kind, refuse)
    _TAKEN[refuse] = Taken(False, why)
