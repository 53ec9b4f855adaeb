"""What calibration gives depends on the samples, not on their order nor on who saw which."""

import importlib
import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from edgeinfer.data.samples import runs
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant import quantize, quantize_and_judge
from edgeinfer.quant.calibration import Calibration, calibrate
from edgeinfer.quant.shard import Shard
from tests.quant.written_bytes import digest

# a function has its name too
CHOOSING = importlib.import_module("edgeinfer.quant.choose_types")

RNG = np.random.default_rng(4)


def network() -> Graph:
    """Layers, numbers that stand for never by a mask and by a Pad, and products of two values."""

    def normal(*shape: int) -> np.ndarray:
        return (RNG.normal(size=shape) / np.sqrt(shape[-1])).astype("f4")

    b = GraphBuilder("network")
    x, mask = b.input("x", TensorType((1, 4, 4, 6))), b.input("mask", TensorType((1, 4)))
    layer = b.add(ops.Conv(pads=(1, 1, 1, 1)), x, b.constant("w", normal(6, 3, 3, 6)))
    padded = b.add(ops.Pad((0, 1, 1, 0), (0, 1, 1, 0), "constant", -3e38), layer)
    pooled = b.add(ops.MaxPool(kernel=(3, 3), strides=(1, 1), pads=(0, 0, 0, 0)), padded)
    rows = b.add(ops.Reshape((1, 16, 6)), pooled)
    few = b.add(ops.Dense(), rows, b.constant("f", normal(4, 6)))
    scores = b.add(ops.Add(), few, mask)
    shares = b.add(ops.Softmax(2), scores)
    moved = b.add(ops.Transpose((0, 2, 1)), shares)
    mixed = b.add(ops.MatMul(), moved, rows)
    scaled = b.add(ops.Mul(), mixed, b.add(ops.Dense(), mixed, b.constant("g", normal(6, 6))))
    flat = b.add(ops.Reshape((1, 24)), scaled)
    return b.graph(b.add(ops.Dense(), flat, b.constant("h", normal(5, 24)), output="y"))


GRAPH = network()


def samples(count: int) -> dict[str, np.ndarray]:
    """Some that came twice or more, one that a sensor spoilt, and masks that exclude places."""
    x = RNG.normal(size=(count, 1, 4, 4, 6)) * np.exp(RNG.normal(0, 0.5, (count, 1, 1, 1, 1)))
    x[3:6] = x[2]
    x[40] = x[10]
    x[7] *= 5000
    mask = np.where(RNG.uniform(size=(count, 1, 4)) < 0.3, -1e9, 0)
    mask[..., 0] = 0
    mask[3:6], mask[40] = mask[2], mask[10]
    return {"x": x.astype("f4"), "mask": mask.astype("f4")}


def in_order(data: dict[str, np.ndarray], order: np.ndarray) -> dict[str, np.ndarray]:
    return {name: array[order] for name, array in data.items()}


def as_seen(seen: Calibration) -> tuple:
    """All of it that may come to bear, but for the places of runs in the data."""
    histograms = [
        (name, h.low, h.high, h.exponent, h.zeros, h.counts.tobytes())
        for both in (seen.histograms, seen.fitted)
        for name, h in sorted(both.items())
    ]
    judging = [
        [(run.feed["x"].tobytes(), run.outputs["y"].tobytes()) for run in kept]
        for kept in (seen.kept, seen.held_back)
    ]
    likely = [(name, r.likely, len(r.magnitudes)) for name, r in sorted(seen.reaches.items())]
    apart = seen.never, seen.count, seen.fixed_inputs, [o.times for o in seen.outliers]
    return histograms, judging, likely, apart


@pytest.mark.parametrize("count", [60, 190])
def test_no_order_changes_what_is_seen(count):
    data, values = samples(count), set(GRAPH.types) - set(GRAPH.constants)
    expected = as_seen(calibrate(GRAPH, data, values, keep=32))
    assert expected[3][0] and len(expected[3][3]) == 1
    for _ in range(2):
        mixed = in_order(data, RNG.permutation(count))
        assert as_seen(calibrate(GRAPH, mixed, values, keep=32)) == expected


