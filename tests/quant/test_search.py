"""A search lowers, packs and verifies once what its proposals have in common."""

import numpy as np

from edgeinfer.converters import from_onnx
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.demo import CALIBRATION, MODEL, TEST
from edgeinfer.files.model_file import to_bytes
from edgeinfer.graph import verification
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import Options, choose_types, quantize, search
from edgeinfer.quant.lowering import Lowering, lower_to_integers
from edgeinfer.quant.objective import Noise
from edgeinfer.runtime import session
from edgeinfer.runtime.catalogue import CACHE_BYTES
from edgeinfer.runtime.planner import KnownCalls
from edgeinfer.runtime.session import Session
from tests.accuracy.sqnr import sqnr_db

GRAPH = from_onnx(MODEL)
SAMPLES = np.load(CALIBRATION)["image"].astype(np.float32)


def test_lowering_again_makes_what_lowering_once_makes():
    lowering = Lowering(GRAPH)
    ways = [
        choose_types(GRAPH, SAMPLES, Options(observer=observer))
        for observer in ("minmax", "mse", "minmax")
    ]
    for types in ways:
        again, once = lowering.graph_of(types), lower_to_integers(GRAPH, types)
        assert to_bytes(again) == to_bytes(once)


def test_what_no_type_changes_is_lowered_and_packed_once():
    lowering, known = Lowering(GRAPH), KnownCalls()
    types = choose_types(GRAPH, SAMPLES, Options(observer="minmax"))
    first, second = lowering.graph_of(types), lowering.graph_of(types)
    assert first.nodes == second.nodes
    assert all(array is second.constants[name] for name, array in first.constants.items())
    room = [CACHE_BYTES] * len(first.nodes)
    packed = (known.of(graph, SUPPORTED[0], room) for graph in (first, second))
    assert all(a is b for a, b in zip(*packed, strict=True))


def test_a_session_that_reuses_calls_gives_the_bits_of_one_that_does_not():
    lowering, known = Lowering(GRAPH), KnownCalls()
    for observer in ("minmax", "entropy", "minmax"):
        graph = lowering.graph_of(choose_types(GRAPH, SAMPLES, Options(observer=observer)))
        y = Session.of_trusted(graph, known).run(SAMPLES[:20])
        assert np.array_equal(y, Session(graph).run(SAMPLES[:20]))


def test_a_search_verifies_one_graph(monkeypatch):
    verified = []

    def counted(graph):
        verified.append(graph)
        verification.verify(graph)

    monkeypatch.setattr(session, "verify", counted)
    monkeypatch.setattr("edgeinfer.quant.lowering.verify", counted)
    quantize(GRAPH, SAMPLES)
    assert len(verified) == 1


def test_five_draws_of_the_samples_agree_to_two_decibels():
    """No choice is taken that only some draws favour; docs/quantization.md says what is left."""
    x = np.load(TEST)["image"].astype(np.float32)[:200]
    expected = np.concatenate([execute(GRAPH, {"image": row[None]})["scores"] for row in x])
    found = [
        sqnr_db(expected, Session(quantize(GRAPH, SAMPLES, samples=100, seed=seed)).run(x))
        for seed in range(5)
    ]
    assert min(found) > 35
    assert max(found) - min(found) < 2


def test_what_samples_held_back_speak_against_is_not_taken(monkeypatch):
    seen = choose_types(GRAPH, SAMPLES, Options(observer="minmax"))
    judged = []

    def first_alone(self, other, share):
        judged.append(share)
        return share == search._SHARE

    monkeypatch.setattr(Noise, "is_better_than", first_alone)
    assert choose_types(GRAPH, SAMPLES, Options()) == seen
    assert judged.count(search._SHARE) == judged.count(search._SHARE_UNSEEN) > 0
