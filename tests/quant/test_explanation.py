"""Faults planted in small models: the right cause is named, and its remedy pays."""

import dataclasses
import json
from functools import cache

import numpy as np
import pytest

from edgeinfer.errors import InputError
from edgeinfer.files.model_file import from_bytes, to_bytes
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import cost
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import (
    IntegerTypes,
    Options,
    choose_types,
    lower_to_integers,
    quantize,
    quantize_and_judge,
)
from edgeinfer.quant.calibration_summary import KEY, from_text, to_text
from edgeinfer.quant.equalization import KEY as EQUALIZED
from edgeinfer.quant.equalization import divisors_of, equalized, equalized_as_stated
from edgeinfer.quant.equalization import to_text as equalization_text
from edgeinfer.quant.explanation import (
    Action,
    Cause,
    Explanation,
    Finding,
    Layer,
    Remedy,
    explain,
    explain_and_fix,
)
from edgeinfer.quant.explanation.findings import findings_of, ranked
from edgeinfer.quant.explanation.suspects import Suspect
from edgeinfer.runtime.session import Session
from tests.quant.test_mixtures import chain
from tests.refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore::edgeinfer.errors.EdgeInferWarning")

QUICK = {"observer": "minmax", "rounding_weights": "nearest"}
HEALTHY = 9  # a layer that ``chain`` does not have


