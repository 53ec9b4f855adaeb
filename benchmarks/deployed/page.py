"""The results of deployed_accuracy.py as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployed.contenders import PEERS, WHO
from deployed.models import MODELS
from edgeinfer.quant import SCHEMES

_TITLES = {
    "nncf": "NNCF",
    "esp-ppq": "ESP-PPQ",
    "aimet-onnx": "AIMET",
    "onnx-neural-compressor": "Neural Compressor",
}
_PROTOCOL = """\
# Models that people deploy

What integers keep of what trained networks find that PyPI's and npm's packages ship. Written by
`python benchmarks/deployed_accuracy.py --packages FOLDER -o FILE.json --markdown docs/deployed.md`
at {commits}, {date}.

- A cell is the signal-to-quantization-noise ratio in dB, of the output that has the least, and what
  is *judged*, as a share of 1; both beside the float model's outputs, on pictures that calibration
  has not seen. **Bold** is the most decibels of 8 bits.
- *boxes, F1*: boxes of the same class that cover half of their union. *mask, IoU*: what lies above
  the threshold. *class*, *characters*: the largest score. *within 1 pixel*: coordinates of
  landmarks.
- Samples are crops of scikit-image's photographs, faces of its Labeled Faces in the Wild on them,
  text drawn with Pillow's font, scikit-learn's digits: other photographs, faces and texts to
  calibrate than to judge, as many of each (*samples*).
- onnxruntime stands with the best of its calibrators by decibels on the samples that judge, which
  is more than a user can know (which one, of how many that were measured, stands below): uint8
  activations, int8 weights by channel (QDQ). NNCF: preset `MIXED`, accurate bias correction. AIMET:
  equalized channels, int8, weights by channel, ranges by min-max. Neural Compressor: its part for
  ONNX, static, QDQ, weights by channel. ESP-PPQ: for the ESP32-P4, whose scales are powers of two,
  one a tensor. All have the same float file and the same samples.
- What others write runs in onnxruntime without its fusions, on floats that stand for the integers:
  on a processor without VNNI its kernels for integers saturate sums of 16 bits, and
  EfficientNet-lite0 has 5 dB by them where it has 12 without. The arithmetic of a device may lose
  what this does not show; ours is counted as it runs.
- An empty cell was not measured. Some peers compute operators on floats that are integers here.
"""


def page(report: Mapping[str, Any]) -> str:
    """All of it."""
    columns = ["onnxruntime", *PEERS, *(f"edgeinfer {scheme}" for scheme in SCHEMES)]
    titles = [_TITLES.get(column, column) for column in columns]
    head = ["model", "judged, samples", *titles]
    rows, failures, calibrators = [], [], []
    for name, model in MODELS.items():
        results = report["results"].get(name, {})
        if not results:
            continue
        results = dict(results)
        results["onnxruntime"], calibrator = _best_onnxruntime(results)
        calibrators.append(f"{name} {calibrator}")
        narrow = [column for column in columns if not column.startswith("edgeinfer int16")]
        decibels = {c: results[c]["sqnr_db"] for c in narrow if _has(results, c)}
        best = max(decibels, key=lambda column: decibels[column], default="")
        count = next((r["samples"] for r in results.values() if "samples" in r), 0)
        cells = [_cell(results.get(column, {}), column == best) for column in columns]
        rows.append([name, f"{model.judged}, {count}", *cells])
        failures += [
            f"- {name}, {_TITLES.get(who, who)}: {results[who]['failed']}"
            for who in WHO
            if "failed" in results.get(who, {})
        ]
    commits = {one["commit"] for each in report["results"].values() for one in each.values()}
    protocol = _PROTOCOL.format(commits=" and ".join(sorted(commits)), date=report["date"])
    lines = [protocol, _row(head), _row(["---"] * len(head)), *map(_row, rows)]
    origins = ", ".join(f"{n} ({MODELS[n].origin})" for n in MODELS if report["results"].get(n))
    lines += ["", f"From: {origins}. Packages: {', '.join(report['packages'])}."]
    if unmeasured := [name for name in MODELS if not report["results"].get(name)]:
        lines += ["", f"In the list and not measured: {', '.join(unmeasured)}."]
    lines += ["", f"onnxruntime's calibrators: {', '.join(calibrators)}."]
    if failures:
        lines += ["", "What failed, with its last line:", "", *failures]
    return "\n".join(lines) + "\n"


def _has(results: Mapping[str, Any], who: str) -> bool:
    return "sqnr_db" in results.get(who, {})


def _best_onnxruntime(results: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    kinds = [who for who in results if who.startswith("onnxruntime ") and _has(results, who)]
    if not kinds:
        return {}, "none"
    best = max(kinds, key=lambda who: results[who]["sqnr_db"])
    return results[best], f"{best.removeprefix('onnxruntime ')} of {len(kinds)}"


def _cell(result: Mapping[str, Any], is_best: bool) -> str:
    if "failed" in result:
        return "failed"
    if not result:
        return ""
    text = f"{result['sqnr_db']:.1f}"
    return f"{f'**{text}**' if is_best else text}, {result['judged']:.3f}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
