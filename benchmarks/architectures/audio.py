"""Keyword spotting on spectrograms; separation and enhancement of waveforms."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from architectures.blocks import conv, pooled, separable
from architectures.inputs import Input
from architectures.torch_export import Module


def _dscnn() -> Module:
    layers = [
        nn.Conv2d(1, 64, (10, 4), 2, (5, 1)),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        *(separable(64, 64) for _ in range(4)),
        nn.Dropout(0.4),
        pooled(64, 12),
    ]
    return Module(nn.Sequential(*layers), [Input((1, 1, 49, 10))])


class SubSpectralNorm(nn.Module):
    """A batch norm of its own for each of five bands of frequency."""

    def __init__(self, channels: int, bands: int = 5) -> None:
        super().__init__()
        self.bands, self.norm = bands, nn.BatchNorm2d(channels * bands)

    def forward(self, x):
        n, c, f, t = x.shape
        x = x.reshape(n, c * self.bands, f // self.bands, t)
        return self.norm(x).reshape(n, c, f, t)


class BroadcastedBlock(nn.Module):
    """BC-ResNet: a convolution over frequency, and of its mean over time one over time."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.first = conv(inputs, outputs, 1) if inputs != outputs else None
        self.frequency = nn.Sequential(
            nn.Conv2d(outputs, outputs, (3, 1), (stride, 1), (1, 0), groups=outputs),
            SubSpectralNorm(outputs),
        )
        self.time = nn.Sequential(
            nn.Conv2d(
                outputs, outputs, (1, 3), 1, (0, dilation), groups=outputs, dilation=(1, dilation)
            ),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 1),
            nn.Dropout2d(0.1),
        )

    def forward(self, x):
        start = x if self.first is None else self.first(x)
        y = self.frequency(start)
        z = y + self.time(y.mean(2, keepdim=True))
        return F.relu(z + x if self.first is None else z)


def _bcresnet() -> Module:
    layers = [
        nn.Conv2d(1, 16, 5, (2, 1), 2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        BroadcastedBlock(16, 8),
        BroadcastedBlock(8, 8),
        BroadcastedBlock(8, 12, 2, 2),
        BroadcastedBlock(12, 12, 1, 2),
        BroadcastedBlock(12, 16, 2, 4),
        BroadcastedBlock(16, 16, 1, 4),
        nn.Conv2d(16, 16, (5, 5), 1, (0, 2), groups=16),
        nn.Conv2d(16, 32, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        pooled(32, 12),
    ]
    return Module(nn.Sequential(*layers), [Input((1, 1, 40, 64))])


class TasNetBlock(nn.Module):
    """A dilated depthwise convolution between two pointwise ones, and what goes to the output."""

    def __init__(self, channels: int, hidden: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, hidden, 1),
            nn.PReLU(),
            nn.GroupNorm(1, hidden),
            nn.Conv1d(hidden, hidden, 3, padding=dilation, dilation=dilation, groups=hidden),
            nn.PReLU(),
            nn.GroupNorm(1, hidden),
        )
        self.residual, self.skip = nn.Conv1d(hidden, channels, 1), nn.Conv1d(hidden, channels, 1)

    def forward(self, x):
        y = self.body(x)
        return x + self.residual(y), self.skip(y)


class ConvTasNet(nn.Module):
    """Learned filters, a mask for each of two speakers, and learned filters back."""

    def __init__(self, filters: int = 32, channels: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, filters, 16, 8)
        self.norm, self.bottleneck = nn.GroupNorm(1, filters), nn.Conv1d(filters, channels, 1)
        self.blocks = nn.ModuleList(TasNetBlock(channels, 32, 2**i) for i in range(4))
        self.mask = nn.Sequential(nn.PReLU(), nn.Conv1d(channels, 2 * filters, 1), nn.Sigmoid())
        self.decoder = nn.ConvTranspose1d(filters, 1, 16, 8)

    def forward(self, x):
        w = self.encoder(x)
        y, skips = self.bottleneck(self.norm(w)), 0
        for block in self.blocks:
            y, skip = block(y)
            skips = skips + skip
        masks = self.mask(skips).chunk(2, 1)
        return torch.cat([self.decoder(w * mask) for mask in masks], 1)


class Demucs(nn.Module):
    """A U-net of strided and transposed convolutions with gated linear units."""

    def __init__(self, depth: int = 3, channels: int = 8) -> None:
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        inputs = 1
        for i in range(depth):
            wide = channels * 2**i
            self.down.append(
                nn.Sequential(
                    nn.Conv1d(inputs, wide, 8, 4, 2),
                    nn.ReLU(),
                    nn.Conv1d(wide, 2 * wide, 1),
                    nn.GLU(1),
                )
            )
            self.up.insert(
                0,
                nn.Sequential(
                    nn.Conv1d(wide, 2 * wide, 3, padding=1),
                    nn.GLU(1),
                    nn.ConvTranspose1d(wide, inputs, 8, 4, 2),
                    *([nn.ReLU()] if i else []),
                ),
            )
            inputs = wide

    def forward(self, x):
        kept = []
        for layer in self.down:
            x = layer(x)
            kept.append(x)
        for layer in self.up:
            x = layer(x + kept.pop())
        return x


class RNNoise(nn.Module):
    """Three GRUs on bands of a spectrum, which give gains of the bands and whether one speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(42, 24)
        self.voice = nn.GRU(24, 24, batch_first=True)
        self.noise = nn.GRU(24 + 24 + 42, 48, batch_first=True)
        self.denoise = nn.GRU(24 + 48 + 42, 96, batch_first=True)
        self.speaks, self.gains = nn.Linear(24, 1), nn.Linear(96, 22)

    def forward(self, x):
        dense = torch.tanh(self.dense(x))
        voice = self.voice(dense)[0]
        noise = self.noise(torch.cat([dense, voice, x], -1))[0]
        both = self.denoise(torch.cat([voice, noise, x], -1))[0]
        return torch.sigmoid(self.gains(both)), torch.sigmoid(self.speaks(voice))


NETWORKS: dict[str, Callable[[], Module]] = {
    "bcresnet": _bcresnet,
    "conv_tasnet_like": lambda: Module(ConvTasNet(), [Input((1, 1, 1024), "signal")]),
    "demucs_like": lambda: Module(Demucs(), [Input((1, 1, 1024), "signal")]),
    "dscnn_kws": _dscnn,
    "rnnoise_like_gru": lambda: Module(RNNoise(), [Input((1, 20, 42), "noise")]),
}
