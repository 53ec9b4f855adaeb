"""Classifiers with the norms of earlier and of later years."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from architectures.blocks import Residual, pooled
from architectures.inputs import Input
from architectures.torch_export import Module


def _lenet() -> Module:
    layers = [
        nn.Conv2d(1, 6, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, 10),
        nn.Softmax(1),
    ]
    return Module(nn.Sequential(*layers), [Input((1, 1, 28, 28))])


def _alexnet_lrn() -> Module:
    layers = [
        nn.Conv2d(3, 32, 7, 2, 3),
        nn.ReLU(),
        nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(32, 64, 5, padding=2, groups=2),
        nn.ReLU(),
        nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 100),
    ]
    return Module(nn.Sequential(*layers), [Input((1, 3, 64, 64))])


def _block(channels: int) -> nn.Module:
    body = nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.GroupNorm(8, channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.GroupNorm(8, channels),
    )
    return Residual(body, nn.ReLU())


def _groupnorm_resnet() -> Module:
    layers = [
        nn.Conv2d(3, 32, 3, 2, 1),
        _block(32),
        nn.Conv2d(32, 64, 3, 2, 1),
        _block(64),
        pooled(64, 10),
    ]
    return Module(nn.Sequential(*layers), [Input((1, 3, 32, 32))])


NETWORKS: dict[str, Callable[[], Module]] = {
    "alexnet_lrn": _alexnet_lrn,
    "groupnorm_resnet": _groupnorm_resnet,
    "lenet5": _lenet,
}
