"""Names that every tool takes, in place of Amaranth's.

Amaranth calls the parts of a structure ``\\token.offsets[0]``. Brackets in a name are legal, but
the ABC9 pass of Yosys 0.70 takes ``\\x[0]`` for bit 0 of ``x`` and stops at an assertion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Set

__all__ = ["plain_rtlil", "plain_verilog"]

_KEYWORDS = frozenset(
    """
    always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config
    deassign default defparam design disable edge else end endcase endconfig endfunction
    endgenerate endmodule endprimitive endspecify endtable endtask event for force forever
    fork function generate genvar highz0 highz1 if ifnone incdir include initial inout input
    instance integer join large liblist library localparam macromodule medium module nand
    negedge nmos nor noshowcancelled not notif0 notif1 or output parameter pmos posedge
    primitive pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent rcmos real
    realtime reg release repeat rnmos rpmos rtran rtranif0 rtranif1 scalared showcancelled
    signed small specify specparam strong0 strong1 supply0 supply1 table task time tran
    tranif0 tranif1 tri tri0 tri1 triand trior trireg unsigned use vectored wait wand weak0
    weak1 while wire wor xnor xor
    """.split()  # noqa: SIM905
)
"""Of Verilog 2001, IEEE 1364-2001, annex B."""


def plain_rtlil(text: str) -> str:
    """RTLIL whose public names have no brackets."""
    names = set(re.findall(r"\\\S+", text))
    renamed = _unique({n for n in names if "[" in n}, names, lambda n: re.sub(r"[\[\]]+", "_", n))
    return re.sub(r"\\\S+", lambda found: renamed.get(found[0], found[0]), text)


def plain_verilog(text: str) -> str:
    """Verilog without escaped identifiers."""
    escaped = set(re.findall(r"\\\S+ ", text))
    plain = set(re.findall(r"\b[A-Za-z_][\w$]*", re.sub(r"\\\S+ ", "", text)))
    renamed = _unique(escaped, plain | _KEYWORDS, _identifier)
    return re.sub(r"\\\S+ ", lambda found: renamed[found[0]], text)


def _identifier(name: str) -> str:
    made = re.sub(r"\W+", "_", name).strip("_")
    return made if made[:1].isalpha() else f"n_{made}"


def _unique(names: Iterable[str], taken: Set[str], rename: Callable[[str], str]) -> dict[str, str]:
    """A new name for each, none of them taken."""
    used = set(taken)
    found = {}
    for name in sorted(names):
        base = made = rename(name)
        number = 1
        while made in used:
            number += 1
            made = f"{base}_{number}"
        used.add(made)
        found[name] = made
    return found
