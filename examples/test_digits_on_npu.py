"""A test of a model on the hardware that it is meant for; put your own model in.

edgeinfer demo -o . && pytest test_digits_on_npu.py

It wants pytest beside the extra ``all``; inside edgeinfer's own folder, whose settings of pytest it
then has, the extra ``dev``.
"""

import numpy as np

from edgeinfer.hdl import Simulation
from edgeinfer.model_file import read


def test_digits_on_the_npu():
    with Simulation(read("digits.eqm"), "8x16") as npu:
        npu.run(np.load("digits_test.npz")["image"][:1].astype("float32"))
        assert npu.mismatches() == []  # every layer, to the last bit
        assert npu.report().cycles < 10_000
