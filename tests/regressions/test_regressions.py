"""Files that once did harm, one a fault: each is refused in a line, or taken with little.

They are read in one process that has a GiB beside what its packages take. A fault that a campaign
finds (``tests/campaigns/``) gets its file here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
MOST_BYTES = 40_000
MOST_CONSTANTS = "the constants of the model have more than 67108864 elements"

# what each did once, and what is said of it now
FAULTS = {
    "attribute_of_a_function.onnx": (
        "an attribute that stands for a function's, outside of one, ended in TypeError",
        "ArgMax 'result': attribute 'keepdims' stands for one of a function, and the node is in "
        "none",
    ),
    "attribute_of_no_type.onnx": (
        "an attribute of no type, of an operator that others define, ended in SerdeError",
        "Attention 'Y': attribute 'is_causal' has no type",
    ),
    "device_without_name.onnx": (
        "a node's device without a name, of an operator that others define, ended in SerdeError",
        "it is taken",
    ),
    "erf_of_many.onnx": (
        "2^27 numbers, folded, took 5.6 GiB",
        f"ConstantOfShape 'k': {MOST_CONSTANTS}",
    ),
    "external.onnx": (
        "external data shorter than its shape ended in SIGSEGV",
        "external data of initializer 'w' has 48 bytes, but shape [4, 1048576] takes 16777216",
    ),
    "huge.png": (
        "a header asks for a TiB",
        "huge.png has more than 54,000,000 pixels; scale it down",
    ),
    "huge.tiff": (
        "a header asks for 4 GiB",
        "huge.tiff has more than 54,000,000 pixels; scale it down",
    ),
    "key_twice.eqm": (
        "one key twice, of which readers take either",
        "key_twice.eqm: the graph's JSON is not in its canonical form",
    ),
    "loops_in_loops.onnx": (
        "10^12 iterations of loops in loops were to be unrolled",
        "Loop 'h1': the loops of the model have more than 32768 nodes to visit",
    ),
    "not_a_number.eqm": (
        "NaN is no JSON, and no scale",
        "not_a_number.eqm: the graph is not valid JSON: NaN is no number",
    ),
    "places_of_many.onnx": (
        "2^24 places, gathered in a loop of Python's, took 59 s",
        "it is taken",
    ),
    "repeated_multipliers.eqm": (
        "multipliers, repeated for each element and held three times, took 2.8 GiB to plan",
        "the model would take 2,030,043,136 bytes of memory, and the limit is 1,073,741,824: "
        "give a larger max_bytes if it is trusted",
    ),
    "root_of_few_bits.eqm": (
        "a root was shifted by 286 bits: the kernel and the reference gave different numbers",
        "QReduceL2 'n0': has -256 fractional bits, fewer than -31",
    ),
    "says_less.npz": (
        "a member that says 144 bytes unpacked 5 GiB at once, by bzip2",
        "says_less.npz is packed as NumPy packs nothing; write it with numpy.savez",
    ),
    "scans.jpg": (
        "each of 1,700 scans is a pass over all pixels",
        "scans.jpg is a JPEG of 1,706 scans, which is more work than any image is",
    ),
    "unasked.npz": (
        "members that no input is called after were unpacked",
        "unasked.npz: the data is for 'x', 'z', but the model's inputs are 'x'",
    ),
}

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin
import edgeinfer
import edgeinfer.converters.onnx_import
from edgeinfer.converters import from_onnx
from edgeinfer.data import load_data
from edgeinfer.errors import EdgeInferError
from tests.data_graphs import taking
from tests.memory_limit import GIB, limit_memory

def read(path):
    if path.suffix == ".eqm":
        edgeinfer.load(path)
    elif path.suffix == ".onnx":
        from_onnx(path)
    else:
        shape = (1, 4) if path.suffix == ".npz" else (1, 4, 4, 1)
        list(load_data(path, taking(x=shape)).samples)

limit_memory(GIB)
for name in sys.argv[1:]:
    try:
        read(Path(name))
        told = "it is taken"
    except EdgeInferError as error:
        told = str(error)
    print(json.dumps([name, told]), flush=True)
"""


def test_every_file_is_of_a_fault_and_small():
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir() if path.is_file()}
    assert files.keys() == FAULTS.keys() | {Path(__file__).name, "external.bin"}
    assert all(files[name] <= MOST_BYTES for name in FAULTS)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_each_is_refused_in_a_gibibyte():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *sorted(FAULTS)],
        cwd=FOLDER,
        env={"PATH": "", "PYTHONPATH": str(FOLDER.parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    told = dict(map(json.loads, done.stdout.splitlines()))
    assert told == {name: message for name, (_, message) in FAULTS.items()}, done.stderr
    assert done.returncode == 0
