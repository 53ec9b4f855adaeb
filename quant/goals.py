"""What a mixture of widths is chosen for: one goal, a bound on what is lost or on what it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Protocol

from edgeinfer.errors import InputError
from edgeinfer.graph import Graph

__all__ = ["Clock", "Goal"]


class Clock(Protocol):
    """What a run takes on a target other than this machine: predicted, the same each time."""

    @property
    def unit(self) -> str:
        """What it counts, such as cycles."""

    @property
    def where(self) -> str:
        """The target, as it stands in "on the NPU 8x16"."""

    def __call__(self, graph: Graph) -> float:
        """How many of these a run of an integer Graph takes.

        Raises
        ------
        UnsupportedError
            The target cannot run it.
        """


@dataclass(frozen=True)
class Goal:
    """Exactly one bound of the four.

    Parameters
    ----------
    max_drop : float, optional
        The share of samples, 0 <= share < 1, whose class may be another than float32's.
    min_sqnr : float, optional
        The least ratio of signal to quantization noise of every output, in dB.
    max_latency : float, optional
        The longest that a run may take: by ``clock``, or on this machine, on one thread, in
        microseconds.
    max_bytes : int, optional
        The most bytes of constants and of values that are alive at once, together.
    clock : Clock, optional
        By which latency is counted: of an NPU, an ``edgeinfer.hdl.clock.NpuClock``. Mixtures that
        its target cannot run are left out.

    Raises
    ------
    InputError
        None or several are given, or a number is out of its bounds.
    """

    max_drop: float | None = None
    min_sqnr: float | None = None
    max_latency: float | None = None
    max_bytes: int | None = None
    clock: Clock | None = None

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "clock"}
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
    def is_timed(self) -> bool:
        """Whether runs are timed: by ``clock``, or on this machine."""
        return self.clock is not None or self.max_latency is not None

    @property
    def unit(self) -> str:
        """What times are counted in."""
        return "microseconds" if self.clock is None else self.clock.unit

    def counted(self, time: float) -> str:
        """A time with its unit."""
        return f"{time:,.4g} {self.unit}" if self.clock is None else f"{time:,.0f} {self.unit}"

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
            return f"at most {self.counted(self.max_latency)} a run"
        return f"at most {self.max_bytes:,} bytes"
