"""Boxes that overlap are suppressed as by onnxruntime; rows that are left over hold -1, and 0 is
gathered by them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from onnx import TensorProto

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.converters import from_onnx
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import model, node, onnxruntime_values
from tests.refusals import refused

RNG = np.random.default_rng(17)
SIDE = 640.0


def images(count, samples, boxes, classes):
    """Boxes of up to a quarter of the image, many of them near another, and scores."""
    objects = RNG.random((5, 2))[RNG.integers(0, 5, (count, samples, boxes))]
    centres = objects + RNG.normal(0, 0.03, objects.shape)
    sizes = RNG.uniform(0.05, 0.25, (count, samples, boxes, 2))
    corners = np.concatenate([centres - sizes / 2, centres + sizes / 2], -1) * SIDE
    return [
        {"boxes": b.astype("f4"), "scores": s.astype("f4")}
        for b, s in zip(corners, RNG.random((count, samples, classes, boxes)), strict=True)
    ]


def suppression(samples, boxes, classes, most=4, overlap=0.45, above=0.3, **attributes):
    constants = {"k": np.array([most]), "iou": np.array([overlap], "f4")}
    names = ["boxes", "scores", "k", "iou"]
    if above is not None:
        constants["least"] = np.array([above], "f4")
        names.append("least")
    return model(
        [node("NonMaxSuppression", names, ["y"], **attributes)],
        constants=constants,
        inputs={"boxes": (samples, boxes, 4), "scores": (samples, classes, boxes)},
    )


@pytest.mark.parametrize("centered", [0, 1])
@pytest.mark.parametrize(
    ("samples", "boxes", "classes", "most", "overlap", "above"),
    [(1, 40, 1, 5, 0.45, 0.3), (2, 30, 3, 100, 0.6, 0.5), (1, 20, 2, 2**62, 0.0, None)],
)
def test_what_stays_is_what_onnxruntime_keeps(
    centered, samples, boxes, classes, most, overlap, above
):
    proto = suppression(samples, boxes, classes, most, overlap, above, center_point_box=centered)
    graph = from_onnx(proto)
    for feeds in images(20, samples, boxes, classes):
        expected = onnxruntime_values(proto, feeds, ["y"])["y"]
        found = execute(graph, feeds)["y"]
        assert found.shape == (samples * classes * min(most, boxes), 3)
        np.testing.assert_array_equal(found[: len(expected)], expected)
        assert (found[len(expected) :] == -1).all()


def test_boxes_that_a_file_holds_have_as_many_rows_as_stay():
    feeds = images(1, 1, 30, 2)[0]
    proto = suppression(1, 30, 2)
    expected = onnxruntime_values(proto, feeds, ["y"])["y"]
    known = model(
        [
            *proto.graph.node,
            node("Cast", ["y"], ["f"], to=TensorProto.FLOAT),
            node("Add", ["x", "f"], ["z"]),
        ],
        (1,),
        {
            **feeds,
            "k": np.array([4]),
            "iou": np.array([0.45], "f4"),
            "least": np.array([0.3], "f4"),
        },
        outputs=["z"],
    )
    assert from_onnx(known).types["z"].shape == expected.shape


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("isa", SUPPORTED)
def test_integers_are_exact_to_the_ends_of_16_bits(isa, centered):
    far = np.array([-32768, -32767, -1, 0, 1, 32766, 32767])
    boxes = RNG.choice(far, (1, 60, 4)).astype(np.int16)
    boxes[0, 30:] = np.clip(boxes[0, :30].astype(int) + RNG.integers(-2, 3, (30, 4)), -32768, 32767)
    scores = RNG.integers(-128, 128, (1, 1, 60)).astype(np.int8)
    b = GraphBuilder("boxes")
    one = Quantization.per_tensor(1.0)
    names = [
        b.input(name, TensorType(a.shape, str(a.dtype), one))
        for name, a in (("boxes", boxes), ("scores", scores))
    ]
    for i, overlap in enumerate((0.0, 0.5, 1 - 2**-30, 1.0)):
        op = ops.NonMaxSuppression(60, math.floor(overlap * fixedpoint.WHOLE), -129, centered)
        b.add(op, *names, output=f"y{i}")
    graph = b.graph("y0", "y1", "y2", "y3")
    feeds = {"boxes": boxes, "scores": scores}
    expected = reference.execute(graph, feeds)
    # of Python's integers none is too large
    for i, overlap in enumerate((0.0, 0.5, 1 - 2**-30, 1.0)):
        np.testing.assert_array_equal(
            expected[f"y{i}"], by_python(boxes[0], scores[0, 0], overlap, centered)
        )
    found = Session(graph, isa=isa).run(feeds)
    for name, rows in expected.items():
        np.testing.assert_array_equal(found[name], rows)


def by_python(boxes, scores, overlap, centered):
    def corners(box):
        y1, x1, y2, x2 = (2 * int(v) for v in box)
        if centered:
            return y1 - y2 // 2, x1 - x2 // 2, y1 + y2 // 2, x1 + x2 // 2
        return min(y1, y2), min(x1, x2), max(y1, y2), max(x1, x2)

    def area(top, left, bottom, right):
        return max(0, bottom - top) * max(0, right - left)

    kept = []
    for place in sorted(range(len(boxes)), key=lambda i: (-int(scores[i]), i)):
        own = corners(boxes[place])
        for other in (corners(boxes[i]) for i in kept):
            shared = area(*map(max, own[:2], other[:2]), *map(min, own[2:], other[2:]))
            union = area(*own) + area(*other) - shared
            if shared * 2**30 > math.floor(overlap * 2**30) * union:
                break
        else:
            kept.append(place)
    rows = np.full((len(boxes), 3), -1)
    rows[: len(kept)] = [(0, 0, place) for place in kept]
    return rows


# from [1, S, 4 + C] of a detector to rows of sample, box, class and score, as YOLO's exports do it
HEAD = [
    node("Split", ["x", "parts"], ["boxes", "by_box"], axis=2),
    node("Transpose", ["by_box"], ["scores"], perm=[0, 2, 1]),
    node("NonMaxSuppression", ["boxes", "scores", "k", "iou", "least"], ["kept"]),
    node("Gather", ["kept", "c0"], ["sample"], axis=1),
    node("Gather", ["kept", "c1"], ["class"], axis=1),
    node("Gather", ["kept", "c2"], ["place"], axis=1),
    node("Concat", ["sample", "place"], ["where"], axis=1),
    node("GatherND", ["boxes", "where"], ["box"]),
    node("GatherND", ["scores", "kept"], ["score"]),
    node("Unsqueeze", ["score", "c1"], ["scored"]),
    node("Cast", ["sample"], ["number"], to=TensorProto.FLOAT),
    node("Cast", ["class"], ["label"], to=TensorProto.FLOAT),
    node("Concat", ["number", "box", "label", "scored"], ["y"], axis=1),
]
BOXES, CLASSES = 30, 3
HEAD_CONSTANTS = {
    "parts": np.array([4, CLASSES]),
    "k": np.array([12]),
    "iou": np.array([0.45], "f4"),
    "least": np.array([0.5], "f4"),
    **{f"c{i}": np.array([i]) for i in range(3)},
}


def head_samples(count):
    return [
        {"x": np.concatenate([v["boxes"], SIDE * v["scores"].transpose(0, 2, 1)], -1)}
        for v in images(count, 1, BOXES, CLASSES)
    ]


def test_a_detectors_head_ends_in_boxes():
    constants = {**HEAD_CONSTANTS, "least": np.array([0.5 * SIDE], "f4")}
    proto = model(HEAD, (1, BOXES, 4 + CLASSES), constants)
    graph = from_onnx(proto)
    samples = head_samples(30)
    session = Session(quantize(graph, samples, scheme="int8", observer="minmax"))
    alike = 0
    for feeds in samples:
        expected = onnxruntime_values(proto, feeds, ["y"])["y"]
        found = execute(graph, feeds)["y"]
        np.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-6)
        # of a row that is left over sample and class are -1, all else is 0
        rest = found[len(expected) :]
        np.testing.assert_array_equal(rest, np.broadcast_to([-1, 0, 0, 0, 0, -1, 0], rest.shape))
        integers = session.run(feeds)
        alike += np.abs(integers - found).max() < 0.05
    assert alike >= 28


def test_boxes_and_scores_have_16_bits_from_the_layer_on():
    weights = RNG.normal(size=(4 + CLASSES, 4 + CLASSES)).astype("f4")
    nodes = [
        node("MatMul", ["h", "weights"], ["d"]),
        node("Split", ["d", "parts"], ["boxes", "logits"], axis=2),
        node("Sigmoid", ["logits"], ["by_box"]),
        *HEAD[1:3],
    ]
    proto = model(
        nodes,
        constants={**HEAD_CONSTANTS, "weights": weights},
        inputs={"h": (1, BOXES, 4 + CLASSES)},
        outputs=["kept"],
    )
    samples = [{"h": s["x"] / SIDE} for s in head_samples(8)]
    graph = quantize(from_onnx(proto), samples, scheme="int8", observer="minmax")
    widths = {name: graph.types[name].dtype for name in ("h", "d", "boxes", "logits", "scores")}
    assert widths == {
        "h": "int8", "d": "int16", "boxes": "int16", "logits": "int16", "scores": "int16"
    }  # fmt: skip


def test_what_is_computed_of_places_that_are_left_over_stays_left_over():
    nodes = [
        *HEAD[:3],
        node("Gather", ["kept", "last"], ["place"], axis=1),
        node("Mul", ["place", "c2"], ["twice"]),
        node("Gather", ["rows", "twice"], ["y"], axis=0),
    ]
    rows = RNG.normal(size=(2 * BOXES, 2)).astype("f4")
    constants = {**HEAD_CONSTANTS, "rows": rows, "last": np.array(2)}
    proto = model(nodes, (1, BOXES, 4 + CLASSES), constants)
    (feeds,) = head_samples(1)
    feeds["x"][..., 4:] /= SIDE
    feeds["x"][..., -1] = 0  # of the last class nothing is kept, whatever was drawn
    expected = onnxruntime_values(proto, feeds, ["y"])["y"]
    found = execute(from_onnx(proto), feeds)["y"]
    np.testing.assert_array_equal(found[: len(expected)], expected)
    assert len(found) > len(expected)
    assert (found[len(expected) :] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most": 0}, "its max_output_boxes_per_class is 0: no box is left"),
        ({"overlap": 1.5}, "its iou_threshold must be between 0 and 1, not 1.5"),
        ({"above": math.nan}, "its score_threshold must be one number"),
        ({"center_point_box": 2}, "its center_point_box must be 0 or 1, not 2"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options, message):
    with refused(f"NonMaxSuppression 'y': {message}"):
        from_onnx(suppression(1, 7, 2, **options))


def test_more_rows_than_any_detection_has_are_refused():
    with refused(
        "1 node cannot be imported: NonMaxSuppression (ai.onnx opset 17) at 'y': it may keep "
        "672000 boxes, and 65536 are supported: give it a smaller max_output_boxes_per_class",
        UnsupportedError,
    ):
        from_onnx(suppression(1, 8400, 80, 10**9))


def test_places_that_a_run_is_given_count_from_the_end_below_zero():
    table = RNG.normal(size=(3, 4)).astype("f4")
    proto = model([node("GatherND", ["table", "x"], ["y"])], (5, 2), {"table": table})
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    graph = from_onnx(proto, input_shapes={"x": [5, 2]})
    x = np.array([[0, 0], [2, 3], [-1, 1], [-3, -4], [1, -2]])
    session = Session(quantize(graph, [{"x": x}], scheme="int16"))
    np.testing.assert_allclose(session.run({"x": x}), table[x[:, 0], x[:, 1]], atol=1e-3)
    message = (
        "node 'y@2' got an index in 'y#Slice' that is outside of the axis of 3 that it gathers from"
    )
    with refused(message, InputError):
        session.run({"x": np.full((5, 2), 3)})
