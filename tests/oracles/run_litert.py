"""Runs .tflite files in LiteRT, or in TensorFlow Lite Micro; started by the Python that has both.

    python run_litert.py litert|tflm|tflm-anew FOLDER

``FOLDER`` holds pairs of NAME.tflite and NAME.in.npz, whose arrays are called as the signature
calls the inputs, each with the runs along its first axis; NAME.out.npz is written beside them.
"""

import sys
from pathlib import Path

import numpy as np

ARENA = 64 << 20


def litert(content, feeds):
    """Each output's runs, by LiteRT."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner()
    runs = [
        signature(**dict(zip(feeds, arrays, strict=True)))
        for arrays in zip(*feeds.values(), strict=True)
    ]
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}


def tflm(content, feeds):
    """Each output's runs, by place, one after the other: variables keep what they hold."""
    return _tflm(content, feeds, anew=False)


def tflm_anew(content, feeds):
    """As ``tflm``, but each run begins with variables as they are at first."""
    return _tflm(content, feeds, anew=True)


def _tflm(content, feeds, anew):
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=ARENA)
    runs = []
    for arrays in zip(*feeds.values(), strict=True):
        if anew:
            interpreter.reset()
        for place, array in enumerate(arrays):
            interpreter.set_input(array, place)
        interpreter.invoke()
        runs.append(interpreter.get_output(0))
    return {"0": np.stack(runs)}


WHO = {"litert": litert, "tflm": tflm, "tflm-anew": tflm_anew}


def main():
    who, folder = WHO[sys.argv[1]], Path(sys.argv[2])
    for path in sorted(folder.glob("*.tflite")):
        with np.load(path.with_suffix(".in.npz")) as file:
            feeds = {name: file[name] for name in file.files}
        np.savez(path.with_suffix(".out.npz"), **who(path.read_bytes(), feeds))


if __name__ == "__main__":
    main()
