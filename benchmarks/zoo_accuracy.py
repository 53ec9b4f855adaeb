"""The zoo's accuracy table: float32 beside each scheme, and beside onnxruntime's int8, in one run.

    EDGEINFER_ZOO=DIR python benchmarks/zoo_accuracy.py [ENTRY ...] [--peer] [--observer NAME]
        [--rounding-weights NAME]

Prints Markdown: the score, the share of samples with float32's argmax, the output SQNR.  ``--peer``
also quantizes with onnxruntime (QDQ, uint8 activations, per-channel int8 weights), the best of its
three calibrators by SQNR.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import unfused
from zoo_folder import load

from edgeinfer.cli.onnx_int8 import quantize_static
from edgeinfer.converters import from_onnx
from edgeinfer.quant import (
    DEFAULT_OBSERVER,
    DEFAULT_ROUNDING,
    OBSERVERS,
    SCHEMES,
    WAYS,
    quantize,
)
from edgeinfer.runtime.session import Session

ENTRIES = (
    "ic_resnet8",
    "kws_dscnn",
    "vww_mobilenet",
    "ad_autoencoder",
    "armkws_ds_cnn_s",
    "cifar10_resnet20",
    "armkws_gru_s",
    "armkws_lstm_s",
    "mnist_lstm",
)


def sqnr_db(reference: np.ndarray, y: np.ndarray) -> float:
    signal, noise = (reference.astype("f8") ** 2).sum(), ((reference - y).astype("f8") ** 2).sum()
    return float(10 * np.log10(signal / noise)) if noise else float("inf")


def agreement(reference: np.ndarray, y: np.ndarray) -> float:
    flat = reference.reshape(len(reference), -1), y.reshape(len(y), -1)
    return float((flat[0].argmax(1) == flat[1].argmax(1)).mean())


def float_outputs(model: Path | bytes, name: str, x: np.ndarray) -> np.ndarray:
    session = unfused.session(model)
    if isinstance(session.get_inputs()[0].shape[0], int):
        return np.concatenate([session.run(None, {name: x[i : i + 1]})[0] for i in range(len(x))])
    return session.run(None, {name: x})[0]


def peer_outputs(entry, calibrator: str) -> np.ndarray:
    samples = [{entry.input: x[None]} for x in entry.calib]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "int8.onnx"
        quantize_static(entry.model, samples, out, unsigned=True, calibrator=calibrator)
        return float_outputs(out, entry.input, entry.x)


def row(entry, who: str, reference: np.ndarray, y: np.ndarray, note: str = "") -> None:
    same = "-" if entry.metric == "auc" else f"{agreement(reference, y):.3f}"
    score, sqnr = entry.score(y), sqnr_db(reference, y)
    print(f"| {entry.name} | {who} | {score:.4f} | {same} | {sqnr:.1f} | {note} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("entries", nargs="*", default=ENTRIES)
    parser.add_argument("--peer", action="store_true", help="measure onnxruntime's int8 as well")
    parser.add_argument(
        "--observer", choices=(DEFAULT_OBSERVER, *OBSERVERS), default=DEFAULT_OBSERVER
    )
    parser.add_argument(
        "--rounding-weights", choices=(DEFAULT_ROUNDING, *WAYS), default=DEFAULT_ROUNDING
    )
    parser.add_argument("--schemes", nargs="*", choices=SCHEMES, default=list(SCHEMES))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| entry | who | score | agreement | SQNR dB | quantized in |")
    print("|---|---|---|---|---|---|")
    for name in arguments.entries:
        entry = load(name)
        reference = float_outputs(entry.model, entry.input, entry.x)
        row(entry, "float32", reference, reference)
        if arguments.peer:
            tries = [
                (peer_outputs(entry, c), c.lower()) for c in ("MinMax", "Entropy", "Percentile")
            ]
            best = max(tries, key=lambda t: sqnr_db(reference, t[0]))
            row(entry, f"onnxruntime int8, {best[1]}", reference, best[0])
        for scheme in arguments.schemes:
            start = time.perf_counter()
            graph = quantize(
                from_onnx(entry.model),
                entry.calib,
                scheme=scheme,
                observer=arguments.observer,
                rounding_weights=arguments.rounding_weights,
            )
            seconds = time.perf_counter() - start
            session = Session(graph)
            size = session.inputs[0].shape[0]
            batches = [entry.x] if graph.free_batch else np.split(entry.x, len(entry.x) // size)
            outputs = np.concatenate([session.run(batch) for batch in batches])
            row(entry, f"edgeinfer {scheme}", reference, outputs, f"{seconds:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory of this process: {peak:.0f} MB")


if __name__ == "__main__":
    main()
