"""One line of the gateware made wrong, and the NPU no longer computes what the Session computes."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from edgeinfer.cli.models import import_onnx
from edgeinfer.data import load_data
from edgeinfer.demo import CALIBRATION, MODEL
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import gateware
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import preset
from edgeinfer.hdl.simulation import simulation
from edgeinfer.hdl.simulation.simulation import Simulation
from edgeinfer.hdl.simulation.simulator import SimulationError
from edgeinfer.quant import quantize
from tests import npu_graphs, strategies
from tests.authored import REQUANTIZING, Author

ALL = "EDGEINFER_ALL_MUTANTS"
GRAPHS = 25
"""Random graphs of each operator, and of all together."""


@dataclass(frozen=True)
class Mutant:
    """``old`` is ``new`` in ``module``, where it stands once; seen in ``config``."""

    name: str
    module: str
    old: str
    new: str
    config: str = "4x4"


MUTANTS = (
    Mutant(
        "an operand is a cycle early",
        "operand",
        "cycles=r + 1)",
        "cycles=r + (r < 3))",
    ),
    Mutant(
        "a sync passes one count early",
        "sequencer",
        "behind.eq(Array(self.counters)[sync.on] - sync.count),",
        "behind.eq(Array(self.counters)[sync.on] - sync.count + 1),",
    ),
    Mutant(
        "taps are flipped",
        "weights",
        "self.write.data.word_select(b, len(bank.write_data))",
        "self.write.data.word_select(port - 1 - b, len(bank.write_data))",
    ),
    Mutant(
        "a partial sum is dropped",
        "array",
        "partial = (above[c] + product)",
        "partial = ((above[c] if r != 2 else Const(0, 1)) + product)",
    ),
    Mutant(
        "weights are swapped a cycle late",
        "operand",
        "self.swap.eq(token.swap), tag.eq",
        "self.swap.eq(later(m, token.swap)), tag.eq",
    ),
    Mutant(
        "nothing rounds",
        "rescaler",
        "(half + Mux(rounds_away, away, 0))",
        "Mux(rounds_away, away, Const(0, 64))",
    ),
    Mutant(
        "R2 rounds toward zero",
        "rescaler",
        "Mux(step.operand < 0, Const(-(1 << 30)), Const(1 << 30))",
        "Mux(step.operand < 0, Const(1 << 30), Const(-(1 << 30)))",
    ),
    Mutant(
        "the clamp forgets negative numbers that are far below",
        "rescaler",
        "Mux(near, low_bits < below, negative)",
        "near & (low_bits < below)",
    ),
    Mutant(
        "halves do not alternate",
        "convolve",
        "m.d.sync += half.eq(half ^ takes)",
        "m.d.sync += half.eq(half & takes)",
    ),
    Mutant(
        "padding of windows is not injected",
        "operand",
        "Mux(token.valid[r], inside, token.pad)",
        "inside",
    ),
    Mutant(
        "padding of words is not injected",
        "operand",
        "Mux(token.inside[s], words[STREAM_REQUESTS[s]], padding)",
        "words[STREAM_REQUESTS[s]]",
    ),
    Mutant(
        "kernel rows are delayed a cycle less",
        "operand",
        "write.addr.eq(place + (token.taps + 1) * s),",
        "write.addr.eq(place + (token.taps + 1) * s - 1),",
        config="8x8",
    ),
    Mutant(
        "a window's second word is the first",
        "convolve",
        "addresses[3].eq(lines[1] + words[1] + 1),",
        "addresses[3].eq(lines[1] + words[1]),",
    ),
    Mutant(
        "an address loses its carry",
        "convolve",
        "at.line.eq(at.line + at.source.row_step),",
        "at.line.eq(Cat((at.line + at.source.row_step)[:5], at.line[5:])),",
    ),
    Mutant(
        "the accumulators forward nothing",
        "accumulators",
        "Mux(control.written, total, Mux(control.half, held[1], held[0]))",
        "Mux(control.half, held[1], held[0])",
    ),
    Mutant(
        "the lesser one is kept",
        "accumulators",
        "Mux(exceeds, self.sum, before)",
        "Mux(exceeds, before, self.sum)",
    ),
    Mutant(
        "a difference is short of one",
        "activate",
        "Mux(subtracts, ~value, value) + (subtracts | subtracts_from)",
        "Mux(subtracts, ~value, value)",
    ),
    Mutant(
        "the table's halves are exchanged",
        "table",
        "entry = self.i[lane] ^ 0x80",
        "entry = self.i[lane] ^ 0",
    ),
    Mutant(
        "groups share parameters",
        "activate",
        "walk.o.payload.group_end & ~shared):",
        "walk.o.payload.group_end & shared):",
    ),
)


@functools.cache
def digits() -> tuple[Graph, dict[str, np.ndarray]]:
    """The demo's model, quantized, and one image."""
    floats = import_onnx(MODEL)
    samples = load_data(CALIBRATION, floats).samples
    inputs = {name: values[:1].astype(np.float32) for name, values in samples.items()}
    return quantize(floats, samples), inputs


