"""Samples as models take them: crops of scikit-image's photographs, lines of text, digits.

Calibration and judgement have different photographs, faces and texts. What is drawn at random has
a seed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deployed.packages import member

CALIBRATION, JUDGED = 0, 1
"""The two sets; also their seeds."""

PHOTOGRAPHS = (
    ("coffee.png", "chelsea.png", "motorcycle_left.png", "ihc.png", "gravel.png", "camera.png"),
    ("astronaut.png", "rocket.jpg", "coins.png", "retina.jpg", "grass.png", "brick.png"),
)
FACE = (224, 115)
"""Where astronaut.png, the one photograph of a face, has its middle: column and row."""
_TEXT_PAGES = ("text.png", "page.png")
_WORDS = (
    ("integer", "weight", "nearest", "bound", "scale", "kernel", "channel", "window"),
    ("Quantized", "models", "run", "where", "floats", "cannot", "at", "25", "frames", "1984"),
)


def photograph(folder: Path, name: str) -> Image.Image:
    """A photograph of scikit-image's wheel."""
    data = member(folder, "scikit_image", f"skimage/data/{name}")
    return Image.open(io.BytesIO(data)).convert("RGB")


def crops(folder: Path, which: int, count: int, size: int) -> np.ndarray:
    """Squares of photographs, uint8 ``[count, size, size, 3]``."""
    images = [photograph(folder, name) for name in PHOTOGRAPHS[which]]
    rng = np.random.default_rng(which)
    return np.stack([_square(images[i % len(images)], rng, size) for i in range(count)])


def _square(image: Image.Image, rng: np.random.Generator, size: int) -> np.ndarray:
    side = int(rng.integers(min(image.size) // 3, min(image.size)))
    left, top = (int(rng.integers(0, extent - side + 1)) for extent in image.size)
    return np.asarray(image.crop((left, top, left + side, top + side)).resize((size, size)))


def people(folder: Path, which: int, count: int, size: int) -> np.ndarray:
    """Pictures of people, every fourth of something else; uint8 ``[count, size, size, 3]``.

    To judge, crops around the face of astronaut.png, brighter and darker; to calibrate, faces of
    Labeled Faces in the Wild, which are small and grey, on photographs.
    """
    others, rng = crops(folder, which, count, size), np.random.default_rng(which + 10)
    faces = np.load(io.BytesIO(member(folder, "scikit_image", "skimage/data/lfw_subset.npy")))
    astronaut = photograph(folder, "astronaut.png")
    found = []
    for i, other in enumerate(others):
        if i % 4 == 3:
            found.append(other)
        elif which == JUDGED:
            side = int(rng.integers(130, 300))
            left, top = (at - side // 2 + int(rng.integers(-20, 20)) for at in FACE)
            top = max(top, 0)
            cut = astronaut.crop((left, top, left + side, top + side)).resize((size, size))
            found.append((np.asarray(cut) * rng.uniform(0.6, 1)).astype(np.uint8))
        else:
            side = int(rng.integers(size // 3, size))
            grey = Image.fromarray((faces[i] * 255).astype(np.uint8)).resize((side, side))
            canvas = Image.fromarray(other)
            at = [int(rng.integers(0, size - side + 1)) for _ in range(2)]
            canvas.paste(grey.convert("RGB"), (at[0], at[1]))
            found.append(np.asarray(canvas))
    return np.stack(found)


def close_faces(folder: Path, which: int, count: int, size: int) -> np.ndarray:
    """Faces that fill the picture, from where ``people`` has them; uint8."""
    rng = np.random.default_rng(which + 20)
    faces = np.load(io.BytesIO(member(folder, "scikit_image", "skimage/data/lfw_subset.npy")))
    astronaut = photograph(folder, "astronaut.png")
    found = []
    for i in range(count):
        if which == CALIBRATION:
            cut = Image.fromarray((faces[i] * 255).astype(np.uint8)).convert("RGB")
        else:
            side = int(rng.integers(110, 170))
            left, top = (at - side // 2 + int(rng.integers(-8, 8)) for at in FACE)
            cut = astronaut.crop((left, top, left + side, top + side))
        found.append(np.asarray(cut.resize((size, size))))
    return np.stack(found)


def pages(folder: Path, which: int, count: int, size: int) -> np.ndarray:
    """Crops of text: of text.png to calibrate, of page.png to judge, and words on photographs."""
    rng = np.random.default_rng(which + 30)
    page = photograph(folder, _TEXT_PAGES[which])
    found = []
    for i, other in enumerate(crops(folder, which, count, size)):
        if i % 2:
            side = int(rng.integers(min(page.size) // 2, min(page.size)))
            left, top = (int(rng.integers(0, extent - side + 1)) for extent in page.size)
            cut = page.crop((left, top, left + side, top + side)).resize((size, size))
            found.append(np.asarray(cut))
            continue
        canvas = Image.fromarray(other)
        for _ in range(4):
            at = (int(rng.integers(0, size // 2)), int(rng.integers(0, size - 40)))
            _write(canvas, at, _words(rng, which, 2), int(rng.integers(14, 34)), rng)
        found.append(np.asarray(canvas))
    return np.stack(found)


def lines(which: int, count: int, height: int, width: int) -> np.ndarray:
    """Lines of text, dark on light and light on dark; uint8."""
    rng = np.random.default_rng(which + 40)
    found = []
    for i in range(count):
        back = np.clip(rng.normal(0, 6, (height, width, 3)) + rng.integers(150, 250), 0, 255)
        canvas = Image.fromarray(back.astype(np.uint8))
        size = int(rng.integers(height // 2, height * 3 // 4))
        draw = ImageDraw.Draw(canvas)
        draw.text((6, 4), _words(rng, which, 3), fill=(20, 20, 40), font=_font(size))
        array = np.asarray(canvas)
        found.append(255 - array if i % 3 == 2 else array)
    return np.stack(found)


def characters(folder: Path, which: int, count: int, size: int) -> np.ndarray:
    """Single characters on photographs, as puzzles for people have them; uint8."""
    rng = np.random.default_rng(which + 50)
    alphabet: Sequence[str] = ("ABCDEFGHKLMN23456", "PQRSTUVWXYZ789abd")[which]
    found = []
    for other in crops(folder, which, count, size):
        canvas = Image.fromarray(other)
        for column in range(3):
            at = (20 + column * size // 3, int(rng.integers(0, size - 110)))
            character = alphabet[int(rng.integers(len(alphabet)))]
            _write(canvas, at, character, int(rng.integers(50, 100)), rng)
        found.append(np.asarray(canvas))
    return np.stack(found)


def digits(which: int, count: int) -> np.ndarray:
    """scikit-learn's digits, enlarged from 8x8; float32 ``[count, 1, 64, 64]`` from 0 to 1."""
    from sklearn.datasets import load_digits

    some = load_digits().images[which * count : (which + 1) * count].astype(np.float32) / 16
    enlarged = [Image.fromarray(x).resize((64, 64), Image.Resampling.BILINEAR) for x in some]
    return np.stack([np.asarray(x)[None] for x in enlarged])


def _words(rng: np.random.Generator, which: int, count: int) -> str:
    return " ".join(rng.choice(_WORDS[which], count))


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _write(
    canvas: Image.Image, at: tuple[int, int], text: str, size: int, rng: np.random.Generator
) -> None:
    fill = tuple(int(part) for part in rng.integers(0, 256, 3))
    ImageDraw.Draw(canvas).text(at, text, fill=fill, font=_font(size), stroke_width=size // 30)
