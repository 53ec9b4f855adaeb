"""Series of numbers: movement, hearts, waveforms, forecasts."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from architectures.blocks import Residual, conv1d
from architectures.inputs import Input
from architectures.torch_export import Module


def _activity() -> nn.Module:
    return nn.Sequential(
        conv1d(6, 32, 5),
        nn.MaxPool1d(2),
        conv1d(32, 64, 5),
        nn.MaxPool1d(2),
        conv1d(64, 64),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(64, 6),
    )


class Inception(nn.Module):
    """Kernels of three lengths side by side, and a pooled one."""

    def __init__(self, inputs: int, each: int = 8) -> None:
        super().__init__()
        self.reduce = nn.Conv1d(inputs, each, 1, bias=False)
        self.kernels = nn.ModuleList(
            nn.Conv1d(each, each, size, padding=size // 2, bias=False) for size in (9, 19, 39)
        )
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(inputs, each, 1, bias=False))
        self.norm = nn.BatchNorm1d(4 * each)

    def forward(self, x):
        y = self.reduce(x)
        found = [kernel(y) for kernel in self.kernels]
        return F.relu(self.norm(torch.cat([*found, self.pooled(x)], 1)))


def _inception() -> nn.Module:
    return nn.Sequential(
        Inception(1),
        Inception(32),
        Inception(32),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 5),
    )


class CausalBlock(nn.Module):
    """Two dilated convolutions that do not look ahead, beside their input."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.ahead = 2 * dilation
        self.convs = nn.ModuleList(
            nn.Conv1d(c, outputs, 3, padding=self.ahead, dilation=dilation)
            for c in (inputs, outputs)
        )
        self.short = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x):
        y = x
        for conv in self.convs:
            y = F.relu(conv(y)[:, :, : -self.ahead])
        return F.relu(y + self.short(x))


class WaveNet(nn.Module):
    """Gated dilated convolutions, whose contributions add up."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, channels, 1)
        self.dilated = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, 2, dilation=2**i) for i in range(5)
        )
        self.residual = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(5))
        self.skip = nn.ModuleList(nn.Conv1d(channels, 32, 1) for _ in range(5))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(32, 32, 1), nn.ReLU(), nn.Conv1d(32, 64, 1))

    def forward(self, x):
        x, total = self.first(x), 0
        for i, (dilated, residual, skip) in enumerate(
            zip(self.dilated, self.residual, self.skip, strict=True)
        ):
            a, b = dilated(F.pad(x, (2**i, 0))).chunk(2, 1)
            y = torch.tanh(a) * torch.sigmoid(b)
            total = total + skip(y)
            x = x + residual(y)
        return self.last(total)


class NBeats(nn.Module):
    """Blocks that forecast, and take what they explain of the past out of it."""

    def __init__(self, past: int = 48, ahead: int = 12) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(past, 64),
                nn.ReLU(),
                nn.Linear(64, 64),
                nn.ReLU(),
                nn.Linear(64, past + ahead),
            )
            for _ in range(3)
        )
        self.past, self.ahead = past, ahead

    def forward(self, x):
        forecast = 0
        for block in self.blocks:
            explained, more = block(x).split([self.past, self.ahead], 1)
            x, forecast = x - explained, forecast + more
        return forecast


class Anomaly(nn.Module):
    """A convolutional autoencoder of a signal, and how far it is off."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv1d(1, 16, 7, 2),
            conv1d(16, 8, 7, 2),
            nn.Upsample(scale_factor=2),
            conv1d(8, 16, 7),
            nn.Upsample(scale_factor=2),
            nn.Conv1d(16, 1, 7, padding=3),
        )

    def forward(self, x):
        y = self.body(x)
        return y, ((x - y) ** 2).mean((1, 2))


def _residual_ecg() -> nn.Module:
    def block() -> nn.Module:
        return Residual(nn.Sequential(conv1d(32, 32, 7), conv1d(32, 32, 7, act=None)), nn.ReLU())

    return nn.Sequential(
        conv1d(1, 32, 15, 2),
        nn.MaxPool1d(3, 2, 1),
        block(),
        block(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 5),
    )


def _series(channels: int, length: int) -> list[Input]:
    return [Input((1, channels, length), "signal")]


NETWORKS: dict[str, Callable[[], Module]] = {
    "anomaly_conv1d": lambda: Module(Anomaly(), _series(1, 128)),
    "conv1d_har": lambda: Module(_activity(), _series(6, 128)),
    "ecg_inception1d": lambda: Module(_inception(), _series(1, 187)),
    "ecg_resnet1d": lambda: Module(_residual_ecg(), _series(1, 256)),
    "nbeats_like": lambda: Module(NBeats(), [Input((1, 48), "signal")]),
    "tcn_dilated": lambda: Module(
        nn.Sequential(CausalBlock(4, 16, 1), CausalBlock(16, 16, 2), CausalBlock(16, 16, 4)),
        _series(4, 64),
    ),
    "wavenet_like": lambda: Module(WaveNet(), _series(1, 128)),
}
