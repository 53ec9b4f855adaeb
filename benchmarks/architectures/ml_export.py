"""Models of scikit-learn, LightGBM and XGBoost into an ONNX file, fitted to drawn data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from architectures.files import Exported
from architectures.inputs import Input

FEATURES = 12


@dataclass(frozen=True)
class Fitted:
    """What to export.

    Parameters
    ----------
    model : object
        Fitted to rows of ``FEATURES`` numbers.
    convert : callable
        Makes an ONNX model of it.
    origin : str
        The package, with its version.
    """

    model: Any
    convert: Callable[[Any], onnx.ModelProto]
    origin: str

    def export(self, name: str, family: str, folder: Path) -> Exported:
        """Write NAME.onnx to ``folder``."""
        inputs = [Input((1, FEATURES), "noise")]
        exported = Exported(name, family, inputs, origin=self.origin)
        try:
            onnx.save(self.convert(self.model), folder / f"{name}.onnx")
            exported.files["converter"] = f"{name}.onnx"
        except Exception as error:  # whatever the converter raises says that it cannot
            exported.errors["converter"] = f"{type(error).__name__}: {str(error).strip()[:300]}"
        return exported
