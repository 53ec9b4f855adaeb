"""Classifiers of the timm package, of the kinds that run on devices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import timm
from timm.utils.model import reparameterize_model

from architectures.inputs import Input
from architectures.torch_export import Module

# by the side of the images; where a network's own size is fixed, it is that
_SIZES = {
    "cspdarknet53": 64,
    "dla34": 64,
    "edgenext_xx_small": 64,
    "efficientnet_lite0": 64,
    "efficientvit_b0": 64,
    "ese_vovnet19b_dw": 64,
    "fastvit_t8": 64,
    "fbnetc_100": 64,
    "ghostnet_100": 64,
    "hardcorenas_a": 64,
    "hrnet_w18_small": 64,
    "lcnet_050": 64,
    "mixnet_s": 64,
    "mobilenetv4_conv_small": 64,
    "mobileone_s0": 64,
    "mobilevit_xxs": 64,
    "mobilevitv2_050": 64,
    "nfnet_l0": 64,
    "poolformer_s12": 64,
    "repvgg_a0": 64,
    "repvit_m0_9": 64,
    "res2net50_26w_4s": 64,
    "resnest14d": 64,
    "rexnet_100": 64,
    "selecsls42b": 64,
    "starnet_s1": 64,
    "tinynet_e": 64,
    "xception41": 64,
}
_SIZED = {
    "coatnet_pico_rw_224": 64,
    "deit_tiny_patch16_224": 64,
    "efficientformer_l1": 224,
    "gmlp_s16_224": 64,
    "levit_128s": 224,
    "mixer_s32_224": 224,
    "tiny_vit_5m_224": 224,
}
_FUSED = ("mobileone_s0", "repvgg_a0", "fastvit_t8")


def _made(name: str, size: int, **options: object) -> Module:
    model = timm.create_model(name, pretrained=False, **options)
    finish = reparameterize_model if name in _FUSED else None
    return Module(model, [Input((1, 3, size, size))], finish)


NETWORKS: dict[str, Callable[[], Module]] = {
    **{f"timm_{name}": partial(_made, name, size) for name, size in _SIZES.items()},
    **{
        f"timm_{name}": partial(_made, name, size, **({} if size == 224 else {"img_size": size}))
        for name, size in _SIZED.items()
    },
}
