"""A model in another runtime, or in this one, as a call without arguments on bound buffers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edgeinfer.runtime.session import Session

__all__ = ["PACKAGES", "RUNTIMES", "Bound", "Feed", "bound_call", "environment", "missing"]

Feed = Mapping[str, np.ndarray]

PACKAGES = {
    "edgeinfer": "edgeinfer",
    "onnxruntime": "onnxruntime",
    "OpenVINO": "openvino",
    "LiteRT": "ai-edge-litert",
}
"""Runtimes by their names for readers, and what pip calls them."""

_MODULES = {"LiteRT": "ai_edge_litert"}
_ONEDNN = {"avx2": "AVX2", "avx512vnni": "AVX512_CORE_VNNI"}


@dataclass(frozen=True)
class Bound:
    """A loaded model with its buffers.

    Parameters
    ----------
    run : callable
        One inference.
    version : str
        The runtime's.
    inside : callable or None
        One inference that gives the seconds inside the runtime, without Python's; None where the
        runtime does not say.
    note : str
        What a reader has to know of how it computes.
    """

    run: Callable[[], object]
    version: str
    inside: Callable[[], float] | None = None
    note: str = ""


def missing(runtime: str) -> str | None:
    """Why ``runtime`` cannot take part here; None where it can."""
    package = PACKAGES[runtime]
    if find_spec(_MODULES.get(runtime, package)) is None:
        return f"not installed (pip install {package})"
    return None


def environment(runtime: str, threads: int, isa: str | None) -> dict[str, str]:
    """The variables that hold every pool to ``threads``, and a runtime to ``isa``.

    Raises
    ------
    ValueError
        The runtime has no switch for that.
    """
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    variables = {name: str(threads) for name in pools}
    if isa is None:
        return variables
    if runtime == "edgeinfer":
        return variables | {"EDGEINFER_ISA": isa}
    if runtime == "OpenVINO" and isa in _ONEDNN:
        return variables | {"ONEDNN_MAX_CPU_ISA": _ONEDNN[isa]}
    raise ValueError(f"no switch is known that holds {runtime} to {isa}")


def _edgeinfer(
    path: Path, feed: Feed, threads: int, integer_edges: bool, precision: str | None
) -> Bound:
    import edgeinfer

    session = edgeinfer.load(path, num_threads=threads)
    call, x = bound_call(session, feed, integer_edges=integer_edges)

    def inside() -> float:
        return sum(session.profile(x).values()) / 1e9

    return Bound(call, metadata.version("edgeinfer"), inside)


def bound_call(
    session: Session, feed: Feed, *, integer_edges: bool = False
) -> tuple[Callable[[], object], dict[str, np.ndarray]]:
    """A run of ``session`` from ``feed`` into arrays that stay, which has run once; its inputs."""
    stream = session.stream()
    x = {}
    for info in session.inputs:
        is_float = info.scale is not None and not integer_edges
        x[info.name] = _typed(feed[info.name], np.dtype("float32" if is_float else info.dtype))
    out = {
        info.name: np.empty(
            info.shape, "float32" if info.scale is not None and not integer_edges else info.dtype
        )
        for info in session.outputs
    }
    call: Callable[[], object] = partial(stream.run, x, out)
    if len(x) == len(out) == 1 and not stream.state:
        (given,), (taken,) = x.values(), out.values()
        call = partial(session.run, given, taken)
    call()
    return call, x


def _onnxruntime(
    path: Path, feed: Feed, threads: int, integer_edges: bool, precision: str | None
) -> Bound:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    for pool in ("intra", "inter"):
        options.add_session_config_entry(f"session.{pool}_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    x = {i.name: _typed(feed[i.name], _of(i.type)) for i in session.get_inputs()}
    outputs = [np.empty_like(array) for array in session.run(None, x)]
    binding = session.io_binding()
    for name, array in x.items():
        binding.bind_cpu_input(name, array)
    for o, array in zip(session.get_outputs(), outputs, strict=True):
        binding.bind_output(o.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def run(bound: object = (x, outputs)) -> object:  # which must outlive the binding
        return session.run_with_iobinding(binding)

    return Bound(run, onnxruntime.__version__)


def _of(kind: str) -> np.dtype:
    """The NumPy type of onnxruntime's ``tensor(float)``."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(name, name))


def _openvino(
    path: Path, feed: Feed, threads: int, integer_edges: bool, precision: str | None
) -> Bound:
    import openvino

    core = openvino.Core()
    options: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # to cores that may not be ours
    }
    # the default takes bfloat16 for what the processor has, not for what it is held to
    if precision is not None or "ONEDNN_MAX_CPU_ISA" in os.environ:
        options["INFERENCE_PRECISION_HINT"] = precision or "f32"
    model = core.compile_model(core.read_model(path), "CPU", options)
    request = model.create_infer_request()
    kept = []
    for port in model.inputs:
        array = _typed(feed[port.get_any_name()], port.get_element_type().to_dtype())
        kept.append(openvino.Tensor(array, shared_memory=True))
        request.set_tensor(port, kept[-1])
    for port in model.outputs:
        array = np.empty(tuple(port.get_shape()), port.get_element_type().to_dtype())
        kept.append(openvino.Tensor(array, shared_memory=True))
        request.set_tensor(port, kept[-1])

    def run(bound: object = kept) -> None:  # which must outlive the request
        # without infer()'s dictionary of results, which costs Python microseconds
        request.start_async()
        request.wait()

    def inside() -> float:
        request.infer(share_inputs=True, share_outputs=True)
        return float(request.latency) / 1e3

    kind = model.get_property("INFERENCE_PRECISION_HINT").to_string()
    return Bound(run, openvino.__version__.split("-")[0], inside, f"floats as {kind}")


def _litert(
    path: Path, feed: Feed, threads: int, integer_edges: bool, precision: str | None
) -> Bound:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    x = []
    rng = np.random.default_rng(0)
    inputs = interpreter.get_input_details()
    for detail in inputs:
        dtype, shape = np.dtype(detail["dtype"]), tuple(detail["shape"])
        given = next((a for a in feed.values() if a.size == np.prod(shape)), None)
        if dtype.kind == "f" and given is not None:
            x.append((detail["index"], given.reshape(shape).astype(dtype)))
        else:
            x.append((detail["index"], _noise(rng, shape, dtype)))
    outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def run() -> object:
        for index, array in x:
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    kinds = " and ".join(sorted({np.dtype(detail["dtype"]).name for detail in inputs}))
    return Bound(run, metadata.version("ai-edge-litert"), None, f"the file takes {kinds}")


def _typed(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """``array`` as floats; noise in its shape where ``dtype`` asks for what floats were made of."""
    if array.dtype.kind == "f" and dtype.kind in "iu":
        return _noise(np.random.default_rng(0), array.shape, dtype)
    return np.ascontiguousarray(array, dtype)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


Bind = Callable[[Path, Feed, int, bool, "str | None"], Bound]

RUNTIMES: dict[str, Bind] = {
    "edgeinfer": _edgeinfer,
    "onnxruntime": _onnxruntime,
    "OpenVINO": _openvino,
    "LiteRT": _litert,
}
