"""What ``explain`` says of a planted fault, and what ``--fix`` makes of it, beside what is right.

A fault is *named* where one of the first ``LOOKED_AT`` findings has a right cause at a right place.
It is *repaired* where the fixed model's SQNR on samples that nobody has seen is at most
``WITHIN_DB`` below that of the model without the fault, quantized by the samples that are given.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.quant.explanation import Explanation, Finding, Fixed, explain_and_fix
from tests.accuracy.planting.faults import Fault
from tests.accuracy.planting.subjects import fresh_db

__all__ = ["LOOKED_AT", "WITHIN_DB", "Verdict", "judge"]

LOOKED_AT = 3
WITHIN_DB = 1.0


@dataclass(frozen=True)
class Verdict:
    """How a fault was explained and repaired.

    Parameters
    ----------
    fault : Fault
        What was planted.
    explanation : Explanation
        What was said.
    fixed : Fixed
        What was done.
    fixed_db : float
        SQNR on fresh samples after it.
    """

    fault: Fault
    explanation: Explanation
    fixed: Fixed
    fixed_db: float

    @property
    def place(self) -> int | None:
        """Which finding, from 1, is the first with a right cause at a right place."""
        for place, finding in enumerate(self.explanation.findings, start=1):
            if self._is_right(finding):
                return place
        return None

    def _is_right(self, finding: Finding) -> bool:
        return any(
            finding.cause is cause and finding.where in places
            for cause, places in self.fault.expected
        )

    @property
    def is_named(self) -> bool:
        """The right cause is among the first findings, at the right place."""
        return self.place is not None and self.place <= LOOKED_AT

    @property
    def is_repaired(self) -> bool:
        """It is nearly as good as without the fault."""
        return self.fixed_db >= self.fault.sound_db - WITHIN_DB

    def __str__(self) -> str:
        """What a reader of a failed test needs."""
        fault = self.fault
        expected = " or ".join(f"{c.value!r} at {sorted(places)}" for c, places in fault.expected)
        return "\n".join(
            [
                f"{fault.plant}: {fault.text}",
                f"sound {fault.sound_db:.1f} dB, spoilt {fault.spoilt_db:.1f}, fixed "
                f"{self.fixed_db:.1f}",
                f"right: {expected}",
                *(
                    f"  {f.cause.value} at {f.where!r}: {f.gain:.1f} dB; remedy "
                    f"{f.remedy and f.remedy.text}, {f.remedied:.1f} dB"
                    for f in self.explanation.findings[:6]
                ),
                f"taken: {'; '.join(r.text for r in self.fixed.remedies) or 'nothing'}",
            ]
        )


def judge(fault: Fault) -> Verdict:
    """Explain and fix it, on the samples that are given, and nothing else told."""
    explanation, fixed = explain_and_fix(fault.graph, fault.quantized, fault.given)
    return Verdict(fault, explanation, fixed, fresh_db(fault.graph, fixed.graph, fault.fresh))
