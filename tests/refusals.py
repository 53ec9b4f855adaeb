"""Asserts that a call is refused with exactly one message."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgeinfer.errors import ModelError


@contextmanager
def refused(message: str, error: type[Exception] = ModelError) -> Iterator[None]:
    with pytest.raises(error) as caught:
        yield
    assert str(caught.value) == message
