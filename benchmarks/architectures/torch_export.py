"""A PyTorch module into ONNX files, by both of PyTorch's exporters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from architectures.files import Exported
from architectures.inputs import Input, feeds
from architectures.weights import randomize

EXPORTERS = ("dynamo", "torchscript")
_BATCHES, _BATCH = 2, 4


@dataclass(frozen=True)
class Module:
    """What to export.

    Parameters
    ----------
    module : nn.Module
        With weights of any kind, which are drawn anew.
    inputs : sequence of Input
        What it takes.
    finish : callable
        Applied once the weights are drawn, such as fusing of branches.
    takes_batches : bool
        Whether samples can be joined along the first axis to draw the weights.
    """

    module: nn.Module
    inputs: Sequence[Input]
    finish: Callable[[nn.Module], nn.Module] | None = None
    takes_batches: bool = True

    def export(self, name: str, family: str, folder: Path) -> Exported:
        """Write NAME.EXPORTER.onnx to ``folder`` for each exporter that can."""
        size = _BATCH if self.takes_batches else 1
        runs = feeds(self.inputs, _BATCHES * size, seed=1)
        batches = [
            tuple(
                torch.from_numpy(np.concatenate([run[each.name] for run in runs[i : i + size]]))
                for each in self.inputs
            )
            for i in range(0, len(runs), size)
        ]
        module = self.module
        randomize(module, batches)
        if self.finish is not None:
            module = self.finish(module)
        module.eval()
        example = tuple(
            torch.from_numpy(feeds(self.inputs, 1, seed=0)[0][i.name]) for i in self.inputs
        )
        exported = Exported(name, family, list(self.inputs), origin=f"torch {torch.__version__}")
        for exporter in EXPORTERS:
            path = folder / f"{name}.{exporter}.onnx"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    options = {"external_data": False} if exporter == "dynamo" else {}
                    torch.onnx.export(
                        module,
                        example,
                        str(path),
                        input_names=[each.name for each in self.inputs],
                        dynamo=exporter == "dynamo",
                        verbose=False,
                        **options,
                    )
                exported.files[exporter] = path.name
            except Exception as error:  # whatever the exporter raises says that it cannot
                path.unlink(missing_ok=True)
                exported.errors[exporter] = f"{type(error).__name__}: {str(error).strip()[:300]}"
        return exported
