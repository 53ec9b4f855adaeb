"""The exported drivers run the model on a simulated NPU, and say what is wrong with it."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeinfer.cli.models import import_model
from edgeinfer.data import load_data
from edgeinfer.demo import CALIBRATION, MODEL
from edgeinfer.files.new_folder import write_new_folder
from edgeinfer.hdl import preset, simulated_npu
from edgeinfer.hdl.export import export
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.hdl.export import exported

pytestmark = pytest.mark.slow

GLUE = """
#include <stdint.h>
#include <stddef.h>
extern uint32_t (*glue_read)(uint32_t);
extern void (*glue_write)(uint32_t, uint32_t);
#define NPU_READ(device, offset) ((void)(device), glue_read(offset))
#define NPU_WRITE(device, offset, value) ((void)(device), glue_write(offset, value))
"""

PROGRAM = """
#include "npu.c"
#include "model.h"

uint32_t (*glue_read)(uint32_t);
void (*glue_write)(uint32_t, uint32_t);

int load(uint8_t *memory, const uint8_t *image)
{
    const npu_device device = { 0, memory, 0, 0 };
    return npu_load(&device, &npu_the_model, image);
}

int run(uint8_t *memory, const void *input, void *output)
{
    const npu_device device = { 0, memory, 0, 0 };
    npu_status status;
    npu_put(&device, &npu_inputs[0], input);
    status = npu_run(&device, &npu_the_model);
    npu_get(&device, &npu_outputs[0], output);
    return (int)status;
}

uint32_t cycles(void)
{
    const npu_device device = { 0, 0, 0, 0 };
    return npu_cycles(&device);
}

int begin(uint32_t offset, uint32_t length)
{
    const npu_device device = { 0, 0, 0, 0 };
    const npu_program program = { offset, length };
    const npu_status status = npu_begin(&device, program);
    return status == NPU_OK ? (int)npu_finish(&device) : (int)status;
}

int begin_with_interrupt(void)
{
    const npu_device device = { 0, 0, 0, 1 };
    return (int)npu_begin(&device, npu_the_model.run);
}

int finish_with_interrupt(void)
{
    const npu_device device = { 0, 0, 0, 1 };
    return (int)npu_finish(&device);
}
"""


def expected(sample: dict[str, np.ndarray]) -> np.ndarray:
    graph = exported.digits()
    session = Session(graph, keep_values=True)
    # the NPU's input is the Graph's in another order of axes
    session.run({"image": np.transpose(sample["image@nhwc"], (0, 3, 1, 2))})
    return session.value("scores")


@pytest.fixture
def folder(tmp_path) -> Path:
    return exported.write(tmp_path / "npu")


pointer = ctypes.c_void_p


def c_driver(folder: Path, npu) -> ctypes.CDLL:
    """The C driver, compiled, with its registers in a simulation."""
    (folder / "glue.h").write_text(GLUE)
    (folder / "program.c").write_text(PROGRAM)
    strict = "-std=c99 -Wall -Wextra -Werror -pedantic -O2 -fsanitize=undefined"
    options = f"{strict} -fno-sanitize-recover -static-libubsan -shared -fPIC -Idriver"
    command = f"cc {options} -include glue.h program.c -o driver.so"
    subprocess.run(command.split(), cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "driver.so"))
    read = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32)(npu.read)
    write = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32)(npu.write)
    library.callbacks = (read, write)  # as long as the library
    ctypes.c_void_p.in_dll(library, "glue_read").value = ctypes.cast(read, ctypes.c_void_p).value
    ctypes.c_void_p.in_dll(library, "glue_write").value = ctypes.cast(write, ctypes.c_void_p).value
    return library


def test_the_c_driver_runs_the_model(folder):
    described = json.loads((folder / "model.json").read_text())
    image = (folder / "model.bin").read_bytes()
    with simulated_npu("4x4", described["memory_bytes"]) as npu:
        driver = c_driver(folder, npu)
        memory = npu.memory.ctypes.data_as(pointer)
        assert driver.load(memory, image) == 0
        for sample in exported.samples(3):
            scores = np.zeros((1, 10), np.int8)
            pixels = np.ascontiguousarray(sample["image@nhwc"])
            places = (memory, pixels.ctypes.data_as(pointer), scores.ctypes.data_as(pointer))
            assert driver.run(*places) == 0
            np.testing.assert_array_equal(scores, expected(sample))
        assert 0 < driver.cycles() < 20_000


def test_the_c_driver_gives_the_npus_faults_and_its_own(folder):
    described = json.loads((folder / "model.json").read_text())
    image = (folder / "model.bin").read_bytes()
    with simulated_npu("4x4", described["memory_bytes"]) as npu:
        driver = c_driver(folder, npu)
        memory = npu.memory.ctypes.data_as(pointer)
        assert driver.load(memory, image) == 0
        npu.memory[:16] = 0xFF
        assert driver.begin(0, 1) == described["faults"]["ILLEGAL_INSTRUCTION"]
        length = described["sections"]["run"]["length"]
        begun = described["sections"]["run"]["offset"]
        assert driver.begin(begun, length - 1) == described["faults"]["NO_HALT"]
    with simulated_npu("8x8", described["memory_bytes"]) as npu:
        driver = c_driver(folder, npu)
        assert driver.load(npu.memory.ctypes.data_as(pointer), image) == -2


def test_the_c_drivers_interrupt_is_high_from_a_runs_end_until_it_is_finished(folder):
    described = json.loads((folder / "model.json").read_text())
    status, control = (described["registers"][name] for name in ("STATUS", "CONTROL"))
    image = (folder / "model.bin").read_bytes()
    with simulated_npu("4x4", described["memory_bytes"]) as npu:
        driver = c_driver(folder, npu)
        assert driver.load(npu.memory.ctypes.data_as(pointer), image) == 0
        assert driver.begin_with_interrupt() == 0
        assert npu.read(control) == 2  # the enable, for as long as the run lasts
        assert driver.finish_with_interrupt() == 0
        assert npu.read(status) == 0  # done no longer, so the line is low
        assert driver.finish_with_interrupt() == -4


def test_the_drivers_header_is_cpp_too(folder):
    (folder / "main.cpp").write_text(
        """
