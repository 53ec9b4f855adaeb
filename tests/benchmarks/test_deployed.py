"""The benchmark of packages' models compares boxes, masks and classes, and reads their weights."""

import base64
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def boxes(*corners: tuple[float, float, float, float]):
    """A decoder that finds these, best first, whatever the outputs are."""
    scores = np.linspace(0.9, 0.5, len(corners))
    return np.array(corners, float).reshape(-1, 4), scores, np.zeros(len(corners), int)


def test_boxes_match_once_where_they_cover_half_of_their_union():
    from deployed.judging import same_boxes

    # against the second, a third of the union; against the first, the whole
    judge = same_boxes(lambda one: boxes(*one["y"]))
    wanted = [{"y": [(0, 0, 10, 10), (20, 0, 30, 10)]}]
    assert judge(wanted, wanted) == 1
    assert judge(wanted, [{"y": [(0, 0, 10, 10), (25, 0, 35, 10)]}]) == 0.5
    assert judge(wanted, [{"y": [(0, 0, 10, 10)]}]) == pytest.approx(2 / 3)


def test_a_box_that_a_better_one_covers_is_no_second_find():
    from deployed.judging import suppressed

    kept = suppressed(*boxes((0, 0, 10, 10), (1, 0, 11, 10), (6, 0, 16, 10)))
    assert [tuple(corners) for corners, _ in kept] == [(0, 0, 10, 10), (6, 0, 16, 10)]


def test_yolox_counts_cells_of_its_strides():
    from deployed.judging import yolox

    # 8x8 cells of 8 pixels, 4x4 of 16, 2x2 of 32; the second of the last lies right of the first
    y = np.zeros((1, 64 + 16 + 4, 6), np.float32)
    y[0, 81] = [0.5, 0.5, np.log(2), 0, 0.9, 0.5]
    corners, scores, kinds = yolox("y", 64, 0.1)({"y": y})
    np.testing.assert_allclose(corners, [[48 - 32, 16 - 16, 48 + 32, 16 + 16]])
    np.testing.assert_allclose(scores, [0.45])
    assert kinds.tolist() == [0]


def test_blazeface_counts_two_anchors_a_cell_and_then_six():
    from deployed.judging import blazeface

    y, logits = np.zeros((1, 896, 16), np.float32), np.full((1, 896, 1), -9, np.float32)
    # the second cell of 8 pixels, and the second one of 16
    for place, size in ((3, 4), (512 + 6, 8)):
        y[0, place, :4], logits[0, place] = (1, 2, size, size), 2
    corners, _, _ = blazeface("y", "s", 128, 0.5)({"y": y, "s": logits})
    middles = (corners[:, :2] + corners[:, 2:]) / 2
    assert middles.tolist() == [[12 + 1, 4 + 2], [24 + 1, 8 + 2]]


def test_a_mask_is_judged_over_all_samples():
    from deployed.judging import same_mask

    a = [{"y": np.array([1.0, 1, 0, 0])}, {"y": np.array([1.0, 0, 0, 0])}]
    b = [{"y": np.array([1.0, 0, 0, 0])}, {"y": np.array([1.0, 1, 0, 0])}]
    assert same_mask(0.5)(a, b) == 0.5
    with pytest.raises(AssertionError, match="the float model finds nothing"):
        same_mask(2)(a, a)


def test_the_worst_output_counts():
    from deployed.judging import sqnr_db

    a = [{"x": np.array([10.0]), "y": np.array([1.0])}]
    b = [{"x": np.array([10.1]), "y": np.array([1.1])}]
    assert sqnr_db(a, b) == pytest.approx(20, abs=1e-6)


def test_weights_of_tensorflow_js_are_steps_above_a_least_value():
    from deployed.conversions import _mobilenet_weights

    data = np.arange(12, dtype=np.uint8)
    one = 'dtype:"float32",quantization:{min:-1,scale:.5,dtype:"uint8"}}'
    topology = (
        f'[{{name:"a/kernel",shape:[1,1,2,3],{one},{{name:"b/depthwise_kernel",shape:[1,2,2,1],{one}'
        f',{{name:"c/beta",shape:[2],{one}]'
    )
    shard = f'e.exports="{base64.b64encode(data.tobytes()).decode()}"'
    found = _mobilenet_weights(topology, shard)
    assert found["a.weight"].shape == (3, 2, 1, 1)
    assert found["a.weight"][2, 1].item() == -1 + 5 / 2
    assert found["b.weight"].shape == (2, 1, 1, 2)
    assert found["b.weight"][0].ravel().tolist() == [2, 3]
    assert found["c.bias"].tolist() == [4, 4.5]


def test_a_package_that_is_not_there_is_named(tmp_path):
    from deployed.packages import AbsentError, member, versions

    with zipfile.ZipFile(tmp_path / "some-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some/model.onnx", b"data")
    assert member(tmp_path, "some", "some/model.onnx") == b"data"
    assert versions(tmp_path) == ["some-1.2"]
    with pytest.raises(AbsentError) as refused:
        member(tmp_path, "other", "other/model.onnx")
    assert str(refused.value) == f"{tmp_path} has no other"


def test_a_peer_without_an_environment_has_failed(tmp_path):
    from deployed.contenders import FailedError, outputs

    with pytest.raises(FailedError) as refused:
        outputs("nncf", tmp_path / "m.onnx", tmp_path / "c.npz", np.zeros((1, 2)), None, 1)
    assert str(refused.value) == "nncf is not there"


def test_the_page_has_the_best_8_bits_in_bold_and_says_what_failed():
    from deployed.page import page

    def result(decibels: float) -> dict[str, object]:
        return {"sqnr_db": decibels, "judged": 0.5, "seconds": 1, "samples": 32, "commit": "c"}

    results = {
        "onnxruntime MinMax": result(20),
        "onnxruntime Entropy": result(21),
        "nncf": {"failed": "no such operator", "commit": "d"},
        "edgeinfer int8": result(22.04),
        "edgeinfer int16x8": result(40),
    }
    report = {"results": {"mobilenet_v2": results}, "date": "today", "packages": []}
    written = page(report)
    (line,) = [text for text in written.splitlines() if text.startswith("| mobilenet_v2")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:4] == ["class, 32", "21.0, 0.500", "failed"]
    assert cells[-3:] == ["**22.0**, 0.500", "40.0, 0.500", ""]
    assert "- mobilenet_v2, NNCF: no such operator" in written
    assert "mobilenet_v2 Entropy of 2." in written
    assert "at c and d, today." in written
    assert "In the list and not measured: nudenet_yolov8n, ppocr_v4_detector, " in written


def test_pictures_to_calibrate_and_to_judge_are_different_photographs():
    from deployed.pictures import CALIBRATION, JUDGED, PHOTOGRAPHS

    assert not set(PHOTOGRAPHS[CALIBRATION]) & set(PHOTOGRAPHS[JUDGED])


def test_crops_have_the_size_that_a_model_takes(tmp_path):
    from deployed import pictures
    from PIL import Image

    with zipfile.ZipFile(tmp_path / "scikit_image-1-py3.whl", "w") as wheel:
        for i, name in enumerate(pictures.PHOTOGRAPHS[pictures.JUDGED]):
            data = io.BytesIO()
            Image.new("RGB", (90, 60), (i, 0, 0)).save(data, "PNG")
            wheel.writestr(f"skimage/data/{name}", data.getvalue())
    made = pictures.crops(tmp_path, pictures.JUDGED, 7, 32)
    assert (made.shape, made.dtype) == ((7, 32, 32, 3), np.uint8)
    assert made[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 0]
