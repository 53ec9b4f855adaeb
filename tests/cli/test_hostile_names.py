"""Names that a stranger chose steer no terminal, and pass for no line of ours."""

from __future__ import annotations

import re
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from edgeinfer import errors, model_file
from edgeinfer.cli import screen
from edgeinfer.cli.commands import edgeinfer
from edgeinfer.cli.output import SafeConsole, tell
from edgeinfer.drawing import plain
from edgeinfer.printable import one_line, printable
from edgeinfer.runtime.session import Session

ROOT = Path(__file__).parents[2]
FORGED = "error: forged"
HOSTILE = f"\x1b]0;taken\x07\x9b31m\u202e\x7f\r\n{FORGED}\n"
"""Sets a window's title, colours, turns the direction of writing, and begins a line."""


def harmless(text: str) -> None:
    assert [c for c in text if not (c.isprintable() or c == "\n")] == []
    assert [line for line in text.splitlines() if line.startswith(FORGED)] == []


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with each of its strings made hostile."""

    def hostile(name: str) -> str:
        return f"{HOSTILE}{name}" if name else ""

    graph = model.graph
    model.producer_name = model.doc_string = graph.name = hostile("model")
    onnx.helper.set_model_props(model, {hostile("key"): hostile("value")})
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = hostile(value.name)
    for node in graph.node:
        node.name = hostile(node.name or "node")
        for names in (node.input, node.output):
            names[:] = [hostile(name) for name in names]
    return model


@pytest.fixture(scope="module")
def files(demo_files, tmp_path_factory) -> dict[str, bytes]:
    """A model and its integers whose names are hostile, and data for them."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("digits.onnx", "digits_calib.npz", "digits_test.npz"):
            Path(name).write_bytes(demo_files[name])
        for name in ("digits_calib.npz", "digits_test.npz"):
            with np.load(name) as arrays:
                np.savez(name, **{key: array[:40] for key, array in arrays.items()})
        onnx.save(renamed(onnx.load("digits.onnx")), "hostile.onnx")
        run("quantize", "hostile.onnx", "--data", "digits_calib.npz", "-o", "hostile.eqm")
        graph = model_file.read("hostile.eqm")
        assert all(FORGED in name for name in graph.types)
        labels = tuple(f"{HOSTILE}{digit}" for digit in range(10))
        model_file.save(replace(graph, labels=labels), "hostile.eqm")
        return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hostile(files, workspace) -> Path:
    """The working directory, with these."""
    for name, content in files.items():
        (workspace / name).write_bytes(content)
    return workspace


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(edgeinfer, list(arguments), prog_name="edgeinfer")
    for text in (done.stdout, done.stderr):
        harmless(text)
    return done


TEXTS = (".c", ".cmake", ".h", ".html", ".json", ".md", ".py", ".svg", ".txt", ".v", ".xml")
MODEL, DATA = "hostile.eqm", ("--data", "digits_test.npz")
COMMANDS = [
    ("inspect", "hostile.onnx"),
    ("inspect", MODEL),
    ("quantize", "hostile.onnx", "--data", "digits_calib.npz", "-o", "again.eqm"),
    ("convert", "hostile.onnx", "-o", "float.eqm"),
    ("evaluate", MODEL, *DATA, "--against", "hostile.onnx", "--html", "page.html"),
    ("evaluate", MODEL, *DATA, "--metric", "confusion"),
    ("compare", "hostile.onnx", MODEL, *DATA, "--html", "page.html"),
    ("explain", "hostile.onnx", MODEL, *DATA, "--samples", "8", "--html", "page.html"),
    ("run", MODEL, *DATA, "-o", "out.npz"),
    ("bench", MODEL, "--layers", "--runs", "3"),
    ("export", MODEL, "--to", "qdq", "-o", "qdq.onnx"),
    ("export", MODEL, "--to", "tflite", "-o", "model.tflite"),
    ("export", MODEL, "--to", "c", "-o", "c"),
    ("verify", MODEL, "--against", "reference,kernels"),
    ("hdl", "disasm", MODEL, "--config", "8x16"),
    ("hdl", "info", "--config", "8x16"),
]
LONG = [
    ("hdl", "export", MODEL, "--config", "4x4", "-o", "npu"),
    ("hdl", "simulate", MODEL, *DATA, "--config", "4x4", "--timeline", "units.svg"),
]


@pytest.mark.parametrize(
    "arguments",
    [*COMMANDS, *(pytest.param(each, marks=pytest.mark.slow) for each in LONG)],
    ids=lambda arguments: " ".join(arguments[:4]),
)
def test_a_command_prints_and_writes_no_name_as_it_is(hostile, arguments, caplog):
    before = set(hostile.rglob("*"))
    done = run(*arguments, "-vv")
    assert done.exit_code == 0, done.stderr
    for path in set(hostile.rglob("*")) - before:
        if path.suffix in TEXTS:
            harmless(path.read_text())
    for message in caplog.messages:
        harmless(message)
    printed_as_json = run(*arguments, "--json")
    assert printed_as_json.stdout.isascii() and "\x7f" not in printed_as_json.stdout


