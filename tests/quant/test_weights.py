"""Weight scales keep every accumulator inside its proof, and are no coarser than they must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Quantization, TensorType
from edgeinfer.quant.weights import quantize_weights


def activation(dtype: str, scale: float, zero_point: int = 0) -> TensorType:
    return TensorType((1, 1), dtype, Quantization.per_tensor(scale, zero_point))


@given(
    seed=st.integers(0, 2**32 - 1),
    widths=st.sampled_from([("int8", "int8"), ("int16", "int8"), ("int16", "int16")]),
    count=st.sampled_from([1, 3, 64, 5000]),
    magnitude=st.floats(-12, 4),
    bias_magnitude=st.floats(-6, 6),
    zero_point=st.integers(-128, 127),
)
def test_every_accumulator_is_proven(seed, widths, count, magnitude, bias_magnitude, zero_point):
    rng = np.random.default_rng(seed)
    x_dtype, w_dtype = widths
    z = zero_point if x_dtype == "int8" else 0
    x, y = activation(x_dtype, 0.05, z), activation(x_dtype, 0.07)
    w = rng.normal(size=(4, count)) * 10.0**magnitude
    w[1] = 0
    b = rng.normal(size=4) * 10.0**bias_magnitude
    q = quantize_weights(w.astype("f4"), b.astype("f4"), x, y, w_dtype)
    info = np.iinfo(x_dtype)
    reach = max(info.max - z, z - info.min)
    worst = np.abs(q.weights.astype(object)).sum(1) * reach + np.abs(q.bias.astype(object))
    wide = x_dtype == "int16" and q.multiplier.max() < 2**24
    assert max(worst) < (2**38 if wide else 2**31)
    assert (q.shift >= 2).all() and (q.shift <= 62).all()


def test_ordinary_weights_use_their_whole_width():
    w = np.random.default_rng(0).normal(size=(7, 27)).astype("f4")
    for dtype in ("int8", "int16"):
        x_dtype = dtype
        q = quantize_weights(w, None, activation(x_dtype, 0.1), activation(x_dtype, 0.1), dtype)
        assert (np.abs(q.weights.astype(int)).max(1) == np.iinfo(dtype).max).all()


def test_a_dead_channel_with_a_bias_computes_the_bias():
    w, b = np.full((1, 9), 1e-12, "f4"), np.array([0.75], "f4")
    x, y = activation("int8", 0.02, 3), activation("int8", 0.01)
    q = quantize_weights(w, b, x, y, "int8")
    assert not q.weights.any()
    real = int(q.bias[0]) * int(q.multiplier[0]) / 2.0 ** int(q.shift[0]) * y.quantization.step
    assert abs(real - 0.75) < 1e-8


def test_int16_weights_coarsen_no_more_than_the_accumulator_asks():
    w = np.ones((1, 4096), "f4")
    q = quantize_weights(w, None, activation("int16", 1.0), activation("int16", 4096.0), "int16")
    used = np.abs(q.weights.astype(np.int64)).sum() * 32768
    assert 2**38 - 2 * 32768 * 4096 < used < 2**38


def test_a_sum_too_long_for_int32_is_refused():
    w = np.ones((1, 9_000_000), "f4")
    with pytest.raises(
        QuantizationError,
        match=r"^9000000 products a sum leave the accumulator no room; split the layer$",
    ):
        quantize_weights(w, None, activation("int8", 1.0, -128), activation("int8", 1.0), "int8")
