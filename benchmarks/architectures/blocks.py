"""Layers that many of the hand-written networks are made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def conv(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    groups: int = 1,
    act: Callable[[], nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """A convolution of images, its batch norm and its activation; as large as its input."""
    made = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*made, *([act()] if act is not None else []))


def conv1d(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    groups: int = 1,
    dilation: int = 1,
    act: Callable[[], nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """The same of signals."""
    made = [
        nn.Conv1d(
            inputs,
            outputs,
            kernel,
            stride,
            kernel // 2 * dilation,
            groups=groups,
            dilation=dilation,
            bias=False,
        ),
        nn.BatchNorm1d(outputs),
    ]
    return nn.Sequential(*made, *([act()] if act is not None else []))


def separable(
    inputs: int, outputs: int, stride: int = 1, act: Callable[[], nn.Module] = nn.ReLU
) -> nn.Sequential:
    """A depthwise and a pointwise convolution, each with its norm and activation."""
    return nn.Sequential(
        conv(inputs, inputs, 3, stride, groups=inputs, act=act), conv(inputs, outputs, 1, act=act)
    )


class Residual(nn.Module):
    """``x + body(x)``, through ``after``."""

    def __init__(self, body: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.after = body, after or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(x + self.body(x))


class Wrapped(nn.Module):
    """``function(module, *inputs)`` as a module."""

    def __init__(self, module: nn.Module, function: Callable[..., object]) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *inputs: torch.Tensor) -> object:
        return self.function(self.module, *inputs)


def pooled(channels: int, classes: int) -> nn.Sequential:
    """The mean of an image's pixels into scores."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
