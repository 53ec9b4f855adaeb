"""One network of coverage.py in a process of its own: built, computed by onnxruntime, or by us.

    python coverage_worker.py catalogue|build|peer|ours REQUEST.json ANSWER.json

A process of its own has a peak memory of its own, and may crash or be ended. ``peer`` leaves
onnxruntime's float outputs in a file that ``ours`` compares with. The answer is written as it
grows, so that what was found out before a crash stays known.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from architectures import FAMILIES, family
from architectures.files import Exported
from architectures.inputs import feeds
from coverage_tables import POOR_INT16_DB

from edgeinfer.cli.onnx_int8 import MOVING, fix_shapes, quantize_static
from edgeinfer.converters import from_onnx
from edgeinfer.errors import EdgeInferError
from edgeinfer.graph import Graph
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import Difference, Options, compare, quantize_and_judge
from edgeinfer.runtime.session import Session

CALIBRATION, EVALUATION, EVALUATION_SMALL, COMPARED = 32, 32, 256, 2
"""How many samples the ranges are from; on how many others integers are compared with floats, and
of small networks; on how many of these two float outputs are."""

SMALL = 2**20
"""A network whose file has fewer bytes is small: of the few numbers that it gives for a sample,
one that is clipped decides."""

Answer = dict[str, Any]

# activations that a layer before them computes with
_FUSED = ("Relu", "Clip")


def main() -> None:
    """Do what the arguments say."""
    task, request, answer = sys.argv[1:]
    warnings.simplefilter("ignore")
    asked = json.loads(Path(request).read_text(encoding="utf-8"))
    found: Answer = {}

    def write() -> None:
        Path(answer).write_text(json.dumps(found), encoding="utf-8")

    {"catalogue": catalogue, "build": build, "peer": peer, "ours": ours}[task](asked, found, write)
    found["mib"] = peak_mib()
    write()


def peak_mib() -> float:
    """The most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


@contextmanager
def _timed(found: Answer) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        found["seconds"] = time.perf_counter() - start


