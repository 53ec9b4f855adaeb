"""What edgeinfer takes beside onnxruntime, LiteRT and TFLM: time to import, to load, bytes.

    EDGEINFER_ZOO=DIR python benchmarks/footprint.py [--rounds 15]

Prints Markdown. Imports are timed in new processes, one runtime after another, over `import numpy`;
the wheel is built in a folder of its own; the arena of LiteRT Micro is what its own allocator
reports. The runtimes come with `pip install -e ".[bench]"`, and those that are not installed are
named. EDGEINFER_ZOO names the zoo (zoo_folder.py). Takes three minutes.
"""

from __future__ import annotations

import argparse
import compileall
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import networks
import numpy as np

from edgeinfer.converters import from_onnx
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.files import model_file
from edgeinfer.graph import Graph
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session

ROOT = Path(__file__).parents[1]
# what a program that runs a model imports; distribution: module
RUNTIMES = {
    "edgeinfer": "edgeinfer",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-micro": "tflite_micro",
}
MLPERF_TINY = ("ic_resnet8", "kws_dscnn", "vww_mobilenet", "ad_autoencoder")
LOADED = "kws_dscnn"
_IMPORT = """
import time
import numpy
start = time.perf_counter()
import {}
print(time.perf_counter() - start)
"""
_TFLM = """
import sys
from tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=16 << 20).print_allocations()
"""
_TFLM_BYTES = re.compile(r"Arena allocation (total|head) (\d+) bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds",
        type=int,
        default=15,
        metavar="N",
        help="how often each is imported and loaded, of which medians are shown (%(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {arguments.rounds}")
    installed = {name: each for name, each in RUNTIMES.items() if _is_installed(each)}
    show_runtimes(installed, arguments.rounds)
    for name in sorted(set(RUNTIMES) - set(installed)):
        print(f"\n{name} is not installed (pip install {name})")
    try:
        models = {name: quantized(name) for name in MLPERF_TINY}
    except networks.AbsentError as error:
        print(f"\nno models: {error}")
        return
    show_loading(models[LOADED][0], arguments.rounds)
    show_arenas(models, "tflite-micro" in installed)


def _is_installed(module: str) -> bool:
    return find_spec(module.split(".")[0]) is not None


# ---- runtimes


def show_runtimes(installed: dict[str, str], rounds: int) -> None:
    """Time to import, and bytes on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = built_wheel(Path(folder))
        ours = Path(folder) / "installed"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(ours)
            sizes = {"edgeinfer": sum(info.file_size for info in archive.infolist())}
        compileall.compile_dir(ours, quiet=1)
        seconds: dict[str, list[float]] = {name: [] for name in installed}
        for _ in range(rounds):
            for name, module in installed.items():
                seconds[name].append(import_seconds(module, ours))
        packed = wheel.stat().st_size
    print("| runtime | version | import over NumPy | installed | wheel |")
    print("|---|---|---|---|---|")
    for name in installed:
        size = sizes.get(name) or installed_bytes(name)
        cells = (
            name,
            metadata.version(name),
            f"{statistics.median(seconds[name]) * 1e3:.1f} ms",
            f"{size / 1e6:.2f} MB",
            f"{packed / 1e6:.2f} MB" if name == "edgeinfer" else "",
        )
        print("|", " | ".join(cells), "|")


def import_seconds(module: str, ours: Path) -> float:
    """What importing it takes in a new process that has NumPy; edgeinfer is that in ``ours``."""
    command = [sys.executable, "-P", "-c", _IMPORT.format(module)]
    environment = {**os.environ, "PYTHONPATH": str(ours)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout.split()[-1])


def built_wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def installed_bytes(distribution: str) -> int:
    """Bytes of a distribution's files, without what Python has compiled of them."""
    files = metadata.files(distribution) or []
    places = [Path(str(file.locate())) for file in files if "__pycache__" not in file.parts]
    return sum(place.stat().st_size for place in places if place.is_file())


# ---- models


def quantized(name: str) -> tuple[bytes, Path | None]:
    """An integer model of the zoo as a file's bytes, and its publisher's .tflite."""
    with tempfile.TemporaryDirectory() as folder:
        network = networks.network(name, Path(folder))
    samples = {
        key: np.concatenate([sample[key] for sample in network.samples])
        for key in network.samples[0]
    }
    return model_file.to_bytes(quantize(from_onnx(network.model), samples)), network.tflite


def show_loading(content: bytes, rounds: int) -> None:
    """Where the time of loading goes."""
    graph = model_file.from_bytes(content)
    print(f"\n| loading {LOADED}, {len(content):,} bytes | |")
    print("|---|---|")
    for what, call in (
        ("file into a verified Graph", lambda: model_file.from_bytes(content)),
        *((f"Graph into a Session, {isa}", _planning(graph, isa)) for isa in SUPPORTED),
    ):
        spans = []
        for _ in range(rounds):
            start = time.perf_counter()
            call()
            spans.append(time.perf_counter() - start)
        print(f"| {what} | {statistics.median(spans) * 1e3:.2f} ms |")


def _planning(graph: Graph, isa: str) -> Callable[[], object]:
    return lambda: Session(graph, isa=isa)


def show_arenas(models: dict[str, tuple[bytes, Path | None]], has_tflm: bool) -> None:
    """Bytes that a run needs beside the model."""
    print("\n| arena | TFLM, all | TFLM, activations and scratch |", end="")
    print("".join(f" edgeinfer, {isa} |" for isa in SUPPORTED))
    print("|---|---|---|" + "---|" * len(SUPPORTED))
    for name, (content, tflite) in models.items():
        graph = model_file.from_bytes(content)
        theirs = tflm_bytes(tflite) if has_tflm and tflite is not None else {}
        cells = [f"{theirs[part]:,}" if part in theirs else "" for part in ("total", "head")]
        cells += [f"{Session(graph, isa=isa).arena_bytes:,}" for isa in SUPPORTED]
        print("|", " | ".join((name, *cells)), "|")


def tflm_bytes(tflite: Path) -> dict[str, int]:
    """What TFLM's allocator says of a model: ``total``, and its ``head`` that runs share."""
    command = [sys.executable, "-P", "-c", _TFLM, str(tflite)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {part: int(count) for part, count in _TFLM_BYTES.findall(done.stderr)}


if __name__ == "__main__":
    main()