@cache
def convolutions() -> tuple[Graph, np.ndarray]:
    """Three channels in, two convolutions, and a class of four; pictures of a colour each."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder("convolutions")
    name = builder.input("picture", TensorType((1, 8, 8, 3)))
    for layer, (size, taken) in enumerate(((12, 3), (16, 12))):
        w = builder.constant(
            f"w{layer}", rng.normal(size=(size, 3, 3, taken)).astype(np.float32) / 4
        )
        b = builder.constant(f"b{layer}", rng.normal(size=size).astype(np.float32) / 4)
        op = ops.Conv(pads=(1, 1, 1, 1), lo=0.0)
        name = builder.add(op, name, w, b, output=f"y{layer}")
    name = builder.add(ops.ReduceMean((1, 2), keepdims=False), name, output="mean")
    w = builder.constant("w", rng.normal(size=(4, 16)).astype(np.float32))
    b = builder.constant("b", np.array([-6, 0, 0, 0], np.float32))
    colours = np.array([1.2, 0.2, -0.8]) + rng.normal(size=(80, 1, 1, 3)) / 3
    pictures = colours + rng.normal(size=(80, 8, 8, 3)) / 2
    return builder.graph(builder.add(ops.Dense(), name, w, b, output="classes")), pictures.astype(
        np.float32
    )


def planted(graph: Graph, name: str, array: np.ndarray) -> Graph:
    return dataclasses.replace(graph, constants={**graph.constants, name: array})


def narrowed(graph: Graph, samples: np.ndarray, name: str) -> Graph:
    """The integer Graph in which ``name`` has a quarter of its range."""
    types = choose_types(graph, samples, Options(**QUICK))
    t = types.values[name]
    q = dataclasses.replace(t.quantization, scale=(t.quantization.scale[0] / 4,))
    values = {**types.values, name: dataclasses.replace(t, quantization=q)}
    return lower_to_integers(graph, IntegerTypes(values, "int8", types.domains))


def first(found: Explanation) -> tuple[Cause, str, Action | None]:
    finding = found.findings[0]
    return finding.cause, finding.where, finding.remedy and finding.remedy.action


def test_a_channel_that_reaches_farther_than_all_others_is_equalized():
    graph, samples = chain(2)
    labels = tuple("abcdefghijklmnop")
    quantized = dataclasses.replace(quantize(graph, samples, **QUICK), labels=labels)
    found, fixed = explain_and_fix(graph, quantized, samples)
    assert fixed.graph.labels == labels
    assert fixed.graph.provenance["mended"].startswith("equalize the channels of 'y2'")
    assert first(found) == (Cause.OUTLIERS, "y2", Action.EQUALIZE)
    assert found.findings[0].text.startswith("channel 3 of 'y2' reaches ")
    assert found.findings[0].gain > 10 < found.findings[0].remedied
    assert fixed.remedies[0] == found.findings[0].remedy
    assert fixed.after.sqnr_db >= found.before.sqnr_db + found.findings[0].remedied - 1e-6
    # the file says what was done: it is explained beside the model as it was, and is healthy
    again = explain(graph, from_bytes(to_bytes(fixed.graph)), samples)
    assert again.before.sqnr_db > found.before.sqnr_db + 10
    assert Cause.OUTLIERS not in {finding.cause for finding in again.findings}


def test_equalized_channels_compute_the_same():
    graph, samples = convolutions()
    other = equalized(graph, "y0", {2: 64.0, 5: 0.25})
    assert not np.array_equal(other.constants["w0"], graph.constants["w0"])
    for sample in samples[:3]:
        feed = {"picture": sample[None]}
        a, b = (execute(each, feed)["classes"] for each in (graph, other))
        # the float executor has rows of weights in fixed point
        assert np.allclose(a, b, atol=1e-4)


def test_channels_are_equalized_to_what_the_others_reach():
    reach = np.array([1.0, 2.0, 8.0, 100.0, 1024.0, 0.001, 0.0])
    # at most the farthest of the others, 8; of a faint one near their middle, 2
    divisors = divisors_of(reach, [3, 4, 5, 6])
    assert divisors == {3: 16.0, 4: 128.0, 5: 2.0**-11}
    assert divisors_of(np.array([0.0, 5.0]), [1]) == {}


def test_what_is_equalized_again_is_stated_with_what_was_before():
    graph, _ = chain(HEALTHY)
    text = equalization_text({"y1": {0: 4.0}}, {})
    text = equalization_text({"y1": {0: 8.0, 3: 0.5}, "y2": {5: 2.0}}, {EQUALIZED: text})
    found = equalized_as_stated(graph, {EQUALIZED: text}).constants
    expected = equalized(equalized(graph, "y1", {0: 32.0, 3: 0.5}), "y2", {5: 2.0}).constants
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", ["mean", "classes", "picture"])
def test_what_no_layer_gives_or_takes_is_not_equalized(name):
    graph, _ = convolutions()
    with refused(f"the channels of {name!r} cannot be equalized", InputError):
        equalized(graph, name, {0: 2.0})


def test_data_normalized_twice_are_told_by_what_makes_them_alike():
    graph, samples = convolutions()
    found, fixed = explain_and_fix(graph, quantize(graph, (samples - 2) / 8, **QUICK), samples)
    assert first(found) == (Cause.DISTRIBUTION, "picture", Action.CALIBRATE)
    assert found.findings[0].text.endswith(
        "these made (x - 2) / 8, (x - 2) / 8, (x - 2) / 8 are like them, as if calibration's "
        "were normalized once more"
    )
    assert found.findings[0].gain == found.findings[0].remedied > 10
    assert fixed.after.sqnr_db > found.before.sqnr_db + 10
    # it is as if it had been calibrated on these
    again = explain(graph, fixed.graph, samples).findings
    assert Cause.DISTRIBUTION not in {finding.cause for finding in again}


def test_channels_in_reverse_order_are_told():
    graph, samples = convolutions()
    found = explain(graph, quantize(graph, samples[..., ::-1], **QUICK), samples)
    assert first(found)[:2] == (Cause.DISTRIBUTION, "picture")
    assert found.findings[0].text.endswith("; they are alike with the channels in reverse order")


def test_calibration_of_one_class_is_told():
    graph, samples = convolutions()
    classes = np.array([execute(graph, {"picture": s[None]})["classes"].argmax() for s in samples])
    numbers, counts = np.unique(classes, return_counts=True)
    most = numbers[counts.argmax()]
    assert (classes == most).mean() < 0.6
    count = counts.max()
    found = explain(graph, quantize(graph, samples[classes == most], **QUICK), samples)
    texts = {f.text for f in found.findings if f.cause is Cause.DISTRIBUTION}
    assert (
        f"{count} of {count} samples that calibration kept have class {most}; these have "
        f"{len(numbers)} classes"
    ) in texts


def test_outliers_of_calibration_are_told_from_other_data():
    graph, samples = convolutions()
    spoilt = samples.copy()
    spoilt[::10] *= 40
    found, fixed = explain_and_fix(graph, quantize(graph, spoilt, **QUICK), samples)
    assert first(found) == (Cause.OUTLIERS, "picture", Action.CALIBRATE)
    assert found.findings[0].gain > 10
    assert fixed.after.sqnr_db > found.before.sqnr_db + 10


def test_a_range_that_is_too_narrow_clips():
    graph, samples = convolutions()
    found, fixed = explain_and_fix(graph, narrowed(graph, samples, "y0"), samples)
    assert first(found)[:2] == (Cause.CLIPPING, "y0")
    assert found.findings[0].gain > 6
    assert found.layers[0].value == "y0"
    assert fixed.after.sqnr_db > found.before.sqnr_db + 6
    assert found.notes == [
        "the file does not say what it was calibrated on: only ranges tell whether these data are "
        "like it"
    ]
    # what calibration saw may be given instead
    assert explain(graph, narrowed(graph, samples, "y0"), samples, calibration=samples).notes == []


def test_an_input_whose_range_is_too_narrow_saturates():
    graph, samples = convolutions()
    found, fixed = explain_and_fix(graph, narrowed(graph, samples, "picture"), samples)
    assert first(found)[:2] == (Cause.INPUT_SATURATION, "picture")
    assert fixed.after.sqnr_db > found.before.sqnr_db + 6


def test_a_dead_layer_is_named_first():
    graph, samples = convolutions()
    weights = np.zeros_like(graph.constants["w1"])
    dead = planted(graph, "w1", weights)
    found, _ = explain_and_fix(dead, quantize(dead, samples, **QUICK), samples)
    assert first(found)[:2] == (Cause.CONSTANT_CHANNEL, "y1")
    weights[:8] = graph.constants["w1"][:8]
    half = planted(graph, "w1", weights)
    found = explain(half, quantize(half, samples, **QUICK), samples)
    texts = [f.text for f in found.findings if f.cause is Cause.CONSTANT_CHANNEL]
    assert texts == [
        "channels 8, 9, 10, 11, 12, ... of 'y1' are one number on all samples, in the float model "
        "too"
    ]


def test_channels_that_give_nothing_are_removed():
    graph, samples = convolutions()
    weights = graph.constants["w0"].copy()
    weights[3:6] = 0
    dead = planted(graph, "w0", weights)
    quantized = quantize(dead, samples, **QUICK)
    found, fixed = explain_and_fix(dead, quantized, samples)
    (finding,) = (f for f in found.findings if f.cause is Cause.CONSTANT_CHANNEL)
    assert finding.text == (
        "channels 3, 4, 5 of 'y0' are one number on all samples, in the float model too"
    )
    assert Remedy(Action.PRUNE) in fixed.remedies
    assert cost(fixed.graph).macs < cost(quantized).macs
    # and what is left is explained as if they were there
    assert explain(dead, fixed.graph, samples).notes[0] == (
        "constant channels were removed from 'y0'; they are measured as if they were there"
    )


def test_a_weight_that_decides_its_channels_scale_is_an_outlier():
    graph, samples = convolutions()
    weights = graph.constants["w1"].copy()
    weights[:, 1, 1, 0] = 100
    rare = planted(graph, "w1", weights)
    first_weights = graph.constants["w0"].copy()
    first_weights[0] = 1e-3
    rare = planted(rare, "w0", first_weights)
    found, fixed = explain_and_fix(rare, quantize(rare, samples, **QUICK), samples)
    named = [f for f in found.findings if f.cause is Cause.OUTLIERS and f.is_of_weights]
    assert [f.where for f in named] == ["y1"]
    assert named[0].text == "a few weights decide the scale of 16 output channels of 'y1'"
    assert fixed.after.sqnr_db > found.before.sqnr_db + 3


def test_a_healthy_model_has_no_finding_about_data():
    graph, samples = chain(HEALTHY)
    found = explain(graph, quantize(graph, samples[:30], **QUICK), samples[30:])
    assert found.before.sqnr_db > 15
    ordinary = {Cause.CLIPPING, Cause.ACTIVATION_ROUNDING, Cause.WEIGHT_ROUNDING}
    assert {f.cause for f in found.findings} <= ordinary


def test_a_model_in_16_bits_has_no_finding():
    graph, samples = chain(HEALTHY)
    quantized = quantize(graph, samples, scheme="int16")
    found = explain(graph, quantized, samples)
    assert found.before.sqnr_db > 60
    assert found.findings == []


def test_a_table_of_16_bits_is_measured_beside_its_function():
    rng = np.random.default_rng(0)
    builder = GraphBuilder("functions")
    name = builder.input("x", TensorType((1, 16)))
    w = builder.constant("w", rng.normal(size=(16, 16)).astype(np.float32))
    name = builder.add(ops.Dense(), name, w, output="y")
    name = builder.add(ops.Pointwise(("sigmoid", "x")), name, output="s")
    w = builder.constant("v", rng.normal(size=(4, 16)).astype(np.float32))
    graph = builder.graph(builder.add(ops.Dense(), name, w, output="z"))
    samples = rng.normal(size=(30, 16)).astype(np.float32)
    found = explain(graph, quantize(graph, samples, scheme="int16"), samples)
    (layer,) = (layer for layer in found.layers if layer.value == "s")
    assert 0 < layer.causes[Cause.TABLE] < 20


def test_the_same_samples_in_another_order_are_explained_alike():
    graph, samples = convolutions()
    quantized = quantize(graph, samples / 3)
    found = explain_and_fix(graph, quantized, samples)
    other = explain_and_fix(graph, quantize(graph, samples[::-1] / 3), samples[::-1])
    assert found[0] == other[0]
    assert to_bytes(found[1].graph) == to_bytes(other[1].graph)


def test_a_summary_is_what_its_text_says():
    graph, samples = convolutions()
    options = Options(observer="minmax", rounding_weights="bias")
    text = quantize_and_judge(graph, samples, options).graph.provenance[KEY]
    summary = from_text(text)
    assert summary is not None and to_text(summary) == text
    assert summary.runs == 80 and summary.inputs["picture"].axis == 3
    channels = samples.transpose(3, 0, 1, 2).reshape(3, 80, -1)
    assert summary.inputs["picture"].mean[:3] == pytest.approx(channels.mean((1, 2)), abs=0.1)
    assert summary.inputs["picture"].mean[3:] == pytest.approx(channels.std(2).mean(1), abs=0.1)
    assert sum(summary.classes.values()) == 80
    for other in ("", "[]", "{}", '{"runs":3,"inputs":{"x":{"mean":[1]}},"classes":{}}'):
        assert from_text(other) is None
    broken = json.loads(text)
    broken["inputs"]["picture"]["mean"].append(0.0)
    assert from_text(json.dumps(broken)) is None


def test_models_that_do_not_belong_together_are_refused():
    graph, samples = convolutions()
    other, vectors = chain(2)
    quantized = quantize(graph, samples, **QUICK)
    with refused("'convolutions' is quantized; give the float model it was made from", InputError):
        explain(quantized, quantized, samples)
    with refused("'convolutions' is not quantized; give what quantize made of it", InputError):
        explain(graph, graph, samples)
    with refused(
        "the quantized model was not made from the float one: its inputs are 'picture' "
        "[1, 8, 8, 3], the float one's 'x' [1, 16]",
        InputError,
    ):
        explain(other, quantized, vectors)
    with refused(
        "the quantized model was not made from the float one: its outputs are 'classes' [1, 4], "
        "the float one's 'mean' [1, 16]",
        InputError,
    ):
        explain(graph.with_outputs(("mean",)), quantized, samples)
    strange = planted(graph, "w1", -graph.constants["w1"])
    with refused(
        "the quantized model was not made from the float one: the weights of 'y1' are others",
        InputError,
    ):
        explain(strange, quantized, samples)
    renamed = Graph(
        graph.name,
        tuple(
            dataclasses.replace(
                node,
                inputs=tuple(n.replace("mean", "middle") for n in node.inputs),
                outputs=tuple(n.replace("mean", "middle") for n in node.outputs),
            )
            for node in graph.nodes
        ),
        {n.replace("mean", "middle"): t for n, t in graph.types.items()},
        graph.inputs,
        graph.outputs,
        graph.constants,
    )
    with refused(
        "the quantized model was not made from the float one: it has no value 'middle'", InputError
    ):
        explain(renamed, quantized, samples)


def test_a_model_that_keeps_states_and_other_data_are_refused():
    graph, samples = convolutions()
    quantized = quantize(graph, samples, **QUICK)
    builder = GraphBuilder("states")
    x = builder.input("x", TensorType((1, 4)))
    state = builder.state("s", np.zeros((1, 4), np.float32))
    y = builder.add(ops.Add(), x, state, output="y")
    builder.keep(state, y)
    keeping, steps = builder.graph(y), np.ones((20, 4), np.float32)
    with refused(
        "explain undoes causes on runs apart from each other, and this model keeps states; compare "
        "shows which layers lose what",
        InputError,
    ):
        explain(keeping, quantize(keeping, steps), steps)
    with refused(
        "input 'picture' has shape [1, 8, 8, 3], but the data has shape [5, 16]", InputError
    ):
        explain(graph, quantized, np.zeros((5, 16), np.float32))


def test_calibrated_again_it_is_the_file_that_these_data_give():
    # what its weights were rounded by was chosen for other data, and twelve samples are too few
    # to choose anything but nearest
    graph, samples = chain(HEALTHY)
    few, how = samples[:12], {"observer": "minmax"}
    spoilt = quantize(graph, few / 30, **how, rounding_weights="in-turn")
    _, fixed = explain_and_fix(graph, spoilt, few)
    expected = quantize(graph, few, **how)
    assert fixed.remedies == [Remedy(Action.CALIBRATE)]
    assert spoilt.provenance["rounding_weights"] == "in-turn"
    assert fixed.graph.provenance["rounding_weights"] == "nearest"
    assert fixed.graph.types == expected.types
    assert fixed.graph.constants.keys() == expected.constants.keys()
    for name, array in expected.constants.items():
        np.testing.assert_array_equal(fixed.graph.constants[name], array)


def test_findings_are_ranked_by_what_they_or_remedies_at_their_place_are_worth():
    def finding(cause: Cause, where: str, gain: float, **remedy: object) -> Finding:
        return Finding(cause, where, gain, "", **remedy)

    equal = Remedy(Action.EQUALIZE, "a")
    dead = finding(Cause.CONSTANT_CHANNEL, "z", 0.0, remedy=Remedy(Action.PRUNE))
    outliers = finding(Cause.OUTLIERS, "a", 1.5, remedy=equal, remedied=7.0)
    # neither the whole model nor more bits say anything of one place
    clipped = finding(Cause.CLIPPING, "b", 3.0, remedy=Remedy(Action.CALIBRATE), remedied=9.0)
    coarse = finding(
        Cause.ACTIVATION_ROUNDING, "c", 2.0, remedy=Remedy(Action.WIDEN, "c"), remedied=8.0
    )
    assert ranked([dead, clipped, coarse, outliers]) == [dead, outliers, clipped, coarse]


def test_clipping_everywhere_that_no_other_ranges_mend_is_no_fault():
    suspects = [
        Suspect(name, name, name, "Conv", [name], [], scores={Cause.CLIPPING: 1.0})
        for name in ("a", "b")
    ]
    layers = {s.root: Layer(s.value, s.node, "Conv", None, {Cause.CLIPPING: 0.5}) for s in suspects}
    here_and_there, everywhere = {Cause.CLIPPING: 0.9}, {Cause.CLIPPING: 4.0}
    assert {f.where for f in findings_of(suspects, layers, here_and_there, [])} == {"a", "b"}
    found = findings_of(suspects, layers, everywhere, [])
    assert [f.where for f in found] == ["", "a", "b"]
    assert [f.where for f in ranked(found)] == ["a", "b"]
    (whole, *others) = found
    again = Remedy(Action.CALIBRATE)
    mended = dataclasses.replace(whole, remedy=again, remedied=2.0)
    assert [f.where for f in ranked([*others, mended])] == ["", "a", "b"]
    # it is worth what the remedy is, not all that better ranges than there are would be
    hardly = dataclasses.replace(whole, remedy=again, remedied=0.4)
    assert [f.where for f in ranked([*others, hardly])] == ["a", "b", ""]


def test_the_remedy_is_what_the_file_computes():
    graph, samples = chain(2)
    _, fixed = explain_and_fix(graph, quantize(graph, samples, **QUICK), samples)
    session = Session(fixed.graph)
    noise = signal = 0.0
    for sample in samples:
        y = execute(graph, {"x": sample[None]})["y4"]
        noise += float(((session.run(sample[None]) - y) ** 2).sum())
        signal += float((y**2).sum())
    assert 10 * np.log10(signal / noise) > fixed.before.sqnr_db + 10
