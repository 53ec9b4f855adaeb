"""The peak of an instruction set is measured where it is known how, and only where it can run."""

import pytest

from edgeinfer.cython_kernels.runtime import SUPPORTED, peak


@pytest.mark.parametrize("isa", SUPPORTED)
def test_every_set_but_plain_c_has_a_peak(isa):
    rate = peak(isa)
    if isa == "scalar":
        assert rate == 0
    else:
        # far from any processor that has the set: it is said in no other unit
        assert 1e8 < rate < 1e15


def test_a_set_that_this_processor_lacks_is_refused():
    with pytest.raises(ValueError, match=r"^this processor has no avx1024$"):
        peak("avx1024")
