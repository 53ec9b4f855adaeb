"""What a whole output's error hides is found: dead parts, dull samples, imports that went wrong."""

import numpy as np
import pytest

from edgeinfer.errors import EdgeInferWarning
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant import Options, quantize, quantize_and_judge
from edgeinfer.quant.waiting import Arrival
from edgeinfer.runtime.session import Session
from tests.accuracy.sqnr import sqnr_db

RNG = np.random.default_rng(3)


def dense(weights: np.ndarray, *tail: tuple[str, ops.Operator]) -> Graph:
    """``x`` [1, I] through a layer without bias, and operators that keep its shape."""
    outputs, inputs = weights.shape
    kind = TensorType((1, outputs))
    types = {"x": TensorType((1, inputs)), "w": TensorType(weights.shape), "layer": kind}
    nodes, last = [Node("layer", ops.Dense(), ("x", "w"), ("layer",))], "layer"
    for name, op in tail:
        nodes.append(Node(name, op, (last,), (name,)))
        types[name] = kind
        last = name
    floats = {"w": weights.astype(np.float32)}
    return Graph("dense", tuple(nodes), types, ("x",), (last,), floats, free_batch=True)


PLAIN = dense(RNG.normal(size=(3, 4)))
SAMPLES = RNG.normal(size=(60, 4)).astype(np.float32)


def findings(graph: Graph, data, reference=None, **options) -> list[str]:
    made = quantize_and_judge(graph, data, Options(**options), reference=reference)
    return made.judgement.findings


def test_ordinary_samples_are_nothing_to_speak_of():
    judged = quantize_and_judge(PLAIN, SAMPLES).judgement
    assert judged.findings == []
    assert (judged.samples, judged.held_back) == (12, True)
    assert judged.outputs[0].sqnr_db > 30


def test_what_is_held_back_is_new_to_what_is_judged():
    def key(sample: np.ndarray) -> bytes:
        return Arrival(0, {"x": sample[None]}).key

    # what is held back is larger than the others: the result has room for it, the trial none
    drawn = np.random.default_rng(8)
    x = np.array(sorted(2.5 * drawn.normal(size=(400, 4)).astype(np.float32), key=key)[:12])
    others = np.array([sample for sample in SAMPLES if key(sample) > key(x[-1])])[:48]
    data = np.concatenate([others, x])
    made = quantize_and_judge(PLAIN, data, Options(observer="minmax"))
    assert made.judgement.outputs[0].sqnr_db < 20
    expected = x @ PLAIN.constants["w"].T
    assert sqnr_db(expected, Session(made.graph).run(x)) > 30
    assert made.judgement.findings == [
        "29% of input 'x' on samples held back lie outside of what the others hold; calibrate with "
        "more, and more varied, samples"
    ]


def test_samples_of_zeros_are_warned_of():
    assert findings(PLAIN, np.zeros((16, 4), np.float32)) == [
        "input 'x' is 0 everywhere in all calibration samples, so its range is a guess; calibrate "
        "with samples as the model will see them"
    ]


def test_one_sample_again_and_again_is_warned_of():
    assert findings(PLAIN, np.repeat(SAMPLES[:1], 16, 0)) == [
        "input 'x' is the same in all 16 calibration samples; calibrate with samples that differ, "
        "as those that the model will see"
    ]


def test_few_samples_are_warned_of_in_python_too():
    message = "^4 calibration samples say little about others; give a hundred or so$"
    with pytest.warns(EdgeInferWarning, match=message):
        quantize(PLAIN, SAMPLES[:4])


def test_a_sample_that_is_left_out_is_named():
    data = SAMPLES.copy()
    data[21] = 100 * np.abs(data).max()
    assert findings(PLAIN, data) == [
        "sample 21 was left out: its input 'x' reaches 100 times as far as all others'; if such "
        "samples are to be expected, give more of them"
    ]


def test_a_part_that_one_scale_loses_is_named():
    graph = dense(np.diag([1000.0, 1.0, 800.0, 2.0]))
    assert findings(graph, SAMPLES) == [
        "output 'layer' is constant at 1, 3 along axis 1 once quantized, and was not before: one "
        "scale serves the whole output; give these an output of their own, or try scheme int16x8 "
        "or overrides={'layer': 'int16'}"
    ]
    assert findings(graph, SAMPLES, scheme="int16x8") == []
    assert findings(graph, SAMPLES, overrides={"layer": "int16"}) == []


def test_a_part_that_is_mostly_noise_is_named():
    assert findings(dense(np.diag([150.0, 1.0, 120.0, 130.0])), SAMPLES) == [
        "output 'layer' is mostly noise at 1 along axis 1 once quantized, with less than 6 dB: one "
        "scale serves the whole output; give these an output of their own, or try scheme int16x8 "
        "or overrides={'layer': 'int16'}"
    ]


