"""The examples run as they stand."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeinfer.demo import TEST

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*arguments: object, folder: Path) -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_model_is_embedded_with_raw_integers(tmp_path):
    run("-m", "edgeinfer", "demo", "-o", tmp_path, folder=tmp_path)
    said = run(EXAMPLES / "embed.py", "digits.eqm", TEST, folder=tmp_path)
    right, _, total = said.split()[:3]
    assert int(right) / int(total) > 0.97


@pytest.mark.slow
def test_a_model_is_tested_on_the_npu(tmp_path):
    run("-m", "edgeinfer", "demo", "-o", tmp_path, folder=tmp_path)
    shutil.copy(EXAMPLES / "test_digits_on_npu.py", tmp_path)
    said = run("-m", "pytest", "test_digits_on_npu.py", folder=tmp_path)
    assert "1 passed" in said


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_the_demos_model_is_trained_and_exported(tmp_path):
    run(EXAMPLES / "train_digits.py", tmp_path, folder=tmp_path)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["digits.onnx", "digits_calib.npz", "digits_test.npz"]


def test_the_tpus_workloads_are_predicted(tmp_path):
    said = run(EXAMPLES / "explore_tpu_workloads.py", folder=tmp_path)
    rows = [line.split("|") for line in said.splitlines()[2:]]
    assert [row[1].strip() for row in rows] == ["MLP0", "MLP1", "LSTM0", "LSTM1", "CNN0", "CNN1"]
    for row in rows:
        chip, host = (float(cell.strip(" %")) for cell in row[4:6])
        assert 0 < host < chip <= 100
    # the table in docs/npu-results.md is what it prints
    docs = (EXAMPLES.parent / "docs" / "npu-results.md").read_text()
    for row in rows:
        assert f"| {' | '.join(cell.strip() for cell in (row[1], *row[4:7]))} |" in docs
