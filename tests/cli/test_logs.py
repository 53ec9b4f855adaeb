"""What is done is said when it is asked for; what is warned of is said in any case, once."""

import json
import logging
import warnings

import pytest

from edgeinfer import quant
from edgeinfer.errors import EdgeInferWarning

QUANTIZE = "quantize digits.onnx --data digits_calib.npz -o a.eqm --observer minmax"
EVALUATE = "evaluate digits.eqm --data digits_test.npz"


def test_nothing_is_said_without_v(cli):
    assert cli(EVALUATE).stderr == ""


def test_v_says_what_is_done_and_vv_how_long_it_took(cli):
    lines = cli(f"{EVALUATE} -v").stderr.splitlines()
    assert lines == [
        "edgeinfer.data.loading: digits_test.npz feeds 400 runs, with labels of shape [400]",
        "edgeinfer.cli: evaluating",
    ]
    more = cli(f"{EVALUATE} -vv").stderr.splitlines()
    assert more[:2] == lines
    assert more[-1].startswith("edgeinfer.cli: evaluating took 0.")


def test_import_and_quantization_say_what_they_do(cli):
    assert cli(f"{QUANTIZE} -v").stderr.splitlines()[:4] == [
        "edgeinfer.converters: imported 'digits': 8 operators",
        "edgeinfer.data.loading: digits_calib.npz feeds 200 runs, with no labels",
        "edgeinfer.cli: calibrating",
        "edgeinfer.quant.choose_types: calibrated 'digits' by 200 runs: 7 scales, 0 of them of "
        "16 bits",
    ]


def test_v_leaves_the_json_alone_and_the_logger_as_it_was(cli):
    logger = logging.getLogger("edgeinfer")
    before = logger.level, list(logger.handlers)
    assert json.loads(cli(f"{EVALUATE} -v --json").stdout)["samples"] == 400
    assert cli("evaluate no.eqm --data digits_test.npz -v").exit_code == 1
    assert (logger.level, logger.handlers) == before


@pytest.fixture
def warning_quantizer(monkeypatch):
    """A quantizer that finds something to warn of, twice."""
    make = quant.quantize_and_judge

    def warned(*args, **kwargs):
        for _ in range(2):
            warnings.warn("output 'scores' is constant; try it", EdgeInferWarning, stacklevel=2)
        logging.getLogger("edgeinfer.quant").warning("node 'a' is slow")
        return make(*args, **kwargs)

    monkeypatch.setattr(quant, "quantize_and_judge", warned)


def test_a_warning_is_printed_once_and_listed_in_the_json(cli, warning_quantizer):
    done = cli(QUANTIZE)
    assert done.exit_code == 0
    assert (
        done.stderr == "warning: node 'a' is slow\nwarning: output 'scores' is constant; try it\n"
    )
    found = json.loads(cli(f"{QUANTIZE} --json").stdout)
    assert found["warnings"] == ["output 'scores' is constant; try it"]


def test_a_warning_of_another_kind_is_not_taken_for_ours(cli, monkeypatch):
    make = quant.quantize_and_judge

    def warned(*args, **kwargs):
        warnings.warn("old", DeprecationWarning, stacklevel=2)
        return make(*args, **kwargs)

    monkeypatch.setattr(quant, "quantize_and_judge", warned)
    with pytest.warns(DeprecationWarning, match="^old$"):
        assert "old" not in cli(QUANTIZE).stderr
