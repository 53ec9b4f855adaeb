"""Weights for a PyTorch module that has not been trained, so that nothing in it is trivial.

Channels have weights and biases of different sizes, scales of a layer that begin at 1e-6 are large
enough to matter, and batch norms hold the statistics of data that went through them, somewhat off.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_NORMS = (_BATCH_NORM, nn.GroupNorm, nn.LayerNorm)
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)

# Of normal numbers a ReLU behind a batch norm lets half pass, and each such layer then amplifies
# whatever noise there is by 1.7 dB, as trained ones do not; with this shift it is half a decibel.
_SHIFT = 0.8


@torch.no_grad()
def randomize(
    module: nn.Module, batches: Sequence[tuple[torch.Tensor, ...]], gain: float = 1.0
) -> None:
    """Draw all weights, then run ``batches`` for the statistics of the batch norms."""
    generator = torch.Generator().manual_seed(0)

    def normal(shape: torch.Size, std: float = 1.0) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * std

    drawn = set()
    for part in module.modules():
        affine = isinstance(part, _NORMS) or type(part).__name__.endswith(("Norm", "Norm2d"))
        for name, parameter in part.named_parameters(recurse=False):
            if parameter in drawn or not parameter.is_floating_point():
                continue
            drawn.add(parameter)
            shape = parameter.shape
            if isinstance(part, nn.PReLU):
                parameter.copy_(0.25 + normal(shape, 0.1))
            elif isinstance(part, nn.Embedding | nn.EmbeddingBag):
                parameter.copy_(normal(shape))
            elif isinstance(part, _RECURRENT):
                parameter.mul_(1.5)
            elif name == "gain":  # of a convolution whose weights are standardized
                parameter.copy_(1 + normal(shape, 0.2))
            elif affine:
                middle = 1.0 if name == "weight" else _SHIFT * isinstance(part, _BATCH_NORM)
                parameter.copy_(middle + normal(shape, 0.2))
            elif name == "bias" or "bias" in name:
                parameter.copy_(normal(shape, 0.1))
            elif isinstance(part, nn.Linear | nn.modules.conv._ConvNd) or parameter.dim() == 4:
                parameter.copy_(_layer(part, shape, normal) * gain)
            elif parameter.std(correction=0) < 0.01:
                # what begins at 0, 1e-6 or 1: scales of layers, tokens, positions
                parameter.copy_(parameter.mean().clamp(min=0.3) + normal(shape, 0.1))
    _measure(module, batches)
    for part in module.modules():
        if isinstance(part, _BATCH_NORM) and part.track_running_stats:
            spread = part.running_var.sqrt()
            part.running_mean.add_(spread * normal(spread.shape, 0.1))
            part.running_var.mul_(normal(spread.shape, 0.2).exp())
    module.eval()


def _layer(part: nn.Module, shape: torch.Size, normal: object) -> torch.Tensor:
    """He's weights, or those that keep the variance, and channels of different sizes."""
    transposed = isinstance(part, nn.modules.conv._ConvTransposeNd)
    inputs = shape[1:].numel() if not transposed else shape[0] * shape[2:].numel()
    if transposed:
        inputs = max(inputs // torch.Size(part.stride).numel(), 1)
    std = (1.0 if isinstance(part, nn.Linear) else 2.0) ** 0.5 / inputs**0.5
    channels = [1] * len(shape)
    channels[1 if transposed else 0] = shape[1 if transposed else 0]
    return normal(shape, std) * normal(torch.Size(channels), 0.3).exp()  # type: ignore[operator]


def _measure(module: nn.Module, batches: Sequence[tuple[torch.Tensor, ...]]) -> None:
    """Let the batch norms average over ``batches``; all else does what it does in use."""
    module.eval()
    norms = [
        part
        for part in module.modules()
        if isinstance(part, _BATCH_NORM) and part.track_running_stats
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for batch in batches:
        module(*batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
