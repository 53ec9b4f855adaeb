"""What the importer takes of the tests that ONNX ships, it computes right.

What it does not take, it refuses with its own errors; docs/onnx-tests.md counts both.
``python -m tests.converters.test_onnx_backend > docs/onnx-tests.md`` writes that document anew.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import pytest
from onnx import numpy_helper

from edgeinfer.converters import from_onnx
from edgeinfer.errors import EdgeInferError
from edgeinfer.graph import Graph
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.converters.onnx_agreement import onnxruntime_values

DOCUMENT = Path(__file__).parents[2] / "docs/onnx-tests.md"

# tests whose expectation a Graph does not share, each with the reason
_CORNERS = "onnxruntime aligns the corners of the extent that there is, not of a fractional one"
_INFINITE = "what is divided by an infinity is none, an infinity being the largest number"
DIFFERENT = {
    **{f"test_mod_float_edge_cases_fmod_0_float{bits}": _INFINITE for bits in (16, 32, 64)},
    "test_resize_downsample_scales_linear_align_corners": _CORNERS,
    "test_resize_downsample_scales_cubic_align_corners": _CORNERS,
    "test_onehot_out_of_range_indices": "an index beyond the depth is refused when it comes",
}
# a bfloat16 expectation is rounded to 8 bits, the Graph computes in float32
ROUNDED = re.compile("bfloat16|bf16", re.IGNORECASE)

# more than one test of float16 rounds on its way
TOLERANCE = 1e-5

# of the largest output: what int16 may err by; apart are functions with steps, scores of thousands
# before an exponential, and rows of which a mask leaves nothing
MOST_ERROR = 0.01
STEPS = re.compile(
    "and|arg|ceil|equal|fl?mod|floor|greater|hardmax|is|less|mod|not|onehot|or|quant|round|sign|"
    "trunc|thresholdedrelu|where|xor"
)
EXTREME = re.compile(
    "large_number|log_sum_exp|fully_?masked|nan_robust|structural_empty|mode3|poison|"
    "continued_prefill|attn_mask_composition|local_window"
)
EVERY = 6
# an output that holds infinities leaves its other numbers no steps
FAR = 1e30


@cache
def node_tests() -> list[Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, where onnx makes its expectations
        return [
            case
            for case in load_model_tests(kind="node")
            if case.name not in DIFFERENT and not ROUNDED.search(case.name)
        ]


def forms(case: Any) -> Iterator[tuple[onnx.ModelProto, list[Any], list[Any]]]:
    """The model as it is, and with all parameters known as a real one has them."""
    for inputs, outputs in case.data_sets:
        for proto in (case.model, with_known_parameters(case.model, inputs)):
            yield proto, inputs, outputs


def with_known_parameters(proto: onnx.ModelProto, inputs: list[Any]) -> onnx.ModelProto:
    """The model with all inputs but the first as initializers."""
    known = onnx.ModelProto()
    known.CopyFrom(proto)
    for value, given in list(zip(proto.graph.input, inputs, strict=False))[1:]:
        if value.type.HasField("tensor_type"):
            tensor = numpy_helper.from_array(array(given), value.name)
            known.graph.initializer.append(tensor)
    return known


def array(value: Any) -> np.ndarray:
    return (
        numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    )


def feeds_of(graph: Graph, proto: onnx.ModelProto, inputs: list[Any]) -> dict[str, np.ndarray]:
    names = (value.name for value in proto.graph.input)
    given = dict(zip(names, map(array, inputs), strict=False))
    return {name: given[name].astype(graph.types[name].dtype) for name in graph.inputs}


def refusal(proto: onnx.ModelProto, inputs: list[Any], outputs: list[Any], name: str) -> str:
    """Why the model is not taken; empty where it is, and then its outputs are asserted."""
    try:
        graph = from_onnx(proto)
    except EdgeInferError as error:
        return str(error)
    feeds = feeds_of(graph, proto, inputs)
    if any(feeds[i].shape != graph.types[i].shape for i in graph.inputs):
        return "an open batch is not bound to the test's"
    found = execute(graph, feeds)
    limit = np.finfo(np.float32).max
    for output, expected in zip(graph.outputs, map(array, outputs), strict=True):
        if proto.graph.node[-1].op_type == "NonMaxSuppression":
            found[output] = _without_rows_left_over(found[output], len(expected))
        assert found[output].shape == expected.shape, name
        expected = expected.astype(found[output].dtype)
        if expected.dtype == np.float32:
            # an infinity is the largest number
            expected, found[output] = (np.clip(v, -limit, limit) for v in (expected, found[output]))
        np.testing.assert_allclose(found[output], expected, rtol=1e-3, atol=TOLERANCE, err_msg=name)
    return ""


def _without_rows_left_over(rows: np.ndarray, count: int) -> np.ndarray:
    """ONNX has no rows behind those that are kept; here they hold -1."""
    assert (rows[count:] == -1).all()
    return rows[:count]


@cache
def results() -> dict[str, str]:
    """By test, why neither form of it is taken; empty where one is."""
    found = {}
    for case in node_tests():
        reasons = [refusal(*form, case.name) for form in forms(case)]
        found[case.name] = "" if "" in reasons else reasons[-1]
    return found


@pytest.mark.slow
def test_what_is_taken_of_onnxs_own_tests_is_computed_right():
    assert Counter(results().values())[""] > 1000


@pytest.mark.slow
def test_the_document_counts_what_is_taken():
    written = DOCUMENT.read_text(encoding="utf-8")
    if f"onnx {onnx.__version__}" not in written:
        pytest.skip("docs/onnx-tests.md counts the tests of another onnx")
    assert written == document()


@pytest.mark.slow
def test_integers_are_near_the_floats_on_onnxs_own_tests():
    tried, far = 0, {}
    taken = [
        case
        for case in node_tests()
        if not STEPS.match(case.name.removeprefix("test_")) and not EXTREME.search(case.name)
    ]
    for case in taken[::EVERY]:
        for proto, inputs, _ in forms(case):
            try:
                graph = from_onnx(proto)
                feeds = feeds_of(graph, proto, inputs)
                if any(a.dtype != np.float32 or not np.isfinite(a).all() for a in feeds.values()):
                    continue
                expected = execute(graph, feeds)
                if any(np.abs(v).max() > FAR for v in expected.values()):
                    continue
                integers = quantize(graph, [feeds], scheme="int16", observer="minmax")
            except (EdgeInferError, ValueError):
                continue
            found = Session(integers).run(feeds)
            found = found if isinstance(found, dict) else {graph.outputs[0]: found}
            for name, values in expected.items():
                if values.dtype == np.float32:
                    error = np.abs(found[name] - values).max() / max(np.abs(values).max(), 1e-6)
                    if error > MOST_ERROR:
                        far[case.name] = float(error)
                    tried += 1
    assert not far
    assert tried > 50


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # of a float64 input
@pytest.mark.parametrize("kind", ["pytorch-converted", "pytorch-operator", "simple"])
def test_models_that_pytorch_converted_are_computed_right(kind):
    from onnx.backend.test.loader import load_model_tests

    taken = 0
    for case in load_model_tests(kind=kind):
        folder = Path(case.model_dir)
        proto = onnx.version_converter.convert_version(onnx.load(folder / "model.onnx"), 13)
        for data in sorted(folder.glob("test_data_set_*")):
            inputs, outputs = (
                [onnx.TensorProto.FromString(p.read_bytes()) for p in sorted(data.glob(pattern))]
                for pattern in ("input_*.pb", "output_*.pb")
            )
            try:
                taken += not refusal(proto, inputs, outputs, case.name)
            except (TypeError, ValueError) as error:  # a sequence is no TensorProto
                assert "sequence" in case.name, error
    assert taken >= {"pytorch-converted": 66, "pytorch-operator": 35, "simple": 3}[kind]


# beside them are vgg19 and zfnet512, of which gigabytes of ones are made
LIGHT = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
def test_light_models_are_computed_as_by_onnxruntime(name):
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    proto = onnx.load(folder / f"light_{name}.onnx")
    graph = from_onnx(proto)
    (source,), (output,) = graph.inputs, graph.outputs
    x = np.random.default_rng(0).random(graph.types[source].shape, np.float32)
    expected = onnxruntime_values(proto, {source: x}, [output])[output]
    np.testing.assert_allclose(execute(graph, {source: x})[output], expected, rtol=1e-3, atol=1e-6)


# ---- the document ------------------------------------------------------------------------------


def document() -> str:
    """docs/onnx-tests.md: by operator, how many of ONNX's tests are taken, and why others not."""
    reasons = results()
    rows: dict[str, list[str]] = defaultdict(list)
    for case in node_tests():
        nodes = case.model.graph.node
        expanded = "_expanded" in case.name
        name = "several, of a definition" if expanded else nodes[-1].op_type
        rows[name].append(reasons[case.name])
    lines = []
    for name in sorted(rows):
        refused = Counter(_short(reason) for reason in rows[name] if reason)
        why = "; ".join(f"{count}: {reason}" for reason, count in refused.most_common(3))
        lines.append(f"| {name} | {len(rows[name])} | {rows[name].count('')} | {why} |")
    taken = Counter(reasons.values())[""]
    different = "\n".join(f"- `{name}`: {reason}" for name, reason in DIFFERENT.items())
    return _DOCUMENT.format(
        version=onnx.__version__,
        total=len(reasons),
        taken=taken,
        rows="\n".join(lines),
        different=different,
    )


