"""How alike what two models find is: outputs of the float model beside those of an integer one.

Outputs are dictionaries by name, one for each sample. A judge gives a share of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Outputs = Mapping[str, np.ndarray]
Judge = Callable[[Sequence[Outputs], Sequence[Outputs]], float]
Boxes = Callable[[Outputs], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Corners ``[n, 4]``, scores ``[n]`` and classes ``[n]`` of what is above the threshold."""

_SAME = 0.5  # of two boxes' union
_SUPPRESSED = 0.45


def sqnr_db(reference: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """Signal to noise over all samples, of the output that has the least."""
    least = float("inf")
    for name in reference[0]:
        a = np.stack([one[name] for one in reference]).astype(np.float64)
        b = np.stack([one[name] for one in found]).astype(np.float64)
        noise = ((a - b) ** 2).sum()
        if noise:
            least = min(least, 10 * float(np.log10((a**2).sum() / noise)))
    return least


def same_class(reference: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """The share of places along the last axis with the same largest score."""
    shares = [
        (a[name].argmax(-1) == b[name].argmax(-1)).mean()
        for a, b in zip(reference, found, strict=True)
        for name in a
    ]
    return float(np.mean(shares))


def same_mask(threshold: float) -> Judge:
    """Intersection over union, over all samples, of what lies above ``threshold``."""

    def judge(reference: Sequence[Outputs], found: Sequence[Outputs]) -> float:
        both = either = 0
        for a, b in zip(reference, found, strict=True):
            (p,), (q,) = ([x > threshold for x in one.values()] for one in (a, b))
            both, either = both + int((p & q).sum()), either + int((p | q).sum())
        assert either, "the float model finds nothing"
        return both / either

    return judge


def near(output: str, distance: float) -> Judge:
    """The share of numbers of ``output`` that are off by ``distance`` at most."""

    def judge(reference: Sequence[Outputs], found: Sequence[Outputs]) -> float:
        pairs = zip(reference, found, strict=True)
        return float(np.mean([np.abs(a[output] - b[output]) <= distance for a, b in pairs]))

    return judge


def same_boxes(boxes: Boxes) -> Judge:
    """F1 of boxes: those of the same class that cover half of their union, best scores first."""

    def judge(reference: Sequence[Outputs], found: Sequence[Outputs]) -> float:
        matched = total = 0
        for a, b in zip(reference, found, strict=True):
            wanted, given = suppressed(*boxes(a)), suppressed(*boxes(b))
            total += len(wanted) + len(given)
            free = list(range(len(wanted)))
            for corners, kind in given:
                fits = [(overlap(corners, wanted[i][0]), i) for i in free if wanted[i][1] == kind]
                best, i = max(fits, default=(0.0, -1))
                if best >= _SAME:
                    matched += 1
                    free.remove(i)
        assert total, "neither model finds anything"
        return 2 * matched / total

    return judge


def suppressed(
    corners: np.ndarray, scores: np.ndarray, kinds: np.ndarray
) -> list[tuple[np.ndarray, int]]:
    """The boxes, best first, that no better one of their class covers."""
    kept: list[tuple[np.ndarray, int]] = []
    for i in np.argsort(-scores, kind="stable"):
        kind = int(kinds[i])
        covered = (overlap(corners[i], b) for b, other in kept if other == kind)
        if all(share <= _SUPPRESSED for share in covered):
            kept.append((corners[i], kind))
    return kept


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The intersection of two boxes over their union."""
    extent = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    shared = float(np.prod(extent))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / union if union > 0 else 0.0


def _corners(x: np.ndarray, y: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1)


def yolov8(boxes: str, scores: str, threshold: float) -> Boxes:
    """Middles and sizes ``[1, 4, places]`` in pixels beside scores ``[1, classes, places]``."""

    def decode(outputs: Outputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        s = outputs[scores][0]
        kinds, best = s.argmax(0), s.max(0)
        kept = best > threshold
        return _corners(*outputs[boxes][0])[kept], best[kept], kinds[kept]

    return decode


def yolox(output: str, size: int, threshold: float) -> Boxes:
    """``[1, places, 5 + classes]``: middles and sizes by strides of 8, 16, 32, and two scores."""
    grids, strides = [], []
    for stride in (8, 16, 32):
        rows, columns = np.divmod(np.arange((size // stride) ** 2), size // stride)
        grids.append(np.stack([columns, rows], -1))
        strides.append(np.full(len(rows), stride))
    grid, step = np.concatenate(grids), np.concatenate(strides)

    def decode(outputs: Outputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y = outputs[output][0]
        middles = (y[:, :2] + grid) * step[:, None]
        width, height = (np.exp(y[:, 2:4]) * step[:, None]).T
        s = y[:, 4:5] * y[:, 5:]
        kept = s.max(1) > threshold
        corners = _corners(*middles.T, width, height)
        return corners[kept], s.max(1)[kept], s.argmax(1)[kept]

    return decode


def blazeface(boxes: str, logits: str, size: int, threshold: float) -> Boxes:
    """Pixels from anchors ``[1, 896, 16]``, middle and size first; logits ``[1, 896, 1]``."""
    anchors = []
    for stride, each in ((8, 2), (16, 6)):
        rows, columns = np.divmod(np.arange((size // stride) ** 2), size // stride)
        middles = (np.stack([columns, rows], -1) + 0.5) * stride
        anchors.append(np.repeat(middles, each, 0))
    anchor = np.concatenate(anchors)

    def decode(outputs: Outputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y = outputs[boxes][0]
        s = outputs[logits][0, :, 0]
        kept = s > np.log(threshold / (1 - threshold))
        corners = _corners(*(y[:, :2] + anchor).T, *y[:, 2:4].T)
        return corners[kept], s[kept], np.zeros(int(kept.sum()), int)

    return decode
