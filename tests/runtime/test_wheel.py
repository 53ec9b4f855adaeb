"""A wheel built from a tree that lost its links holds one top-level package, for every CPython."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("converters", "cython_kernels", "hdl", "quant")
FILES = ("LICENSE", "NOTICE", "README.md", "pyproject.toml", "setup.py")


@pytest.mark.slow
def test_a_wheel_from_a_tree_without_links_is_whole(tmp_path):
    tree, wheels = tmp_path / "tree", tmp_path / "wheels"
    skipped = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "edgeinfer", tree / "edgeinfer", symlinks=True, ignore=skipped)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=skipped)
        # what a zip or a checkout without links makes of one
        (tree / "edgeinfer" / name).unlink()
        (tree / "edgeinfer" / name).write_text(f"../{name}")
    for name in FILES:
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    built = subprocess.run(
        [*command, "-w", wheels, tree],
        # what is in it is asked, not how fast it is
        env={**os.environ, "EDGEINFER_CFLAGS": "-O1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = wheels.iterdir()
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        texts = {
            Path(name).name: archive.read(name).decode() for name in names if ".dist-info/" in name
        }
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"edgeinfer"}
    sources = {
        f"edgeinfer/{p.relative_to(ROOT)}" for n in FOLDERS for p in (ROOT / n).rglob("*.py")
    }
    sources |= {str(p.relative_to(ROOT)) for p in (ROOT / "edgeinfer").rglob("*.py")}
    assert not sources - set(names)
    compiled = [name for name in names if name.endswith((".so", ".pyd"))]
    assert len(compiled) == 1 and compiled[0].startswith("edgeinfer/cython_kernels/runtime.")
    assert {"edgeinfer/py.typed", "edgeinfer/cython_kernels/runtime.pyi"} <= set(names)
    # who made the digits, under which licence, and what was changed, go with them
    assert {f"edgeinfer/demo/digits_{part}.npz" for part in ("calib", "test")} <= set(names)
    assert "License-Expression: Apache-2.0 AND CC-BY-4.0" in texts["METADATA"].splitlines()
    assert texts["LICENSE"] == (ROOT / "LICENSE").read_text("utf-8")
    assert texts["NOTICE"] == (ROOT / "NOTICE").read_text("utf-8")
    for due in ("E. Alpaydin", "C. Kaynak", "creativecommons.org/licenses/by/4.0", "Changes: "):
        assert due in texts["NOTICE"]
