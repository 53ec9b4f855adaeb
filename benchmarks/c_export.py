"""What exported C takes on a Cortex-M4 and how fast it is here, beside TFLM and emx-onnx-cgen.

    EDGEINFER_ZOO=DIR python benchmarks/c_export.py [--rounds 15]

Prints Markdown. Bytes: the arena of an export beside that of TensorFlow Lite Micro for the
official .tflite, as its own allocator reports it; code and constants as arm-none-eabi-gcc -Os makes
them for a Cortex-M4, without a C library, beside the size of the .tflite, which TFLM's kernels come
on top of. Instructions: millions that qemu's Cortex-M4 counts in one inference, of -O2, on the
board of ``tests/converters/cortex_m``. Latency: programs of gcc -O3, in turn with the runtime's
plain loops and its best instruction set, on one thread, medians. emx-onnx-cgen makes C of the same
integer model as QDQ ONNX, which computes in floats. What is not installed is left out and named.
Takes two minutes.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import footprint
import numpy as np
from zoo_folder import folder, load

from edgeinfer.converters import from_onnx, to_c
from edgeinfer.converters.qdq import to_qdq
from edgeinfer.graph import Graph
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session

_ARM = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-ffunction-sections"]
_TIMED = """
#include <stdio.h>
#include <time.h>
{declared}
int main(void)
{{
    struct timespec from, to;
    {prepared}
    {called}
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < {count}; ++i)
        {called}
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%f", ((to.tv_sec - from.tv_sec) * 1e9 + to.tv_nsec - from.tv_nsec) / {count} / 1e3);
    return 0;
}}
"""
_COUNT = 200

_BOARD = Path(__file__).parents[1] / "tests" / "converters" / "cortex_m"
# the board ends with what its model_check() gives, of which a byte is left: so one is asked for
_COUNTED = """
#include "m.h"
#include <stdint.h>
static volatile uint32_t *const systick = (uint32_t *)0xE000E010;
int model_check(void)
{{
    m_reset();
    systick[1] = 0xFFFFFF;
    systick[2] = 0;
    systick[0] = 5;
    const uint32_t before = systick[2];
    m_run();
    return (int)((before - systick[2]) >> {shift} & 255);
}}
"""
# of the board's clock, 25 MHz, where an instruction takes a nanosecond
_TICK = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=15, metavar="N", help="turns of each program (%(default)s)"
    )
    rounds = parser.parse_args().rounds
    absent = [tool for tool in ("arm-none-eabi-gcc", "emx-onnx-cgen") if not shutil.which(tool)]
    if not find_spec("tflite_micro"):
        absent.append("tflite-micro")
    columns = ["arena", "TFLM's", "constants", "code", ".tflite", "instructions"]
    columns += ["C", "plain loops", "best", "emx"]
    print("| |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for name in footprint.MLPERF_TINY:
        entry = load(name)
        graph = quantize(from_onnx(entry.model), {entry.input: entry.calib})
        with tempfile.TemporaryDirectory() as made:
            at = Path(made)
            row = sizes(graph, name, at, absent) + speeds(graph, at, rounds, absent)
        print(f"| {name} | {' | '.join(row)} |", flush=True)
    for tool in absent:
        print(f"\n{tool} is not installed", end="")
    print()


def written(graph: Graph, made: Path) -> list[Path]:
    """The sources of the export without its check."""
    for path, content in to_c(graph, "m").items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_bytes(content)
    return [made / "src" / "m.c"]


def sizes(graph: Graph, name: str, made: Path, absent: list[str]) -> list[str]:
    """Arena, TFLM's, constants, code and the official file's bytes, and instructions."""
    sources = written(graph, made)
    header = (made / "src" / "m.h").read_text()
    arena = int(re.search(r"ARENA_BYTES (\d+)", header)[1])
    official = folder() / f"{name}.int8.tflite"
    micro = "" if "tflite-micro" in absent else f"{footprint.tflm_bytes(official)['total']:,}"
    constants = code = ""
    if "arm-none-eabi-gcc" not in absent:
        compiled = made / "m.o"
        subprocess.run([*_ARM, "-Os", "-c", *sources, "-o", compiled], check=True)
        listed = subprocess.run(
            ["arm-none-eabi-nm", "-S", "--radix=d", compiled],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found = re.findall(r"^\d+ (\d+) (\w) ", listed, re.MULTILINE)
        code = f"{sum(int(size) for size, kind in found if kind in 'tT'):,}"
        constants = f"{sum(int(size) for size, kind in found if kind in 'rR'):,}"
    counted = instructions(made) if "arm-none-eabi-gcc" not in absent else ""
    return [f"{arena:,}", micro, constants, code, f"{official.stat().st_size:,}", counted]


def instructions(made: Path) -> str:
    """Millions of a Cortex-M4 in one inference."""
    if not shutil.which("qemu-system-arm"):
        return ""
    ticks = 0
    for shift in (0, 8, 16):
        main = made / "counted.c"
        main.write_text(_COUNTED.format(shift=shift))
        image = made / "counted"
        flags = ["-O2", "-ffreestanding", "-nostdlib", f"-T{_BOARD / 'board.ld'}"]
        sources = [made / "src" / "m.c", main, _BOARD / "board.c"]
        command = [*_ARM, *flags, f"-I{made / 'src'}", *sources, "-lgcc", "-o", image]
        subprocess.run(command, check=True)
        qemu = ["qemu-system-arm", "-M", "mps2-an386", "-cpu", "cortex-m4", "-nographic"]
        how = ["-icount", "shift=0,align=off", "-semihosting", "-kernel", image]
        ticks |= subprocess.run([*qemu, *how], check=False).returncode << shift
    return f"{ticks * _TICK / 1e6:.1f}"


def speeds(graph: Graph, made: Path, rounds: int, absent: list[str]) -> list[str]:
    """Microseconds of the C, the plain loops, the best kernels and emx-onnx-cgen's C."""
    info = Session(graph).inputs[0]
    x = np.zeros(info.shape, info.dtype)
    runs: list[Callable[[], float]] = [
        program(
            made,
            "ours",
            [made / "src" / "m.c"],
            declared='#include "m.h"',
            prepared="m_reset();",
            called="m_run();",
        ),
        *(session(Session(graph, isa=isa), x) for isa in ("scalar", None)),
    ]
    if "emx-onnx-cgen" not in absent:
        qdq = made / "qdq.onnx"
        qdq.write_bytes(to_qdq(graph).SerializeToString())
        generated = made / "emx.c"
        subprocess.run(
            ["emx-onnx-cgen", "compile", qdq, generated], check=True, capture_output=True
        )
        elements = [int(np.prod(i.shape)) for i in (info, *Session(graph).outputs)]
        arrays = ", ".join(f"a{i}" for i in range(len(elements)))
        runs.append(
            program(
                made,
                "theirs",
                [generated],
                declared="void model();\n"
                + "\n".join(f"static float a{i}[{n}];" for i, n in enumerate(elements)),
                prepared="",
                called=f"model({'1, ' if 'int batch' in generated.read_text() else ''}{arrays});",
            )
        )
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for place, run in enumerate(runs):
            times[place].append(run())
    return [f"{statistics.median(each):,.0f}" for each in times] + [""] * (4 - len(runs))


def program(made: Path, name: str, sources: list[Path], **parts: str) -> Callable[[], float]:
    """A program that says how many microseconds a run takes."""
    main = made / f"{name}_main.c"
    main.write_text("#define _POSIX_C_SOURCE 199309L\n" + _TIMED.format(count=_COUNT, **parts))
    path = made / name
    # as setup.py compiles the runtime
    flags = ["-O3", "-fno-strict-aliasing", "-w", f"-I{made / 'src'}"]
    subprocess.run(["gcc", *flags, *sources, main, "-lm", "-o", path], check=True)
    return lambda: float(subprocess.run([path], capture_output=True, check=True).stdout)


def session(run: Session, x: np.ndarray) -> Callable[[], float]:
    out = np.empty(run.outputs[0].shape, run.outputs[0].dtype)

    def timed() -> float:
        start = time.perf_counter()
        for _ in range(_COUNT):
            run.run(x, out)
        return (time.perf_counter() - start) / _COUNT * 1e6

    return timed


if __name__ == "__main__":
    sys.exit(main())
