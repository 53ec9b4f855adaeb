"""Faces found, and told apart by an embedding."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from architectures.blocks import Residual, conv
from architectures.inputs import Input
from architectures.torch_export import Module


class IResNetBlock(nn.Module):
    """A batch norm before and after, a PReLU between."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = inputs == outputs and stride == 1
        self.short = nn.Identity() if same else conv(inputs, outputs, 1, stride, act=None)

    def forward(self, x):
        return self.body(x) + self.short(x)


def _arcface() -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(3, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.PReLU(16),
    ]
    inputs = 16
    for outputs in (16, 32, 64, 128):
        layers += [IResNetBlock(inputs, outputs, 2), IResNetBlock(outputs, outputs, 1)]
        inputs = outputs
    layers += [nn.BatchNorm2d(128), nn.Flatten(), nn.Linear(128 * 7 * 7, 128), nn.BatchNorm1d(128)]
    return nn.Sequential(*layers)


class BlazeBlock(nn.Module):
    """A separable convolution beside its input, which is pooled and widened with zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.more, self.stride = outputs - inputs, stride
        self.body = nn.Sequential(
            nn.Conv2d(inputs, inputs, 5, stride, 0 if stride == 2 else 2, groups=inputs),
            nn.Conv2d(inputs, outputs, 1),
        )

    def forward(self, x):
        y = x
        if self.stride == 2:
            y, x = F.pad(x, (1, 2, 1, 2)), F.max_pool2d(x, 2)
        if self.more:
            x = F.pad(x, (0, 0, 0, 0, 0, self.more))
        return F.relu(self.body(y) + x)


class BlazeFace(nn.Module):
    """Scores and boxes of the anchors of two grids."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, 24, 5, 2, 2),
            nn.ReLU(),
            BlazeBlock(24, 24),
            BlazeBlock(24, 28),
            BlazeBlock(28, 32, 2),
            BlazeBlock(32, 36),
            BlazeBlock(36, 48, 2),
        )
        self.second = nn.Sequential(BlazeBlock(48, 56), BlazeBlock(56, 96, 2))
        self.scores = nn.ModuleList([nn.Conv2d(48, 2, 1), nn.Conv2d(96, 6, 1)])
        self.boxes = nn.ModuleList([nn.Conv2d(48, 32, 1), nn.Conv2d(96, 96, 1)])

    def forward(self, x):
        fine = self.first(x)
        grids = (fine, self.second(fine))

        def joined(heads: nn.ModuleList, width: int) -> torch.Tensor:
            found = [
                head(grid).permute(0, 2, 3, 1).reshape(x.shape[0], -1, width)
                for head, grid in zip(heads, grids, strict=True)
            ]
            return torch.cat(found, 1)

        return joined(self.boxes, 16), joined(self.scores, 1)


class PNet(nn.Module):
    """MTCNN's first network: faces of any place, from a few convolutions with PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 10, 3),
            nn.PReLU(10),
            nn.MaxPool2d(2, 2, ceil_mode=True),
            nn.Conv2d(10, 16, 3),
            nn.PReLU(16),
            nn.Conv2d(16, 32, 3),
            nn.PReLU(32),
        )
        self.scores, self.boxes = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x):
        y = self.features(x)
        return torch.softmax(self.scores(y), 1), self.boxes(y)


def _bottleneck(inputs: int, outputs: int, stride: int, factor: int = 2) -> nn.Module:
    wide = inputs * factor
    body = nn.Sequential(
        conv(inputs, wide, 1, act=lambda: nn.PReLU(wide)),
        conv(wide, wide, 3, stride, groups=wide, act=lambda: nn.PReLU(wide)),
        conv(wide, outputs, 1, act=None),
    )
    return Residual(body) if inputs == outputs and stride == 1 else body


class MobileFaceNet(nn.Module):
    """Bottlenecks, a depthwise convolution over all that is left, and length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(3, 16, 3, 2, act=lambda: nn.PReLU(16)),
            _bottleneck(16, 32, 2),
            _bottleneck(32, 32, 1),
            _bottleneck(32, 64, 2, 4),
            _bottleneck(64, 64, 1),
            nn.Conv2d(64, 64, 7, groups=64, bias=False),
            nn.BatchNorm2d(64),
            nn.Conv2d(64, 64, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.Flatten(),
        )

    def forward(self, x):
        return F.normalize(self.features(x))


class Siamese(nn.Module):
    """The cosine of two images' embeddings by one network."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(1, 16, 3, 2), conv(16, 32, 3, 2), nn.Flatten(), nn.Linear(2048, 32)
        )

    def forward(self, a, b):
        return F.cosine_similarity(self.features(a), self.features(b))


NETWORKS: dict[str, Callable[[], Module]] = {
    "arcface_iresnet18_like": lambda: Module(_arcface(), [Input((1, 3, 112, 112))]),
    "blazeface_like": lambda: Module(BlazeFace(), [Input((1, 3, 128, 128))]),
    "mobilefacenet_l2norm": lambda: Module(MobileFaceNet(), [Input((1, 3, 56, 56))]),
    "mtcnn_pnet_prelu": lambda: Module(PNet(), [Input((1, 3, 48, 48))]),
    "siamese_cosine": lambda: Module(
        Siamese(), [Input((1, 1, 32, 32), name="a"), Input((1, 1, 32, 32), name="b")]
    ),
}
