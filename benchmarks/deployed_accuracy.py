"""How well int8 and 16 bits keep what models that people deploy find, beside other quantizers.

    python benchmarks/deployed_accuracy.py --packages FOLDER [--models FOLDER] [--peers FOLDER]
        [--only MODEL ...] [--who NAME ...] [-o FILE.json] [--markdown docs/deployed.md]

The models are of packages of PyPI and npm (deployed/packages.py says how FOLDER gets them), which
``--models`` keeps as ONNX: what lies there is not converted again, and needs no TensorFlow.
``--peers`` has a Python environment for each other quantizer, named as its package. FILE.json is
added to; what it has is not measured again, unless ``--again``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import machine
import numpy as np
import onnx
from checkout import commit
from deployed import page, pictures
from deployed.contenders import WHO, FailedError, onnx_outputs, outputs
from deployed.judging import sqnr_db
from deployed.models import MODELS, Deployed
from deployed.packages import AbsentError, versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="where ONNX files are kept")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="environments of others")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--who", nargs="+", choices=WHO, default=list(WHO))
    parser.add_argument("--timeout", type=float, default=900, metavar="S", help="of a peer's run")
    parser.add_argument("--again", action="store_true", help="measure what FILE.json has")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    report: dict[str, Any] = {"results": {}}
    if arguments.output is not None and arguments.output.exists():
        report = json.loads(arguments.output.read_text(encoding="utf-8"))
    report |= {
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "processor": machine.processor(),
        "load": os.getloadavg()[0],
        "packages": versions(arguments.packages),
    }
    with tempfile.TemporaryDirectory() as scratch:
        models = arguments.models or Path(scratch)
        models.mkdir(parents=True, exist_ok=True)
        for name in arguments.only:
            found = report["results"].setdefault(name, {})
            asked = [who for who in arguments.who if arguments.again or who not in found]
            try:
                for who, result in measured(MODELS[name], asked, models, Path(scratch), arguments):
                    found[who] = {**result, "commit": report["commit"]}
                    print(name, who, result, flush=True)
                    if arguments.output is not None:
                        text = json.dumps(report, indent=1) + "\n"
                        arguments.output.write_text(text, encoding="utf-8")
            except AbsentError as error:
                print(f"{name} is not measured: {error}", file=sys.stderr)
    text = page.page(report)
    if arguments.markdown is None:
        print(text)
    else:
        arguments.markdown.write_text(text, encoding="utf-8")


def measured(
    model: Deployed, asked: list[str], models: Path, scratch: Path, arguments: argparse.Namespace
) -> Any:
    """Of each of ``asked``, its name and its result: what was judged, or why it failed."""
    float_model = model.model(arguments.packages, models)
    if not asked:
        return
    path, calibration = scratch / f"{model.name}.onnx", scratch / f"{model.name}.npz"
    onnx.save(float_model, path)
    samples, judged = (
        model.samples(arguments.packages, which)
        for which in (pictures.CALIBRATION, pictures.JUDGED)
    )
    np.savez(calibration, **{float_model.graph.input[0].name: samples})
    reference = onnx_outputs(path, judged)
    for who in asked:
        start = time.perf_counter()
        try:
            given = outputs(who, path, calibration, judged, arguments.peers, arguments.timeout)
        except FailedError as error:
            yield who, {"failed": str(error)}
            continue
        yield (
            who,
            {
                "sqnr_db": sqnr_db(reference, given),
                "judged": model.judge(reference, given),
                "seconds": time.perf_counter() - start,
                "samples": len(judged),
            },
        )


if __name__ == "__main__":
    main()
