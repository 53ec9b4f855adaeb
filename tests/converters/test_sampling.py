"""GridSample by a constant grid is onnxruntime's, and each of its sums is rounded once."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import operators as ops
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.accuracy.sqnr import sqnr_db
from tests.converters.onnx_agreement import agreement, model, node, onnxruntime_values
from tests.refusals import refused

RNG = np.random.default_rng(43)


def sampling(shape, places, opset=20, **attributes):
    # beyond the borders on all sides
    grid = RNG.uniform(-1.7, 1.7, (shape[0], *places, len(shape) - 2)).astype("f4")
    layer = node("GridSample", ["x", "grid"], ["y"], **attributes)
    return model([layer], shape, {"grid": grid}, opset=opset)


@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_images_and_volumes_are_sampled_as_by_onnxruntime(mode, padding, aligned):
    attributes = {"padding_mode": padding, "align_corners": aligned}
    for samples in (1, 2):
        agreement(sampling((samples, 3, 6, 7), (4, 5), mode=mode, **attributes))
        if mode != "cubic":  # of which onnxruntime has images alone
            agreement(sampling((samples, 3, 6, 7, 5), (4, 2, 3), mode=mode, **attributes))
    older = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    agreement(sampling((1, 3, 6, 7), (4, 5), opset=16, mode=older, **attributes))


@pytest.mark.parametrize("scheme, least", [("int8", 34.0), ("int16", 72.0)])
@pytest.mark.parametrize("mode, sums", [("linear", 1), ("nearest", 0), ("cubic", 1)])
def test_each_place_is_rounded_once(mode, sums, scheme, least):
    proto = sampling((1, 3, 6, 7), (4, 5), mode=mode)
    x = [RNG.normal(size=(1, 3, 6, 7)).astype("f4") for _ in range(32)]
    integer = quantize(from_onnx(proto), x, scheme=scheme, observer="minmax")
    rounding = [type(n.op) for n in integer.nodes if not isinstance(n.op, ops.Selecting)]
    assert rounding == [ops.QMatMul] * sums
    session = Session(integer)
    found = np.stack([session.run(a) for a in x])
    wanted = np.stack([onnxruntime_values(proto, {"x": a}, ["y"])["y"] for a in x])
    assert sqnr_db(wanted, found) > least


def test_a_grid_that_a_run_computes_is_refused():
    layer = node("GridSample", ["x", "grid"], ["y"])
    with refused(
        "1 node cannot be imported: GridSample (ai.onnx opset 20) at 'y': its grid must be "
        "constant",
        UnsupportedError,
    ):
        from_onnx(model([layer], inputs={"x": (1, 3, 6, 7), "grid": (1, 4, 5, 2)}, opset=20))


@pytest.mark.parametrize("shape", [(1, 4, 5, 3), (2, 4, 5, 2), (1, 4, 2)])
def test_a_grid_that_does_not_fit_is_one_error(shape):
    layer = node("GridSample", ["x", "grid"], ["y"])
    proto = model([layer], (1, 3, 6, 7), {"grid": np.zeros(shape)}, opset=20)
    message = (
        "its grid [2, 4, 5, 2] does not fit 1 samples, or is NaN"
        if shape[0] == 2
        else "its grid does not have a place on each axis of its input"
    )
    with refused(f"GridSample 'y': {message}"):
        from_onnx(proto)