def far_and_nothing() -> tuple[Graph, dict[str, np.ndarray]]:
    """Sums far beyond an element's range, and differences of 0 with all their bits."""
    author = Author(1, 5, 6, 4)
    far = author.node(
        ops.Rescale(**REQUANTIZING, input_zero_point=0, multiplier=(1 << 31) - 1, shift=20), "x"
    )
    one = 1 << 30
    nothing = ops.QSub(
        **REQUANTIZING,
        left_shift=20,
        a_multiplier=one,
        a_shift=31,
        b_multiplier=one,
        b_shift=31,
        multiplier=one,
        shift=30,
    )
    graph = author.graph(author.node(nothing, "x", "x"), far)
    return graph, strategies.random_inputs(graph, 0)


@functools.cache
def workloads(name: str) -> list[tuple[Graph, dict[str, np.ndarray]]]:
    """The digits model and graphs that are the same in every run."""
    config = preset(name)
    found = [digits(), far_and_nothing()]

    def collect(growths, most):
        @settings(max_examples=GRAPHS, derandomize=True, database=None, phases=[Phase.generate])
        @given(
            graph=npu_graphs.graphs(name, growths=growths, max_nodes=most),
            seed=st.integers(0, 2**32 - 1),
        )
        def draw(graph, seed):
            try:
                compile(graph, config, host_ops=True)
            except UnsupportedError:
                return
            found.append((graph, strategies.random_inputs(graph, seed)))

        draw()

    for growth in dict.fromkeys(npu_graphs.GROWTHS):
        collect((growth,), 2)
    collect(npu_graphs.GROWTHS, 8)
    return found


def mutate(mutant: Mutant, folder: Path) -> str:
    """Put the gateware with ``mutant`` into ``folder``, as a package whose name is returned."""
    name = f"mutant_{MUTANTS.index(mutant)}"
    package = folder / name
    shutil.copytree(
        Path(gateware.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for file in package.glob("*.py"):
        text = file.read_text()
        if file.stem == mutant.module:
            assert text.count(mutant.old) == 1, f"{mutant.old!r} must stand once in {file.name}"
            text = text.replace(mutant.old, mutant.new)
        file.write_text(text.replace("edgeinfer.hdl.gateware", name))
    return name


def difference(config: str) -> str | None:
    """What the first workload that goes wrong shows; None if the NPU is right in all."""
    for graph, inputs in workloads(config):
        try:
            with Simulation(graph, config, host_ops=True) as npu:
                npu.run(inputs)
                wrong = npu.mismatches()
        except SimulationError as error:
            return str(error)
        if wrong:
            return str(wrong[0])
    return None


@pytest.mark.slow
@pytest.mark.parametrize("config", sorted({mutant.config for mutant in MUTANTS}))
def test_the_gateware_itself_is_right(config):
    assert difference(config) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(
            mutant,
            id=mutant.name,
            marks=pytest.mark.skipif(
                number > 1 and not os.environ.get(ALL), reason=f"{ALL} is not set"
            ),
        )
        for number, mutant in enumerate(MUTANTS)
    ],
)
def test_a_mutant_is_found(mutant, tmp_path, monkeypatch):
    name = mutate(mutant, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        monkeypatch.setattr(simulation, "gateware", importlib.import_module(name))
        wrong = importlib.import_module(f"{name}.npu")
        monkeypatch.setattr(simulation, "to_verilog", wrong.to_verilog)
        found = difference(mutant.config)
    finally:
        for module in [each for each in sys.modules if each.split(".")[0] == name]:
            del sys.modules[module]
    print(found)
    assert found is not None, "nothing differs"
