"""Runs TOSA graphs in Arm's reference model; started by the Python of tosa-tools' environment.

    python run_tosa.py graph.pickle results.npz

``graph.pickle`` holds what ``tosa_graph.Graph`` writes: inputs, constants, operators in order
and the names of the results.
"""

import importlib.metadata
import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from serializer import tosa_serializer as ts
from tosa.NanPropagationMode import NanPropagationMode
from tosa.Op import Op
from tosa.RoundingMode import RoundingMode

SECONDS = 120


def attribute(serializer, name, values):
    """The flatbuffer attribute of operator ``name``."""
    values = dict(values)
    if "rounding_mode" in values:
        values["rounding_mode"] = getattr(RoundingMode, values["rounding_mode"])
    if "acc_type" in values:
        values["acc_type"] = getattr(ts.DType, values["acc_type"])
    if name in ("CLAMP", "MAX_POOL2D"):
        values["nan_mode"] = NanPropagationMode.PROPAGATE
    if name == "CLAMP":
        values["serializer_builder"] = serializer.builder
        for bound in ("min_val", "max_val"):
            values[f"{bound}_as_bytes"] = np.frombuffer(values.pop(bound), np.uint8)
    made = ts.TosaSerializerAttribute()
    words = name.split("_")
    method = "".join(word.capitalize() for word in words) + "Attribute"
    method = {"MatmulAttribute": "MatMulAttribute"}.get(method, method)
    getattr(made, method)(**values)
    return made


def serialize(description, folder):
    """Write test.tosa, its description and its inputs into ``folder``."""
    serializer = ts.TosaSerializer(folder)
    block = serializer.currRegion.currBasicBlock
    for name, dtype, array in description["inputs"]:
        block.addTensor(name, array.shape, getattr(ts.DType, dtype), None, f"{name}.npy")
        block.addInput(name)
        np.save(folder / f"{name}.npy", array)
    for name, dtype, array in description["constants"]:
        serializer.addConst(array.shape, getattr(ts.DType, dtype), array, name)
    for name, operands, result, shape, dtype, attributes in description["operators"]:
        block.addTensor(result, shape, getattr(ts.DType, dtype), None)
        made = attribute(serializer, name, attributes)
        serializer.addOperator(getattr(Op, name), operands, [result], made)
    for name in description["results"]:
        block.addOutput(name)
    (folder / "test.tosa").write_bytes(serializer.serialize())
    (folder / "desc.json").write_text(serializer.writeJson("test.tosa"))
    return json.loads(serializer.writeJson("test.tosa"))


def main(graph, results):
    description = pickle.loads(Path(graph).read_bytes())
    tools = Path(importlib.metadata.distribution("tosa-tools").locate_file("bin"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        test = serialize(description, folder)
        command = [tools / "tosa_reference_model", "--test_desc", folder / "desc.json"]
        command += ["--operator_fbs", tools / "tosa.fbs"]
        subprocess.run(command, check=True, timeout=SECONDS)
        files = dict(zip(test["ofm_name"], test["ofm_file"], strict=True))
        np.savez(results, **{name: np.load(folder / file) for name, file in files.items()})


main(*sys.argv[1:])
