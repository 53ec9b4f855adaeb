"""The systolic array: operands across the columns times weights that stay, summed down the rows."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.accumulators import sums_layout, tag_layout
from edgeinfer.hdl.gateware.pipeline import later

__all__ = ["Array", "weights_layout"]


def weights_layout(config: NpuConfig) -> data.StructLayout:
    """A row's weights, one a column, taken into the shadow weights if ``capture``."""
    return data.StructLayout({"capture": 1, "word": config.columns * config.width})


class Array(wiring.Component):
    """``rows x columns`` cells, flat in one module, which simulates three times as fast.

    Never stalls. Of an operand whose row 0 comes in cycle u, row r comes in u + r, its product is a
    register in u + r + 1 and the partial sum in u + r + 2: the sums of all rows come in
    u + rows + 1, and ``tag_in`` of cycle u two cycles before them.

    ``swap`` in cycle u - 1 makes row r's shadow weights of cycle u + r - 1 the active ones from
    u + r on. Weights that are captured in one cycle are shadow weights from the next one on.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    rows : In(word), one for each row
        An operand for each column.
    weights : In(weights_layout), one for each row
    swap : In(1)
    tag_in : In(tag_layout)
    sums : Out(sums_layout)
    tag_out : Out(tag_layout)
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "rows": In(config.columns * config.width).array(config.rows),
                "weights": In(weights_layout(config)).array(config.rows),
                "swap": In(1),
                "tag_in": In(tag_layout(config)),
                "sums": Out(sums_layout(config)),
                "tag_out": Out(tag_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """One row after another."""
        m = Module()
        config = self.config
        word = data.ArrayLayout(signed(config.width), config.columns)
        sum_shape = sums_layout(config).elem_shape
        above: list[Value] = [Const(0, sum_shape)] * config.columns
        swap = self.swap
        for r, (row, weights) in enumerate(zip(self.rows, self.weights, strict=True)):
            shadow = Signal(word, name=f"shadow_{r}", reset_less=True)
            active = Signal(word, name=f"active_{r}", reset_less=True)
            with m.If(weights.capture):
                m.d.sync += shadow.eq(weights.word)
            with m.If(swap):
                m.d.sync += active.eq(shadow)
            operand = data.View(word, row)
            for c in range(config.columns):
                product = later(m, operand[c] * active[c], f"product_{r}_{c}")
                partial = (above[c] + product)[: sum_shape.width].as_signed()
                above[c] = later(m, partial, f"partial_{r}_{c}")
            swap_below = Signal(name=f"swap_{r + 1}")
            m.d.sync += swap_below.eq(swap)
            swap = swap_below
        for c in range(config.columns):
            m.d.comb += self.sums[c].eq(above[c])

        tag = self.tag_in
        for stage in range(1, config.rows):
            following = Signal(tag_layout(config), name=f"tag_{stage}")
            m.d.sync += following.eq(tag)
            tag = following
        m.d.comb += self.tag_out.eq(tag)
        return m
