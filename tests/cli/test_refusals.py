"""Whatever is wrong, a command says so in one line, with exit code 1, 2 or 130."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeinfer import converters
from tests.refusals import needs_full_device

QUANTIZE = "quantize digits.onnx --data digits_calib.npz -o a.eqm"
EVALUATE = "evaluate digits.eqm --data"
MAIN = "from edgeinfer.cli import main; main()"


@pytest.fixture(autouse=True)
def wrong_files(workspace):
    with np.load("digits_test.npz") as data:
        image = data["image"]
    np.savez("names.npz", a=image, b=image)
    np.savez("nan.npz", image=np.full((2, 1, 8, 8), np.nan, "f4"))
    np.savez("shape.npz", image=np.zeros((2, 1, 9, 9), "f4"))
    np.savez("huge.npz", image=np.full((2, 1, 8, 8), 1e300))
    np.savez("none.npz", image=np.zeros((0, 1, 8, 8), "f4"))
    np.savez("text.npz", image=np.full((1, 1, 8, 8), "a"))
    np.savez("labels.npz", image=image, y=np.zeros(5, int))
    np.savez("beyond.npz", image=image, y=np.full(400, 10))
    np.savez("real.npz", image=image, y=np.full(400, 0.5))
    np.save("object.npy", np.array([{}], object), allow_pickle=True)
    np.savez("unnamed.npz", y=np.zeros(5, int))
    Path("garbage.npz").write_bytes(b"PKgarbage")
    Path("zipped.npz").write_bytes(b"PK\x03\x04garbage")
    Path("empty.npz").touch()
    Path("cut.npz").write_bytes(Path("digits_test.npz").read_bytes()[:900])
    Path("cut.eqm").write_bytes(Path("digits.eqm").read_bytes()[:900])
    Path("two.txt").write_text("a\nb\n")
    Path("nothing.onnx").touch()
    Path("nothing.tflite").touch()
    Path("pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\nsize 9\n")
    Path("page.onnx").write_text("\n<!DOCTYPE html>\n<html></html>\n")
    for name in ("renamed.onnx", "renamed.eqm"):
        Path(name).write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))
    Path("saved").mkdir()
    Path("saved/saved_model.pb").touch()
    for suffix in ("npz", "png", "onnx", "eqm"):
        Path(f"zeros.{suffix}").symlink_to("/dev/zero")
    Image.new("L", (8, 8), 255).save("image.png")
    Path("folder").mkdir()
    Path("broken").mkdir()
    Path("broken/a.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")


TENSORFLOW = "export the model that it was made from as ONNX, with tf2onnx"
REFUSALS = {
    "inspect model.onnx": "there is no file model.onnx",
    "inspect model.eqm": "there is no file model.eqm",
    "inspect folder": "folder is no model: that is an .onnx, .tflite, .pt2, .keras or .eqm file",
    "inspect two.txt": "two.txt is no model: that is an .onnx, .tflite, .pt2, .keras or .eqm file",
    "inspect net.tflite": "there is no file net.tflite",
    "inspect nothing.tflite": "nothing.tflite is not a .tflite file",
    "inspect net.h5": f"net.h5 is a Keras model: {TENSORFLOW}",
    "inspect saved": f"saved is a folder of TensorFlow's: {TENSORFLOW}",
    "inspect net.pt": (
        "net.pt is a PyTorch model: save the model with torch.export as .pt2, or export it as "
        "ONNX, with torch.onnx.export"
    ),
    "inspect net.engine": ("net.engine is a TensorRT engine: give the .onnx that it was made from"),
    "inspect pointer.onnx": (
        "pointer.onnx is a pointer of Git LFS, not the file that it stands for: "
        "git lfs pull brings it"
    ),
    "inspect page.onnx": "page.onnx is a web page, not a model: download the file itself",
    "inspect renamed.onnx": (
        "renamed.onnx is a TensorFlow Lite model: name it so, .tflite, and it is imported"
    ),
    "inspect renamed.eqm": (
        "renamed.eqm is a TensorFlow Lite model: name it so, .tflite, and it is imported"
    ),
    "inspect nothing.onnx": "nothing.onnx holds no ONNX graph",
    "convert digits.eqm -o a.eqm": (
        "digits.eqm is an .eqm file; give the model that it was made from"
    ),
    "bench floats.eqm": "there is no file floats.eqm",
    f"{QUANTIZE} --scheme auto --min-sqnr nan": "min_sqnr must be a number, not nan",
    f"{QUANTIZE} --scheme auto --min-sqnr 30 --rounding double": (
        "rounding 'double' is for int8 only, in every layer"
    ),
    "quantize digits.eqm --data digits_calib.npz -o a.eqm": (
        "digits.eqm is quantized already; give the .onnx that it was made from"
    ),
    "quantize digits.onnx --data folder -o a.eqm": "folder holds no images, sounds or .npy files",
    f"{QUANTIZE} --override imag=int16": (
        "no node and no value that is computed is named 'imag'; near it are 'image', 'image@nhwc'"
    ),
    "quantize digits.onnx --data data.npz -o a.eqm": "there is no file data.npz",
    "quantize digits.onnx --data two.txt -o a.eqm": (
        "two.txt is no data: that is an .npz, .npy, .csv, .wav, an image, a folder of such files, "
        "or module:function"
    ),
    "convert digits.onnx -o folder": "cannot write folder: it is a folder",
    "quantize digits.onnx --data digits_calib.npz -o no/a.eqm": (
        "cannot write no/a.eqm: there is no folder no"
    ),
    "quantize digits.onnx --data digits_calib.npz -o digits.onnx": (
        "cannot write digits.onnx: the result is made from it"
    ),
    "convert digits.onnx -o digits.onnx": "cannot write digits.onnx: the result is made from it",
    "quantize digits.eqm --data digits_calib.npz -o digits.eqm": (
        "cannot write digits.eqm: the result is made from it"
    ),
    f"{QUANTIZE} --calib digits_calib.npz": "--calib is --data now: give one of them",
    "convert digits.onnx -o digits.tflite": (
        "cannot write digits.tflite: what is written is an .eqm file, not .tflite; "
        "name it digits.eqm, and export that: edgeinfer export digits.eqm --to tflite "
        "-o digits.tflite"
    ),
    "quantize digits.onnx --data digits_calib.npz -o x.keras": (
        "cannot write x.keras: what is written is an .eqm file, not .keras; name it x.eqm"
    ),
    "quantize digits.onnx --data digits_calib.npz -o x.onnx": (
        "cannot write x.onnx: what is written is an .eqm file, not .onnx; name it x.eqm, and "
        "export that: edgeinfer export x.eqm --to qdq -o x.onnx"
    ),
    "inspect digits.eqm --output scores": (
        "digits.eqm cannot be cut: give the model that it was made from"
    ),
    "inspect digits.onnx --output no": "the model has no value 'no'",
    "run digits.eqm --data digits_test.npz -o digits_test.npz": (
        "cannot write digits_test.npz: the result is made from it"
    ),
    "convert digits.onnx -o no/a.eqm": "cannot write no/a.eqm: there is no folder no",
    "demo -o no": "cannot write no/digits.eqm: there is no folder no",
    "run digits.eqm --data digits_test.npz -o no/a.npz": (
        "cannot write no/a.npz: there is no folder no"
    ),
    f"{QUANTIZE} --labels two.txt": "two.txt holds 2 labels for 10 classes",
    f"{QUANTIZE} --labels no.txt": "there is no file no.txt",
    f"{QUANTIZE} --labels digits.eqm": (
        "cannot read the labels in digits.eqm: it is not UTF-8 text"
    ),
    f"{QUANTIZE} --rounding double --scheme int16": (
        "rounding 'double' is for int8 only, in every layer"
    ),
    f"{EVALUATE} digits_calib.npz": (
        "digits_calib.npz has no labels, so there is nothing to evaluate without --against"
    ),
    f"{EVALUATE} names.npz": (
        "names.npz: the data is for 'a', 'b', but the model's inputs are 'image'"
    ),
    f"{EVALUATE} nan.npz": "nan.npz: the data for input 'image' holds a value that is not finite",
    f"{EVALUATE} huge.npz": "huge.npz: the data for input 'image' holds a value that is not finite",
    f"{EVALUATE} none.npz": "none.npz: the data holds no samples",
    f"{EVALUATE} text.npz": "text.npz: input 'image' takes numbers, not <U1",
    f"{EVALUATE} shape.npz": (
        "shape.npz: input 'image' has shape [1, 1, 8, 8], but the data has shape [2, 1, 9, 9]"
    ),
    f"{EVALUATE} labels.npz": "labels.npz holds 5 labels for 400 samples",
    f"{EVALUATE} real.npz": (
        "real.npz: labels of type float64 and shape [400] do not fit output 'scores', which gives "
        "10 numbers a sample"
    ),
    f"{EVALUATE} digits_test.npz --metric mae": (
        "metric 'mae' is for numbers; the labels are classes"
    ),
    f"{EVALUATE} digits_test.npz --metric accuracy": (
        "there is no metric 'accuracy'; there are top1, top5, confusion, iou, roc_auc, "
        "average_precision, mae, rmse, r2, reconstruction"
    ),
    f"{EVALUATE} beyond.npz": "beyond.npz: labels go from 10 to 10, but classes from 0 to 9",
    f"{EVALUATE} empty.npz": "empty.npz cannot be read: No data left in file",
    f"{EVALUATE} cut.npz": "cut.npz cannot be read: File is not a zip file",
    f"{EVALUATE} garbage.npz": "garbage.npz is no NumPy file, or a damaged one",
    f"{EVALUATE} unnamed.npz": (
        "unnamed.npz: the data is for nothing, but the model's inputs are 'image'"
    ),
    f"{EVALUATE} object.npy": (
        "object.npy cannot be read: Object arrays cannot be loaded when allow_pickle=False"
    ),
    "run digits.eqm --data image.png --mean 1e37 --std 0.5": (
        "a mean must be finite as a float32, not [2.55e+39]"
    ),
    f"{EVALUATE} zipped.npz": "zipped.npz cannot be read: File is not a zip file",
    "run digits.eqm --data broken --std 1,2": "std has 2 numbers for grey, which takes 1",
    "run digits.eqm --data broken --std 0": (
        "a standard deviation must be positive and finite as a float32, not [0.0]"
    ),
    "run digits.eqm --data broken --std 1e-320": (
        "a standard deviation must be positive and finite as a float32, not [2.54997e-318]"
    ),
    "run digits.eqm --data broken --mean 1e300": (
        "a mean must be finite as a float32, not [1e+300]"
    ),
    "run digits.eqm --data image.png --std 1e-39": (
        "the data for input 'image' holds a value that is not finite"
    ),
    f"run digits.eqm --data image.png --size {10**21}": (
        f"an image's size must be between 1 and 65536, not {10**21}"
    ),
    "run digits.eqm --data image.png --size 65536": (
        "size 65536 makes image.png larger than 54,000,000 pixels"
    ),
    "run digits.eqm --data zeros.npz": "cannot read zeros.npz: it is not a file",
    "run digits.eqm --data zeros.png": "cannot read zeros.png: it is not a file",
    "inspect zeros.onnx": "cannot read zeros.onnx: it is not a file",
    "inspect zeros.eqm": "cannot read zeros.eqm: it is not a file",
    f"{QUANTIZE} --labels /dev/zero": "cannot read /dev/zero: it is not a file",
    "run digits.eqm --data broken --mean nan": "a mean must be finite as a float32, not [nan]",
    "hdl info --config 9x9": "columns must be a power of two between 2 and 256, not 9",
    "hdl info --config big": "an array is called as 8x16 or 8x8-16, not 'big'",
    "hdl disasm digits.onnx": "the NPU runs integer models; quantize digits.onnx first",
    "hdl disasm two.txt --config big": "an array is called as 8x16 or 8x8-16, not 'big'",
    "hdl disasm two.txt": "two.txt: a program is a multiple of 16 bytes long, not 4",
    "hdl disasm none.bin": "there is no file none.bin",
    "hdl disasm /dev/zero": "cannot read /dev/zero: it is not a file",
    "hdl simulate digits.onnx --data digits_test.npz": (
        "the NPU runs integer models; quantize digits.onnx first"
    ),
    "hdl simulate digits.eqm --data digits_test.npz --trace a.svg --timeline ./a.svg": (
        "cannot write a.svg: it is asked to hold two results"
    ),
    "hdl export digits.onnx -o new": "the NPU runs integer models; quantize digits.onnx first",
    "hdl export digits.eqm -o digits.onnx": "cannot write digits.onnx: it is a file",
    "hdl export digits.eqm -o .": "cannot write .: the folder is not empty",
    "hdl export digits.eqm --config 9x9 -o new": (
        "columns must be a power of two between 2 and 256, not 9"
    ),
    "hdl simulate digits.eqm --data digits_test.npz --vcd no/a.vcd": (
        "cannot write no/a.vcd: there is no folder no"
    ),
    "run digits.eqm --data broken --layout nhwc": (
        "images have 1 or 3 channels, but the model's input has 8"
    ),
}


@pytest.mark.parametrize("line, message", REFUSALS.items(), ids=REFUSALS.keys())
def test_a_refusal_is_one_line_and_writes_nothing(cli, workspace, line, message):
    before = {p: p.read_bytes() for p in workspace.rglob("*") if p.is_file()}
    assert cli.refusal(line) == f"error: {message}"
    assert {p: p.read_bytes() for p in workspace.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "line, start",
    [
        ("inspect cut.eqm", "error: cut.eqm: not an .eqm file, or a damaged one: "),
        ("run digits.eqm --data broken", "error: broken/a.png is not an image that can be read: "),
    ],
)
def test_a_damaged_file_is_named(cli, line, start):
    assert cli.refusal(line).startswith(start)


@pytest.mark.parametrize(
    "line, complaint",
    [
        ("quantize digits.onnx -o a.eqm", "Error: Missing option '--data'."),
        (f"{QUANTIZE} --scheme int4", "Error: Invalid value for '--scheme': 'int4' is not one of"),
        (
            f"{QUANTIZE} --override image",
            "Error: Invalid value for '--override': 'image' is not of the form PATTERN=int8 or",
        ),
        (
            f"{QUANTIZE} --scheme auto",
            "Error: --scheme auto has one goal: --max-drop, --min-sqnr, --max-latency or "
            "--max-bytes",
        ),
        (
            f"{QUANTIZE} --scheme auto --min-sqnr 30 --max-bytes 9",
            "Error: --scheme auto has one goal: --max-drop, --min-sqnr, --max-latency or "
            "--max-bytes",
        ),
        (f"{QUANTIZE} --min-sqnr 30", "Error: --min-sqnr is a goal of --scheme auto"),
        (f"{QUANTIZE} --npu 8x16", "Error: --npu counts for the goals of --scheme auto"),
        (f"{QUANTIZE} --front a.svg", "Error: --front draws what --scheme auto measured"),
        (
            f"{QUANTIZE} --scheme auto --max-drop 0.5",
            "Error: Invalid value for '--max-drop': '0.5' is not of the form 0.5%, from 0% to",
        ),
        (
            f"{QUANTIZE} --scheme auto --max-drop 100%",
            "Error: Invalid value for '--max-drop': '100%' is not of the form 0.5%, from 0% to",
        ),
        (f"{QUANTIZE} --samples 0", "Error: Invalid value for '--samples': 0 is not in the range"),
        (
            f"{QUANTIZE} --shape image=1x0",
            "Error: Invalid value for '--shape': 'image=1x0' is not of the form NAME=1x3x224x224",
        ),
        (
            f"{QUANTIZE} --std a",
            "Error: Invalid value for '--std': 'a' is not numbers with commas between them",
        ),
        (
            "hdl explore digits.eqm --pareto a.png",
            "Error: Invalid value for '--pareto': 'a.png' does not end in .svg",
        ),
        ("deploy", "Error: No such command 'deploy'."),
    ],
)
def test_wrong_usage_has_exit_code_2(cli, line, complaint):
    done = cli(line)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(complaint)


def test_a_missing_package_names_its_extra(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.refusal("hdl explore digits.eqm --largest 4 --pareto a.svg") == (
        "error: matplotlib is not installed; install it with: pip install 'edgeinfer[hdl]'"
    )


@needs_full_device
@pytest.mark.parametrize(
    "line",
    [
        "quantize digits.onnx --data digits_calib.npz -o /dev/full",
        "run digits.eqm --data digits_test.npz -o /dev/full",
        "convert digits.onnx -o /dev/full",
    ],
)
def test_a_full_disk(cli, line):
    assert cli.refusal(line) == "error: cannot write /dev/full: No space left on device"


def raising(error):
    def from_onnx(*args, **kwargs):
        raise error

    return from_onnx


def test_an_interruption_has_exit_code_130(cli, monkeypatch):
    monkeypatch.setattr(converters, "from_onnx", raising(KeyboardInterrupt()))
    done = cli(QUANTIZE)
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "error: interrupted\n")
    assert not Path("a.eqm").exists()


def test_a_failure_of_ours_is_one_line_too_and_debug_shows_where(cli, monkeypatch):
    monkeypatch.setattr(converters, "from_onnx", raising(RuntimeError("two\nlines \x1b[0m")))
    message = "error: unexpected RuntimeError: two lines ?[0m (--debug shows where)"
    assert cli.refusal(QUANTIZE) == message
    done = cli(f"{QUANTIZE} --debug")
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith(f"{message}\n")


def test_too_little_memory_is_said(cli, monkeypatch):
    monkeypatch.setattr(converters, "from_onnx", raising(MemoryError()))
    assert cli.refusal(QUANTIZE) == "error: there is not enough memory"


# ---- the process as a whole ---------------------------------------------------------------------


def process(*arguments, program=MAIN, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        text=True,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_its_extra_the_command_says_which(package):
    done = process(program=f"import sys; sys.modules[{package!r}] = None; {MAIN}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {package} is not installed, which commands need; install it with: "
        "pip install 'edgeinfer[cli]', or in a checkout: pip install -e '.[cli]'\n"
    )


def test_without_the_onnx_packages_the_command_says_which_extra():
    blocked = f"import sys; sys.modules['onnx'] = sys.modules['onnx_ir'] = None; {MAIN}"
    done = process("inspect", "digits.onnx", program=blocked)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr in {
        f"error: {name} is not installed; install it with: pip install 'edgeinfer[convert]'\n"
        for name in ("onnx", "onnx_ir")
    }


def test_help_and_integer_models_need_no_heavy_package():
    loaded = (
        "print([m for m in ('onnx', 'onnx_ir', 'onnxruntime', 'amaranth') if m in sys.modules])"
    )
    for arguments in (["--help"], ["inspect", "digits.eqm"]):
        program = f"import sys\ntry:\n    {MAIN}\nfinally:\n    {loaded}"
        done = process(*arguments, program=program)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("[]\n")


@needs_full_device
def test_an_output_that_takes_no_more():
    with Path("/dev/full").open("w") as full:
        done = process("inspect", "digits.eqm", stdout=full)
    assert done.returncode == 1
    assert done.stderr == "error: cannot write the output: No space left on device\n"


def test_outputs_in_a_folder_that_is_gone_are_refused(cli, workspace, monkeypatch):
    (workspace / "gone").mkdir()
    monkeypatch.chdir(workspace / "gone")
    (workspace / "gone").rmdir()
    for line, output in (
        (f"convert {workspace}/digits.onnx -o a.eqm", "a.eqm"),
        (f"run {workspace}/digits.eqm --data {workspace}/digits_test.npz -o a.npz", "a.npz"),
        (f"hdl explore {workspace}/digits.eqm --pareto a.svg", "a.svg"),
    ):
        assert cli.refusal(line) == f"error: cannot write {output}: No such file or directory"


@needs_full_device
@pytest.mark.parametrize("arguments", [["--help"], ["hdl", "--help"], ["--version"]])
def test_help_that_nothing_takes(arguments):
    with Path("/dev/full").open("w") as full:
        done = process(*arguments, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "error: cannot write the output: No space left on device\n"


INTERRUPTED_IMPORT = f"""import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    @staticmethod
    def find_spec(name, *_):
        if name == "click":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder)
{MAIN}"""


def test_an_interruption_while_the_commands_are_loaded():
    done = process(program=INTERRUPTED_IMPORT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


INTERRUPTED_GENERATION = f"""from edgeinfer.hdl.gateware.array import Array
def interrupted(self, platform):
    raise KeyboardInterrupt