def _short(reason: str) -> str:
    """The reason without what tells one test from another."""
    reason = re.sub(r"; the model can be cut before with .*|, and '.*", "", reason)
    found = re.search(r"cannot be imported: (\w+) \(.*?\) at [^:]*: (.*)", reason)
    if found:
        reason = f"{found[1]}: {found[2]}"
    reason = re.sub(r"'[^']*'|\[[^]]*\]|\b(U?INT\d+|FLOAT\d\w+)", "…", reason).replace("|", "/")
    return textwrap.shorten(reason, 120, placeholder=" …")


_DOCUMENT = """\
# ONNX's own tests

onnx {version} ships {total} tests of single operators that a Graph can share. {taken} of them are
imported, as they are or with their parameters as constants, and computed within 0.1 % by the float
executor; the others are refused, by the reasons below. Written by
`python -m tests.converters.test_onnx_backend`; a test holds this file to it.

On the integer runtime, in int16, another test runs every sixth of them that computes floats: each
is within 1 % of its output's largest number. Left out are steps, where half an integer decides
(such as comparisons and roundings), and what is there to overflow.

| operator | tests | taken | refused |
| --- | --- | --- | --- |
{rows}

Apart are the tests of bfloat16, whose 8 bits a Graph does not round to, and

{different}
"""


if __name__ == "__main__":
    print(document(), end="")
