"""Runs an exported NPU's C driver on the simulated NPU, and compares its integers with the CPU's.

    edgeinfer demo -o . && edgeinfer hdl export digits.eqm -o digits_npu
    python examples/run_npu_driver.py digits.eqm digits_npu digits_test.npz

The driver and a device's program around it, npu_firmware.c, are compiled for this machine. They see
an NPU as on a board: registers to read and write, and memory that both sides reach. Behind these is
the folder's hardware, clock by clock. It takes the extra ``hdl``, and compilers of C and C++.
"""

import ctypes
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from edgeinfer import Session
from edgeinfer.hdl import simulated_npu
from edgeinfer.model_file import read

HERE = Path(__file__).parent
ADDRESS = 0x10000000  # of the shared memory, as the NPU sees it
INFERENCES = 10

READ = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32)
WRITE = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32)


class Registers(ctypes.Structure):
    """What simulated_registers.h declares."""

    _fields_ = (("read", READ), ("write", WRITE))


def firmware(driver: Path) -> ctypes.CDLL:
    """npu_firmware.c and the driver, compiled."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "firmware.so"
        glue = ["-include", HERE / "simulated_registers.h", "-I", driver]
        sources = [HERE / "npu_firmware.c", driver / "npu.c"]
        command = ["cc", "-std=c99", "-O2", "-fPIC", "-shared", *glue, *sources, "-o", library]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(library))


def check(status: int) -> None:
    if status:
        sys.exit(f"the driver ends with {status}: see npu_status in npu.h")


def main(model: Path, folder: Path, data: Path) -> None:
    exported = json.loads((folder / "model.json").read_text())
    (taken,), (given,) = exported["inputs"], exported["outputs"]
    cpu = Session(read(model), keep_values=True)
    with np.load(data) as samples:
        xs = samples[cpu.inputs[0].name][:INFERENCES].astype(np.float32)

    array = exported["config"].partition(",")[0]
    print(f"An NPU {array} is simulated; to build its simulator, once, takes a minute or two.\n")
    device = firmware(folder / "driver")
    with simulated_npu(exported["config"], exported["memory_bytes"], base=ADDRESS) as npu:
        registers = Registers(READ(npu.read), WRITE(npu.write))
        memory, address = npu.memory.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint64(ADDRESS)
        image = (folder / "model.bin").read_bytes()
        check(device.firmware_start(ctypes.byref(registers), memory, address, image))

        print("sample  NPU says  CPU says  equal integers  cycles")
        alike = 0
        for i, x in enumerate(xs):
            cpu.run(x[None])
            # what the host does before and after the NPU, such as a Transpose, is in these
            integers, expected = cpu.value(taken["name"]), cpu.value(given["name"])
            found = np.empty_like(expected)
            check(device.firmware_run(*(ctypes.c_void_p(a.ctypes.data) for a in (integers, found))))
            alike += np.array_equal(found, expected)
            equal = f"{np.count_nonzero(found == expected)} of {found.size}"
            cycles = device.firmware_cycles()
            print(f"{i:6}  {found.argmax():8}  {expected.argmax():8}  {equal:>14}  {cycles:6,}")
    print(f"{alike} of {len(xs)} inferences have the CPU's bits")
    sys.exit(0 if alike == len(xs) else 1)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
