"""Exported C computes the Session's bits, on each processor, without warnings or a library."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

import edgeinfer
from edgeinfer.cli.commands import edgeinfer as command
from edgeinfer.converters import from_onnx, to_c
from edgeinfer.converters.c99 import compiled, printed
from edgeinfer.converters.c99.names import identifier, identifiers
from edgeinfer.converters.c99.sources import kernel_sources
from edgeinfer.cython_kernels.runtime import KERNELS
from edgeinfer.errors import InputError
from edgeinfer.files.model_file import save
from edgeinfer.graph import Graph, GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests import strategies
from tests.refusals import refused
from tests.runtime.plan_runner import needed
from tests.runtime.runtime_graphs import rows_by_index, small_cnn
from tests.runtime.test_streams import leaky_sum
from tests.zoo_entries import FEED_FORWARD, RECURRENT

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
SANITIZERS = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
BOARD = Path(__file__).with_name("cortex_m")
PORTABLE = sorted(kernel for kernel, isas in KERNELS.items() if "scalar" in isas)


def written(folder: Path, graph: Graph, name: str = "model") -> Path:
    """The export of ``graph`` in ``folder``."""
    for path, content in to_c(graph, name).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def built(
    folder: Path,
    compiler: str,
    *flags: str,
    main: str | Path | None = None,
    libraries: Sequence[str] = (),
) -> Path:
    """A program of what was exported: of its check, or of ``main``."""
    main = main or folder / "check" / "check.c"
    sources = [*map(str, sorted(folder.glob("src/*.c"))), str(main)]
    # what follows it on the command line finds what sources ask for
    arguments = [compiler, *flags, f"-I{folder / 'src'}", *sources, *libraries]
    program = folder / "program"
    ran = subprocess.run(
        [*arguments, "-o", program], capture_output=True, text=True, timeout=600, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return program


def says(*command: str | Path) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, (ran.returncode, ran.stdout, ran.stderr)
    return ran.stdout


# ---- bits ------------------------------------------------------------------------------------


def computes(tmp_path: Path, graph: Graph) -> None:
    """The check of ``graph`` passes under sanitizers."""
    folder = tmp_path / "export"
    shutil.rmtree(folder, ignore_errors=True)
    program = built(written(folder, graph), needed("gcc"), *STRICT, "-O1", *SANITIZERS)
    assert says(program) == "model: right\n"


DRAWN = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@settings(DRAWN, max_examples=12)
@given(graph=strategies.integer_graphs())
def test_drawn_graphs_pass_their_check_under_sanitizers(tmp_path, graph):
    computes(tmp_path, graph)


@pytest.mark.slow(third=3)
@settings(DRAWN, max_examples=80)
@given(graph=strategies.integer_graphs(max_nodes=14))
def test_many_drawn_graphs_pass_their_check_under_sanitizers(tmp_path, graph):
    computes(tmp_path, graph)


@settings(DRAWN, max_examples=6)
@given(drawn=strategies.graphs_with_inputs())
def test_every_value_is_the_references(drawn):
    needed("cc")
    graph, feeds = drawn
    expected: dict[str, np.ndarray] = {}
    reference.execute(graph, feeds, observe=lambda name, array: expected.update({name: array}))
    with compiled(graph) as library:
        found = library.run(feeds)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name, strict=True)


def test_a_model_that_does_nothing_does_it(tmp_path):
    builder = GraphBuilder("nothing")
    x = builder.input("x", TensorType((2, 3), "int8", Quantization.per_tensor(0.1, 0)))
    computes(tmp_path, builder.graph(builder.add(ops.Reshape((6,)), x)))


def test_states_go_from_run_to_run(tmp_path):
    computes(tmp_path, leaky_sum())


def test_a_changed_weight_fails_the_check(tmp_path):
    folder = written(tmp_path, small_cnn(free_batch=False))
    source = folder / "src" / "model.c"
    text = source.read_text()
    # the first weight of the first layer
    changed = re.sub(
        r"(constant_0\[\d+\] MODEL_FLASH = \{\n    )(-?\d+)",
        lambda found: f"{found[1]}{int(found[2]) ^ 64}",
        text,
    )
    assert changed != text
    source.write_text(changed)
    program = built(folder, needed("gcc"))
    ran = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "model: WRONG; README.md says what to do\n")


def test_an_index_outside_its_axis_ends_the_run(tmp_path):
    folder = written(tmp_path, rows_by_index())
    main = tmp_path / "main.c"
    main.write_text(
        '#include "model.h"\n'
        "int main(void) {\n"
        "    for (int i = 0; i < 4; ++i) model_input_i()[i] = i;\n"
        "    if (model_run() != 0 || model_output_rows()[6] != 6) return 1;\n"
        "    model_input_i()[2] = 5;\n"
        "    return model_run() == 2 ? 0 : 2;\n}\n"
    )
    says(built(folder, needed("gcc"), *SANITIZERS, main=main))
    assert says(built(folder, needed("gcc"), *STRICT)) == "model: right\n"
    with compiled(rows_by_index()) as library, refused("an index leaves its axis", InputError):
        library.run({"i": np.array([0, 1, 2, -6])})


COMPILERS = {
    "s390x-linux-gnu-gcc": "qemu-s390x",
    "riscv64-linux-gnu-gcc": "qemu-riscv64",
    "aarch64-linux-gnu-gcc": "qemu-aarch64",
    "clang": None,
}
# one of eight, as all take long: benchmarks/processor_bits.py has them
SAMPLED = [
    each
    for each in itertools.product(
        [*FEED_FORWARD, *RECURRENT], ["int8", "int16x8", "int16"], COMPILERS, ["-O0", "-O3"]
    )
    if zlib.crc32(" ".join(each).encode()) % 8 == 7
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scheme", "compiler", "level"), SAMPLED)
def test_a_real_model_has_its_bits_on_every_processor(tmp_path, zoo, name, scheme, compiler, level):
    emulator = COMPILERS[compiler]
    static = [] if emulator is None else ["-static"]
    before = [] if emulator is None else [needed(emulator)]
    entry = zoo.load(name)
    graph = quantize(from_onnx(entry.model), {entry.input: entry.calib[:20]}, scheme=scheme)
    folder = written(tmp_path, graph)
    program = built(folder, needed(compiler), *STRICT, level, *static)
    assert says(*before, program) == "model: right\n"


@pytest.mark.parametrize(
    ("processor", "machine", "more"),
    [
        ("cortex-m3", "mps2-an385", []),
        ("cortex-m4", "mps2-an386", []),
        ("cortex-m55", "mps3-an547", []),
        # with its vectors, Helium
        ("cortex-m55", "mps3-an547", ["-mfloat-abi=hard"]),
    ],
)
@pytest.mark.parametrize("level", ["-Os", "-O2"])
def test_a_board_without_a_library_has_the_bits(tmp_path, processor, machine, more, level):
    """The linker would miss whatever else the code asks for than memcpy and memset."""
    folder = written(tmp_path, small_cnn(free_batch=False))
    program = built(
        folder,
        needed("arm-none-eabi-gcc"),
        *STRICT,
        level,
        f"-mcpu={processor}",
        *more,
        "-mthumb",
        "-ffreestanding",
        "-nostdlib",
        f"-T{BOARD / 'board.ld'}",
        main=BOARD / "board.c",
        # 64-bit division, which the compiler brings
        libraries=["-lgcc"],
    )
    qemu = [needed("qemu-system-arm"), "-M", machine, "-cpu", processor]
    says(*qemu, "-semihosting", "-nographic", "-kernel", program)


# ---- sources ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("kernel", PORTABLE)
def test_a_kernel_stands_alone_without_warnings_or_floats(tmp_path, kernel, compiler):
    template = Path(edgeinfer.converters.c99.__file__).with_name("templates")
    head = (template / "model_kernels.h.j2").read_text().partition("{{ sources }}")[0]
    head = head[head.index("#ifdef __GNUC__") :]
    sources = kernel_sources([kernel])
    assert not re.search(
        r"\b(float|double|malloc|printf)\b", re.sub(r"/\*.*?\*/", "", sources, flags=re.DOTALL)
    )
    file = tmp_path / "kernel.c"
    file.write_text(
        "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n#define MAX_RANK 8\n"
        f"{head}{sources}\n"
        "typedef int (*run)(const void *, void *const *, int64_t, int64_t, void *);\n"
        f"extern run const kept;\nrun const kept = {kernel}_scalar;\n"
    )
    ran = subprocess.run(
        [needed(compiler), *STRICT, "-O2", "-c", file, "-o", tmp_path / "kernel.o"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_kernel_brings_no_other():
    sources = kernel_sources(["conv_s8"])
    assert "KERNEL(LOOP(conv_s8))" in sources
    assert re.findall(r"KERNEL\(LOOP\((\w+)\)\)", sources) == ["conv_s8"]


def test_the_same_model_is_the_same_bytes():
    assert to_c(small_cnn(), "m") == to_c(small_cnn(), "m")


def test_a_kernel_is_replaced_by_another(tmp_path):
    folder = written(tmp_path, small_cnn(free_batch=False))
    (folder / "src" / "mine.h").write_text(
        "static int calls;\n"
        "int calls_of_mine(void);\n"
        "int calls_of_mine(void) { return calls; }\n"
        # it sees the parameters, and may hand them on
        "static int counted(const void *p, void *const *o, int64_t b, int64_t e, void *s)\n"
        "{\n"
        "    calls += ((const max_pool_parameters *)p)->kernel_height == 2;\n"
        "    return max_pool_scalar(p, o, b, e, s);\n"
        "}\n"
        "#define MODEL_MAX_POOL counted\n"
        '#define MODEL_FLASH __attribute__((section(".mine")))\n'
    )
    main = tmp_path / "main.c"
    main.write_text(
        '#include "model.h"\nint calls_of_mine(void);\n'
        "int main(void) { return model_check() || calls_of_mine() != 2; }\n"
    )
    program = built(folder, needed("gcc"), *STRICT, '-DMODEL_CONFIG="mine.h"', main=main)
    says(program)
    assert " .mine" in says(needed("objdump"), "-h", program)


def test_floats_become_the_sessions_integers(tmp_path):
    graph = small_cnn(free_batch=False)
    session = Session(graph)
    info = session.inputs[0]
    rng = np.random.default_rng(5)
    count = int(np.prod(info.shape))
    # halves, their neighbours, and what is far away
    x = ((rng.integers(-300, 300, count) + 0.5) * np.float32(info.scale)).astype(np.float32)
    x[::3] = np.nextafter(x[::3], np.float32(np.inf))
    x[1::7] = rng.choice(
        np.array([np.inf, -np.inf, 3e38, -3e38, 0, -0.0], np.float32), len(x[1::7])
    )
    folder = written(tmp_path, graph)
    (folder / "x.bin").write_bytes(x.tobytes())
    macro = info.name.upper()
    main = tmp_path / "main.c"
    main.write_text(
        '#include "model.h"\n#include <stdio.h>\n'
        "int main(void) {\n"
        f"    static float x[{count}];\n"
        f'    FILE *file = fopen("{folder}/x.bin", "rb");\n'
        f"    if (file == NULL || fread(x, 4, {count}, file) != {count}) return 1;\n"
        f"    for (int i = 0; i < {count}; ++i)\n"
        f'        printf("%d ", MODEL_INPUT_{macro}_QUANTIZE(x[i]));\n'
        "    return 0;\n}\n"
    )
    found = np.array(says(built(folder, needed("gcc"), "-O2", main=main)).split(), np.int64)
    # a Session whose output is its input shows what it made of the floats
    shown = dataclasses.replace(graph, outputs=(info.name,), labels=())
    out = np.empty(info.shape, np.int8)
    Session(shown).run(x.reshape(info.shape), out)
    np.testing.assert_array_equal(found, out.ravel())


@pytest.mark.parametrize("standard", ["-std=c++11", "-std=c++20"])
def test_the_header_is_read_by_cpp(tmp_path, standard):
    folder = written(tmp_path, small_cnn(free_batch=False))
    main = folder / "main.cpp"
    main.write_text('#include "model.h"\nint main() { return model_check(); }\n')
    arguments = [needed("g++"), standard, "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    says(*arguments, f"-I{folder / 'src'}", main)


# ---- names -----------------------------------------------------------------------------------


def test_names_are_safe_short_and_unique():
    names = ["x:0", "x/0", "X_0", "", "9 lives", "int", "a" * 80, "a" * 81, "größe", "*/ x", "x\n"]
    found = identifiers(names)
    assert len({each.lower() for each in found.values()}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z]\w{0,30}", each) for each in found.values())
    assert (found["x:0"], found["9 lives"], found["int"]) == ("x_0", "m_9_lives", "m_int")
    assert identifier("") == "model"


@pytest.mark.parametrize(
    "name", ["string", "Stdint", "kernel", "int", "arena", "DONE", "m" * 60, "9", "größe"]
)
def test_a_name_that_something_else_has_is_one(tmp_path, name):
    program = built(written(tmp_path, small_cnn(free_batch=False), name), needed("gcc"), *STRICT)
    assert says(program).endswith(": right\n")


@pytest.mark.parametrize("name", ["all", "test", "install"])
def test_a_name_that_cmake_keeps_for_itself_builds(tmp_path, name):
    folder = written(tmp_path, small_cnn(free_batch=False), name)
    says(needed("cmake"), "-S", folder, "-B", folder / "build")
    says("cmake", "--build", folder / "build")
    assert says(folder / "build" / f"{name}_check") == f"{name}: right\n"


def test_names_of_a_model_break_no_comment_and_no_string(tmp_path):
    evil = 'in*/ int evil; /* ??/\\\n"\x1b[31m\udc80'
    graph = small_cnn(free_batch=False)
    (x,), (y,) = graph.inputs, graph.outputs
    renamed = {x: evil, y: f"{evil}2"}
    nodes = tuple(
        dataclasses.replace(
            node,
            name=f"{evil}{place}",
            inputs=tuple(renamed.get(name, name) for name in node.inputs),
            outputs=tuple(renamed.get(name, name) for name in node.outputs),
        )
        for place, node in enumerate(graph.nodes)
    )
    graph = dataclasses.replace(
        graph,
        name=evil,
        nodes=nodes,
        types={renamed.get(name, name): kind for name, kind in graph.types.items()},
        inputs=(evil,),
        outputs=(f"{evil}2",),
        labels=tuple(f"{evil}{place}" for place in range(10)),
    )
    folder = tmp_path / "export"
    for path, content in to_c(graph).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        assert content.isascii()
        assert b"\x1b" not in content
    program = built(folder, needed("gcc"), *STRICT, "-Wtrigraphs")
    assert says(program).endswith(": right\n")


# ---- the command -----------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(command, [str(each) for each in arguments])


def test_the_command_writes_a_folder_that_cmake_builds(tmp_path):
    model, folder = tmp_path / "net.eqm", tmp_path / "net"
    save(small_cnn(), model)
    result = run("export", model, "--to", "c", "-o", folder, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    made = printed(small_cnn(), "net")
    assert (told["name"], told["ram_bytes"]) == ("net", made.ram_bytes)
    assert (told["constant_bytes"], told["kernels"]) == (made.constant_bytes, list(made.kernels))
    files = {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    assert told["files"] == files
    says(needed("cmake"), "-S", folder, "-B", folder / "build")
    says("cmake", "--build", folder / "build")
    assert says(folder / "build" / "net_check") == "net: right\n"


def test_the_command_writes_the_npus_folder(tmp_path):
    pytest.importorskip("amaranth")
    model, folder = tmp_path / "net.eqm", tmp_path / "net"
    save(small_cnn(free_batch=False), model)
    result = run("export", model, "--to", "npu", "--config", "4x4", "-o", folder)
    assert result.exit_code == 0, result.output
    assert {"npu.v", "README.md", "driver"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--to", "qdq", "--name", "x"],
            "--name is what identifiers of C begin with, and --to qdq has none",
        ),
        (
            ["--to", "c", "--name", ""],
            "--name is empty, and identifiers of C must begin with something",
        ),
        (
            ["--to", "c", "--config", "8x8"],
            "--config chooses an Ethos-U or an NPU, and --to c has none",
        ),
    ],
)
def test_options_of_other_targets_wrong(tmp_path, arguments, message):
    model = tmp_path / "net.eqm"
    save(small_cnn(), model)
    out = tmp_path / ("out.onnx" if "qdq" in arguments else "out")
    result = run("export", model, *arguments, "-o", out)
    assert (result.exit_code, result.stderr) == (1, f"error: {message}\n")
    assert not out.exists()


def test_a_folder_with_something_in_it_wrong(tmp_path):
    model = tmp_path / "net.eqm"
    save(small_cnn(), model)
    result = run("export", model, "--to", "c", "-o", tmp_path)
    message = f"error: cannot write {tmp_path}: the folder is not empty\n"
    assert (result.exit_code, result.stderr) == (1, message)


def test_a_float_graph_wrong():
    floats = Graph("floats", (), {"x": TensorType((1, 3))}, ("x",), ("x",), {})
    with refused("a float model has no integers to export: quantize it first", InputError):
        to_c(floats)


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        ("/nowhere/cc", "cannot run /nowhere/cc: No such file or directory"),
        ("false", "false failed to compile the C: no message"),
        ('"', "the environment's CC is no command: No closing quotation"),
    ],
)
def test_a_compiler_that_fails_wrong(monkeypatch, compiler, message):
    monkeypatch.setenv("CC", compiler)
    with refused(message, InputError), compiled(small_cnn()):
        pass


def test_without_a_compiler_wrong(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", os.devnull)
    message = "the C needs a compiler, such as gcc; there is none on PATH"
    with refused(message, InputError), compiled(small_cnn()):
        pass