#include "npu.h"
#include "model.h"
int main() { return npu_the_model.input_count == 1 && npu_inputs[0].scale > 0 ? 0 : 1; }
"""
    )
    strict = "-std=c++11 -Wall -Wextra -Werror -pedantic -Idriver"
    subprocess.run(f"c++ {strict} main.cpp -o main".split(), cwd=folder, check=True)
    subprocess.run(["./main"], cwd=folder, check=True)


def test_names_stay_in_their_comments_and_strings(tmp_path):
    name = 'a*/ #error "1\\\n??/ /* \0é😀'
    proto = onnx.load(MODEL)
    for each in (*proto.graph.input, *proto.graph.node):
        each.name = each.name.replace("image", name)
    for node in proto.graph.node:
        node.input[:] = [each.replace("image", name) for each in node.input]
    onnx.save(proto, tmp_path / "model.onnx")
    floats = import_model(tmp_path / "model.onnx")
    (samples,) = load_data(CALIBRATION, import_model(MODEL)).samples.values()
    graph = quantize(floats, {floats.inputs[0]: samples})
    write_new_folder(tmp_path / "npu", export(graph, "4x4", name=name))
    (tmp_path / "names.c").write_text(
        """
#include <stdio.h>
#include "npu.c"
#include "model.h"
int main(void)
{
    puts(npu_the_model.name);
    puts(npu_inputs[0].name);
    return 0;
}
"""
    )
    strict = "-std=c99 -Wall -Wextra -Werror -pedantic -Wno-unused-function -Inpu/driver"
    subprocess.run(f"cc {strict} names.c -o names".split(), cwd=tmp_path, check=True)
    done = subprocess.run(["./names"], cwd=tmp_path, check=True, capture_output=True)
    until_zero = name.split("\0")[0]
    assert done.stdout.decode() == f"{until_zero}\n{until_zero}\n"
    assert "\n#" not in (tmp_path / "npu/testbench.v").read_text().split("module")[0]


def python_driver(folder: Path):
    spec = importlib.util.spec_from_file_location("npu_driver", folder / "driver" / "npu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_python_driver_runs_the_model(folder):
    driver = python_driver(folder)
    model, image = (folder / "model.json").read_text(), (folder / "model.bin").read_bytes()
    described = json.loads(model)
    # larger memories than the model's do no harm
    config = "4x4,buffer_bytes=65536,weight_bytes=32768,parameter_rows=512"
    with simulated_npu(config, described["memory_bytes"]) as npu:
        device = driver.Npu(exported.Registers(npu), npu.memory, 0, model, image)
        for sample in exported.samples(3):
            np.testing.assert_array_equal(device(sample)["scores"], expected(sample))
        assert 0 < device.cycles < 20_000
        with pytest.raises(driver.NpuError) as refusal:
            device({"image@nhwc": np.zeros((1, 8, 8, 2), np.int8)})
        assert str(refusal.value) == "image@nhwc must be int8 [1, 8, 8, 1]"
        device.write("CONTROL", 4)
        with pytest.raises(driver.NpuError) as refusal:
            device.wait()
        assert str(refusal.value) == "there is no run to wait for"
        npu.memory[described["sections"]["run"]["offset"]] = 0xFF
        with pytest.raises(driver.NpuError) as refusal:
            device(exported.samples(1)[0])
        assert str(refusal.value) == "the NPU stopped at instruction 0: ILLEGAL_INSTRUCTION"


def test_the_python_driver_refuses_another_npu(folder):
    driver = python_driver(folder)
    model, image = (folder / "model.json").read_text(), (folder / "model.bin").read_bytes()
    size = json.loads(model)["memory_bytes"]
    # the same array, with accumulators that are too small for the program's tiles
    with simulated_npu("4x4,accumulator_depth=8", size) as npu:
        with pytest.raises(driver.NpuError) as refusal:
            driver.Npu(exported.Registers(npu), npu.memory, 0, model, image)
        assert str(refusal.value) == f"the NPU is not {preset('4x4').text}, which the model is for"
        with pytest.raises(driver.NpuError) as refusal:
            driver.Npu(exported.Registers(npu), npu.memory[:100], 0, model, image)
        assert str(refusal.value) == f"host memory must have {size} bytes"
    nothing = np.zeros(64, np.uint32)
    with pytest.raises(driver.NpuError) as refusal:
        driver.Npu(nothing, np.zeros(size, np.uint8), 0, model, image)
    assert str(refusal.value) == "there is no NPU: its ID reads as 0x00000000"
