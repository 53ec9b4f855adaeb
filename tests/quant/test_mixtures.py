"""``scheme="auto"``: 16 bits where they buy most, a goal met, nothing that options do not say."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.demo import CALIBRATION, MODEL
from edgeinfer.errors import InputError
from edgeinfer.files.model_file import to_bytes
from edgeinfer.graph import Graph, GraphBuilder, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import cost
from edgeinfer.quant import Goal, Options, Quantized, choose_types, quantize, quantize_and_judge
from edgeinfer.quant.mixtures.costs import Costs
from edgeinfer.quant.mixtures.ladder import ladder, together
from edgeinfer.quant.mixtures.pictures import front_svg
from edgeinfer.quant.mixtures.quality import Quality
from edgeinfer.quant.sharing import shared_quantization
from tests.refusals import refused

GRAPH = from_onnx(MODEL)
SAMPLES = np.load(CALIBRATION)["image"].astype(np.float32)[:60]
LAYERS = 5


@cache
def mixed(goal: Goal, observer: str = "minmax") -> Quantized:
    """The demo by ``goal``, of few samples."""
    return quantize_and_judge(GRAPH, SAMPLES, Options("auto", observer, goal=goal))


def needed(made: Quantized) -> int:
    found = cost(made.graph)
    return found.flash + found.peak


def chain(planted: int) -> tuple[Graph, np.ndarray]:
    """Dense layers of 16 channels, and samples: after layer ``planted`` one channel is 300 times as
    large as the others, and the next layer takes it with a 300th of the weight."""
    rng = np.random.default_rng(planted)
    builder = GraphBuilder("chain")
    name = builder.input("x", TensorType((1, 16)))
    for layer in range(LAYERS):
        weights = rng.normal(size=(16, 16)) / 4
        if layer == planted:
            weights[3] *= 300
        if layer == planted + 1:
            weights[:, 3] /= 300
        w = builder.constant(f"w{layer}", weights.astype(np.float32))
        b = builder.constant(f"b{layer}", np.zeros(16, np.float32))
        name = builder.add(ops.Dense(), name, w, b, output=f"y{layer}")
    return builder.graph(name), rng.normal(size=(60, 16)).astype(np.float32)


def residual(count: int) -> Graph:
    """``count`` times x + f(x)."""
    shape = (1, 8, 8, 8)
    types, nodes, constants = {"x0": TensorType(shape)}, [], {}
    for i in range(count):
        constants[f"w{i}"] = np.ones((8, 3, 3, 8), np.float32)
        types |= {f"w{i}": TensorType((8, 3, 3, 8)), f"f{i}": TensorType(shape)}
        types[f"x{i + 1}"] = TensorType(shape)
        conv = ops.Conv(pads=(1, 1, 1, 1))
        nodes.append(Node(f"conv{i}", conv, (f"x{i}", f"w{i}", ""), (f"f{i}",)))
        nodes.append(Node(f"add{i}", ops.Add(), (f"x{i}", f"f{i}"), (f"x{i + 1}",)))
    return Graph("residual", tuple(nodes), types, ("x0",), (f"x{count}",), constants)


@pytest.mark.parametrize(
    ("goal", "observer"),
    [
        (Goal(min_sqnr=37), "minmax"),
        (Goal(min_sqnr=40), "minmax"),
        (Goal(min_sqnr=60), "minmax"),
        pytest.param(Goal(min_sqnr=40), "auto", marks=pytest.mark.slow),
    ],
)
def test_the_chosen_options_make_the_same_bytes(goal, observer):
    made = mixed(goal, observer)
    chosen = made.mixture.chosen
    again = quantize(
        GRAPH, SAMPLES, scheme=chosen.scheme, overrides=chosen.overrides, observer=observer
    )
    assert to_bytes(again) == to_bytes(made.graph)


def test_any_order_of_the_samples_makes_the_same_bytes():
    goal = Goal(min_sqnr=40)
    for order in range(2):
        shuffled = np.random.default_rng(order).permutation(SAMPLES)
        again = quantize(GRAPH, shuffled, scheme="auto", observer="minmax", goal=goal)
        assert to_bytes(again) == to_bytes(mixed(goal).graph)


@pytest.mark.parametrize("decibels", [37.0, 40.0, 60.0])
def test_so_many_decibels_are_there_on_samples_that_were_held_back(decibels):
    made = mixed(Goal(min_sqnr=decibels))
    assert made.judgement.held_back
    assert made.judgement.outputs[0].sqnr_db >= decibels
    cheaper = [p for p in made.mixture.points if p.latency < made.mixture.chosen.latency]
    assert all(point.quality.sqnr_db < decibels for point in cheaper)


def test_no_more_samples_than_were_allowed_change_their_class():
    made = mixed(Goal(max_drop=0.0))
    quality = made.mixture.chosen.quality
    assert (quality.differing, quality.all_differing) == (0, 0)
    assert 0 < quality.samples < quality.all_samples <= len(SAMPLES)


def test_the_most_accurate_within_so_many_bytes_is_chosen():
    mixture = mixed(Goal(min_sqnr=40)).mixture
    sizes = sorted(point.memory for point in mixture.points)
    assert len(set(sizes)) > 5
    for limit in (sizes[0], sizes[3], sizes[-1] - 1, sizes[-1]):
        chosen = dataclasses.replace(mixture, goal=Goal(max_bytes=limit)).chosen
        affordable = [p.quality for p in mixture.points if p.memory <= limit]
        best = min((quality.drop, -quality.sqnr_db) for quality in affordable)
        assert (chosen.quality.drop, -chosen.quality.sqnr_db) == best
    options = Options("auto", "minmax", goal=Goal(max_bytes=sizes[3]))
    assert needed(quantize_and_judge(GRAPH, SAMPLES, options)) <= sizes[3]


def test_the_most_accurate_within_a_time_is_chosen(monkeypatch):
    # a clock that tells bytes
    monkeypatch.setattr(
        "edgeinfer.quant.mixtures.mixing.least_microseconds", lambda graph, feed: cost(graph).flash
    )
    least, most = (cost(quantize(GRAPH, SAMPLES, scheme=s)).flash for s in ("int8", "int16"))
    made = quantize_and_judge(
        GRAPH, SAMPLES, Options("auto", "minmax", goal=Goal(max_latency=most))
    )
    assert made.graph.provenance["scheme"] == "int16"
    within = dataclasses.replace(made.mixture, goal=Goal(max_latency=least))
    affordable = [point.quality for point in within.points if point.time <= least]
    assert within.chosen.time == least
    assert within.chosen.quality.sqnr_db == max(quality.sqnr_db for quality in affordable)
    with refused(
        "no mixture of 8 and 16 bits has at most 1 microseconds a run; the best, int8, has "
        f"{least:,.4g} microseconds",
        InputError,
    ):
        _ = dataclasses.replace(made.mixture, goal=Goal(max_latency=1.0)).chosen


def test_the_front_is_what_none_beats():
    mixture = mixed(Goal(min_sqnr=40)).mixture
    front = mixture.front
    assert len(front) >= 3
    assert not any(a.beats(b) for a in front for b in front)
    rest = [point for point in mixture.points if point not in front]
    assert all(any(better.beats(point) for better in front) for point in rest)
    assert mixture.chosen in front
    schemes = {point.scheme for point in mixture.points if not point.overrides}
    assert schemes == {"int8", "int16x8", "int16"}


@pytest.mark.parametrize("planted", range(LAYERS - 1))
def test_a_layer_that_needs_16_bits_gets_them_first(planted):
    graph, samples = chain(planted)
    plain = quantize_and_judge(graph, samples, Options(observer="minmax"))
    goal = Goal(min_sqnr=plain.judgement.outputs[0].sqnr_db + 6)
    made = quantize_and_judge(graph, samples, Options("auto", "minmax", goal=goal))
    assert made.graph.types[f"y{planted}"].dtype == "int16"
    mixtures = [p for p in made.mixture.points if 0 < p.wide < made.mixture.free]
    for point in mixtures:
        widths = {**point.overrides}
        default = "int8" if point.scheme == "int8" else "int16"
        assert widths.get(f"y{planted}", default) == "int16"
    assert len(mixtures) >= 2


def test_what_was_overridden_keeps_its_width():
    overrides = {"relu*": "int8", "image": "int16"}
    options = Options("auto", "minmax", overrides, goal=Goal(min_sqnr=33))
    made = quantize_and_judge(GRAPH, SAMPLES, options)
    assert made.graph.types["image"].dtype == "int16"
    relus = [name for name in made.graph.types if name.startswith("relu")]
    assert relus and {made.graph.types[name].dtype for name in relus} == {"int8"}
    assert list(made.mixture.chosen.overrides.items())[:2] == list(overrides.items())


def test_where_all_is_overridden_there_is_one_mixture():
    options = Options("auto", "minmax", {"*": "int8"}, goal=Goal(min_sqnr=20))
    mixture = quantize_and_judge(GRAPH, SAMPLES, options).mixture
    assert [(p.scheme, p.wide, p.latency) for p in mixture.points] == [("int8", 0, 1.0)]


def test_summands_and_their_sums_change_together():
    graph = residual(3)
    groups = shared_quantization(graph, average_pool=False)
    free = sorted(set(groups.values()))
    units = together(graph, groups, free)
    assert frozenset(groups.values()) in units
    widths = dict.fromkeys(free, "int8")
    costs = Costs(graph, groups, widths)
    # a sum of two widths has no kernel with vectors
    assert costs.whole({"x1"}) > 1.5 * costs.whole(set(free))
    between = ladder(costs, 1e-6, dict.fromkeys(free, 1e-3), units, 4)
    assert all(costs.whole(wide) <= costs.whole(set(free)) for wide in between)


def test_a_change_costs_what_the_whole_differs_by():
    graph = residual(3)
    groups = shared_quantization(graph, average_pool=False)
    costs = Costs(graph, groups, dict.fromkeys(groups.values(), "int8"), "int16")
    rng = np.random.default_rng(1)
    for _ in range(20):
        before, after = (
            {root for root in groups.values() if rng.random() < share} for share in (0.3, 0.6)
        )
        change = costs.change(before, after, before ^ after)
        assert change == pytest.approx(costs.whole(after) - costs.whole(before))


FOUR = "a goal is exactly one of max_drop, min_sqnr, max_latency and max_bytes, not "
NEEDS = (
    "scheme auto needs a goal, max_drop, min_sqnr, max_latency or max_bytes, and no other scheme "
    "has one"
)


@pytest.mark.parametrize(
    ("goals", "message"),
    [
        ({}, FOUR + "none"),
        ({"min_sqnr": 3.0, "max_bytes": 1000}, FOUR + "min_sqnr and max_bytes"),
        ({"min_sqnr": float("nan")}, "min_sqnr must be a number, not nan"),
        ({"min_sqnr": True}, "min_sqnr must be a number, not True"),
        ({"max_drop": 1}, "max_drop must be a share, 0 or more and below 1, not 1"),
        ({"max_bytes": 0}, "max_bytes must be more than 0, not 0"),
        ({"max_latency": -1.0}, "max_latency must be more than 0, not -1.0"),
    ],
)
def test_a_goal_is_one_number_within_its_bounds(goals, message):
    with refused(message, InputError):
        Goal(**goals)


def test_auto_has_a_goal_and_no_other_scheme_has():
    for options in ({"scheme": "auto"}, {"goal": Goal(min_sqnr=30)}):
        with refused(NEEDS, InputError):
            Options(**options)
    with refused("rounding 'double' is for int8 only, in every layer", InputError):
        Options("auto", goal=Goal(min_sqnr=30), rounding="double")
    with refused("scheme auto is quantize's: types are chosen for one scheme", InputError):
        choose_types(GRAPH, SAMPLES, Options("auto", goal=Goal(min_sqnr=30)))


def test_a_goal_that_nothing_meets_is_refused_with_what_could_be_had():
    mixture = mixed(Goal(min_sqnr=40)).mixture
    best = max(mixture.points, key=lambda p: p.quality.sqnr_db)
    smallest = min(mixture.points, key=lambda p: p.memory)
    with refused(
        "no mixture of 8 and 16 bits has at least 200 dB; the best, int16, has "
        f"{best.quality.sqnr_db:.1f} dB",
        InputError,
    ):
        quantize(GRAPH, SAMPLES, scheme="auto", observer="minmax", goal=Goal(min_sqnr=200))
    with refused(
        "no mixture of 8 and 16 bits has at most 1,000 bytes; the best, int8, has "
        f"{smallest.memory:,} bytes",
        InputError,
    ):
        _ = dataclasses.replace(mixture, goal=Goal(max_bytes=1000)).chosen
    worse = [
        dataclasses.replace(p, quality=dataclasses.replace(p.quality, differing=3))
        for p in mixture.points
    ]
    with refused(
        "no mixture of 8 and 16 bits has at most 0.5 % of the samples with another class; the "
        f"best, {mixture.named(worse[0])}, has {100 * worse[0].quality.drop:.3g} % with another "
        "class",
        InputError,
    ):
        _ = dataclasses.replace(mixture, points=tuple(worse), goal=Goal(max_drop=0.005)).chosen


def test_classes_that_few_samples_spare_by_luck_do_not_count():
    mixture = mixed(Goal(min_sqnr=40)).mixture
    ordered = sorted(mixture.points, key=lambda p: p.quality.sqnr_db)
    differing = [5, 0, 4, 2, 1, *[0] * (len(ordered) - 5)]
    points = tuple(
        dataclasses.replace(
            point,
            latency=float(place),
            quality=Quality(point.quality.sqnr_db, 0, 20, count, 100),
        )
        for place, (point, count) in enumerate(zip(ordered, differing, strict=True))
    )
    # 0 of 100 beside 4 with more decibels are taken for 2
    for allowed, place in ((0.0, 5), (0.01, 4), (0.02, 1)):
        found = dataclasses.replace(mixture, points=points, goal=Goal(max_drop=allowed))
        assert found.chosen is points[place]


def test_samples_that_cannot_show_what_is_allowed_are_said_with_what_would():
    mixture = mixed(Goal(min_sqnr=40)).mixture
    points = tuple(
        dataclasses.replace(point, quality=Quality(point.quality.sqnr_db, 0, 20, 0, 100))
        for point in mixture.points
    )

    def notes(allowed: float) -> list[str]:
        return dataclasses.replace(mixture, points=points, goal=Goal(max_drop=allowed)).notes

    assert notes(0.0) == notes(0.01) == []
    assert notes(0.008) == [
        "100 samples cannot show that 0.8 % change their class; give 125 or more"
    ]
    # however many are given: more than 128 runs are not kept
    assert notes(0.005) == [
        "100 samples cannot show that 0.5 % change their class, and no more than 128 runs judge "
        "mixtures; evaluate the result on 200 others or more"
    ]


def test_names_in_the_picture_cover_no_other_and_the_chosen_has_its_own():
    mixture = mixed(Goal(min_sqnr=40)).mixture

    def named(*places: float) -> set[str]:
        points = tuple(
            dataclasses.replace(point, latency=place, quality=Quality(50 + place, 0, 20, 0, 100))
            for place, point in zip(places, mixture.points, strict=True)
        )
        made = dataclasses.replace(mixture, points=points)
        assert len(made.front) == len(points)
        drawn = front_svg(made, "")
        return {made.short(p) for p in points if f">{made.short(p)}</text>" in drawn}

    everything = {mixture.short(point) for point in mixture.points}
    assert len(everything) > 4
    count = len(mixture.points)
    assert named(*range(1, count + 1)) == everything
    # all but the last at one place, which has room for four names
    crowded = named(*(1 + 1e-6 * k for k in range(count - 1)), 50)
    assert mixture.short(mixture.points[0]) in crowded and len(crowded) <= 4 + 1


def test_states_and_outputs_that_are_no_classes_are_refused():
    kind = TensorType((1, 3))
    builder = GraphBuilder("sum")
    x = builder.input("x", kind)
    builder.state("before", np.zeros((1, 3), np.float32), None)
    builder.keep("before", builder.add(ops.Add(), x, "before", output="y"))
    graph, samples = builder.graph("y"), np.ones((8, 3), np.float32)
    with refused(
        "scheme auto measures runs apart from each other, and this model keeps states; choose a "
        "scheme, and overrides",
        InputError,
    ):
        quantize(graph, samples, scheme="auto", goal=Goal(min_sqnr=30))
    graph, samples = chain(1)
    with refused(
        "max_drop counts samples whose class changes, and this model's output is not one number a "
        "class; give min_sqnr",
        InputError,
    ):
        quantize(graph, samples, scheme="auto", goal=Goal(max_drop=0.01))


def test_a_goal_is_said_in_words():
    goals = [Goal(max_drop=0.005), Goal(min_sqnr=30), Goal(max_latency=120), Goal(max_bytes=65536)]
    assert [str(goal) for goal in goals] == [
        "at most 0.5 % of the samples with another class",
        "at least 30 dB",
        "at most 120 microseconds a run",
        "at most 65,536 bytes",
    ]
    assert [goal.is_limit for goal in goals] == [False, False, True, True]
    bounds = {field.name for field in dataclasses.fields(Goal)} - {"clock"}
    assert len(bounds) == len(goals)
