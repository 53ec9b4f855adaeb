"""A real YOLOv8n, quantized with the defaults, finds what it finds in floats.

    pip download --no-deps --dest $EDGEINFER_ORACLES/wheels nudenet scikit-image

The first wheel carries the detector, which knows faces among others, the second photographs.
"""

from __future__ import annotations

import io

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from edgeinfer.converters import from_onnx
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.oracles.wheels import member, needs_wheels

pytestmark = [pytest.mark.slow, needs_wheels("nudenet", "scikit_image")]

SIZE = 128
# what the model joins last: boxes in pixels beside scores, which 8 bits cannot hold together
BOXES, SCORES = "/model.22/Mul_5_output_0", "/model.22/Sigmoid_output_0"
FOUND = 0.25

FACES = "astronaut"
OTHERS = ("coffee", "chelsea", "motorcycle_left", "coins", "ihc", "gravel")


def photograph(name: str) -> Image.Image:
    data = member("scikit_image", f"skimage/data/{name}.png")
    return Image.open(io.BytesIO(data)).convert("RGB")


def model_input(image: Image.Image, left: int, top: int, side: int) -> np.ndarray:
    cut = image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE))
    return np.asarray(cut, np.float32).transpose(2, 0, 1)[None] / 255


def with_a_face(count: int, seed: int) -> list[np.ndarray]:
    image, rng = photograph(FACES), np.random.default_rng(seed)
    found = []
    for _ in range(count):
        side = int(rng.integers(140, 300))
        left, top = (int(at) - side // 2 + rng.integers(-20, 20) for at in (224, 115))
        found.append(model_input(image, left, max(top, 0), side) * rng.uniform(0.6, 1.0, ()))
    return [picture.astype(np.float32) for picture in found]


def without(count: int, seed: int) -> list[np.ndarray]:
    rng, images = np.random.default_rng(seed), [photograph(name) for name in OTHERS]
    found = []
    for _ in range(count):
        image = images[rng.integers(len(images))]
        side = int(rng.integers(120, min(image.size)))
        left, top = (int(rng.integers(0, extent - side + 1)) for extent in image.size)
        found.append(model_input(image, left, top, side))
    return found


def best(boxes: np.ndarray, scores: np.ndarray) -> tuple[float, int, np.ndarray]:
    """The highest score, its class, and its box as left, top, right, bottom."""
    kind, place = np.unravel_index(scores[0].argmax(), scores[0].shape)
    x, y, width, height = boxes[0, :, place]
    corners = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    return float(scores[0, kind, place]), int(kind), corners


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The boxes' intersection over their union."""
    extent = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(extent, 0)))
    return shared / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


@pytest.mark.parametrize("order", [1, -1], ids=["faces first", "faces last"])
def test_detections_are_kept_whatever_the_order_of_few_that_show_any(order):
    data = member("nudenet", "nudenet/320n.onnx")
    graph = from_onnx(
        onnx.load_from_string(data),
        input_shapes={"images": [1, 3, SIZE, SIZE]},
        outputs=[BOXES, SCORES],
    )
    session = Session(quantize(graph, [*with_a_face(2, 1), *without(30, 2)][::order]))
    peer = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for picture in with_a_face(20, 3):
        (joined,) = peer.run(None, {"images": picture})
        score, kind, box = best(joined[:, :4], joined[:, 4:])
        assert score > 2 * FOUND
        kept = session.run(picture)
        kept_score, kept_kind, kept_box = best(kept[BOXES], kept[SCORES])
        assert (kept_score > FOUND, kept_kind) == (True, kind)
        assert overlap(box, kept_box) > 0.7
