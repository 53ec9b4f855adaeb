"""Embeds a quantized model the way a device does: raw integers in and out, buffers made once.

edgeinfer demo -o . && python examples/embed.py digits.eqm digits_test.npz
"""

import sys
from pathlib import Path

import numpy as np

import edgeinfer


def main(model: Path, data: Path) -> None:
    session = edgeinfer.load(model, num_threads=1)
    (image,), (scores,) = session.inputs, session.outputs
    with np.load(data) as samples:
        pixels, labels = samples[image.name].astype(np.float32), samples["y"]

    # what a sensor's driver would do: integers at the model's own scale
    raw = np.rint(pixels / np.float32(image.scale)) + image.zero_point
    raw = np.clip(raw, -128, 127).astype(image.dtype)

    out = np.empty(scores.shape, scores.dtype)
    right = 0
    for sample, label in zip(raw, labels, strict=True):
        session.run(sample[None], out=out)  # one call into C; nothing is allocated
        right += int(out.argmax() == label)
    print(f"{right} of {len(labels)} right, in {session.arena_bytes} bytes of working memory")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
