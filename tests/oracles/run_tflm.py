"""Runs one-operator .tflite models in TensorFlow Lite Micro; started by the Python that has both.

    python run_tflm.py models.pickle results.npz

``models.pickle`` holds a list of ``tflm_models.Model`` as dictionaries; result ``i`` is the output
of model ``i``.
"""

import pickle
import sys
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_micro.python.tflite_micro import runtime

ARENA = 16 << 20
TYPES = {"int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64"}


def tensor(model, values):
    """A TensorT, with its constant, if any, as a buffer of ``model``."""
    made = schema.TensorT(
        shape=list(values["shape"]),
        type=getattr(schema.TensorType, TYPES[values["dtype"]]),
        name=b"",
        hasRank=True,
        quantization=schema.QuantizationParametersT(
            scale=[float(s) for s in values["scale"]],
            zeroPoint=[int(z) for z in values["zero_point"]],
            quantizedDimension=values["axis"],
        ),
    )
    if values["data"] is not None:
        made.buffer = len(model.buffers)
        raw = np.frombuffer(np.ascontiguousarray(values["data"]).tobytes(), np.uint8)
        model.buffers.append(schema.BufferT(data=raw))
    return made


def serialize(values):
    """The bytes of a model with one operator."""
    code = getattr(schema.BuiltinOperator, values["operator"])
    model = schema.ModelT(version=3, description=b"", buffers=[schema.BufferT()])
    tensors = [tensor(model, t) for t in (*values["operands"], values["result"])]
    options, kind = None, 0
    if values["options"] is not None:
        options = getattr(schema, values["options"] + "T")(**values["attributes"])
        kind = getattr(schema.BuiltinOptions, values["options"])
    operator = schema.OperatorT(
        opcodeIndex=0,
        inputs=list(range(len(tensors) - 1)),
        outputs=[len(tensors) - 1],
        builtinOptionsType=kind,
        builtinOptions=options,
    )
    graph = schema.SubGraphT(
        tensors=tensors,
        inputs=[i for i, t in enumerate(values["operands"]) if t["data"] is None],
        outputs=[len(tensors) - 1],
        operators=[operator],
        name=b"",
    )
    model.subgraphs = [graph]
    model.operatorCodes = [
        schema.OperatorCodeT(
            deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=values["version"]
        )
    ]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(values):
    """The output of a model on its inputs."""
    interpreter = runtime.Interpreter.from_bytes(serialize(values), arena_size=ARENA)
    for i, array in enumerate(values["inputs"]):
        interpreter.set_input(array, i)
    interpreter.invoke()
    return np.array(interpreter.get_output(0))


def main(models, results):
    answers = [run(values) for values in pickle.loads(Path(models).read_bytes())]
    np.savez(results, **{str(i): answer for i, answer in enumerate(answers)})


main(*sys.argv[1:])
