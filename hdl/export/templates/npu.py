"""A driver of the NPU for Linux: registers behind UIO, host memory behind any buffer.

    from npu import Npu

    with open("../model.json") as map, open("../model.bin", "rb") as image:
        npu = Npu.from_uio("/dev/uio0", memory, address, map.read(), image.read())
    outputs = npu({npu.model["inputs"][0]["name"]: pixels})  # integers in the model's scale

``memory`` is a writable buffer of ``memory_bytes`` that the NPU's AXI4 port reaches at ``address``:
a udmabuf, a reserved region behind /dev/mem, or PYNQ's ``allocate``. Needs NumPy, nothing else.
"""

import json
import mmap
import os

import numpy as np

START, STOP = 1, 8
BUSY, DONE = 1, 2


class NpuError(Exception):
    """The NPU has ended a run before its end, or is none of this model's."""


class Npu:
    """An NPU with one model.

    Parameters
    ----------
    registers : array of uint32
        Or anything that is read and written by word index, such as PYNQ's ``MMIO.array``.
    memory : writable buffer
        Host memory.
    address : int
        Where the NPU's port sees it; a multiple of 4096.
    model : str
        The content of model.json.
    image : bytes
        The content of model.bin.
    patience : int
        Cycles in which nothing moves, after which the NPU gives a run up.
    """

    def __init__(self, registers, memory, address, model, image, patience=1_000_000):
        self.registers, self.address, self.patience = registers, address, patience
        self.model = json.loads(model)
        self._offsets = {name: at // 4 for name, at in self.model["registers"].items()}
        self.memory = np.frombuffer(memory, np.uint8)
        if len(self.memory) < self.model["memory_bytes"]:
            raise NpuError(f"host memory must have {self.model['memory_bytes']} bytes")
        if self.read("ID") != self.model["id"]:
            raise NpuError(f"there is no NPU: its ID reads as {self.read('ID'):#010x}")
        if self.read("CONFIG") != self.model["config_word"]:
            raise NpuError(f"the NPU is not {self.model['config']}, which the model is for")
        self.memory[: len(image)] = np.frombuffer(image, np.uint8)
        self.start("setup")
        self.wait()

    @classmethod
    def from_uio(cls, path, memory, address, model, image):
        """An NPU whose registers are the first map of a UIO device."""
        file = os.open(path, os.O_RDWR | os.O_SYNC)
        try:
            mapped = mmap.mmap(file, mmap.PAGESIZE)
        finally:
            os.close(file)
        return cls(np.frombuffer(mapped, np.uint32), memory, address, model, image)

    def __call__(self, inputs):
        """Outputs by name for inputs by name, both integers in their shapes."""
        for tensor in self.model["inputs"]:
            values = np.asarray(inputs[tensor["name"]])
            if values.dtype != tensor["dtype"] or list(values.shape) != tensor["shape"]:
                raise NpuError(f"{tensor['name']} must be {tensor['dtype']} {tensor['shape']}")
            self._elements(tensor)[self._index(tensor)] = values.ravel()
        self.start("run")
        self.wait()
        return {
            tensor["name"]: self._elements(tensor)[self._index(tensor)]
            .astype(tensor["dtype"])
            .reshape(tensor["shape"])
            for tensor in self.model["outputs"]
        }

    def start(self, section):
        """Begin one of the model's programs."""
        if self.read("STATUS") & BUSY:
            raise NpuError("the NPU is busy")
        place = self.model["sections"][section]
        self.write("BASE", self.address & 0xFFFFFFFF)
        self.write("BASE_HIGH", self.address >> 32)
        self.write("PROGRAM", place["offset"])
        self.write("LENGTH", place["length"])
        self.write("WATCHDOG", self.patience)
        self.write("CONTROL", START)

    def wait(self):
        """Until the run has ended."""
        while not (status := self.read("STATUS")) & DONE:
            if not status & BUSY:
                raise NpuError("there is no run to wait for")
        if fault := status >> 8 & 15:
            names = {code: name for name, code in self.model["faults"].items()}
            at = self.read("FAULT_AT")
            raise NpuError(f"the NPU stopped at instruction {at}: {names.get(fault, fault)}")

    def stop(self):
        """Give the run up."""
        self.write("CONTROL", STOP)

    @property
    def cycles(self):
        """Of the last run."""
        return int(self.read("CYCLES"))

    def read(self, register):
        """A register by its name."""
        return int(self.registers[self._offsets[register]])

    def write(self, register, value):
        """Set a register by its name."""
        self.registers[self._offsets[register]] = value

    def _elements(self, tensor):
        return self.memory.view(f"<i{tensor['element_bytes']}")

    def _index(self, tensor):
        y = np.arange(tensor["height"])[:, None, None] * tensor["line"]
        x = np.arange(tensor["width"])[:, None] * tensor["pixel"]
        place = tensor["offset"] + y + x + np.array(tensor["positions"])
        return place.ravel() // tensor["element_bytes"]
