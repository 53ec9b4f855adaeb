"""How much the draw of the calibration samples matters: the zoo in int8 by five of them.

    EDGEINFER_ZOO=DIR python benchmarks/calibration_draws.py [ENTRY ...] [--observer NAME]
        [--rounding-weights NAME]

Of an entry's calibration samples and every second one of its others, 100 are drawn five times, and
every result is judged by the rest of the others. Prints Markdown: the output SQNR by each draw, and
how far the best is from the worst.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from zoo_accuracy import ENTRIES, float_outputs, sqnr_db
from zoo_folder import load

from edgeinfer.converters import from_onnx
from edgeinfer.quant import DEFAULT_OBSERVER, DEFAULT_ROUNDING, OBSERVERS, WAYS, quantize
from edgeinfer.runtime.session import Session

_DRAWS, _DRAWN = 5, 100

# of each half of an entry's evaluation samples, so many at most
_MOST = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("entries", nargs="*", default=ENTRIES)
    parser.add_argument(
        "--observer", choices=(DEFAULT_OBSERVER, *OBSERVERS), default=DEFAULT_OBSERVER
    )
    parser.add_argument(
        "--rounding-weights", choices=(DEFAULT_ROUNDING, *WAYS), default=DEFAULT_ROUNDING
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| entry | SQNR of each draw, dB | apart, dB |")
    print("|---|---|---|")
    for name in arguments.entries:
        entry = load(name)
        pool = np.concatenate([entry.calib, entry.x[::2][:_MOST]])
        x = entry.x[1::2][:_MOST]
        reference = float_outputs(entry.model, entry.input, x)
        floats = from_onnx(entry.model)
        found = []
        for seed in range(_DRAWS):
            integer = quantize(
                floats,
                pool,
                samples=_DRAWN,
                seed=seed,
                observer=arguments.observer,
                rounding_weights=arguments.rounding_weights,
            )
            session = Session(integer)
            batches = [x] if floats.free_batch else np.split(x, len(x))
            y = np.concatenate([session.run(batch) for batch in batches])
            found.append(sqnr_db(reference, y))
        each = ", ".join(f"{value:.1f}" for value in found)
        print(f"| {name} | {each} | {max(found) - min(found):.1f} |", flush=True)


if __name__ == "__main__":
    main()
