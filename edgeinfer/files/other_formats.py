"""Names the format of a file that was taken for a model of ours, and the way to one of ours."""

from __future__ import annotations

from pathlib import Path

__all__ = ["other_format"]

_TENSORFLOW = "export the model that it was made from as ONNX, with tf2onnx"
_PYTORCH = "save the model with torch.export as .pt2, or export it as ONNX, with torch.onnx.export"
_ORIGINAL = "give the .onnx that it was made from"

# by the ends of their files' names: what they hold, and what to do
_BY_SUFFIX = {
    ".tflite": ("a TensorFlow Lite model", "name it so, .tflite, and it is imported"),
    ".h5": ("a Keras model", _TENSORFLOW),
    ".pb": ("a TensorFlow model", _TENSORFLOW),
    ".pt": ("a PyTorch model", _PYTORCH),
    ".pth": ("a PyTorch model", _PYTORCH),
    ".safetensors": ("a file of weights without a model", "export the model as ONNX"),
    ".xml": ("an OpenVINO model", _ORIGINAL),
    ".engine": ("a TensorRT engine", _ORIGINAL),
    ".rknn": ("an RKNN model", _ORIGINAL),
    ".ort": ("an onnxruntime model", _ORIGINAL),
}

# by where they stand in the file and what stands there
_BY_CONTENT = (
    (4, b"TFL3", ".tflite"),
    (0, b"\x89HDF", ".h5"),
    (0, b"PK\x03\x04", ".pt"),
    (4, b"ORTM", ".ort"),
)
_LINK = b"version https://git-lfs"
_PAGE = (b"<!doctype html", b"<html")


def other_format(path: Path | None = None, content: bytes = b"") -> str | None:
    """What ``path`` or its ``content`` is, and what to do; None where nothing tells.

    It reads on from the file's name: "is a Keras model: export ...".
    """
    if content.startswith(_LINK):
        return "is a pointer of Git LFS, not the file that it stands for: git lfs pull brings it"
    if content[:64].lstrip().lower().startswith(_PAGE):
        return "is a web page, not a model: download the file itself"
    if path is not None and _is_saved_model(path):
        return f"is a folder of TensorFlow's: {_TENSORFLOW}"
    suffixes = [s for place, mark, s in _BY_CONTENT if content[place:].startswith(mark)]
    if path is not None and not content:
        suffixes.append(path.suffix.lower())
    for suffix in suffixes:
        if suffix in _BY_SUFFIX:
            what, remedy = _BY_SUFFIX[suffix]
            return f"is {what}: {remedy}"
    return None


def _is_saved_model(path: Path) -> bool:
    try:
        return (path / "saved_model.pb").is_file()
    except OSError:
        return False
