"""Where the elements of every value lie: channels in words, pixels in lines, lines in the buffer.

"Tensor layout" in docs/npu-design.md. A value is a *view* of a tensor: a Reshape shares its
operand's, the operands of a Concat are parts of the result's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.hdl.compiler.kernel import LineShape, bank_conflict, kernel_of
from edgeinfer.hdl.compiler.layers import Layer, Lowered, geometry, identity
from edgeinfer.hdl.config import BANKS, NpuConfig
from edgeinfer.hdl.isa import Mode

__all__ = ["Layout", "Tensor", "View", "lay_out"]


@dataclass
class Tensor:
    """Memory that one or more values share.

    Parameters
    ----------
    name : str
        The value that has all of it.
    height, width : int
        Lines, and pixels in a line.
    pixel : int
        Elements from a pixel to the next; whole words but in dense inputs.
    pitch : int
        Words from a line to the next.
    base : int
        The first word in the buffer; set by the allocation, unless the tensor does not stay there.
    host : int
        Bytes from the host's base address, where the tensor lies in host memory instead.
    """

    name: str
    height: int
    width: int
    pixel: int
    pitch: int = 0
    base: int = -1
    host: int = -1

    @property
    def spilled(self) -> bool:
        """It lies in host memory, and only bands of it come into the buffer."""
        return self.host >= 0

    @property
    def line_end(self) -> int:
        """Elements of a line."""
        return self.width * self.pixel

    @property
    def words(self) -> int:
        """Words of the whole tensor."""
        return self.height * self.pitch


@dataclass(frozen=True)
class View:
    """A value's place in a tensor.

    Parameters
    ----------
    tensor : Tensor
    word : int
        The first word of its channels in each pixel.
    positions : tuple of int
        The element of each channel, counted from that word.
    """

    tensor: Tensor
    word: int
    positions: tuple[int, ...]

    def words(self, columns: int) -> int:
        """Words of a pixel that hold its channels."""
        return -(-(self.positions[-1] + 1) // columns)

    def pack(self, values: np.ndarray, columns: int) -> np.ndarray:
        """An int64 image [words, columns] of the tensor's lines with ``values`` [H, W, C] in it."""
        tensor = self.tensor
        image = np.zeros((tensor.height, tensor.pitch * columns), np.int64)
        image[:, self._elements(columns)] = values.reshape(tensor.height, -1)
        return image.reshape(-1, columns)

    def unpack(self, image: np.ndarray) -> np.ndarray:
        """[H, W, C] from the image [words, columns] of the tensor's lines."""
        tensor, columns = self.tensor, image.shape[1]
        lines = image.reshape(tensor.height, -1)
        return lines[:, self._elements(columns)].reshape(tensor.height, tensor.width, -1)

    def _elements(self, columns: int) -> np.ndarray:
        pixels = np.arange(self.tensor.width)[:, None] * self.tensor.pixel
        return (self.word * columns + pixels + np.array(self.positions)).ravel()


@dataclass(frozen=True)
class Layout:
    """The layers in their final form and the view of every value that lies in the buffer.

    Parameters
    ----------
    layers : tuple of Layer
    views : dict of str to View
    constants : dict of str to array
        Values that lie in host memory, int64 [H, W, C].
    """

    layers: tuple[Layer, ...]
    views: dict[str, View]
    constants: dict[str, np.ndarray]

    def tensors(self) -> list[Tensor]:
        """Every tensor once."""
        return list({id(v.tensor): v.tensor for v in self.views.values()}.values())


def lay_out(graph: Graph, lowered: Lowered, config: NpuConfig, *, tight: bool) -> Layout:
    """Places for all values of ``lowered``, with copies where a value is needed in two of them.

    With ``tight`` lines lie as close as the banks allow, otherwise such that passes are fewest.
    """
    return _LayoutBuilder(graph, lowered, config, tight).layout()


