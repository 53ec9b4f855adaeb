"""Whether exported C computes the same bits on every processor: the zoo, every layer, sealed.

    EDGEINFER_ZOO=DIR python benchmarks/processor_bits.py [ENTRY ...] > docs/processors.md

Each model is exported, compiled for every processor of which there is a compiler, and run under
qemu-user where it is another than this machine's. All values of all runs are sealed in a SHA-256,
which must be that of ``edgeinfer verify --digest``. On Debian: gcc-aarch64-linux-gnu,
gcc-arm-linux-gnueabihf, gcc-riscv64-linux-gnu, gcc-s390x-linux-gnu, clang and qemu-user. Takes ten
minutes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from zoo_accuracy import ENTRIES
from zoo_folder import load

from edgeinfer import Session, __version__
from edgeinfer.agreement import digest, random_inputs, sealed
from edgeinfer.agreement.targets import session_run
from edgeinfer.converters import from_onnx
from edgeinfer.converters.c99 import Printed, printed
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.graph import Graph
from edgeinfer.quant import quantize
from edgeinfer.runtime.planner import Plan

_SAMPLES, _RUNS = 40, 2
_LEVELS = ("-O0", "-O3")

_MAIN = """
#include "model.h"
#include <stdio.h>
int main(void)
{{
    for (;;) {{
{reads}
        if (model_run() != 0 || fwrite(model_memory(), 1, MODEL_ARENA_BYTES, stdout) == 0)
            return 1;
    }}
}}
"""
_READ = "        if (fread({function}(), 1, {nbytes}, stdin) != {nbytes}) return 0;"

_HEAD = """\
# Processors

Written by `python benchmarks/processor_bits.py`, with edgeinfer {version}.

Each model of the zoo, in int8, is exported as C99, compiled for each processor with `-O0` and
`-O3`, and run on {runs} samples of random integers, under qemu-user where the processor is not this
machine's. The bytes of s390x stand the other way round, and armv7 has 32 bits. All values of all
layers are sealed in a SHA-256; the digest is that of `edgeinfer verify --digest`, and a cell says
whether the C gave it with both. The runtime's column has the instruction sets whose kernels did.

"""


@dataclass(frozen=True)
class Processor:
    """How C is compiled for it and run; ``order`` is that of its bytes."""

    name: str
    compiler: tuple[str, ...]
    emulator: str | None = None
    order: str = "<"

    @property
    def tools(self) -> list[str]:
        return [tool for tool in (self.compiler[0], self.emulator) if tool is not None]


_STATIC = "-static"
PROCESSORS = (
    Processor("x86-64, gcc", ("gcc",)),
    Processor("x86-64, clang", ("clang",)),
    Processor("aarch64, gcc", ("aarch64-linux-gnu-gcc", _STATIC), "qemu-aarch64"),
    Processor("aarch64, clang", ("clang", "--target=aarch64-linux-gnu", _STATIC), "qemu-aarch64"),
    Processor("armv7, gcc", ("arm-linux-gnueabihf-gcc", _STATIC), "qemu-arm"),
    Processor("riscv64, gcc", ("riscv64-linux-gnu-gcc", _STATIC), "qemu-riscv64"),
    Processor("s390x, gcc", ("s390x-linux-gnu-gcc", _STATIC), "qemu-s390x", ">"),
)


def program(
    graph: Graph, made: Printed, processor: Processor, level: str, folder: Path
) -> list[str]:
    """The command of a program that turns raw inputs on stdin into arenas on stdout."""
    source = made.write_sources(folder)
    reads = "\n".join(
        _READ.format(function=function, nbytes=graph.types[name].nbytes)
        for name, function in zip(graph.inputs, made.inputs, strict=True)
    )
    main = folder / "main.c"
    main.write_text(_MAIN.format(reads=reads))
    flags = ["-std=c99", "-w", level, f"-I{source.parent}"]
    out = folder / "program"
    subprocess.run([*processor.compiler, *flags, source, main, "-o", out], check=True)
    return [str(out)] if processor.emulator is None else [processor.emulator, str(out)]


def values(
    graph: Graph, plan: Plan, command: list[str], runs: list[dict[str, np.ndarray]], order: str
) -> Iterator[dict[str, np.ndarray]]:
    """All values of each run, as the program's processor writes them."""
    given = b"".join(
        array.astype(array.dtype.newbyteorder(order)).tobytes()
        for feeds in runs
        for array in feeds.values()
    )
    done = subprocess.run(command, input=given, capture_output=True, check=True).stdout
    for memory in np.split(np.frombuffer(done, np.uint8), len(runs)):
        found = {}
        for node in graph.nodes:
            for name in node.outputs:
                place, kind = plan.places[name], graph.types[name]
                own = memory[place.offset : place.offset + place.nbytes]
                array = own.view(np.dtype(kind.dtype).newbyteorder(order)).astype(kind.dtype)
                found[name] = array.reshape(kind.shape)
        yield found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("entries", nargs="*", default=ENTRIES)
    entries = parser.parse_args().entries
    warnings.simplefilter("ignore")
    present = [p for p in PROCESSORS if all(map(shutil.which, p.tools))]
    print(_HEAD.format(version=__version__, runs=_RUNS), end="")
    print("| model |", " | ".join(p.name for p in present), "| the runtime | digest |")
    print("|---" * (len(present) + 3) + "|")
    wrong = 0
    for name in entries:
        entry = load(name)
        graph = quantize(from_onnx(entry.model), entry.calib[:_SAMPLES])
        runs = random_inputs(graph, _RUNS)
        expected = digest(graph, runs)
        made = printed(graph, "model", keep_values=True)
        row = []
        for processor in present:
            alike = []
            for level in _LEVELS:
                with tempfile.TemporaryDirectory() as folder:
                    command = program(graph, made, processor, level, Path(folder))
                    found = values(graph, made.plan, command, runs, processor.order)
                    alike.append(sealed(found) == expected)
            wrong += alike.count(False)
            row.append("the same" if all(alike) else "DIFFERS")
        isas = [isa for isa in SUPPORTED if _by(graph, runs, isa) == expected]
        wrong += len(SUPPORTED) - len(isas)
        print(
            f"| {name} |", " | ".join(row), f"| {', '.join(isas)} | `{expected[:16]}` |", flush=True
        )
    absent = [p.name for p in PROCESSORS if p not in present]
    if absent:
        print(f"\nNot measured, for lack of a compiler or an emulator: {', '.join(absent)}.")
    return 1 if wrong else 0


def _by(graph: Graph, runs: list[dict[str, np.ndarray]], isa: str) -> str:
    """The digest of one instruction set's kernels."""
    names = [name for node in graph.nodes for name in node.outputs]
    return sealed(map(session_run(Session(graph, isa=isa, keep_values=True), names), runs))


if __name__ == "__main__":
    sys.exit(main())
