"""Images into images: segmentation, depth, super-resolution, generation, key points."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from architectures.blocks import Residual, conv, separable
from architectures.inputs import Input
from architectures.torch_export import Module

_IMAGE = Input((1, 3, 64, 64))


def _autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 3, 2, 1, output_padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 3, 3, 2, 1, output_padding=1),
        nn.Sigmoid(),
    )


def _dcgan_generator() -> nn.Module:
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(64, 64, 4, 1, 0, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
    ]
    for wide in (64, 32, 16):
        layers += [
            nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(wide // 2),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh())


class DepthLike(nn.Module):
    """Features at three sizes, joined from the coarsest on, each made twice as large."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([conv(3, 16, 3, 2), separable(16, 32, 2), separable(32, 64, 2)])
        self.reduce = nn.ModuleList(nn.Conv2d(c, 16, 1) for c in (16, 32, 64))
        self.refine = nn.ModuleList(
            Residual(nn.Sequential(nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))) for _ in range(3)
        )
        self.head = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def forward(self, x):
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        y = 0
        for feature, reduce, refine in zip(
            features[::-1], list(self.reduce)[::-1], self.refine, strict=True
        ):
            y = refine(reduce(feature) + y)
            y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
        return F.relu(self.head(y))


def _espcn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, padding=2),
        nn.Tanh(),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(32, 9, 3, padding=1),
        nn.PixelShuffle(3),
        nn.Sigmoid(),
    )


def _style() -> nn.Module:
    def padded(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        return [
            nn.ReflectionPad2d(kernel // 2),
            nn.Conv2d(inputs, outputs, kernel, stride),
            nn.InstanceNorm2d(outputs, affine=True),
        ]

    def residual() -> nn.Module:
        return Residual(nn.Sequential(*padded(32, 32, 3), nn.ReLU(), *padded(32, 32, 3)))

    return nn.Sequential(
        *padded(3, 8, 9),
        nn.ReLU(),
        *padded(8, 16, 3, 2),
        nn.ReLU(),
        *padded(16, 32, 3, 2),
        nn.ReLU(),
        residual(),
        residual(),
        nn.Upsample(scale_factor=2),
        *padded(32, 16, 3),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        *padded(16, 8, 3),
        nn.ReLU(),
        nn.ReflectionPad2d(4),
        nn.Conv2d(8, 3, 9),
    )


class SuperPointLike(nn.Module):
    """Where key points are, by cells of 8x8, and descriptors of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(1, 16),
            nn.MaxPool2d(2),
            conv(16, 32),
            nn.MaxPool2d(2),
            conv(32, 32),
            nn.MaxPool2d(2),
        )
        self.points = nn.Sequential(conv(32, 64), nn.Conv2d(64, 65, 1))
        self.descriptors = nn.Sequential(conv(32, 64), nn.Conv2d(64, 64, 1))

    def forward(self, x):
        y = self.features(x)
        scores = torch.softmax(self.points(y), 1)[:, :-1]
        return F.pixel_shuffle(scores, 8), F.normalize(self.descriptors(y), dim=1)


class UNet(nn.Module):
    """Halved three times and made as large again by ``up``, beside what was there before."""

    def __init__(self, up: Callable[[int, int], nn.Module], classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Sequential(conv(3, 8), conv(8, 8))
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), conv(c, 2 * c), conv(2 * c, 2 * c)) for c in (8, 16, 32)
        )
        self.up = nn.ModuleList(up(2 * c, c) for c in (32, 16, 8))
        self.joined = nn.ModuleList(nn.Sequential(conv(2 * c, c), conv(c, c)) for c in (32, 16, 8))
        self.last = nn.Conv2d(8, classes, 1)

    def forward(self, x):
        kept = [self.first(x)]
        for down in self.down:
            kept.append(down(kept[-1]))
        y = kept.pop()
        for up, joined in zip(self.up, self.joined, strict=True):
            y = joined(torch.cat([kept.pop(), up(y)], 1))
        return self.last(y)


def _bilinear(inputs: int, outputs: int) -> nn.Module:
    larger = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(larger, nn.Conv2d(inputs, outputs, 1))


def _transposed(inputs: int, outputs: int) -> nn.Module:
    return nn.ConvTranspose2d(inputs, outputs, 2, 2)


class Autoencoder(nn.Module):
    """A mean and a deviation of what an image is drawn from, and the image of the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(conv(3, 16, 3, 2), conv(16, 32, 3, 2), nn.Flatten())
        self.mean, self.spread = nn.Linear(8192, 16), nn.Linear(8192, 16)
        self.decoder = nn.Sequential(
            nn.Linear(16, 2048),
            nn.Unflatten(1, (32, 8, 8)),
            nn.Upsample(scale_factor=2),
            conv(32, 16),
            nn.Upsample(scale_factor=2),
            conv(16, 16),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(16, 3, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        y = self.encoder(x)
        mean = self.mean(y)
        return self.decoder(mean), mean, torch.exp(0.5 * self.spread(y))


class FastSegmentation(nn.Module):
    """Fast-SCNN: a coarse branch with pyramid pooling, added to a fine one."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.fine = nn.Sequential(conv(3, 16, 3, 2), separable(16, 24, 2))
        self.coarse = nn.Sequential(separable(24, 32, 2), separable(32, 32, 2))
        self.pyramid = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), nn.Conv2d(32, 8, 1), nn.ReLU())
            for size in (1, 2)
        )
        self.joined, self.lateral = conv(48, 32, 1), nn.Conv2d(24, 32, 1)
        self.head = nn.Sequential(separable(32, 32), nn.Conv2d(32, classes, 1))

    def forward(self, x):
        fine = self.fine(x)
        coarse = self.coarse(fine)
        levels = [
            F.interpolate(level(coarse), coarse.shape[2:], mode="bilinear", align_corners=False)
            for level in self.pyramid
        ]
        y = self.joined(torch.cat([coarse, *levels], 1))
        y = F.interpolate(y, fine.shape[2:], mode="bilinear", align_corners=False)
        y = self.head(F.relu(y + self.lateral(fine)))
        return F.interpolate(y, x.shape[2:], mode="bilinear", align_corners=False)


NETWORKS: dict[str, Callable[[], Module]] = {
    "autoencoder_conv": lambda: Module(_autoencoder(), [_IMAGE]),
    "dcgan_generator": lambda: Module(_dcgan_generator(), [Input((1, 64, 1, 1), "noise")]),
    "depth_midas_like": lambda: Module(DepthLike(), [_IMAGE]),
    "espcn_superres": lambda: Module(_espcn(), [Input((1, 1, 32, 32))]),
    "fastscnn_like": lambda: Module(FastSegmentation(), [_IMAGE]),
    "style_instancenorm": lambda: Module(_style(), [_IMAGE]),
    "superpoint_like": lambda: Module(SuperPointLike(), [Input((1, 1, 64, 64))]),
    "unet_bilinear": lambda: Module(UNet(_bilinear), [_IMAGE]),
    "unet_convtranspose": lambda: Module(UNet(_transposed), [_IMAGE]),
    "vae_encoder_decoder": lambda: Module(Autoencoder(), [_IMAGE]),
}
