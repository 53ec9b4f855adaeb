"""The unified buffer: four banks of words that the array, the lanes, load and store share."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import BANKS, NpuConfig
from edgeinfer.hdl.gateware.deep_memory import DeepMemory
from edgeinfer.hdl.gateware.interface import ADDRESS_BITS, BeatWrite, ReadRequest, WordWrite
from edgeinfer.hdl.gateware.pipeline import later

__all__ = ["FETCH_LATENCY", "FETCH_REQUEST", "READ_LATENCY", "Buffer"]

READ_LATENCY = 3
"""Cycles from a request that is accepted to its word."""

FETCH_LATENCY = READ_LATENCY + 1
"""Cycles from one of the array's fetches to its word."""

_BANK_BITS = (BANKS - 1).bit_length()

FETCH_REQUEST = data.StructLayout({"enable": 1, "address": ADDRESS_BITS})
"""One of the array's reads: never waits, and meets no other address of its bank."""


class Buffer(wiring.Component):
    """Words of ``columns`` elements; word ``a`` is row ``a // 4`` of bank ``a % 4``.

    A bank takes one read and one write a cycle. The array's fetches always get theirs; enabled ones
    with different addresses must lie in different banks. The others meet the fetches of the cycle
    before: ``residual`` waits where one of these takes its bank, ``store`` where such a fetch or
    ``residual`` does, ``load`` where ``result`` writes to its bank. ``residual`` and ``store`` read
    what the word held before a write of the same cycle, a fetch what it holds after it.

    Addresses wait in a register before the memory, and words in one behind it: on many FPGAs half
    of a cycle passes until a block memory answers.

    Reads beyond the memory give anything, writes beyond it are dropped.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    fetch : In(FETCH_REQUEST), four of them
    words : Out(word), four of them
        What the fetches of ``FETCH_LATENCY`` cycles before have read.
    residual, store : In(ReadRequest)
    result : In(WordWrite)
    load : In(BeatWrite)
    out_of_range : Out(1)
        A write that was taken in the cycle before, or a read in the one before that, had an address
        beyond the memory.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        bits = config.columns * config.width
        super().__init__(
            {
                "fetch": In(FETCH_REQUEST).array(BANKS),
                "words": Out(bits).array(BANKS),
                "residual": In(ReadRequest(config)),
                "store": In(ReadRequest(config)),
                "result": In(WordWrite(bits)),
                "load": In(BeatWrite(bits)),
                "out_of_range": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The banks, who reads and writes each of them, and whose word each is."""
        m = Module()
        banks = [
            DeepMemory(self.config.columns * self.config.width, self.config.buffer_words // BANKS)
            for _ in range(BANKS)
        ]
        for index, bank in enumerate(banks):
            m.submodules[f"bank_{index}"] = bank
        self._read(m, banks)
        self._write(m, banks)

        reads = [(request.enable, request.address) for request in self.fetch]
        reads += [(r.valid & r.ready, r.address) for r in (self.residual, self.store)]
        writes = [(self.load.valid & self.load.ready, self.load.address)]
        writes += [(self.result.enable, self.result.address)]
        read_beyond = Signal(len(reads))
        m.d.sync += [
            read_beyond.eq(self._beyond(reads)),
            self.out_of_range.eq(read_beyond.any() | self._beyond(writes).any()),
        ]
        return m

    def _beyond(self, accesses: list[tuple[Value, Value]]) -> Value:
        words = self.config.buffer_words
        return Cat(taken & (address >= words) for taken, address in accesses)

    def _read(self, m: Module, banks: list[DeepMemory]) -> None:
        residual, store = self.residual, self.store
        residual_bank, store_bank = (r.address[:_BANK_BITS] for r in (residual, store))
        fetched = Signal(BANKS)
        for index, bank in enumerate(banks):
            here = [r.enable & (r.address[:_BANK_BITS] == index) for r in self.fetch]
            m.d.sync += fetched[index].eq(Cat(here).any())
            # fetches that meet in a bank have the same address: no order among them is needed
            row = Const(0)
            for wanted, request in zip(here, self.fetch, strict=True):
                row |= Mux(wanted, request.address[_BANK_BITS:], 0)
            second = residual.valid & (residual_bank == index)
            other = Mux(second, residual.address, store.address)[_BANK_BITS:]
            chosen = Mux(fetched[index], later(m, row, f"row_{index}"), other)
            m.d.comb += bank.read_address.eq(later(m, chosen, f"read_address_{index}"))

        together = residual.valid & (residual_bank == store_bank)
        m.d.comb += [
            residual.ready.eq(~fetched.bit_select(residual_bank, 1)),
            store.ready.eq(~fetched.bit_select(store_bank, 1) & ~together),
        ]

        held = [later(m, bank.read_data, f"held_{index}") for index, bank in enumerate(banks)]
        words = data.View(data.ArrayLayout(held[0].shape(), BANKS), Cat(held))
        answers = [(r, word, FETCH_LATENCY) for r, word in zip(self.fetch, self.words, strict=True)]
        answers += [(port, port.data, READ_LATENCY) for port in (residual, store)]
        for request, word, latency in answers:
            asked = later(m, request.address[:_BANK_BITS], "asked", cycles=latency)
            m.d.comb += word.eq(words[asked])

    def _write(self, m: Module, banks: list[DeepMemory]) -> None:
        result, load = self.result, self.load
        result_bank, load_bank = result.address[:_BANK_BITS], load.address[:_BANK_BITS]
        m.d.comb += load.ready.eq(~(result.enable & (result_bank == load_bank)))
        fits = [port.address < self.config.buffer_words for port in (result, load)]
        for index, bank in enumerate(banks):
            first = result.enable & (result_bank == index)
            second = load.valid & (load_bank == index)
            row = Mux(first, result.address, load.address)[_BANK_BITS:]
            word = Mux(first, result.data, load.data)
            written = Signal(name=f"written_{index}")
            m.d.sync += written.eq(Mux(first, fits[0], second & fits[1]))
            m.d.comb += [
                bank.write_enable.eq(written),
                bank.write_address.eq(later(m, row, f"write_address_{index}")),
                bank.write_data.eq(later(m, word, f"word_{index}")),
            ]
