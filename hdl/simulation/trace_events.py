"""A report as trace events, which Perfetto and Chrome show as a timeline to zoom into."""

from __future__ import annotations

import json
from typing import Any

from edgeinfer.hdl.isa import Unit
from edgeinfer.hdl.simulation.simulation import InferenceReport

__all__ = ["trace_events"]

_LAYERS = 0
"""The row of the layers; a unit's follow it."""


def trace_events(report: InferenceReport, title: str) -> bytes:
    """A JSON file of ``report`` in the Trace Event Format, in which a cycle is a microsecond.

    The first row has the layers with their MACs and predicted cycles; a row for each unit has when
    it was ``working`` and when ``waiting``.
    """
    events = [_named("process_name", title, 0), _named("thread_name", "layers", _LAYERS)]
    events += [_named("thread_name", unit.name.lower(), _row(unit)) for unit in Unit]
    events += [
        _complete(
            layer.output,
            layer.start,
            layer.end,
            _LAYERS,
            node=layer.name,
            operator=layer.operator,
            macs=layer.macs,
            predicted=layer.predicted,
        )
        for layer in report.layers
    ]
    events += [
        _complete("waiting" if each.waiting else "working", each.start, each.end, _row(each.unit))
        for each in report.intervals
    ]
    return (json.dumps({"traceEvents": events}) + "\n").encode()


def _row(unit: int) -> int:
    return _LAYERS + 1 + unit


def _named(what: str, name: str, row: int) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": 0, "tid": row, "args": {"name": name}}


def _complete(name: str, start: int, end: int, row: int, **facts: object) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "pid": 0,
        "tid": row,
        "ts": start,
        "dur": end - start,
        "args": facts,
    }
