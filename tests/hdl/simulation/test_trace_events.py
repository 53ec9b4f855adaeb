"""What the units did, as trace events: every row in order, every cycle that was counted."""

from __future__ import annotations

import json

from edgeinfer.hdl.isa import Unit
from edgeinfer.hdl.simulation.simulation import Simulation
from edgeinfer.hdl.simulation.trace_events import trace_events
from tests import strategies
from tests.hdl.export.exported import digits


def test_each_unit_has_a_row_with_the_cycles_that_it_counted():
    graph = digits()
    with Simulation(graph, "4x4") as npu:
        npu.run(strategies.random_inputs(graph, 0))
        report = npu.report()
    document = json.loads(trace_events(report, "digits on 4x4"))
    assert list(document) == ["traceEvents"]
    names = {
        (e["name"], e["tid"]): e["args"]["name"] for e in document["traceEvents"] if e["ph"] == "M"
    }
    rows = ["layers", *(unit.name.lower() for unit in Unit)]
    assert names == {
        ("process_name", 0): "digits on 4x4",
        **{("thread_name", number): row for number, row in enumerate(rows)},
    }
    spans = [e for e in document["traceEvents"] if e["ph"] == "X"]
    assert len(spans) + len(names) == len(document["traceEvents"])
    for number, row in enumerate(rows):
        own = [e for e in spans if e["tid"] == number]
        ends = [e["ts"] + e["dur"] for e in own]
        # one after the other, none empty, all within the run
        assert all(before <= e["ts"] for before, e in zip(ends, own[1:], strict=False)), row
        assert all(e["dur"] > 0 for e in own), row
        assert all(end <= report.cycles for end in ends), row
    layers = [e for e in spans if e["tid"] == 0]
    assert [(e["name"], e["dur"]) for e in layers] == [(x.output, x.cycles) for x in report.layers]
    for unit in Unit:
        own = [e for e in spans if e["tid"] == 1 + unit]
        counted = report.units[unit.name.lower()]
        waited = sum(e["dur"] for e in own if e["name"] == "waiting")
        worked = sum(e["dur"] for e in own if e["name"] == "working")
        assert abs(worked + waited - counted.busy) <= 1
        assert abs(waited - counted.waiting) <= 1
