"""Pages hold what the screen shows and its figures, and nothing that a browser would fetch."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.cli.pages.figures import cause_bars, confusion_of, memory_of, range_of
from edgeinfer.files.model_file import read, save
from edgeinfer.graph import Node, Quantization, TensorType
from edgeinfer.quant.explanation import Cause
from edgeinfer.quant.observers import Histogram
from edgeinfer.runtime.planner import plan

COMPARE = "compare digits.onnx digits.eqm --data digits_test.npz --samples 20 --html page.html"
EVALUATE = "evaluate digits.eqm --data digits_test.npz --html page.html"
EXPLAIN = (
    "explain digits.onnx digits.eqm --data digits_test.npz --samples 40 --fix better.eqm "
    "--html page.html"
)

VOID = {"wbr", "meta", "path", "line", "rect"}


class Page(HTMLParser):
    """The elements of a page, each of which must end where it should, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


@pytest.mark.parametrize("line", [COMPARE, EVALUATE, EXPLAIN])
def test_a_page_is_whole_and_fetches_nothing(cli, workspace, line):
    done = cli(line)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.endswith("\nwrote page.html\n")
    page = Page(workspace / "page.html")
    assert not {"script", "link", "img", "iframe", "object"} & set(page.elements)
    assert not {"src", "href", "onload"} & {name for name, _ in page.attributes}
    assert "url(" not in (workspace / "page.html").read_text()


def test_the_page_of_compare_has_every_layer_with_its_range(cli, workspace):
    found = cli.json(COMPARE)
    page = Page(workspace / "page.html")
    for layer in found["layers"]:
        assert layer["value"] in page.text
        assert f"{layer['sqnr_db']:.1f}" in page.text
    assert page.text.count("values from ") == len(found["layers"])
    for heading in ("Layers by SQNR", "Latency by layer", "Memory over time"):
        assert heading in page.text


def test_the_page_of_evaluate_has_its_numbers_and_the_confusion(cli, workspace):
    found = cli.json(EVALUATE)
    page = Page(workspace / "page.html")
    assert f"{found['top1']:.4f}" in page.text
    cells = re.findall(r"(\d) taken for (\d): (\d+), ", page.text)
    drawn = np.zeros((10, 10), int)
    for right, taken, count in cells:
        drawn[int(right), int(taken)] = int(count)
    assert drawn.tolist() == found["confusion"]


def test_the_page_of_explain_has_findings_remedies_and_the_causes_of_layers(cli, workspace):
    with np.load(workspace / "digits_calib.npz") as calibration:
        np.savez(workspace / "dim.npz", image=calibration["image"] / np.float32(4))
    assert cli("quantize digits.onnx --data dim.npz -o digits.eqm").exit_code == 0
    found = cli.json(EXPLAIN)
    page = Page(workspace / "page.html")
    assert {"data unlike calibration's", "saturation of the input"} <= {
        finding["cause"] for finding in found["findings"]
    }
    for finding in found["findings"]:
        assert finding["cause"] in page.text
        assert finding["text"] in page.text
        assert f"{finding['undone_db']:+.1f}" in page.text
        assert Cause(finding["cause"]).meaning in page.text
    assert found["fixed"]["remedies"]
    for remedy in found["fixed"]["remedies"]:
        assert remedy in page.text
    for layer in found["layers"]:
        assert layer["value"] in page.text
        for cause, gain in layer["undone_db"].items():
            assert (f"{gain:+.1f} {cause}" in page.text) or gain < 0.05
    assert "Latency" not in page.text and "Memory" not in page.text


def test_the_page_of_a_float_model_has_no_latency(cli, workspace):
    assert cli(COMPARE.replace("digits.eqm", "digits.onnx")).exit_code == 0
    text = Page(workspace / "page.html").text
    assert "Layers by SQNR" in text
    assert "Latency" not in text and "Memory" not in text


def test_names_of_strangers_are_text(cli, workspace):
    graph = read(workspace / "digits.eqm")
    hostile = "<script>alert('1')</script>"
    nodes = tuple(Node(f"{hostile}{n.name}", n.op, n.inputs, n.outputs) for n in graph.nodes)
    labels = (hostile, *"bcdefghij")
    save(replace(graph, nodes=nodes, labels=labels), workspace / "digits.eqm")
    assert cli(EVALUATE).exit_code == 0
    page = Page(workspace / "page.html")
    assert "script" not in page.elements
    assert hostile in page.text


@pytest.mark.parametrize("line", [COMPARE, EVALUATE, EXPLAIN])
def test_a_page_that_cannot_be_written_is_refused_before_any_work(cli, line):
    assert cli.refusal(line.replace("page.html", "no/page.html")) == (
        "error: cannot write no/page.html: there is no folder no"
    )
    assert cli.refusal(line.replace("page.html", "digits.eqm")) == (
        "error: cannot write digits.eqm: the result is made from it"
    )


# ---- figures -----------------------------------------------------------------------------------


def test_a_range_shows_all_values_and_the_cuts_of_its_integers():
    seen = Histogram()
    seen.add(np.concatenate([np.zeros(50), np.linspace(-1, 3, 100)]).astype("f4"))
    # -1 to 1.55
    figure = range_of(seen, TensorType((1,), "int8", Quantization.per_tensor(0.01, -28)))
    assert (figure.low, figure.high) == (pytest.approx(-1), 3)
    assert figure.cuts == pytest.approx((-1, 1.55))
    assert figure.beyond == pytest.approx(36 / 150, abs=0.01)
    assert max(figure.bars) == figure.bars[int(figure.place(0) * 64)] == 1
    floats = range_of(seen, TensorType((1,)))
    assert (floats.cuts, floats.beyond) == (None, 0)


def test_a_value_that_is_always_zero_has_a_range():
    seen = Histogram()
    seen.add(np.zeros(5, "f4"))
    figure = range_of(seen, TensorType((1,)))
    assert (figure.low, figure.high, figure.bars[32]) == (-1, 1, 1)


def test_memory_shows_every_value_where_the_plan_has_it(workspace):
    graph = read(workspace / "digits.eqm")
    figure = memory_of(graph)
    assert figure.nbytes == plan(graph).values_bytes
    assert (figure.steps, figure.blocks[0].name) == (len(graph.nodes), "image")
    for block in figure.blocks:
        assert 0 <= block.first <= block.last < figure.steps
        assert block.offset + block.nbytes <= figure.nbytes
        for other in figure.blocks:
            apart = block.last <= other.first or other.last <= block.first
            below = block.offset + block.nbytes <= other.offset
            above = other.offset + other.nbytes <= block.offset
            # a Reshape's value is its input's bytes
            assert apart or below or above or block.offset == other.offset


def test_confusion_names_classes_by_label_or_number():
    figure = confusion_of([[3, 1], [0, 0]], ["cat"])
    assert [(c.right, c.taken, c.count, c.share) for c in figure.cells] == [
        (0, 0, 3, 0.75),
        (0, 1, 1, 0.25),
    ]
    assert figure.names == ("cat", "1")


def test_bars_of_causes_begin_with_the_longest_and_leave_out_what_helps_nothing():
    gains = {Cause.TABLE: 0.01, Cause.CLIPPING: 2.0, Cause.OUTLIERS: 8.0, Cause.DISTRIBUTION: -1.0}
    found = [(bar.cause, bar.gain, bar.share) for bar in cause_bars(gains, 4.0)]
    assert found == [(Cause.OUTLIERS, 8.0, 1.0), (Cause.CLIPPING, 2.0, 0.5)]