REFUSED = [
    ("inspect", f"{HOSTILE}.onnx"),
    ("run", MODEL, "--data", f"{HOSTILE}.npz"),
    ("quantize", "hostile.onnx", "--data", "wrong.npz", "-o", "again.eqm"),
    ("quantize", "hostile.onnx", *DATA, "--override", f"{HOSTILE}=int8", "-o", "again.eqm"),
    ("quantize", "unknown.onnx", *DATA, "-o", "again.eqm"),
    ("inspect", "hostile.onnx", "--shape", f"{HOSTILE}=1x2"),
    ("inspect", "hostile.onnx", HOSTILE),
    ("inspect", "hostile.onnx", f"--{HOSTILE}"),
    ("inspect", "hostile.onnx", "--shape", HOSTILE),
    ("inspect", "hostile.onnx", "--output", HOSTILE),
    (HOSTILE,),
    (f"--{HOSTILE}",),
    ("hdl", HOSTILE),
]


@pytest.mark.parametrize("arguments", REFUSED, ids=lambda arguments: " ".join(arguments[:2])[:30])
@pytest.mark.parametrize("debug", [(), ("--debug",)], ids=["", "debug"])
def test_a_refusal_repeats_no_name_as_it_is(hostile, arguments, debug):
    np.savez("wrong.npz", **{HOSTILE: np.zeros((3, 5), np.float32)})
    unknown = onnx.load("hostile.onnx")
    unknown.graph.node[0].op_type = f"Conv{HOSTILE}"
    onnx.save(unknown, "unknown.onnx")
    done = run(*arguments, *debug)
    assert done.exit_code in (1, 2) and done.stdout == ""
    assert "?" in done.stderr or r"\x1b" in done.stderr


@pytest.mark.parametrize(
    "kind", [c for c in vars(errors).values() if isinstance(c, type) and c.__doc__], ids=repr
)
def test_every_error_and_warning_may_be_printed(kind):
    error = kind(HOSTILE, "cli") if kind is errors.MissingExtraError else kind(HOSTILE)
    assert printable(HOSTILE) in str(error)
    harmless(str(error))
    harmless("".join(traceback.format_exception(error)))


def test_what_python_shows_of_a_model_is_harmless(files, tmp_path):
    path = tmp_path / "hostile.eqm"
    path.write_bytes(files["hostile.eqm"])
    graph = model_file.read(path)
    session = Session(graph)
    for each in (graph, session, *graph.nodes, *session.inputs, *session.outputs):
        harmless(repr(each))
        harmless(str(each))
    for each in (graph, session):
        harmless(each._repr_html_())


def test_a_console_keeps_its_own_control_codes_and_no_others(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    console = SafeConsole()
    console._force_terminal = True
    with console.capture() as captured:
        console.show_cursor(False)
        console.print(screen.table(("a", HOSTILE), [(HOSTILE, f"[bold]{HOSTILE}")]))
        console.print("[link=http://x]\x1b[5m\x07")
    hidden, shown = captured.get()[:6], captured.get()[6:]
    assert hidden == "\x1b[?25l"
    # what is left of rich's is the style of headings
    harmless(re.sub(r"\x1b\[[01]?m", "", shown))
    assert "[bold]" in shown and "[link=http://x]" in shown


def test_a_picture_has_a_plain_text():
    harmless(plain(HOSTILE))


def test_lines_on_stderr_stay_lines(capsys):
    tell("one\ntwo\x1b[2J")
    assert capsys.readouterr().err == "one\ntwo?[2J\n"


def test_printable_text_stays_as_it_is():
    assert printable("Größe → 模型 🙂") == "Größe → 模型 🙂"
    assert printable("a\tb\nc\x00\x7f\x9b\u2028\ud800") == "a?b?c?????"
    assert one_line(" a\n\tb\x1b ") == "a b?"


WRITERS = re.compile(
    r"\bprint\(|click\.s?echo|secho\(|sys\.std(out|err)\.write|\bConsole\(|print_exc\("
)


def test_commands_print_in_one_place_only():
    """A new way to stdout or stderr would have to be made safe, too."""
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "edgeinfer/cli").rglob("*.py")
        if WRITERS.search(path.read_text())
    }
    # __init__.py says what is wrong before any other package is there; and which signal came
    assert found == {"edgeinfer/cli/__init__.py", "edgeinfer/cli/output.py"}
