"""Asserts that a call is refused with exactly one message; what a full disk is, for such tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeinfer.errors import ModelError

needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@contextmanager
def refused(message: str, error: type[Exception] = ModelError) -> Iterator[None]:
    with pytest.raises(error) as caught:
        yield
    assert str(caught.value) == message
