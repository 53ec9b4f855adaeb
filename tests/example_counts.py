"""How many examples Hypothesis draws, where one environment asks for fewer than another."""

import os

SHARE = "EDGEINFER_EXAMPLES"
"""The variable that holds the share of them."""


def examples(count: int) -> int:
    """That share of ``count``."""
    return max(1, round(count * float(os.environ.get(SHARE, "1"))))
