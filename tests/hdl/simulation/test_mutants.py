"""One line of the gateware made wrong, and a model's values, its cycles or the bus show it."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import pytest

from edgeinfer.hdl.config import configuration
from edgeinfer.hdl.export.known_answers import known_graphs
from edgeinfer.hdl.export.vectors import random_sample
from edgeinfer.hdl.simulation import npu, simulation
from edgeinfer.hdl.simulation.build import build
from edgeinfer.hdl.simulation.simulation import Simulation
from edgeinfer.hdl.simulation.simulator import SimulationError, Simulator
from tests.hdl import mutants
from tests.hdl.export.exported import digits
from tests.hdl.mutants import MUTANTS, mutants_verilog
from tests.hdl.simulation.test_cycles import residual

pytestmark = pytest.mark.slow

CONFIG = configuration("8x8,reductions=1")
"""The smallest in which kernel rows share a pass and weights take several reads, with REDUCE."""

HARNESS = Path(simulation.__file__).with_name("harness.cpp")
SELECTING = f"""\
#include "{HARNESS}"

#pragma GCC visibility push(default)
extern "C" void npu_select(Npu *npu, uint32_t mutant) {{ npu->set(npu->top->mutant, mutant); }}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """All mutants in one simulator."""
    folder = tmp_path_factory.mktemp("mutants")
    harness = folder / "selecting.cpp"
    harness.write_text(SELECTING)
    source = "\0".join(
        [
            npu._source(CONFIG),
            HARNESS.read_text(),
            Path(mutants.__file__).read_text(),
        ]
    )
    return build(
        lambda: mutants_verilog(CONFIG, folder, probes=True),
        source,
        "npu",
        tool="verilator",
        harness=harness,
    )


class Mutated(Simulator):
    """A simulator of the mutant that is chosen for all."""

    chosen = 0

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        select = self._library.npu_select
        select.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
        select(self._npu, self.chosen)


@functools.cache
def models():
    return [digits(), residual(32), *known_graphs(CONFIG)]


def seen(number: int, library: Path, monkeypatch) -> list[str | int]:
    """What the models show with mutant ``number``, up to what is wrong in itself."""
    monkeypatch.setattr(Mutated, "chosen", number)
    monkeypatch.setattr(simulation, "Simulator", Mutated)
    monkeypatch.setattr(simulation, "npu_library", lambda *arguments, **options: library)
    monkeypatch.setattr(simulation, "_PATIENCE", 3)
    shown: list[str | int] = []
    for graph in models():
        for stalls in (0.0, 0.5):
            try:
                with Simulation(graph, CONFIG, stalls=stalls) as npu:
                    npu.run(random_sample(graph))
                    wrong = npu.mismatches()
                    shown.append(npu.report().cycles)
            except SimulationError as error:
                return [str(error)]
            if wrong:
                return [str(wrong[0])]
    return shown


@pytest.fixture(scope="module")
def right(library) -> list[str | int]:
    with pytest.MonkeyPatch.context() as patch:
        return seen(0, library, patch)


def test_without_a_mutant_all_is_right(right):
    assert all(isinstance(each, int) for each in right), right


@pytest.mark.parametrize("number", range(1, len(MUTANTS) + 1), ids=[m.name for m in MUTANTS])
def test_a_mutant_is_found(number, library, right, monkeypatch):
    found = seen(number, library, monkeypatch)
    # a few show elsewhere: in the exported test bench, in the tests of a block
    assert (found == right) == ("models" in MUTANTS[number - 1].survives), found
