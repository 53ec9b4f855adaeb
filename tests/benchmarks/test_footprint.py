"""What the benchmark of sizes asks other packages is what they answer."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def footprint(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import footprint

    return footprint


def test_an_import_takes_time_and_a_distribution_bytes(footprint, tmp_path):
    assert footprint.import_seconds("edgeinfer", tmp_path) > 0
    files = Path(find_spec("onnxruntime").origin).parent.rglob("*")
    largest = max(path.stat().st_size for path in files if path.is_file())
    assert footprint.installed_bytes("onnxruntime") > largest


@pytest.mark.skipif("EDGEINFER_ZOO" not in os.environ, reason="EDGEINFER_ZOO names no zoo")
@pytest.mark.skipif(find_spec("tflite_micro") is None, reason="tflite-micro is not installed")
def test_tflm_says_what_it_allocates(footprint):
    found = footprint.tflm_bytes(Path(os.environ["EDGEINFER_ZOO"]) / "kws_dscnn.int8.tflite")
    assert found.keys() == {"total", "head"}
    # the input is 49 by 10
    assert 490 < found["head"] < found["total"]
