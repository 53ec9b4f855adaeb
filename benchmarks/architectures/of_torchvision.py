"""Torchvision's classifiers, and its dense and detecting models without post-processing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision import models

from architectures.inputs import Input
from architectures.torch_export import Module

_CLASSIFIERS = {
    "alexnet": 224,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "maxvit_t": 64,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_large": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "shufflenet_v2_x1_0": 64,
    "squeezenet1_1": 64,
    "swin_t": 64,
    "vgg11_bn": 64,
}
_HEADS = {"alexnet": 256 * 6 * 6, "vgg11_bn": 512 * 2 * 2}
_DENSE = ("deeplabv3_mobilenet_v3_large", "fcn_resnet50", "lraspp_mobilenet_v3_large")


class Output(nn.Module):
    """The one output ``key`` of a module that gives several by name."""

    def __init__(self, module: nn.Module, key: str) -> None:
        super().__init__()
        self.module, self.key = module, key

    def forward(self, x):
        return self.module(x)[self.key]


def _classifier(name: str, size: int) -> Module:
    options = {"weights": None}
    if name in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "aux_logits": False}
    if name == "maxvit_t":
        model = models.MaxVit((size, size), 32, 4, [32, 64], [2, 2], 32, 0.0, num_classes=100)
    else:
        model = models.get_model(name, num_classes=100, **options)
    if name in _HEADS:
        # as many layers as there are, of fewer neurons: they would be 9 of 10 weights
        wide = _HEADS[name]
        model.avgpool = nn.Identity()
        model.classifier = nn.Sequential(
            nn.Linear(wide, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 100)
        )
    return Module(model, [Input((1, 3, size, size))])


def _vit(size: int = 64) -> Module:
    model = models.VisionTransformer(size, 16, 6, 6, 192, 768, num_classes=100)
    return Module(model, [Input((1, 3, size, size))])


def _dense(name: str) -> Module:
    model = models.get_model(name, weights=None, weights_backbone=None, num_classes=21)
    return Module(Output(model, "out"), [Input((1, 3, 64, 64))])


class RawDetector(nn.Module):
    """The heads of an SSD, without anchors, decoding and suppression."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head

    def forward(self, x):
        found = self.head(list(self.backbone(x).values()))
        return found["bbox_regression"], found["cls_logits"]


def _ssdlite() -> Module:
    model = models.get_model("ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None)
    return Module(RawDetector(model), [Input((1, 3, 320, 320))])


NETWORKS: dict[str, Callable[[], Module]] = {
    **{f"tv_{name}": partial(_classifier, name, size) for name, size in _CLASSIFIERS.items()},
    "tv_vit_small_16": _vit,
    **{f"tvseg_{name}": partial(_dense, name) for name in _DENSE},
    "tvdet_ssdlite320_raw": _ssdlite,
}
