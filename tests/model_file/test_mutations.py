"""Whatever is done to a model file, reading it gives one of our errors or a Graph that runs."""

import random

import pytest

from tests.model_file import mutants
from tests.model_file.digits_models import digits_file

SCHEMES = ["float32", "int8", "int16"]


def passes(data: bytes) -> bool:
    return mutants.outcome(data) != "refused"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_flipped_bits_never_pass(scheme):
    rng, original = random.Random(1), digits_file(scheme)
    for _ in range(300):
        data = bytearray(original)
        # half of them in the header, where they are read rather than summed
        end = 8 + int.from_bytes(data[:8], "little") if rng.random() < 0.5 else len(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(end)] ^= 1 << rng.randrange(8)
        assert bytes(data) == original or not passes(bytes(data))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_truncated_and_extended_files_never_pass(scheme):
    rng, data = random.Random(2), digits_file(scheme)
    lengths = [*range(40), *(rng.randrange(len(data)) for _ in range(200)), len(data) - 1]
    for length in lengths:
        assert not passes(data[:length])
    for tail in (b"\0", b" ", data):
        assert not passes(data + tail)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_header_length_is_survived(scheme):
    data = digits_file(scheme)
    for length in (0, 1, 7, 2**20, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1):
        assert not passes(length.to_bytes(8, "little") + data[8:])


def test_a_mutant_with_a_checksum_that_fits_is_refused_or_has_the_references_bits():
    """A sample of what ``tests/campaigns/model_files.py`` does for hours."""
    rng, files = random.Random(4), mutants.corpus(4, 40)
    outcomes = [mutants.outcome(mutants.mutant(rng, files)) for _ in range(1000)]
    assert outcomes.count("run") > 200
    assert outcomes.count("refused") > 200