def _reason(error: Exception) -> str:
    """The first line of what ``error`` says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


# ---- built


def catalogue(asked: Answer, found: Answer, write: Callable[[], None]) -> None:
    """The family of every network, and why a family is absent."""
    found |= {"names": {}, "absent": {}}
    for kind in FAMILIES:
        try:
            found["names"] |= dict.fromkeys(family(kind), kind)
        except ModuleNotFoundError as error:
            found["absent"][kind] = str(error)


def build(asked: Answer, found: Answer, write: Callable[[], None]) -> None:
    """Export it."""
    folder = Path(asked["folder"])
    made = family(asked["family"])[asked["name"]]()
    made.export(asked["name"], asked["family"], folder).write(folder)


# ---- onnxruntime


def peer(asked: Answer, found: Answer, write: Callable[[], None]) -> None:
    """Float outputs of every file, and int8 outputs of the first that quantizes."""
    folder, scratch = Path(asked["folder"]), Path(asked["scratch"])
    exported = Exported.read(folder, asked["name"])
    evaluation = feeds(exported.inputs, evaluated(exported, folder), seed=0)
    for exporter, name in exported.files.items():
        one = found.setdefault(exporter, {})
        try:
            names, runs = _onnxruntime(folder / name, evaluation)
        except Exception as error:  # whatever onnxruntime raises says that it cannot
            one["error"] = _reason(error)
            continue
        np.savez(reference_path(scratch, exporter), **_flat(names, runs))
        write()
    calibration = feeds(exported.inputs, CALIBRATION, seed=2)
    quantized = found["int8"] = {}
    for exporter, name in exported.files.items():
        if "error" in found[exporter]:
            continue
        try:
            with _timed(quantized):
                path = scratch / f"{exporter}.int8.onnx"
                _quantized_by_peer(folder / name, calibration, path)
            quantized["floats"] = float_nodes(path)
            reference = read_reference(scratch, exporter)
            quantized["sqnr_db"] = worst_db(reference, _onnxruntime(path, evaluation)[1])
            quantized.pop("error", None)
            return
        except Exception as error:
            quantized["error"] = _reason(error)
        write()


def _onnxruntime(
    path: Path, runs: Sequence[Mapping[str, np.ndarray]]
) -> tuple[list[str], list[list[np.ndarray]]]:
    # memory is counted: who needs no onnxruntime does not import it
    import unfused

    session = unfused.session(path)
    names = [output.name for output in session.get_outputs()]
    return names, [session.run(names, dict(run)) for run in runs]


def _quantized_by_peer(path: Path, runs: Sequence[Mapping[str, np.ndarray]], out: Path) -> None:
    fixed = out.with_suffix(".fixed.onnx")
    fix_shapes(path, runs[0], fixed)
    quantize_static(fixed, runs, out, unsigned=True)


def float_nodes(path: Path) -> list[str]:
    """The operators of a QDQ model that compute on floats that are not quantized.

    A node is on integers where all it reads that is no constant comes from a DequantizeLinear, and
    all readers of what it computes quantize it. A result that is given out as it was computed is
    of floats; one that was only moved is not.
    """
    import onnx

    graph = onnx.load(path).graph
    floats = [i for i in graph.input if i.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    writers = {value.name: "input" for value in floats}
    writers |= {name: node.op_type for node in graph.node for name in node.output}
    readers: dict[str, set[str]] = {value.name: {"output"} for value in graph.output}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    found = []
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Constant"):
            continue
        read = {writers[name] for name in node.input if name in writers}
        given = read <= {"DequantizeLinear", "Constant"} or node.op_type in _FUSED
        taken = set().union(*(readers.get(name, set()) for name in node.output))
        if given and node.op_type in MOVING:
            taken.discard("output")
        if not given or not taken <= {"QuantizeLinear", *_FUSED}:
            found.append(node.op_type)
    return found


def evaluated(exported: Exported, folder: Path) -> int:
    """On how many samples it is."""
    least = min((folder / name).stat().st_size for name in exported.files.values())
    return EVALUATION_SMALL if least < SMALL else EVALUATION


def reference_path(scratch: Path, exporter: str) -> Path:
    """Where the float outputs of a file lie."""
    return scratch / f"{exporter}.npz"


def _flat(names: Sequence[str], runs: Sequence[Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
    arrays = {f"{r}.{o}": array for r, run in enumerate(runs) for o, array in enumerate(run)}
    return arrays | {"names": np.array(names)}


def read_reference(scratch: Path, exporter: str) -> list[dict[str, np.ndarray]]:
    """Float outputs by name, run by run."""
    with np.load(reference_path(scratch, exporter)) as arrays:
        names = [str(name) for name in arrays["names"]]
        count = (len(arrays) - 1) // len(names)
        return [{name: arrays[f"{r}.{o}"] for o, name in enumerate(names)} for r in range(count)]


# ---- edgeinfer


def ours(asked: Answer, found: Answer, write: Callable[[], None]) -> None:
    """Import every file, and quantize the first that is imported in each scheme."""
    folder, scratch = Path(asked["folder"]), Path(asked["scratch"])
    exported = Exported.read(folder, asked["name"])
    evaluation = feeds(exported.inputs, evaluated(exported, folder), seed=0)
    imported: dict[str, Graph] = {}
    for exporter, name in exported.files.items():
        one = found.setdefault("imports", {}).setdefault(exporter, {})
        try:
            with _timed(one):
                graph = from_onnx(
                    folder / name, input_shapes={i.name: i.shape for i in exported.inputs}
                )
            imported[exporter] = graph
            if reference_path(scratch, exporter).exists():
                reference = read_reference(scratch, exporter)[:COMPARED]
                outputs = [execute(graph, typed(graph, run)) for run in evaluation[:COMPARED]]
                one["difference"] = largest_difference(reference, outputs)
        except EdgeInferError as error:
            one["blocked"] = str(error)
        except Exception as error:  # a bug, which is to be known and not to end the others
            one["crash"] = _reason(error)
        write()
    for exporter, graph in imported.items():
        known = reference_path(scratch, exporter).exists()
        reference = (
            read_reference(scratch, exporter)
            if known
            else [execute(graph, typed(graph, run)) for run in evaluation]
        )
        schemes = found["schemes"] = {}
        found["quantized"] = exporter
        for scheme in asked["schemes"]:
            one = schemes[scheme] = {}
            try:
                _quantize(graph, scheme, exported, evaluation, reference, one)
            except EdgeInferError as error:
                one["blocked"] = str(error)
            except Exception as error:
                one["crash"] = _reason(error)
            write()
        if not any("blocked" in one for one in schemes.values()):
            break


def typed(graph: Graph, run: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs as a float Graph has them: integers that are cast to floats first are floats."""
    return {name: run[name].astype(graph.types[name].dtype) for name in graph.inputs}


