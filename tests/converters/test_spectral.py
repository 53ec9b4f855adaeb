"""Fourier transforms are layers of cosines and sines, and give what onnxruntime's give."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.errors import UnsupportedError
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import agreement, model, node, operators
from tests.refusals import refused

RNG = np.random.default_rng(83)
HANN = np.hanning(16).astype("f4")


def stft(names, constants, shape=(2, 100, 1), **attributes):
    constants = {"step": np.array(8), **constants}
    return model([node("STFT", ["x", "step", *names], ["y"], **attributes)], shape, constants)


@pytest.mark.parametrize("onesided", [0, 1])
def test_a_transform_of_frames_is_one_convolution(onesided):
    graph = agreement(stft(["w"], {"w": HANN}, onesided=onesided))
    assert [name for name in operators(graph) if name != "Reshape"] == ["Conv"]
    agreement(stft(["", "n"], {"n": np.array(15)}, onesided=onesided))
    agreement(stft(["w", "n"], {"w": HANN, "n": np.array(16)}, onesided=onesided))


def dft(shape, constants=None, opset=20, **attributes):
    names = ["x", "n" if "n" in (constants or {}) else "", "axis"][: 3 if opset >= 20 else 2]
    constants = {**(constants or {}), **({"axis": np.array(1)} if opset >= 20 else {})}
    return model([node("DFT", names, ["y"], **attributes)], shape, constants, opset=opset)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("length", [None, 5, 9])
@pytest.mark.parametrize("inverse", [0, 1])
def test_a_transform_is_one_layer(parts, length, inverse):
    constants = {} if length is None else {"n": np.array(length)}
    proto = dft((2, 7, 3, parts), constants, inverse=inverse)
    graph = from_onnx(proto, input_shapes={"x": [2, 7, 3, parts]})
    x = RNG.normal(size=(2, 7, 3, parts)).astype("f4")
    found = execute(graph, {"x": x})["y"]
    numbers = x[..., 0] + (1j * x[..., 1] if parts == 2 else 0)
    expected = (np.fft.ifft if inverse else np.fft.fft)(numbers, length, axis=1)
    np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [6, 7])
def test_half_of_a_real_signals_transform_and_back(length):
    x = RNG.normal(size=(2, length, 3, 1)).astype("f4")
    graph = from_onnx(dft(x.shape, onesided=1), input_shapes={"x": list(x.shape)})
    half = execute(graph, {"x": x})["y"]
    expected = np.fft.rfft(x[..., 0], axis=1)
    np.testing.assert_allclose(half[..., 0] + 1j * half[..., 1], expected, rtol=1e-4, atol=1e-5)
    proto = dft(half.shape, {"n": np.array(length)}, onesided=1, inverse=1)
    graph = from_onnx(proto, input_shapes={"x": list(half.shape)})
    back = execute(graph, {"x": half})["y"]
    np.testing.assert_allclose(back, x, rtol=1e-4, atol=1e-5)


def test_an_older_transform_has_its_axis_as_an_attribute():
    agreement(dft((1, 7, 3, 1), opset=17, axis=2, onesided=1))


@pytest.mark.parametrize(("scheme", "least"), [("int8", 34), ("int16x8", 40), ("int16", 79)])
def test_integers_keep_the_spectrum(scheme, least):
    graph = from_onnx(stft(["w"], {"w": HANN}, (1, 100, 1)))
    samples = [{"x": RNG.normal(size=(1, 100, 1)).astype("f4")} for _ in range(40)]
    session = Session(quantize(graph, samples[:32], scheme=scheme, observer="minmax"))
    expected = np.array([execute(graph, s)["y"] for s in samples[32:]])
    found = np.array([session.run(s) for s in samples[32:]])
    assert 10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum()) > least


@pytest.mark.parametrize(
    ("names", "constants", "message"),
    [
        (["w"], {"w": HANN, "step": np.array(0)},
         "frames of 16 every 0 do not fit a signal of 100"),
        (["", "n"], {"n": np.array(101)}, "frames of 101 every 8 do not fit a signal of 100"),
        (["w", "n"], {"w": HANN, "n": np.array(15)}, "its window must have shape [15], not [16]"),
    ],
)  # fmt: skip
def test_frames_that_do_not_fit_are_refused(names, constants, message):
    with refused(f"STFT 'y': {message}"):
        from_onnx(stft(names, constants))


def test_a_transform_that_is_a_matrix_of_billions_is_refused():
    with refused(
        "1 node cannot be imported: DFT (ai.onnx opset 20) at 'y': a transform of 5000 is not "
        "supported, up to 4096 is",
        UnsupportedError,
    ):
        from_onnx(dft((1, 5000, 1)))


def test_the_axis_of_the_parts_is_not_transformed():
    with refused("DFT 'y': its axis must not be that of real and imaginary parts"):
        from_onnx(dft((1, 7, 3, 1), opset=17, axis=3))
