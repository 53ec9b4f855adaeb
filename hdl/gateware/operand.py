"""The operand path: the buffer's words of a fetch into one operand for each row of the array."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import BANKS, NpuConfig
from edgeinfer.hdl.gateware.accumulators import tag_layout
from edgeinfer.hdl.gateware.buffer import FETCH_LATENCY
from edgeinfer.hdl.gateware.pipeline import later

__all__ = ["STREAM_REQUESTS", "WINDOWS", "Operand", "token_layout"]

WINDOWS = 2
"""Windows of a dense fetch; window ``i`` lies in the words of requests ``2 i`` and ``2 i + 1``."""

STREAM_REQUESTS = (0, 2, 1)
"""The request that fetches the word of each kernel row of a depthwise pass."""


def token_layout(config: NpuConfig) -> data.StructLayout:
    """What the operand path must know about a fetch; it comes with the fetch's addresses.

    ``fetched``: there is a fetch. ``offsets``: where the windows start in their first words.
    ``own``: the rows that take the first window. ``valid``: the rows that are not padding.
    ``taps``: less one. ``inside``: the kernel rows of a depthwise pass that are not padding.
    ``pad``: the element that padding reads as. ``swap``: the first fetch of a pass.
    """
    return data.StructLayout(
        {
            "fetched": 1,
            "dense": 1,
            "offsets": data.ArrayLayout(range(config.columns), WINDOWS),
            "own": config.rows,
            "valid": config.rows,
            "taps": isa.fields(isa.SetKernel)["taps"].bits,
            "inside": config.streams,
            "pad": config.width,
            "swap": 1,
            "tag": tag_layout(config),
        }
    )


class Operand(wiring.Component):
    """Aligns, pads, delays and skews.

    Never stalls. The token of a fetch comes in cycle t, its words in w = t + FETCH_LATENCY.
    ``swap`` follows in w + 2, row r's operand in w + 3 + r and ``tag`` in w + 3. The word of kernel
    row s of a depthwise pass reaches its rows ``s taps`` cycles after that of kernel row 0. A
    depthwise pass with fewer taps than the one before must come ``rows`` cycles after its last
    fetch or later, as its words would overtake the delayed ones.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    words : In(word), four of them
    token : In(token_layout)
    rows : Out(word), one for each row
    swap : Out(1)
    tag : Out(tag_layout)
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "words": In(config.columns * config.width).array(BANKS),
                "token": In(token_layout(config)),
                "rows": Out(config.columns * config.width).array(config.rows),
                "swap": Out(1),
                "tag": Out(tag_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Stage 1 (w + 1) takes the words, stage 2 aligns and pads them, stage 3 selects the mode.

        The selection has a stage of its own so that the multipliers follow a register at once.
        """
        m = Module()
        layout = token_layout(self.config)
        token = self.token
        words = [later(m, word, f"word_{i}") for i, word in enumerate(self.words)]
        for stage in range(1, FETCH_LATENCY + 2):
            following = Signal(layout, name=f"token_{stage}")
            m.d.sync += following.eq(token)
            token = following
        tag = Signal.like(token.tag)
        m.d.sync += [self.swap.eq(token.swap), tag.eq(token.tag), self.tag.eq(tag)]
        elements = self._dense(m, token, words)
        for row, element, (dense, word) in zip(
            self.rows, elements, self._depthwise(m, token, words), strict=True
        ):
            selected = Mux(dense, element.replicate(self.config.columns), word)
            m.d.comb += row.eq(later(m, selected, "selected"))
        return m

    def _dense(self, m: Module, token: data.View, words: list[Signal]) -> list[Signal]:
        """The element of each row, for all columns."""
        config = self.config
        zeros = Const(0, config.width.bit_length() - 1)
        windows = []
        for i in range(WINDOWS):
            window = Signal(config.rows * config.width, name=f"window_{i}")
            pair = Cat(words[2 * i], words[2 * i + 1])
            m.d.comb += window.eq(pair >> Cat(zeros, token.offsets[i]))
            windows.append(window)
        elements = []
        for r in range(config.rows):
            own, other = (window.word_select(r, config.width) for window in windows)
            element = Signal(config.width, name=f"element_{r}")
            inside = Mux(token.own[r], own, other)
            m.d.comb += element.eq(Mux(token.valid[r], inside, token.pad))
            elements.append(later(m, element, f"element_{r}", cycles=r + 1))
        return elements

    def _depthwise(
        self, m: Module, token: data.View, words: list[Signal]
    ) -> list[tuple[Signal, Signal]]:
        """For each row whether it takes the dense element, and else its word."""
        delayed = self._delayed(m, token, words)
        dense, taps = token.dense, token.taps
        rows = []
        for r in range(self.config.rows):
            # kernel row s has the array rows from s taps to (s + 1) taps - 1
            word: Value = delayed[-1]
            for s in reversed(range(len(delayed) - 1)):
                word = Mux((taps + 1) * (s + 1) > r, delayed[s], word)
            # what the row below does belongs to the fetch of the cycle before
            dense, taps = later(m, dense, f"dense_{r + 1}"), later(m, taps, f"taps_{r + 1}")
            rows.append((dense, later(m, word, f"word_of_row_{r}")))
        return rows

    def _delayed(self, m: Module, token: data.View, words: list[Signal]) -> list[Value]:
        """The word of each kernel row; that of s as it was s taps cycles ago.

        Each is put into a ring at the place where the reader will be when it is due, so that the
        delay is that of the fetch and not of those that follow.
        """
        config = self.config
        # a power of two, so that places wrap by themselves
        depth = 1 << (config.rows - 1).bit_length()
        place = Signal(range(depth))
        m.d.sync += place.eq(place + 1)
        delayed: list[Value] = []
        for s in range(config.streams):
            word = Signal(config.columns * config.width, name=f"stream_{s}")
            padding = token.pad.replicate(config.columns)
            m.d.comb += word.eq(Mux(token.inside[s], words[STREAM_REQUESTS[s]], padding))
            if s == 0:
                delayed.append(word)
                continue
            ring = Memory(shape=word.shape(), depth=depth, init=[])
            m.submodules[f"ring_{s}"] = ring
            write, read = ring.write_port(), ring.read_port(domain="comb")
            m.d.comb += [
                write.en.eq(token.fetched & ~token.dense),
                write.addr.eq(place + (token.taps + 1) * s),
                write.data.eq(word),
                read.addr.eq(place),
            ]
            delayed.append(read.data)
        return delayed
