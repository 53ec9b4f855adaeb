"""Quantized inference on integers only: one model, the same bits on every target.

    ONNX ─ converters ─► Graph (float) ─ quant ─► Graph (integer) ─ planner ─► Plan ─► Session

A program that only runs models needs this package, NumPy and safetensors:

    import edgeinfer

    session = edgeinfer.load("model.eqm")
    scores = session.run(image)

and one that makes such a model, with the extra ``convert``:

    edgeinfer.save(edgeinfer.quantize("model.onnx", samples), "model.eqm")

``edgeinfer.cython_kernels`` holds the compiled kernels; ``edgeinfer.converters`` imports ONNX,
``edgeinfer.quant`` makes a Graph integer, ``edgeinfer.hdl`` is for the accelerator, and none of
those three is imported from here.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import EdgeInferError
from edgeinfer.version import __version__

try:
    import edgeinfer.cython_kernels.runtime  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "edgeinfer.cython_kernels.runtime":
        raise
    raise ImportError(
        "this is the source folder of edgeinfer, and its kernels are not compiled; compile them "
        "here with: pip install -e '.[all]', or start Python in another folder, where it finds "
        "the edgeinfer that is installed"
    ) from None

if TYPE_CHECKING:
    from edgeinfer.agreement import verify
    from edgeinfer.files.model_file import read, save
    from edgeinfer.one_call import quantize
    from edgeinfer.runtime.session import Session, load

__all__ = [
    "EdgeInferError",
    "Session",
    "__version__",
    "load",
    "quantize",
    "read",
    "save",
    "verify",
]

# what a program names first is imported by then, so that one that only looks is not kept waiting
_MODULES = {
    "Session": "edgeinfer.runtime.session",
    "load": "edgeinfer.runtime.session",
    "quantize": "edgeinfer.one_call",
    "read": "edgeinfer.files.model_file",
    "save": "edgeinfer.files.model_file",
    "verify": "edgeinfer.agreement",
}

# a program that asks for no log gets none
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import what is named, once."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
