"""MLPerf Tiny models take no more memory than TensorFlow Lite for Microcontrollers gives them."""

import warnings

import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.errors import EdgeInferWarning
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session

# bytes of arena that tflite_micro.runtime.Interpreter.print_allocations tells of the int8 models
TFLM = {
    "ad_autoencoder": 3984,
    "ic_resnet8": 55984,
    "kws_dscnn": 24272,
    "vww_mobilenet": 103680,
}


@pytest.mark.parametrize("isa", SUPPORTED[:-1])  # the compiler's loops have larger scratch
@pytest.mark.parametrize("name", TFLM)
def test_a_tiny_model_takes_no_more_memory_than_with_tflm(zoo, name, isa):
    entry = zoo.load(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeInferWarning)
        graph = quantize(from_onnx(entry.model), entry.calib[:4], observer="minmax")
    # values and scratch; TFLM's has its tables of tensors and layers too
    assert Session(graph, isa=isa).arena_bytes <= TFLM[name]
