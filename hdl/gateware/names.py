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
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic
    before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle
    checker class clocking cmos config const constraint context continue cover covergroup
    coverpoint cross deassign default defparam design disable dist do edge else end endcase
    endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface
    endmodule endpackage endprimitive endprogram endproperty endsequence endspecify endtable
    endtask enum event eventually expect export extends extern final first_match for force foreach
    forever fork forkjoin function generate genvar global highz0 highz1 if iff ifnone ignore_bins
    illegal_bins implements implies import incdir include initial inout input inside instance int
    integer interconnect interface intersect join join_any join_none large let liblist library
    local localparam logic longint macromodule matches medium modport module nand negedge nettype
    new nexttime nmos nor noshowcancelled not notif0 notif1 null or output package packed
    parameter pmos posedge primitive priority program property protected pull0 pull1 pulldown
    pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence rcmos real
    realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1
    s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal
    showcancelled signed small soft solve specify specparam static string strong strong0 strong1
    struct super supply0 supply1 sync_accept_on sync_reject_on table tagged task this throughout
    time timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type
    typedef union unique unique0 unsigned until until_with untyped use uwire var vectored virtual
    void wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
    """.split()  # noqa: SIM905
)
"""Of SystemVerilog, IEEE 1800-2017, annex B: Verilog's are among them."""


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
