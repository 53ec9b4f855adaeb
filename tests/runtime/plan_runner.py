"""Plans on a processor other than this one, or under sanitizers: plan_runner.c and its caller."""

import os
import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from edgeinfer.meaning import reference
from edgeinfer.runtime import planner
from edgeinfer.runtime.catalogue import call, packing

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "cython_kernels"
# as setup.py has them
SOURCES = sorted(path for path in KERNELS.glob("*.c") if path.stem != "runtime")
SOURCES.append(Path(__file__).with_suffix(".c"))
FLAGS = ["-std=c11", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Werror"]
FLAGS += ["-Wno-unused-parameter", f"-I{KERNELS}"]


def needed(program):
    """The path of ``program``; the test is skipped where there is none."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}")
    return found


def compiled(tmp_path_factory, compiler, *flags):
    """The path of plan_runner, made once for all workers of this run of pytest."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    name = Path(compiler).name
    program = folder / f"plan_runner_{name}"
    with FileLock(folder / f"{name}.lock"):
        if program.exists():
            return program
        objects = folder / f"objects_{name}"
        objects.mkdir(exist_ok=True)

        def run(*arguments):
            ran = subprocess.run(arguments, capture_output=True, text=True, timeout=600)
            assert ran.returncode == 0, ran.stderr

        def compile_one(source):
            made = objects / f"{source.stem}.o"
            run(compiler, *FLAGS, *flags, "-c", source, "-o", made)
            return made

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = list(pool.map(compile_one, SOURCES))
        run(compiler, *flags, *made, "-lm", "-o", program)
    return program


class PlanRunner:
    """What plan_runner says of its processor, and Plans that it runs.

    Parameters
    ----------
    command : list of str
        How plan_runner is called.
    environment : mapping, optional
        In which environment, if it is not this process's.
    """

    def __init__(self, command, environment=None):
        self.command, self.environment = command, environment
        self.isas, self.edges, self.layouts = [], [], {}
        self.kernels, self.parameters, self.indices = {}, {}, {}
        for line in self._call("tables").decode().splitlines():
            kind, name, *rest = line.split()
            if kind == "isa":
                self.isas.append(name)
            elif kind == "edges":
                self.edges.append(name)
            elif kind == "layout":
                self.layouts[name, rest[0]] = tuple(map(int, rest[1:]))
            else:
                self.kernels.setdefault(name, []).append(rest[0])
                self.indices[name, rest[0]] = len(self.indices)
                counts = zip(rest[1::2], map(int, rest[2::2]), strict=True)
                self.parameters[name] = list(counts)

    def _call(self, *arguments, data=b""):
        ran = subprocess.run(
            [*self.command, *arguments],
            input=data,
            capture_output=True,
            timeout=300,
            env=self.environment,
        )
        assert ran.returncode == 0, (ran.returncode, ran.stderr.decode()[-4000:])
        return ran.stdout

    def teach(self, monkeypatch):
        """Let the planner plan for this processor instead of the one that it runs on."""
        for module in (call, planner):
            monkeypatch.setattr(module, "SUPPORTED", tuple(self.isas))
        monkeypatch.setattr(call, "KERNELS", self.kernels)
        monkeypatch.setattr(packing, "LAYOUTS", self.layouts)
        monkeypatch.setattr(planner, "EDGE_LOOPS", tuple(self.edges))

    def check(self, graph, inputs, isa):
        """The outputs for raw integers are the reference's."""
        found = self.run(graph, inputs, isa)
        for name, expected in reference.execute(graph, inputs).items():
            np.testing.assert_array_equal(found[name], expected, err_msg=name, strict=True)

    def run(self, graph, inputs, isa):
        """The outputs by name, raw integers for raw integers and floats for floats; of two runs,
        as plan_runner.c says, which agree."""
        plan = planner.plan(graph, isa=isa)
        dtypes = {name: np.dtype(graph.types[name].dtype) for name in graph.results}
        if any(array.dtype == np.float32 for array in inputs.values()):
            dtypes = dict.fromkeys(dtypes, np.dtype(np.float32))
        found = self._call(data=b"".join(self._parts(plan, inputs, dtypes)))
        half = len(found) // 2
        assert found[:half] == found[half:]
        outputs, at = {}, 0
        for name, dtype in dtypes.items():
            kind = graph.types[name]
            outputs[name] = np.frombuffer(found, dtype, kind.elements, at).reshape(kind.shape)
            at += outputs[name].nbytes
        assert at == half
        return outputs

    def _parts(self, plan, inputs, dtypes):
        yield _numbers(self.edges.index(plan.edges_isa), plan.scratch_bytes)
        yield _numbers(plan.arena_bytes, len(plan.constants)) + plan.constants.tobytes()
        yield _numbers(len(plan.inputs))
        for edge in plan.inputs:
            array = inputs[edge.name]
            yield _edge(edge, array.dtype) + np.ascontiguousarray(array).tobytes()
        yield _numbers(len(plan.steps))
        for step in plan.steps:
            fields = []
            for name, count in self.parameters[step.kernel]:
                value = step.parameters[name]
                entries = [int(value)] if count == 1 else [*map(int, value)]
                fields += entries + [0] * (count - len(entries))
            yield _numbers(self.indices[step.kernel, step.isa], step.units, len(fields), *fields)
            yield _numbers(len(step.operands), step.outputs)
            for place in step.operands:
                yield _numbers(("arena", "constants").index(place.space), place.offset)
                yield _numbers(place.nbytes)
        yield _numbers(len(plan.outputs))
        for edge in plan.outputs:
            yield _edge(edge, dtypes[edge.name])


def _numbers(*values):
    return struct.pack(f"={len(values)}q", *values)


def _edge(edge, dtype):
    sizes = _numbers(edge.place.offset, edge.elements, edge.itemsize, edge.zero_point)
    return sizes + struct.pack("=3f", edge.scale, *edge.inverse) + _numbers(dtype == np.float32)
