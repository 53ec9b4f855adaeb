"""What is said of configurations that were measured: which models of MLPerf Tiny each holds."""

from __future__ import annotations

import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.errors import UnsupportedError
from edgeinfer.hdl.boards.fitting import measured
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import configuration
from edgeinfer.quant import quantize

MODELS = {"AD": "ad_autoencoder", "KWS": "kws_dscnn", "IC": "ic_resnet8", "VWW": "vww_mobilenet"}


@pytest.mark.slow
def test_each_holds_the_models_whose_inference_needs_no_host_memory(zoo):
    graphs = {}
    for short, name in MODELS.items():
        entry = zoo.load(name)
        graphs[short] = quantize(from_onnx(entry.model), entry.calib, observer="minmax", samples=8)
    for each in {row.config: row for rows in measured().values() for row in rows}.values():
        held = []
        for short, graph in graphs.items():
            try:
                program = compile(graph, configuration(each.config)).program
            except UnsupportedError:
                continue
            if not program.streams:
                held.append(short)
        assert list(each.models) == held, each.config