@pytest.mark.parametrize("count", [60, 190])
def test_what_is_held_back_is_a_fifth_that_the_others_do_not_know(count):
    data = samples(count)
    seen = calibrate(GRAPH, data, {"x"}, keep=128)
    held = {run.feed["x"].tobytes() for run in seen.held_back}
    assert len(held) == len(seen.held_back) == (32 if count == 190 else 11)
    assert held <= {run.feed["x"].tobytes() for run in seen.kept}
    assert len(seen.kept) == min(128, count - 5)
    known = seen.fitted["x"].total // GRAPH.types["x"].elements
    of_held = sum(x.tobytes() in held for x in data["x"])
    assert known == count - 1 - of_held
    assert seen.histograms["x"].total // GRAPH.types["x"].elements == count - 1 == seen.count


def in_parts(parts: Sequence[Sequence[int]]):
    """``calibrate`` as machines do that see so many parts of the data, and tell one another."""

    def calibrated(graph, data, values, *, keep, **_) -> Calibration:
        feeds = list(runs(graph, data))
        made = []
        for places in parts:
            made.append(Shard(graph, values, keep))
            for place in places:
                for due in made[-1].take(int(place), feeds[place]):
                    made[-1].take_in(due)
        while len(made) > 1:
            a, b = made.pop(RNG.integers(len(made))), made.pop(RNG.integers(len(made)))
            a.merge(pickle.loads(pickle.dumps(b)))
            made.append(a)
        return made[0].calibration()

    return calibrated


def divisions(count: int, times: int) -> list[list[np.ndarray]]:
    """Ways to give the places of the data to machines, of which one may get none."""
    found = []
    for _ in range(times):
        ends = np.sort(RNG.integers(0, count + 1, RNG.integers(0, 6)))
        found.append(np.split(RNG.permutation(count), ends))
    return found


@pytest.mark.parametrize("count", [60, 190])
def test_parts_add_up_to_what_one_pass_sees(count):
    data, values = samples(count), set(GRAPH.types) - set(GRAPH.constants)
    expected = calibrate(GRAPH, data, values, keep=32)
    for parts in divisions(count, 2):
        found = in_parts(parts)(GRAPH, data, values, keep=32)
        assert as_seen(found) == as_seen(expected)
        assert found.outliers == expected.outliers
        assert [run.index for run in found.kept] == [run.index for run in expected.kept]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["int8", "int16"])
def test_12_orders_and_any_parts_write_the_same_file(scheme, monkeypatch):
    data = samples(300)
    expected = digest(quantize(GRAPH, data, scheme=scheme))
    for _ in range(12):
        mixed = in_order(data, RNG.permutation(300))
        assert digest(quantize(GRAPH, mixed, scheme=scheme)) == expected
    for parts in divisions(300, 6):
        monkeypatch.setattr(CHOOSING, "calibrate", in_parts(parts))
        assert digest(quantize(GRAPH, data, scheme=scheme)) == expected


def test_a_sequence_keeps_its_order_and_is_in_one_part():
    b = GraphBuilder("sums")
    x = b.input("x", TensorType((1, 2)))
    total = b.state("total", np.zeros((1, 2), "f4"))
    b.keep(total, b.add(ops.Add(), x, total, output="y"))
    graph = b.graph("y")
    data = RNG.normal(size=(40, 1, 2)).astype("f4")
    seen = calibrate(graph, data, {"y"}, keep=8)
    y = np.cumsum(data, 0)
    assert (seen.histograms["y"].low, seen.histograms["y"].high) == (y.min(), y.max())
    assert len(seen.kept) == 8
    for run in [*seen.kept, *seen.held_back]:
        assert np.array_equal(run.outputs["y"], y[run.index])
    assert sorted(run.index for run in seen.held_back) == list(range(4, 40, 5))
    with pytest.raises(
        ValueError, match=r"^the runs of a model that keeps states are one sequence$"
    ):
        Shard(graph, {"y"}, 8).merge(Shard(graph, {"y"}, 8))


def test_one_sample_again_and_again_is_held_back_by_nobody():
    data = {name: array[:1].repeat(20, 0) for name, array in samples(60).items()}
    judged = quantize_and_judge(GRAPH, data).judgement
    assert (judged.samples, judged.held_back) == (1, False)