Array.elaborate = interrupted
{MAIN}"""


def test_an_interruption_while_hardware_is_generated():
    command = ("hdl", "export", "digits.eqm", "--config", "4x4", "-o", "new")
    done = process(*command, program=INTERRUPTED_GENERATION)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


def test_an_output_that_is_closed_is_read_by_nobody():
    done = process("inspect", "digits.eqm", stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")
    missing = process("inspect", "missing.eqm", stdout=None, preexec_fn=lambda: os.closerange(1, 3))
    assert missing.returncode == 1


@pytest.mark.parametrize(
    ("number", "code"), [("SIGINT", 130), ("SIGQUIT", 131), ("SIGTERM", 143), ("SIGHUP", 129)]
)
def test_a_signal_ends_a_long_run(number, code):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # whoever started the tests may ignore the signal, as nohup does
    heard = f"""import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
for other in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(other, signal.SIG_DFL)
{MAIN}"""
    command = [sys.executable, "-c", heard, "bench", "digits.eqm", "--runs", "1000000000"]
    leader, follower = pty.openpty()
    with subprocess.Popen(command, env=environment, stdout=follower, stderr=follower) as running:
        while "running" not in os.read(leader, 1000).decode(errors="replace"):
            pass
        running.send_signal(getattr(signal, number))
        try:
            assert running.wait(30) == code
        finally:
            running.kill()
    os.close(follower)
    os.close(leader)


def test_a_terminal_sees_progress_and_a_pipe_does_not():
    arguments = ("evaluate", "digits.eqm", "--data", "digits_test.npz", "--json")
    assert process(*arguments).stderr == ""
    leader, follower = pty.openpty()
    done = process(*arguments, stderr=follower)
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "evaluating" in shown
    assert "400/400" in shown
    assert "\x1b" not in done.stdout