class _LayoutBuilder:
    def __init__(self, graph: Graph, lowered: Lowered, config: NpuConfig, tight: bool) -> None:
        self.graph, self.config, self.tight = graph, config, tight
        self.aliases, self.concats = lowered.aliases, dict(lowered.concats)
        self.layers: list[Layer] = []
        self.shapes = {name: geometry(kind.shape) for name, kind in graph.types.items()}
        self.shapes |= lowered.made
        self.made, self.constants = lowered.made, lowered.constants
        self.makers = {layer.output: layer.node for layer in lowered.layers}
        self.makers |= {name: node for node in self.graph.nodes for name in node.outputs}
        self.positions: dict[str, tuple[int, ...]] = {}
        self.parents: dict[str, tuple[str, int]] = {}
        self.pending = list(lowered.layers)
        makers = {(layer.output, layer.source) for layer in self.pending}
        self.joined = Counter(output for output, _ in makers)  # of how many sources

    def layout(self) -> Layout:
        for name in (*self.graph.inputs, *self.constants):
            self.positions[name] = tuple(range(self.shapes[name][2]))
        # layers and concats in the order in which their values come to be
        for node in self.graph.nodes:
            output = node.outputs[0]
            self._place_layers()
            if output in self.concats:
                self._place_concat(output)
        self._place_layers()
        assert not self.pending
        tensors: dict[str, Tensor] = {}
        views = {name: self._view(name, tensors) for name in self.positions}
        for tensor in tensors.values():
            tensor.pitch = self._pitch(tensor, views)
        for name in self.graph.types:
            root = self._root(name)
            if name not in views and root in views:
                views[name] = views[root]
        return Layout(tuple(self.layers), views, self.constants)

    def _place_layers(self) -> None:
        """All that are ready, and what the Graph does not have but they are the parts of."""
        while self.pending and self._is_ready(self.pending[0]):
            layer = self.pending.pop(0)
            self._place_layer(layer)
            for name, parts in self.concats.items():
                if name in self.made and parts[-1] == layer.output:
                    self._place_concat(name)

    def _root(self, name: str) -> str:
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def _is_ready(self, layer: Layer) -> bool:
        return all(self._root(name) in self.positions for name in layer.operands)

    def _place_layer(self, layer: Layer) -> None:
        layer = self._resolved(layer)
        if layer.reduced is not None:
            # its unit knows of a pixel's first channels only
            layer = replace(layer, source=self._gathered(layer, layer.source))
        count = self.shapes[layer.output][2]
        compact = tuple(range(count))
        if layer.factor is not None:
            value = self._gathered(layer, self._root(layer.factor.value))
            factor = replace(layer.factor, value=value)
            layer = replace(layer, factor=factor)
        joined = self.joined[layer.output] > 1 and layer.mode is not Mode.DENSE
        if layer.factor is not None or layer.elements or joined:
            layer = replace(layer, source=self._gathered(layer, layer.source))
        source = self.positions[layer.source]
        positions = compact if layer.mode is Mode.DENSE else source
        second = layer.second
        if second is not None:
            second = replace(second, value=self._root(second.value))
            other = self.positions[second.value]
            if layer.mode is Mode.DENSE:
                positions = other
            elif other != source:
                # both compact: the accumulators' and the second operand's channels must agree
                layer = replace(layer, source=self._gathered(layer, layer.source))
                second = replace(second, value=self._gathered(layer, second.value))
                positions = compact
            layer = replace(layer, second=second)
        self.positions[layer.output] = positions
        self.layers.append(layer)

    def _resolved(self, layer: Layer) -> Layer:
        """The layer with an alias's tensor as its source, a flattened one by a kernel over it."""
        root = self._root(layer.source)
        shape, seen = self.shapes[root], self.shapes[layer.source]
        if shape != seen:
            assert layer.mode is Mode.DENSE and layer.kernel == (1, 1) and layer.group == 1
            weights = layer.weights.reshape(len(layer.weights), *shape)
            layer = replace(layer, kernel=shape[:2], weights=weights)
        return replace(layer, source=root)

    def _place_concat(self, name: str) -> None:
        columns = self.config.columns
        word, positions = 0, []
        for part in self.concats[name]:
            root = self._root(part)
            taken = root in {**self.parents, **self.constants} or root in self.graph.inputs
            if taken:
                root = self._copied(name, root)
            self.parents[root] = (name, word)
            own = self.positions[root]
            positions += [word * columns + p for p in own]
            word += -(-(own[-1] + 1) // columns)
        self.positions[name] = tuple(positions)

    def _copied(self, user: str, value: str) -> str:
        """A copy of ``value``, made by a depthwise filter of 1."""
        return self._extra(user, value, depthwise=True)

    def _gathered(self, layer: Layer, value: str) -> str:
        """``value`` with its channels side by side, made by a dense layer of ones and zeros."""
        if self.positions[value] == tuple(range(len(self.positions[value]))):
            return value
        return self._extra(layer.output, value, depthwise=False)

    def _extra(self, user: str, value: str, *, depthwise: bool) -> str:
        count = self.shapes[value][2]
        name = f"{value} for {user}"
        while name in self.shapes:
            name += "'"
        self.shapes[name] = self.shapes[value]
        mode = Mode.DEPTHWISE if depthwise else Mode.DENSE
        weights = np.ones(count, np.int64) if depthwise else np.eye(count, dtype=np.int64)
        node = self.makers[user]
        dtype = self.graph.types[value if value in self.graph.types else node.inputs[0]].dtype
        self.layers.append(
            identity(node, mode, value, name, weights.reshape(count, 1, 1, -1), dtype)
        )
        self.positions[name] = self.positions[value] if depthwise else tuple(range(count))
        return name

    def _view(self, name: str, tensors: dict[str, Tensor]) -> View:
        root, word = name, 0
        while root in self.parents:
            root, offset = self.parents[root]
            word += offset
        if root not in tensors:
            height, width, count = self.shapes[root]
            columns = self.config.columns
            pixel = -(-(self.positions[root][-1] + 1) // columns) * columns
            if self._dense_input(root):
                pixel = count
            tensors[root] = Tensor(root, height, width, pixel)
        return View(tensors[root], word, self.positions[name])

    def _readers(self, name: str) -> Iterable[Layer]:
        return (layer for layer in self.layers if layer.source == name)

    def _dense_input(self, name: str) -> bool:
        """Whether an input's pixels lie side by side without rounding up to words."""
        others = {name for layer in self.layers for name in layer.operands[1:]}
        return (
            name in self.graph.inputs
            and name not in others
            and name not in self.parents
            and self.shapes[name][2] % self.config.columns != 0
            and all(
                layer.mode is Mode.DENSE and layer.group == 1 and layer.dilations[1] == 1
                for layer in self._readers(name)
            )
        )

    def _pitch(self, tensor: Tensor, views: dict[str, View]) -> int:
        """The pitch at which no reader's fetches meet a bank twice and passes are fewest.

        Spans that would meet one are no kernel's: a pitch at which they do not saves passes.
        """
        least = -(-tensor.line_end // self.config.columns)
        readers = [layer for layer in self.layers if views[layer.source].tensor is tensor]

        def cost(pitch: int) -> tuple[int, int, int]:
            conflicts = fetches = 0
            for layer in readers:
                view = views[layer.source]
                shape = LineShape.of(layer, tensor.pixel, tensor.width, pitch)
                kernels = kernel_of(layer, shape, view.positions, self.config)
                conflicts += bank_conflict(kernels, shape, self.config, layer)
                height, width, _ = self.shapes[layer.output]
                fetches += height * width * sum(k.groups * k.passes for k in kernels)
            return conflicts, 0 if self.tight else fetches, pitch

        best = min(map(cost, range(least, least + BANKS)))
        assert not best[0], "every kernel has a pitch"
        return best[2]
