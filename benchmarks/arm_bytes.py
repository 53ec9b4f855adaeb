"""Quantizes the demo's digits here and by an aarch64 Python under qemu, and compares the files.

On Debian, with ``qemu-aarch64`` and ``aarch64-linux-gnu-gcc`` on the PATH, after ``dpkg
--add-architecture arm64 && apt-get update``. Debian's Python for arm64 and PyPI's wheels are
unpacked into the given folder, and nothing of them is installed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

DEBIAN = """libbz2-1.0 libc6 libcrypt1 libexpat1 libffi8 libgcc-s1 liblzma5 libpython3.11-minimal
    libpython3.11-stdlib libssl3 libstdc++6 libuuid1 python3.11-minimal zlib1g"""
WHEELS = """ml_dtypes numpy onnx onnx_ir packaging protobuf safetensors sympy mpmath threadpoolctl
    typing_extensions"""
PLATFORMS = [f"manylinux{tag}_aarch64" for tag in ("2014", "_2_17", "_2_26", "_2_27", "_2_28")]

DIGEST = """
import hashlib, platform, sys, warnings
import numpy as np
from edgeinfer import demo
from edgeinfer.converters import from_onnx
from edgeinfer.files.model_file import save
from edgeinfer.quant import quantize
warnings.simplefilter("ignore")
with np.load(demo.CALIBRATION) as file:
    samples = next(iter(file.values())).astype(np.float32)
for scheme in ("int8", "int16"):
    path = f"{sys.argv[1]}/digits-{scheme}-{platform.machine()}.eqm"
    save(quantize(from_onnx(demo.MODEL), samples, scheme=scheme), path)
    print(scheme, hashlib.sha256(open(path, "rb").read()).hexdigest(), platform.machine())
"""


def run(command: Sequence[str], folder: Path, **environment: str) -> str:
    """What ``command`` prints."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return done.stdout


def python(folder: Path) -> list[str]:
    """The command of an aarch64 Python that is unpacked in ``folder``."""
    root, debs = folder / "root", folder / "debs"
    debs.mkdir()
    run(["apt-get", "download", "-q", *(f"{name}:arm64" for name in DEBIAN.split())], debs)
    for package in sorted(debs.glob("*.deb")):
        run(["dpkg", "-x", str(package), str(root)], folder)
    return ["qemu-aarch64", "-L", str(root), str(root / "usr/bin/python3.11")]


def site(folder: Path) -> Path:
    """A folder with the packages that quantizing asks for, of the versions that are here."""
    wheels, found = folder / "wheels", folder / "site"
    options = ["--no-deps", "--only-binary=:all:", "--python-version=311", "--dest", str(wheels)]
    options += [part for tag in PLATFORMS for part in ("--platform", tag)]
    named = [f"{name}=={version(name)}" for name in WHEELS.split()]
    run([sys.executable, "-m", "pip", "download", "-q", *options, *named], folder)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(found)
    return found


def kernels(folder: Path) -> Path:
    """A clone of this checkout with kernels for aarch64."""
    clone = folder / "edgeinfer"
    run(["git", "clone", "-q", str(ROOT), str(clone)], folder)
    compiler: Mapping[str, str] = {
        "CC": "aarch64-linux-gnu-gcc",
        "LDSHARED": "aarch64-linux-gnu-gcc -shared",
    }
    run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], clone, **compiler)
    return clone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty one to unpack and build in")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(exist_ok=True)
    script = ["-c", DIGEST, str(folder)]
    here = run([sys.executable, *script], folder)
    emulated = python(folder)
    path = os.pathsep.join(map(str, (kernels(folder), site(folder))))
    there = run([*emulated, *script], folder, PYTHONPATH=path)
    print(here + there, end="")
    same = [line.split()[:2] for line in here.splitlines()] == [
        line.split()[:2] for line in there.splitlines()
    ]
    raise SystemExit(None if same else "the files differ")


if __name__ == "__main__":
    main()