def _quantize(
    graph: Graph,
    scheme: str,
    exported: Exported,
    evaluation: Sequence[Mapping[str, np.ndarray]],
    reference: Sequence[Mapping[str, np.ndarray]],
    found: Answer,
) -> None:
    calibration = feeds(exported.inputs, CALIBRATION, seed=2)
    with _timed(found):
        made = quantize_and_judge(graph, calibration, Options(scheme))
    found["findings"] = made.judgement.findings
    found["nodes"] = len(made.graph.nodes)
    session = Session(made.graph)
    stream = session.stream()
    outputs = [stream.run(typed(graph, run)) for run in evaluation]
    named = [run if isinstance(run, dict) else {graph.outputs[0]: run} for run in outputs]
    ratio = found["sqnr_db"] = worst_db(
        reference, [[run[name] for name in reference[0]] for run in named]
    )
    if scheme == "int16" and ratio is not None and ratio < POOR_INT16_DB:
        runs = [typed(graph, run) for run in evaluation[:COMPARED]]
        found["loses"] = loses_most(graph, made.graph, runs)


def loses_most(
    graph: Graph, made: Graph, runs: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, Any]:
    """The node whose output has the most noise over what its inputs have."""
    errors = {error.value: error for error in compare(graph, made, runs)}
    writers = {name: node for node in made.nodes for name in node.outputs}
    before: dict[str, float] = {}

    def quality(name: str) -> float:
        if name in errors:
            return errors[name].sqnr_db
        if name not in before:
            node = writers.get(name)
            before[name] = min(map(quality, node.operands), default=math.inf) if node else math.inf
        return before[name]

    def lost(name: str) -> float:
        node = writers[name]
        known = [quality(each) for each in node.operands]
        return min([*known, 120.0]) - errors[name].sqnr_db

    worst = max(errors, key=lost)
    return {
        "node": errors[worst].node,
        "operator": errors[worst].operator,
        "db_before": errors[worst].sqnr_db + lost(worst),
        "db": errors[worst].sqnr_db,
    }


# ---- both


def worst_db(
    reference: Sequence[Mapping[str, np.ndarray]], runs: Sequence[Sequence[np.ndarray]]
) -> float | None:
    """The SQNR of the output that has the least, over all runs; of outputs that hold floats."""
    ratios = []
    for o, (name, first) in enumerate(reference[0].items()):
        if first.dtype.kind != "f":
            continue
        difference = Difference()
        for expected, run in zip(reference, runs, strict=True):
            difference.add(expected[name], run[o])
        ratios.append(min(max(difference.sqnr_db, -999.0), 999.0))
    return min(ratios, default=None)


def largest_difference(
    reference: Sequence[Mapping[str, np.ndarray]], runs: Sequence[Mapping[str, np.ndarray]]
) -> float:
    """The largest difference of any output, relative to the output's largest magnitude."""
    found = 0.0
    for name in reference[0]:
        largest = max(float(np.abs(run[name]).max()) for run in reference)
        difference = max(
            float(np.abs(expected[name].astype(np.float64) - run[name]).max())
            for expected, run in zip(reference, runs, strict=True)
        )
        found = max(found, difference / largest if largest > 0 else difference)
    return found


if __name__ == "__main__":
    main()