def test_who_has_sixteen_bits_is_not_told_to_take_them():
    graph = dense(np.diag([1e6, 1.0, 8e5, 7e5]))
    assert findings(graph, SAMPLES, scheme="int16") == [
        "output 'layer' is constant at 1 along axis 1 once quantized, and was not before: one "
        "scale serves the whole output; give these an output of their own"
    ]


def test_an_output_that_is_mostly_noise_is_named():
    # what is left of the input is the difference of two large numbers
    graph = dense(np.array([[1000.0, 1000.0, 0.0, 0.0]]), ("small", ops.Pointwise(("sin", "x"))))
    (finding,) = findings(graph, SAMPLES)
    start, end = "output 'small' is mostly noise once quantized, with ", " dB; try scheme int16x8; "
    assert finding.startswith(start)
    ratio_db, rest = finding.removeprefix(start).split(end)
    assert float(ratio_db) < 6
    assert rest == "compare shows which layers lose it"


def test_an_output_that_became_constant_is_named():
    # ReLU of what two spoilt layers leave: 8 bits round all of it to 0
    graph = dense(np.full((2, 4), 1e-4), ("shifted", ops.Pointwise(("add", "x", 100.0))))
    assert findings(graph, SAMPLES) == [
        "output 'shifted' is the same for all samples once quantized, and was not before; try "
        "scheme int16x8, or overrides={'shifted': 'int16'}"
    ]


def test_an_import_that_computes_something_else_is_named():
    def twice(feed):
        return {"layer": 2 * (feed["x"] @ PLAIN.constants["w"].T)}

    assert findings(PLAIN, SAMPLES, reference=twice) == [
        "output 'layer' differs from the imported model's, before anything is quantized: 6.0 dB; "
        "please report this"
    ]


def test_an_import_that_is_finite_where_the_model_is_not_is_named():
    def not_a_number(feed):
        return {"layer": np.full((1, 3), np.nan, np.float32)}

    assert findings(PLAIN, SAMPLES, reference=not_a_number) == [
        "output 'layer' has values in the imported model that are not finite, and are here: so it "
        "is where a mask leaves a Softmax nothing"
    ]


def test_an_import_of_another_shape_is_named():
    def batched(feed):
        return {"layer": np.zeros((50, 3), np.float32)}

    assert findings(PLAIN, SAMPLES, reference=batched) == [
        "output 'layer' has shape [1, 3] here, and [50, 3] in the imported model; give the shapes "
        "of the inputs that are meant"
    ]


def detector(boxes: float) -> Graph:
    """Boxes beside scores, joined."""
    rng = np.random.default_rng(5)
    shapes = {"x": (1, 4), "b": (1, 4), "l": (1, 3), "s": (1, 3), "y": (1, 7)}
    floats = {"wb": rng.uniform(0, boxes, (4, 4)), "ws": rng.normal(size=(3, 4))}
    types = {name: TensorType(shape) for name, shape in shapes.items()}
    types |= {name: TensorType(array.shape) for name, array in floats.items()}
    nodes = (
        Node("b", ops.Dense(lo=0.0), ("x", "wb"), ("b",)),
        Node("l", ops.Dense(), ("x", "ws"), ("l",)),
        Node("s", ops.Pointwise(("sigmoid", "x")), ("l",), ("s",)),
        Node("y", ops.Concat(1), ("b", "s"), ("y",)),
    )
    constants = {name: array.astype(np.float32) for name, array in floats.items()}
    return Graph("detector", nodes, types, ("x",), ("y",), constants, free_batch=True)


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int16"])
def test_scores_beside_boxes_are_kept(scheme):
    graph = detector(300.0)
    made = quantize_and_judge(graph, SAMPLES[:40], Options(scheme=scheme))
    y = Session(made.graph).run(SAMPLES[40:])
    logits = SAMPLES[40:] @ graph.constants["ws"].T
    assert sqnr_db(1 / (1 + np.exp(-logits)), y[:, 4:]) > 20
    (note,) = made.judgement.findings if scheme == "int8" else [""]
    assert note.startswith("output 'y' has 16 bits: its part 's' spans ") == (scheme == "int8")


def test_probabilities_below_a_step_are_no_loss():
    kind = TensorType((1, 40))
    types = {"x": kind, "y": kind}
    node = Node("y", ops.Softmax(1), ("x",), ("y",))
    graph = Graph("classes", (node,), types, ("x",), ("y",), {}, free_batch=True)
    data = np.random.default_rng(6).normal(size=(60, 40)).astype(np.float32)
    assert findings(graph, data) == []


def test_scores_beside_small_boxes_stay_in_eight_bits():
    made = quantize_and_judge(detector(0.5), SAMPLES)
    assert made.graph.types["y"].dtype == "int8"
    assert made.judgement.findings == []


def test_a_width_that_was_asked_for_is_kept_and_its_loss_named():
    made = quantize_and_judge(detector(3000.0), SAMPLES, Options(overrides={"y": "int8"}))
    assert made.graph.types["y"].dtype == "int8"
    assert made.judgement.findings[0].startswith("output 'y' is constant at 4, 5, 6 along axis 1")
