"""What a mixture of widths is chosen for: one goal, a bound on what is lost or on what it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from edgeinfer.errors import InputError

__all__ = ["Goal"]


@dataclass(frozen=True)
class Goal:
    """Exactly one of the four.

    Parameters
    ----------
    max_drop : float, optional
        The share of samples, 0 <= share < 1, whose class may be another than float32's.
    min_sqnr : float, optional
        The least ratio of signal to quantization noise of every output, in dB.
    max_latency : float, optional
        The longest that a run may take on this machine, on one thread, in microseconds.
    max_bytes : int, optional
        The most bytes of constants and of values that are alive at once, together.

    Raises
    ------
    InputError
        None or several are given, or a number is out of its bounds.
    """

    max_drop: float | None = None
    min_sqnr: float | None = None
    max_latency: float | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) != 1:
            what = " and ".join(given) if given else "none"
            raise InputError(
                "a goal is exactly one of max_drop, min_sqnr, max_latency and max_bytes, "
                f"not {what}"
            )
        ((name, value),) = given.items()
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise InputError(f"{name} must be a number, not {value!r}")
        if name == "max_drop" and not 0 <= value < 1:
            raise InputError(f"max_drop must be a share, 0 or more and below 1, not {value!r}")
        if name in ("max_latency", "max_bytes") and value <= 0:
            raise InputError(f"{name} must be more than 0, not {value!r}")

    @property
    def is_limit(self) -> bool:
        """Whether it bounds what a run takes, so that the most accurate within it is wanted."""
        return self.max_latency is not None or self.max_bytes is not None

    def __str__(self) -> str:
        if self.max_drop is not None:
            return f"at most {100 * self.max_drop:.3g} % of the samples with another class"
        if self.min_sqnr is not None:
            return f"at least {self.min_sqnr:.4g} dB"
        if self.max_latency is not None:
            return f"at most {self.max_latency:,.4g} microseconds a run"
        return f"at most {self.max_bytes:,} bytes"
