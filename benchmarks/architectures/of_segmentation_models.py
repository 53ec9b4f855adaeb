"""Decoders of the segmentation_models_pytorch package on small encoders."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import segmentation_models_pytorch as smp

from architectures.inputs import Input
from architectures.torch_export import Module


def _made(architecture: str, encoder: str) -> Module:
    model = smp.create_model(architecture, encoder, encoder_weights=None, classes=4)
    return Module(model, [Input((1, 3, 64, 64))])


NETWORKS: dict[str, Callable[[], Module]] = {
    "smp_unet_mobilenet": partial(_made, "unet", "mobilenet_v2"),
    "smp_fpn_resnet18": partial(_made, "fpn", "resnet18"),
    "smp_linknet_resnet18": partial(_made, "linknet", "resnet18"),
    "smp_pspnet_resnet18": partial(_made, "pspnet", "resnet18"),
}
