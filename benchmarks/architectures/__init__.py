"""Networks that edge users deploy, built with drawn weights and exported to ONNX.

inputs.py   what a network takes, and samples of it
files.py    the ONNX files in a folder, and what belongs to them
weights.py  drawn weights with which nothing is trivial      (PyTorch)
torch_export.py, keras_export.py, ml_export.py               the exporters

The other modules are the families. Each has ``NETWORKS``: by name, a function of no arguments that
gives something with a method ``export(name, family, folder)``. A family is imported only where
networks are built, and needs its package then; `pip install -e ".[coverage]"` brings all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

from architectures.files import Exported

__all__ = ["FAMILIES", "Buildable", "family"]

FAMILIES = {
    "torchvision": "of_torchvision",
    "timm": "of_timm",
    "segmentation models": "of_segmentation_models",
    "keras": "of_keras",
    "scikit-learn": "of_sklearn",
    "classifiers": "classic",
    "detection": "detection",
    "dense prediction": "dense_prediction",
    "faces": "face",
    "scenes": "scenes",
    "sound": "audio",
    "series": "series",
    "recurrent": "recurrent",
    "transformers": "transformers",
    "tabular and text": "tabular",
    "control": "control",
}


class Buildable(Protocol):
    """A network that can be exported."""

    def export(self, name: str, family: str, folder: Path) -> Exported:
        """Write its files to ``folder``."""


def family(name: str) -> Mapping[str, Callable[[], Buildable]]:
    """The networks of a family.

    Raises
    ------
    ModuleNotFoundError
        A package that it is built with is not installed.
    """
    return import_module(f"architectures.{FAMILIES[name]}").NETWORKS
