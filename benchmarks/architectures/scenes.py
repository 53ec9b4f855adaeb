"""Text, poses, points and films: networks that are the only ones of their kind here."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from architectures.blocks import Residual, conv, conv1d
from architectures.inputs import Input
from architectures.torch_export import Module


class TextLine(nn.Module):
    """CRNN: an image's columns as the steps of two LSTMs, and a probability of each letter."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(1, 16),
            nn.MaxPool2d(2),
            conv(16, 32),
            nn.MaxPool2d(2),
            conv(32, 64),
            nn.MaxPool2d((2, 1)),
            nn.Conv2d(64, 64, (4, 1)),
            nn.ReLU(),
        )
        self.steps = nn.LSTM(64, 32, 2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(64, 37)

    def forward(self, x):
        y = self.features(x).squeeze(2).permute(0, 2, 1)
        return F.log_softmax(self.head(self.steps(y)[0]), 2)


class Points(nn.Module):
    """PointNet: a learned turn, a perceptron of each point, and the largest of all."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Sequential(conv1d(3, 16, 1), conv1d(16, 32, 1))
        self.turned = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 9))
        self.features = nn.Sequential(conv1d(3, 32, 1), conv1d(32, 64, 1))
        self.head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        turn = self.turned(self.turn(x).amax(2)).reshape(-1, 3, 3) + torch.eye(3)
        y = torch.bmm(turn, x)
        return F.log_softmax(self.head(self.features(y).amax(2)), 1)


class PlainPoints(nn.Module):
    """The same without the turn."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv1d(3, 32, 1), conv1d(32, 64, 1), conv1d(64, 128, 1))
        self.head = nn.Sequential(nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.head(self.features(x).amax(2))


class CoordConv(nn.Module):
    """A convolution that also sees where it is."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.body = conv(inputs + 2, outputs)
        line = torch.linspace(-1, 1, size)
        self.register_buffer("grid", torch.stack(torch.meshgrid(line, line, indexing="ij"))[None])

    def forward(self, x):
        return self.body(torch.cat([x, self.grid.expand(x.shape[0], -1, -1, -1)], 1))


class Hourglass(nn.Module):
    """Halved ``depth`` times and made as large again, what was there added."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.here = Residual(conv(channels, channels))
        self.down = nn.Sequential(nn.MaxPool2d(2), Residual(conv(channels, channels)))
        self.inner = Hourglass(channels, depth - 1) if depth > 1 else conv(channels, channels)

    def forward(self, x):
        inner = F.interpolate(self.inner(self.down(x)), scale_factor=2, mode="nearest")
        return self.here(x) + inner


def _hourglass() -> nn.Module:
    return nn.Sequential(
        conv(3, 16, 3, 2), CoordConv(16, 24, 32), Hourglass(24, 3), nn.Conv2d(24, 17, 1)
    )


class SoftArgmax(nn.Module):
    """Key points as the middle of a heat map that a Softmax made."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(conv(3, 16, 3, 2), conv(16, 32, 3, 2), nn.Conv2d(32, 8, 1))
        line = torch.linspace(0, 1, 16)
        self.register_buffer("places", torch.stack(torch.meshgrid(line, line, indexing="ij"), -1))

    def forward(self, x):
        heat = torch.softmax(self.maps(x).flatten(2), 2)
        return heat @ self.places.reshape(256, 2)


def _film() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 8 * 8, 10),
    )


class Shifted(nn.Module):
    """TSM: some channels of a frame come from the frame before, some from the one after."""

    def __init__(self, frames: int = 8) -> None:
        super().__init__()
        self.frames = frames
        self.first, self.second = conv(3, 16, 3, 2), conv(16, 32, 3, 2)
        self.head = nn.Linear(32, 10)

    def shifted(self, x):
        n, c, h, w = x.shape
        x = x.reshape(-1, self.frames, c, h, w)
        part = c // 8
        before = F.pad(x[:, 1:, :part], (0, 0, 0, 0, 0, 0, 0, 1))
        after = F.pad(x[:, :-1, part : 2 * part], (0, 0, 0, 0, 0, 0, 1, 0))
        return torch.cat([before, after, x[:, :, 2 * part :]], 2).reshape(n, c, h, w)

    def forward(self, x):
        y = self.first(x.flatten(0, 1))
        y = self.second(self.shifted(y)).mean((2, 3))
        return self.head(y).reshape(-1, self.frames, 10).mean(1)


NETWORKS: dict[str, Callable[[], Module]] = {
    "c3d_video": lambda: Module(_film(), [Input((1, 3, 8, 32, 32))]),
    "coordconv_hourglass": lambda: Module(_hourglass(), [Input((1, 3, 64, 64))]),
    "crnn_ocr": lambda: Module(TextLine(), [Input((1, 1, 32, 96))]),
    "pointnet_like": lambda: Module(Points(), [Input((1, 3, 64), "noise")]),
    "pointnet_plain": lambda: Module(PlainPoints(), [Input((1, 3, 64), "noise")]),
    "pose_softargmax": lambda: Module(SoftArgmax(), [Input((1, 3, 64, 64))]),
    "tsm_video": lambda: Module(Shifted(), [Input((1, 8, 3, 32, 32))]),
}
