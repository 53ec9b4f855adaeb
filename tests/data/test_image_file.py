"""Every kind of image is read as a viewer shows it, or refused in one sentence, within bounds."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgeinfer.data.image_file import MOST_PIXELS, SUFFIXES, read_image
from edgeinfer.errors import InputError
from tests.data.image_files import deflated_zeros, jpeg_of_scans, png, ramp, tiff
from tests.refusals import refused

ROOT = Path(__file__).parents[2]
UNKNOWN = "holds numbers of no known range; give them as an .npy"
TOO_LARGE = "has more than 54,000,000 pixels; scale it down"


def shown(path: Path, content: bytes, mode: str = "RGB") -> np.ndarray:
    path.write_bytes(content)
    return np.asarray(read_image(path, mode))


def packed(code: str, *numbers: float) -> bytes:
    return struct.pack(f"{code[0]}{len(numbers)}{code[1:]}", *numbers)


LINES = [ramp(">")[i : i + 512] for i in range(0, 1 << 17, 512)]
TRIPLES = [np.repeat(np.frombuffer(line, ">u2"), 3).tobytes() for line in LINES]
RAMPS = {
    "grey.png": png(256, LINES, 16, 0),
    "grey with alpha.png": png(
        256, [np.insert(np.frombuffer(x, ">u2"), range(1, 257), 65535).tobytes() for x in LINES],
        16, 4,
    ),
    "colour.png": png(256, TRIPLES, 16, 2),
    "little.tiff": tiff(256, 256, ramp("<"), [16]),
    "big.tiff": tiff(256, 256, ramp(">"), [16], order=">"),
    "inverted.tiff": tiff(256, 256, ramp("<"), [16], photometric=0),
    "colour.tiff": tiff(256, 256, np.repeat(np.frombuffer(ramp("<"), "<u2"), 3).tobytes(),
                        [16] * 3, photometric=2),
    "grey.pgm": b"P5 256 256 65535\n" + ramp(">"),
    "colour.ppm": b"P6 256 256 65535\n" + b"".join(TRIPLES),
}  # fmt: skip


@pytest.mark.parametrize("name", RAMPS)
def test_sixteen_bits_are_scaled_not_cut(tmp_path, name):
    for mode in ("L", "RGB"):
        levels = shown(tmp_path / name, RAMPS[name], mode)
        assert levels.mean() == 127.5
        counts = np.bincount(levels.ravel()) * (3 if mode == "L" else 1)
        # rounded, the two ends are half as wide as the others; cut after 8 bits, all are equal
        assert len(counts) == 256 and set(counts[1:-1]) <= {3 * 256, 3 * 257}


GREY_ALPHA, PALETTE = 4, 3
KINDS: dict[str, tuple[bytes, list[int] | list[list[int]]]] = {
    "1 bit.png": (png(3, [b"\x40"], 1, 0), [0, 255, 0]),
    "2 bits.png": (png(4, [b"\x1b"], 2, 0), [0, 85, 170, 255]),
    "4 bits.png": (png(2, [b"\x1e"], 4, 0), [17, 238]),
    "12 bits.tiff": (tiff(2, 1, b"\xff\xf8\x00", [12]), [255, 128]),
    "10 bits.pgm": (b"P5 3 1 1023\n" + packed(">H", 0, 511, 1023), [0, 127, 255]),
    "text.pgm": (b"P2 3 1 1023\n0 511 1023\n", [0, 127, 255]),
    "4 bits.pgm": (b"P5 3 1 15\n" + bytes([0, 7, 15]), [0, 119, 255]),
    "white is zero.tiff": (tiff(3, 1, bytes([0, 1, 255]), [8], photometric=0), [255, 254, 0]),
    "grey and alpha.png": (png(2, [bytes([10, 255, 10, 0])], 8, GREY_ALPHA), [10, 255]),
    "grey and alpha.tiff": (tiff(2, 1, bytes([10, 255, 10, 0]), [8] * 2, extra=2), [10, 255]),
    "wide alpha.png": (png(2, [packed(">H", 2570, 65535, 9, 0)], 16, GREY_ALPHA), [10, 255]),
    "alpha multiplied in.tiff": (
        tiff(1, 1, bytes([0, 64, 128, 128]), [8] * 4, photometric=2, extra=1),
        [[127, 191, 255]],
    ),
    "a palette's alpha.png": (
        png(2, [b"\0\1"], 8, PALETTE, (b"PLTE", bytes([9, 9, 9, 7, 7, 7])), (b"tRNS", b"\0\xff")),
        [255, 7],
    ),
    "cyan, magenta, yellow, black.tiff": (
        tiff(1, 1, bytes([0, 64, 128, 128]), [8] * 4, photometric=5),
        [[127, 95, 63]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_what_a_viewer_shows(tmp_path, name):
    content, expected = KINDS[name]
    colours = [[each] * 3 if isinstance(each, int) else each for each in expected]
    assert shown(tmp_path / name, content)[0].tolist() == colours


@pytest.mark.parametrize(
    ("depth", "row", "value", "expected"),
    [
        (1, b"\x40", 1, [0, 255]),
        (1, b"\x40", 0, [255, 255]),
        (2, b"\x10", 1, [0, 255]),
        (4, b"\x1e", 1, [255, 238]),
        (8, bytes([10, 20]), 10, [255, 20]),
        (16, packed(">H", 2570, 5140), 2570, [255, 20]),
    ],
)
def test_the_one_transparent_value_of_a_grey_png_is_white(tmp_path, depth, row, value, expected):
    content = png(2, [row], depth, 0, (b"tRNS", packed(">H", value)))
    assert shown(tmp_path / "a.png", content, "L")[0].tolist() == expected


@pytest.mark.parametrize("depth", [8, 16])
def test_the_one_transparent_colour_of_a_png_is_white(tmp_path, depth):
    scale, code = (1, ">B") if depth == 8 else (257, ">H")
    row = packed(code, *(scale * n for n in (10, 20, 30, 10, 20, 31)))
    key = packed(">H", *(scale * n for n in (10, 20, 30)))
    given = shown(tmp_path / "a.png", png(2, [row], depth, 2, (b"tRNS", key)))
    assert given[0].tolist() == [[255, 255, 255], [10, 20, 31]]


REFUSED = {
    "floats": tiff(3, 1, packed("<f", 0, 0.5, 1), [32], sample_format=3),
    "signed, 8 bits": tiff(3, 1, packed("<b", -1, 0, 1), [8], sample_format=2),
    "signed, 16 bits": tiff(3, 1, packed("<h", 0, 1, 32767), [16], sample_format=2),
    "32 bits": tiff(3, 1, packed("<I", 0, 1, 65535), [32]),
    "signed, 32 bits": tiff(3, 1, packed("<i", 0, 1, 65535), [32], sample_format=2),
    "PFM": b"Pf 3 1 -1\n" + packed("<f", 0, 0.5, 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_of_no_known_range_wrong(tmp_path, name):
    path = tmp_path / "a.tiff"
    with refused(f"{path} {UNKNOWN}", InputError):
        shown(path, REFUSED[name])


def turned(mode: str, suffix: str, orientation: int, pixels: np.ndarray) -> bytes:
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
    elif mode != "L":
        image = image.convert(mode)
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    how = {"jpeg": {"quality": 100}, "webp": {"lossless": True}}.get(suffix, {})
    image.save(file, suffix, exif=exif, **how)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *((mode, "png") for mode in ("1", "L", "LA", "P", "I;16", "RGB", "RGBA")),
        *((mode, "tiff") for mode in ("L", "I;16", "RGBA")),
        ("L", "jpeg"),
        ("RGB", "webp"),
    ],
)
def test_every_kind_is_turned_as_its_camera_says(tmp_path, mode, suffix, orientation):
    pixels = np.zeros((16, 24), np.uint8)
    pixels[:8, :8] = 255  # one corner, of whole blocks of a JPEG
    image = Image.fromarray(pixels)
    image.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    given = shown(tmp_path / f"a.{suffix}", turned(mode, suffix, orientation, pixels), "L")
    np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("suffix", ["gif", "png", "tiff", "webp"])
def test_of_several_images_in_a_file_the_first_is_read(tmp_path, suffix):
    first, second = (Image.new("RGB", (4, 3), colour) for colour in ("red", "blue"))
    path = tmp_path / f"a.{suffix}"
    how = {"lossless": True} if suffix == "webp" else {}
    first.save(path, save_all=True, append_images=[second], **how)
    assert np.asarray(read_image(path, "RGB")).tolist() == [[[255, 0, 0]] * 4] * 3


def test_pixels_that_are_converted_in_strips_are_those_of_the_whole(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (37, 21, 4), np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    whole = [np.asarray(read_image(path, mode)) for mode in ("L", "RGB")]
    monkeypatch.setattr("edgeinfer.data.image_file._STRIP", 50)
    strips = [np.asarray(read_image(path, mode)) for mode in ("L", "RGB")]
    for a, b in zip(whole, strips, strict=True):
        np.testing.assert_array_equal(a, b)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def test_a_file_that_another_program_would_draw_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *given: pytest.fail("it ran"))
    path = tmp_path / "a.png"
    path.write_bytes(EPS)
    with Image.open(path) as file:
        assert file.format == "EPS"
    message = (
        f"{path} is not an image that can be read: it is no BMP, GIF, JPEG, PNG, PPM, TIFF or "
        "WEBP, or it is damaged"
    )
    with refused(message, InputError):
        read_image(path, "L")


HUGE = {
    "just.png": png(9000, [bytes(9000)], 8, 0, height=6001),
    "huge.png": png(1 << 20, [bytes(9)], 8, 0, height=1 << 20),
    "huge.tiff": tiff(1 << 16, 1 << 16, b"", [8]),
    "huge.pgm": b"P5 100000 100000 255\n",
    "huge.bmp": b"BM" + struct.pack("<IIIIiiHH", 54, 0, 54, 40, 60000, 60000, 1, 24) + bytes(24),
    "huge.gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b","
    + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x01\0\0;",
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path, name):
    path = tmp_path / name
    begun = time.process_time()
    with warnings.catch_warnings(), refused(f"{path} {TOO_LARGE}", InputError):
        warnings.simplefilter("error")
        shown(path, HUGE[name])
    assert time.process_time() - begun < 1


def test_a_jpeg_of_more_scans_than_any_needs_wrong(tmp_path):
    file = io.BytesIO()
    Image.new("L", (4000, 4000), 7).save(file, "jpeg", progressive=True)
    path = tmp_path / "a.jpg"
    own = file.getvalue().count(b"\xff\xda")
    assert shown(path, jpeg_of_scans(file.getvalue(), 100)).max() == 7
    content = jpeg_of_scans(file.getvalue(), 10_000)
    message = f"{path} is a JPEG of {10_000 + own:,} scans, which is more work than any image is"
    begun = time.process_time()
    with refused(message, InputError):
        shown(path, content)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".jpg", ".pgm", ".tif"}))
def test_an_image_that_ends_early_is_refused(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels).save(path)
    content, whole = path.read_bytes(), np.asarray(read_image(path, "RGB"))
    # what is missing at last, the mark of a PNG's end, is no pixel
    for length in range(0, len(content) - 16, len(content) // 20):
        with pytest.raises(InputError, match=f"^{path} is not an image that can be read: "):
            shown(path, content[:length])
    assert (shown(path, content) == whole).all()


def test_there_may_be_too_little_memory_for_an_image(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("L", (4, 3)).save(path)

    def exhausted(*given):
        raise MemoryError

    monkeypatch.setattr("edgeinfer.data.image_file._flat", exhausted)
    with refused(f"{path} takes more memory than there is", InputError):
        read_image(path, "L")


WITHIN = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image, WebPImagePlugin, TiffImagePlugin
from edgeinfer.data import load_data
from tests.data_graphs import taking
from tests.memory_limit import GIB, limit_memory

limit_memory(GIB)
(feed,) = load_data(Path(sys.argv[1]), taking(x=(1, 32, 32, 3))).samples
print(feed["x"].shape)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize("name", ["a.tiff", "a.webp", "a.png"])
def test_the_largest_images_of_small_files_take_less_than_a_gib_and_ten_seconds(tmp_path, name):
    width, height = 9000, 6000
    path = tmp_path / name
    if name == "a.tiff":  # its decoder holds 16 bits a channel of all pixels at once
        pixels = deflated_zeros(8 * width * height)
        kind = {"photometric": 2, "extra": 2, "orientation": 6, "deflated": True}
        path.write_bytes(tiff(width, height, pixels, [16] * 4, **kind))
    else:
        exif = Image.Exif()
        exif[274] = 6
        Image.new("RGBA", (width, height)).save(path, exif=exif, lossless=True, compress_level=1)
    assert width * height == MOST_PIXELS and path.stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-W", "ignore", "-c", WITHIN, path]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (ran.stdout, ran.returncode) == ("(1, 32, 32, 3)\n", 0), ran.stderr
    assert after.ru_utime - before.ru_utime < 10
