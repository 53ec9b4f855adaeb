"""The unified buffer: four banks of words that the array, the lanes, load and store share."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import BANKS, NpuConfig
from edgeinfer.hdl.gateware.interface import ADDRESS_BITS, BeatWrite, ReadRequest, WordWrite
from edgeinfer.hdl.gateware.pipeline import later

__all__ = ["FETCH_REQUEST", "Buffer"]

_BANK_BITS = (BANKS - 1).bit_length()

FETCH_REQUEST = data.StructLayout({"enable": 1, "address": ADDRESS_BITS})
"""One of the array's reads: never waits, and meets no other address of its bank."""


class Buffer(wiring.Component):
    """Words of ``columns`` elements; word ``a`` is row ``a // 4`` of bank ``a % 4``.

    Every read answers one cycle after it was taken. A bank takes one read and one write a cycle.
    The array's fetches always get theirs; enabled ones with different addresses must lie in
    different banks. ``residual`` waits where a fetch takes its bank, ``store`` where a fetch or
    ``residual`` does, ``load`` where ``result`` writes to its bank. A read returns what the word
    held before a write of the same cycle.

    Reads beyond the memory give anything, writes beyond it are dropped.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    fetch : In(FETCH_REQUEST), four of them
    words : Out(word), four of them
        What the fetches of the cycle before have read.
    residual, store : In(ReadRequest)
    result : In(WordWrite)
    load : In(BeatWrite)
    out_of_range : Out(1)
        In the cycle before, an access that was taken had an address beyond the memory.
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
        reads: list[ReadPort] = []
        writes: list[WritePort] = []
        for index in range(BANKS):
            bank = Memory(
                shape=self.config.columns * self.config.width,
                depth=self.config.buffer_words // BANKS,
                init=[],
            )
            m.submodules[f"bank_{index}"] = bank
            reads.append(bank.read_port())
            writes.append(bank.write_port())
        self._read(m, reads)
        self._write(m, writes)

        words = self.config.buffer_words
        taken = [(request.enable, request.address) for request in self.fetch]
        taken += [(r.valid & r.ready, r.address) for r in (self.residual, self.store, self.load)]
        taken += [(self.result.enable, self.result.address)]
        m.d.sync += self.out_of_range.eq(
            Cat(accepted & (address >= words) for accepted, address in taken).any()
        )
        return m

    def _read(self, m: Module, ports: list[ReadPort]) -> None:
        residual, store = self.residual, self.store
        bank_of = {id(r): r.address[:_BANK_BITS] for r in (*self.fetch, residual, store)}
        fetched = Signal(BANKS)
        for index, port in enumerate(ports):
            here = [r.enable & (bank_of[id(r)] == index) for r in self.fetch]
            m.d.comb += fetched[index].eq(Cat(here).any())
            # fetches that meet in a bank have the same address: no order among them is needed
            row = 0
            for wanted, request in zip(here, self.fetch, strict=True):
                row |= Mux(wanted, request.address[_BANK_BITS:], 0)
            second = residual.valid & (bank_of[id(residual)] == index)
            other = Mux(second, residual.address, store.address)[_BANK_BITS:]
            m.d.comb += port.addr.eq(Mux(fetched[index], row, other))

        together = residual.valid & (bank_of[id(residual)] == bank_of[id(store)])
        m.d.comb += [
            residual.ready.eq(~fetched.bit_select(bank_of[id(residual)], 1)),
            store.ready.eq(~fetched.bit_select(bank_of[id(store)], 1) & ~together),
        ]

        words = data.View(
            data.ArrayLayout(ports[0].data.shape(), BANKS), Cat(port.data for port in ports)
        )
        answers = [*zip(self.fetch, self.words, strict=True)]
        answers += [(residual, residual.data), (store, store.data)]
        for request, word in answers:
            bank = later(m, bank_of[id(request)], "bank")
            m.d.comb += word.eq(words[bank])

    def _write(self, m: Module, ports: list[WritePort]) -> None:
        result, load = self.result, self.load
        result_bank, load_bank = result.address[:_BANK_BITS], load.address[:_BANK_BITS]
        m.d.comb += load.ready.eq(~(result.enable & (result_bank == load_bank)))
        fits = [port.address < self.config.buffer_words for port in (result, load)]
        for index, port in enumerate(ports):
            first = result.enable & (result_bank == index)
            second = load.valid & (load_bank == index)
            m.d.comb += [
                port.en.eq(Mux(first, fits[0], second & fits[1])),
                port.addr.eq(Mux(first, result.address, load.address)[_BANK_BITS:]),
                port.data.eq(Mux(first, result.data, load.data)),
            ]
