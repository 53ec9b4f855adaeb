"""The peak of an instruction set is measured where it is known how, and only where it can run."""

import pytest

from edgeinfer.cython_kernels.runtime import SUPPORTED, peak


@pytest.mark.parametrize("isa", SUPPORTED)
def test_every_set_but_plain_c_has_a_peak(isa):
    if isa in ("amx", "avx512vnni", "avx2"):
        # far below any processor that has the set: it is not said in other units
        assert 1e9 < peak(isa) < 1e14
    else:
        assert peak(isa) == 0


def test_a_set_that_this_processor_lacks_is_refused():
    with pytest.raises(ValueError, match=r"^this processor has no avx1024$"):
        peak("avx1024")
