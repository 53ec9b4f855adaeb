"""The packaged digits model, imported and quantized, and model files put together by hand."""

import functools
import hashlib
import json

import numpy as np
import safetensors.numpy

from edgeinfer.converters import from_onnx
from edgeinfer.demo import CALIBRATION, MODEL
from edgeinfer.files.model_file import to_bytes
from edgeinfer.graph import Graph
from edgeinfer.quant import quantize


@functools.cache
def digits(scheme: str) -> Graph:
    graph = from_onnx(MODEL)
    if scheme == "float32":
        return graph
    with np.load(CALIBRATION) as data:
        return quantize(graph, data["image"], scheme=scheme)


@functools.cache
def digits_file(scheme: str) -> bytes:
    return to_bytes(digits(scheme))


def parts(data: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """The JSON document and the constants in a model file."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return json.loads(header["__metadata__"]["edgeinfer"]), safetensors.numpy.load(data)


def sealed(document: object, constants: dict[str, np.ndarray], *, text: str | None = None) -> bytes:
    """A model file with a checksum that fits, whatever ``document`` says."""

    def canonical(value: object) -> str:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    if isinstance(document, dict):
        digest = hashlib.sha256(canonical({**document, "sha256": ""}).encode())
        for name in sorted(constants):
            digest.update(constants[name].tobytes())
        document = {**document, "sha256": digest.hexdigest()}
    return bytes(
        safetensors.numpy.save(constants, metadata={"edgeinfer": text or canonical(document)})
    )
