"""Detectors of one pass with the blocks, necks and heads of the YOLO line, written anew and small.

Boxes are decoded in the model, as exports for devices have it; suppression is left to the program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from architectures.blocks import Residual, conv, pooled
from architectures.inputs import Input
from architectures.torch_export import Module

_IMAGE = Input((1, 3, 128, 128))
_STRIDES = (8, 16, 32)
_WIDTHS = (32, 64, 96)
_CLASSES = 8
_silu = partial(conv, act=nn.SiLU)


class Focus(nn.Module):
    """Every second pixel, four times, as channels."""

    def forward(self, x):
        corners = [x[..., i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return torch.cat(corners, 1)


def _bottleneck(inputs: int, outputs: int, add: bool = True) -> nn.Module:
    body = nn.Sequential(_silu(inputs, outputs), _silu(outputs, outputs))
    return Residual(body) if add and inputs == outputs else body


class C3(nn.Module):
    """v5: bottlenecks on one half of the channels, none on the other."""

    def __init__(self, inputs: int, outputs: int, add: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.first, self.beside = _silu(inputs, half, 1), _silu(inputs, half, 1)
        self.body, self.last = _bottleneck(half, half, add), _silu(2 * half, outputs, 1)

    def forward(self, x):
        return self.last(torch.cat([self.body(self.first(x)), self.beside(x)], 1))


class C2f(nn.Module):
    """v8: every bottleneck's output is kept."""

    def __init__(self, inputs: int, outputs: int, add: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.first, self.last = _silu(inputs, 2 * half, 1), _silu(4 * half, outputs, 1)
        self.body = nn.ModuleList(_bottleneck(half, half, add) for _ in range(2))

    def forward(self, x):
        parts = list(self.first(x).chunk(2, 1))
        for each in self.body:
            parts.append(each(parts[-1]))
        return self.last(torch.cat(parts, 1))


class SPPF(nn.Module):
    """The largest of ever larger neighbourhoods."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.last = _silu(channels, channels // 2, 1), _silu(channels * 2, channels, 1)

    def forward(self, x):
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.last(torch.cat(parts, 1))


class PixelAttention(nn.Module):
    """v10 and v11: every pixel attends to every other, with a depthwise convolution for places."""

    def __init__(self, channels: int, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.size = heads, channels // heads
        self.key = self.size // 2
        self.mixed = conv(channels, heads * (self.size + 2 * self.key), 1, act=None)
        self.places = conv(channels, channels, groups=channels, act=None)
        self.out = conv(channels, channels, 1, act=None)

    def forward(self, x):
        n, c, h, w = x.shape
        mixed = self.mixed(x).reshape(n, self.heads, self.size + 2 * self.key, h * w)
        q, k, v = mixed.split([self.key, self.key, self.size], 2)
        weights = (q.transpose(-2, -1) @ k * self.key**-0.5).softmax(-1)
        y = (v @ weights.transpose(-2, -1)).reshape(n, c, h, w)
        return self.out(y + self.places(v.reshape(n, c, h, w)))


class C2PSA(nn.Module):
    """v11: attention and a perceptron on one half of the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.first, self.last = _silu(channels, channels, 1), _silu(channels, channels, 1)
        self.body = nn.Sequential(
            Residual(PixelAttention(half)),
            Residual(nn.Sequential(_silu(half, 2 * half, 1), conv(2 * half, half, 1, act=None))),
        )

    def forward(self, x):
        a, b = self.first(x).chunk(2, 1)
        return self.last(torch.cat([a, self.body(b)], 1))


class AreaAttention(nn.Module):
    """v12: attention within each of four stripes of the image."""

    def __init__(self, channels: int, heads: int = 2, areas: int = 4) -> None:
        super().__init__()
        self.heads, self.areas = heads, areas
        self.mixed = conv(channels, 3 * channels, 1, act=None)
        self.places = nn.Conv2d(channels, channels, 7, 1, 3, groups=channels)
        self.out = conv(channels, channels, 1, act=None)

    def forward(self, x):
        n, c, h, w = x.shape
        mixed = self.mixed(x).flatten(2).transpose(1, 2)
        mixed = mixed.reshape(n * self.areas, h * w // self.areas, 3 * c)
        mixed = mixed.reshape(*mixed.shape[:2], self.heads, -1).permute(0, 2, 3, 1)
        q, k, v = mixed.split(c // self.heads, 2)
        weights = (q.transpose(-2, -1) @ k * (c // self.heads) ** -0.5).softmax(-1)
        y = (v @ weights.transpose(-2, -1)).permute(0, 3, 1, 2)
        v = v.permute(0, 3, 1, 2)
        y, v = (each.reshape(n, h, w, c).permute(0, 3, 1, 2) for each in (y, v))
        return self.out(y + self.places(v))


class A2C2f(nn.Module):
    """v12: C2f with area attention for its bottlenecks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.first, self.last = _silu(channels, half, 1), _silu(2 * half, channels, 1)
        self.body = nn.Sequential(
            Residual(AreaAttention(half)),
            Residual(nn.Sequential(_silu(half, 2 * half, 1), conv(2 * half, half, 1, act=None))),
        )

    def forward(self, x):
        y = self.first(x)
        return x + self.last(torch.cat([y, self.body(y)], 1))


class Pyramid(nn.Module):
    """Three grids of features, each of which has seen the other two (a PAN)."""

    def __init__(
        self,
        block: Callable[..., nn.Module] = C2f,
        first: nn.Module | None = None,
        deepest: nn.Module | None = None,
        inputs: int = 16,
    ) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.first = first or nn.Sequential(_silu(3, 16, 3, 2), _silu(16, 16, 3, 2))
        self.fine = nn.Sequential(_silu(inputs, fine, 3, 2), block(fine, fine))
        self.middle = nn.Sequential(_silu(fine, middle, 3, 2), block(middle, middle))
        self.coarse = nn.Sequential(
            _silu(middle, coarse, 3, 2),
            block(coarse, coarse),
            SPPF(coarse),
            deepest or nn.Identity(),
        )
        self.up = nn.ModuleList(
            [block(middle + coarse, middle, add=False), block(fine + middle, fine, add=False)]
        )
        self.halved = nn.ModuleList([_silu(fine, fine, 3, 2), _silu(middle, middle, 3, 2)])
        self.down = nn.ModuleList(
            [block(fine + middle, middle, add=False), block(middle + coarse, coarse, add=False)]
        )

    def forward(self, x):
        a = self.fine(self.first(x))
        b = self.middle(a)
        c = self.coarse(b)
        b = self.up[0](torch.cat([_twice(c), b], 1))
        a = self.up[1](torch.cat([_twice(b), a], 1))
        b = self.down[0](torch.cat([self.halved[0](a), b], 1))
        return a, b, self.down[1](torch.cat([self.halved[1](b), c], 1))


def _twice(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _grid(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The middle of each cell in cells, and the strides: 2 by cells, and 1 by cells."""
    points, strides = [], []
    for stride in _STRIDES:
        line = torch.arange(size // stride) + 0.5
        y, x = torch.meshgrid(line, line, indexing="ij")
        points.append(torch.stack([x.flatten(), y.flatten()]))
        strides.append(torch.full((1, x.numel()), float(stride)))
    return torch.cat(points, 1), torch.cat(strides, 1)


class AnchorFree(nn.Module):
    """v8's head: four distances, each as probabilities of 16 lengths, and scores of classes."""

    def __init__(self, extra: int = 0, lengths: int = 16, depthwise: bool = False) -> None:
        super().__init__()
        self.lengths, self.extra = lengths, extra

        def branch(inputs: int, outputs: int) -> nn.Module:
            if depthwise:
                body = [nn.Sequential(_silu(c, c, groups=c), _silu(c, 24, 1)) for c in (inputs, 24)]
            else:
                body = [_silu(inputs, 24), _silu(24, 24)]
            return nn.Sequential(*body, nn.Conv2d(24, outputs, 1))

        self.boxes = nn.ModuleList(branch(width, 4 * lengths) for width in _WIDTHS)
        self.scores = nn.ModuleList(branch(width, _CLASSES) for width in _WIDTHS)
        self.others = nn.ModuleList(branch(width, extra) for width in _WIDTHS if extra)
        self.expected = nn.Conv2d(lengths, 1, 1, bias=False)
        points, strides = _grid(128)
        self.register_buffer("points", points)
        self.register_buffer("strides", strides)

    def joined(self, heads: nn.ModuleList, grids: Sequence[torch.Tensor]) -> torch.Tensor:
        """What the heads say of all cells: channels by cells."""
        found = [head(grid).flatten(2) for head, grid in zip(heads, grids, strict=True)]
        return torch.cat(found, 2)

    def decoded(self, grids: Sequence[torch.Tensor]) -> torch.Tensor:
        """Middle, width and height in pixels, then scores."""
        boxes = self.joined(self.boxes, grids)
        n, _, cells = boxes.shape
        chances = boxes.reshape(n, 4, self.lengths, cells).transpose(2, 1).softmax(1)
        distances = self.expected(chances).reshape(n, 4, cells)
        low, high = distances.chunk(2, 1)
        low, high = self.points - low, self.points + high
        boxes = torch.cat([(low + high) / 2, high - low], 1) * self.strides
        return torch.cat([boxes, self.joined(self.scores, grids).sigmoid()], 1)

    def forward(self, grids):
        return self.decoded(grids)


class Poses(AnchorFree):
    """v8-pose: 17 places and how sure each is."""

    def __init__(self) -> None:
        super().__init__(extra=51)

    def forward(self, grids):
        points = self.joined(self.others, grids)
        n, _, cells = points.shape
        points = points.reshape(n, 17, 3, cells)
        places = (points[:, :, :2] * 2.0 + (self.points - 0.5)) * self.strides
        sure = points[:, :, 2:].sigmoid()
        points = torch.cat([places, sure], 2).reshape(n, 51, cells)
        return torch.cat([self.decoded(grids), points], 1)


class Masks(AnchorFree):
    """v8-seg: weights of 16 prototypes, and these, from a transposed convolution."""

    def __init__(self) -> None:
        super().__init__(extra=16)
        self.prototypes = nn.Sequential(
            _silu(_WIDTHS[0], 24), nn.ConvTranspose2d(24, 24, 2, 2), _silu(24, 24), _silu(24, 16, 1)
        )

    def forward(self, grids):
        weights = self.joined(self.others, grids)
        return torch.cat([self.decoded(grids), weights], 1), self.prototypes(grids[0])


class Best(AnchorFree):
    """v10: no suppression is needed; the 20 best boxes, their scores and classes."""

    def forward(self, grids):
        found = self.decoded(grids).transpose(1, 2)
        boxes, scores = found.split([4, _CLASSES], 2)
        _, cells = scores.amax(2).topk(20, 1)
        boxes = boxes.gather(1, cells[:, :, None].expand(-1, -1, 4))
        scores, classes = scores.gather(1, cells[:, :, None].expand(-1, -1, _CLASSES)).max(2)
        return torch.cat([boxes, scores[:, :, None], classes[:, :, None].float()], 2)


class AnchorBased(nn.Module):
    """v5's head: three anchors a cell; place, extent, and whether and what there is."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(c, 3 * (5 + _CLASSES), 1) for c in _WIDTHS)
        self.register_buffer("anchors", torch.tensor([[10.0, 13], [16, 30], [33, 23]]))

    def forward(self, grids):
        found = []
        for head, grid, stride in zip(self.heads, grids, _STRIDES, strict=True):
            n, _, h, w = grid.shape
            y = head(grid).reshape(n, 3, 5 + _CLASSES, h, w).permute(0, 1, 3, 4, 2).sigmoid()
            place, extent, rest = y.split((2, 2, 1 + _CLASSES), 4)
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            cells = torch.stack([columns, rows], 2).float()
            place = (place * 2 + cells - 0.5) * stride
            extent = (extent * 2) ** 2 * self.anchors[:, None, None] * (stride / 8)
            found.append(torch.cat([place, extent, rest], 4).reshape(n, -1, 5 + _CLASSES))
        return torch.cat(found, 1)


class Decoupled(nn.Module):
    """YOLOX's head: boxes and classes by branches of their own, extents as exponentials."""

    def __init__(self) -> None:
        super().__init__()
        self.stems = nn.ModuleList(_silu(c, 24, 1) for c in _WIDTHS)
        self.class_branch = nn.ModuleList(_silu(24, 24) for _ in _WIDTHS)
        self.box_branch = nn.ModuleList(_silu(24, 24) for _ in _WIDTHS)
        self.classes = nn.ModuleList(nn.Conv2d(24, _CLASSES, 1) for _ in _WIDTHS)
        self.boxes = nn.ModuleList(nn.Conv2d(24, 4, 1) for _ in _WIDTHS)
        self.there = nn.ModuleList(nn.Conv2d(24, 1, 1) for _ in _WIDTHS)
        points, strides = _grid(128)
        self.register_buffer("points", points.T - 0.5)
        self.register_buffer("strides", strides.T)

    def forward(self, grids):
        found = []
        for i, grid in enumerate(grids):
            y = self.stems[i](grid)
            boxes, classes = self.box_branch[i](y), self.class_branch[i](y)
            parts = [self.boxes[i](boxes), self.there[i](boxes).sigmoid()]
            parts.append(self.classes[i](classes).sigmoid())
            found.append(torch.cat(parts, 1).flatten(2))
        y = torch.cat(found, 2).transpose(1, 2)
        place = (y[..., :2] + self.points) * self.strides
        extent = y[..., 2:4].exp() * self.strides
        return torch.cat([place, extent, y[..., 4:]], 2)


class CenterNet(nn.Module):
    """A heat map whose peaks are the only ones of their neighbourhood."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(3, 16, 3, 2), conv(16, 32, 3, 2), conv(32, 32))
        self.heat, self.extent = nn.Conv2d(32, _CLASSES, 1), nn.Conv2d(32, 2, 1)

    def forward(self, x):
        y = self.features(x)
        heat = self.heat(y).sigmoid()
        peaks = heat * (heat == F.max_pool2d(heat, 3, 1, 1)).float()
        return peaks, self.extent(y)


def _expecting(module: nn.Module) -> nn.Module:
    """The mean of the lengths is no layer to draw."""
    for part in module.modules():
        if isinstance(part, AnchorFree):
            weights = torch.arange(part.lengths, dtype=torch.float32)
            part.expected.weight.data = weights.reshape(1, -1, 1, 1)
    return module


def _detector(pyramid: Pyramid, head: nn.Module) -> Module:
    return Module(nn.Sequential(pyramid, head), [_IMAGE], _expecting)


def _classifier() -> Module:
    layers = [_silu(3, 16, 3, 2), _silu(16, 32, 3, 2), C2f(32, 32), _silu(32, 64, 3, 2)]
    layers += [C2f(64, 64), _silu(64, 96, 1), pooled(96, 20), nn.Softmax(1)]
    return Module(nn.Sequential(*layers), [_IMAGE])


def _yolox() -> Module:
    first = nn.Sequential(Focus(), _silu(12, 16))
    halved = nn.Sequential(*first, _silu(16, 16, 3, 2))
    return _detector(Pyramid(C3, halved), Decoupled())


def _yolov5() -> Module:
    first = nn.Sequential(conv(3, 16, 5, 2, act=nn.SiLU), _silu(16, 16, 3, 2))
    return _detector(Pyramid(C3, first), AnchorBased())


NETWORKS: dict[str, Callable[[], Module]] = {
    "centernet_like": lambda: Module(CenterNet(), [_IMAGE]),
    "yolox_nano_like": _yolox,
    "yolov5_like": _yolov5,
    "yolov8_like": lambda: _detector(Pyramid(), AnchorFree()),
    "yolov8_like_cls": _classifier,
    "yolov8_like_pose": lambda: _detector(Pyramid(), Poses()),
    "yolov8_like_seg": lambda: _detector(Pyramid(), Masks()),
    "yolov10_like": lambda: _detector(Pyramid(deepest=C2PSA(_WIDTHS[2])), Best()),
    "yolov10_like_raw": lambda: _detector(Pyramid(deepest=C2PSA(_WIDTHS[2])), AnchorFree()),
    "yolo11_like": lambda: _detector(
        Pyramid(deepest=C2PSA(_WIDTHS[2])), AnchorFree(depthwise=True)
    ),
    "yolo12_like": lambda: _detector(
        Pyramid(deepest=A2C2f(_WIDTHS[2])), AnchorFree(depthwise=True)
    ),
}
