"""Recurrent layers alone: in one node, and written out step by step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from architectures.blocks import Wrapped
from architectures.inputs import Input
from architectures.torch_export import Module

_X = Input((1, 16, 20), "noise")


class LastStep(nn.Module):
    """A recurrent layer, and scores of what it gives last."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 5)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


class EveryStep(LastStep):
    """Scores of each step."""

    def forward(self, x):
        return self.head(self.layer(x)[0])


class Stream(nn.Module):
    """A step at a time: the state goes in and comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(20, 24, batch_first=True), nn.Linear(24, 5)

    def forward(self, x, h, c):
        y, (h, c) = self.layer(x, (h, c))
        return self.head(y), h, c


class Unrolled(nn.Module):
    """A cell, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(20, 24), nn.Linear(24, 5)

    def forward(self, x):
        h = c = torch.zeros(x.shape[0], 24)
        for step in range(x.shape[1]):
            h, c = self.cell(x[:, step], (h, c))
        return self.head(h)


class ConvGRU(nn.Module):
    """One step of a GRU whose products are convolutions."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)
        self.new = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, x, h):
        reset, update = torch.sigmoid(self.gates(torch.cat([x, h], 1))).chunk(2, 1)
        new = torch.tanh(self.new(torch.cat([x, reset * h], 1)))
        return (1 - update) * h + update * new


class SelfGated(nn.Module):
    """An SRU-like recurrence: products of matrices first, then gates element by element."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed, self.head = nn.Linear(20, 72), nn.Linear(24, 5)

    def forward(self, x):
        new, forget, out = self.mixed(x).chunk(3, -1)
        forget, c = torch.sigmoid(forget), torch.zeros(x.shape[0], 24)
        for step in range(x.shape[1]):
            c = forget[:, step] * c + (1 - forget[:, step]) * new[:, step]
        return self.head(torch.sigmoid(out[:, -1]) * torch.tanh(c))


def _state(name: str, width: int = 24) -> Input:
    return Input((1, 1, width), "noise", name)


NETWORKS: dict[str, Callable[[], Module]] = {
    "convgru_step": lambda: Module(
        ConvGRU(), [Input((1, 8, 16, 16)), Input((1, 8, 16, 16), name="h")]
    ),
    "gru_1": lambda: Module(LastStep(nn.GRU(20, 24, batch_first=True), 24), [_X]),
    "gru_bi2": lambda: Module(
        LastStep(nn.GRU(20, 24, 2, batch_first=True, bidirectional=True), 48), [_X]
    ),
    "gru_cell_step": lambda: Module(
        Wrapped(nn.GRUCell(20, 24), lambda cell, x, h: cell(x, h)),
        [Input((1, 20), "noise"), Input((1, 24), "noise", "h")],
    ),
    "lstm_1": lambda: Module(LastStep(nn.LSTM(20, 24, batch_first=True), 24), [_X]),
    "lstm_bi2": lambda: Module(
        EveryStep(nn.LSTM(20, 24, 2, batch_first=True, bidirectional=True), 48), [_X]
    ),
    "lstm_projected": lambda: Module(
        LastStep(nn.LSTM(20, 24, batch_first=True, proj_size=8), 8), [_X]
    ),
    "lstm_stream_state": lambda: Module(
        Stream(),
        [Input((1, 1, 20), "noise"), _state("h"), _state("c")],
        takes_batches=False,
    ),
    "lstmcell_unrolled": lambda: Module(Unrolled(), [_X]),
    "rnn_tanh": lambda: Module(LastStep(nn.RNN(20, 24, batch_first=True), 24), [_X]),
    "sru_like_unrolled": lambda: Module(SelfGated(), [_X]),
}
