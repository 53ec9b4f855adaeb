"""Rows of a table, users and items, bags of words."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from architectures.inputs import Input, tokens
from architectures.torch_export import Module

_ROW = Input((1, 16), "noise")


class FactoredRanking(nn.Module):
    """NCF: a product of embeddings beside a perceptron of others."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(100, 16) for _ in range(4))
        self.deep = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.head = nn.Linear(32, 1)

    def forward(self, user, item):
        product = self.tables[0](user) * self.tables[1](item)
        deep = self.deep(torch.cat([self.tables[2](user), self.tables[3](item)], -1))
        return torch.sigmoid(self.head(torch.cat([product, deep], -1)))


class CrossedRanking(nn.Module):
    """DLRM: numbers and categories as vectors, each with each multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.tables = nn.ModuleList(nn.Embedding(50, 16) for _ in range(5))
        self.top = nn.Sequential(nn.Linear(16 + 15, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
        rows, columns = torch.tril_indices(6, 6, -1)
        self.register_buffer("pairs", rows * 6 + columns)

    def forward(self, x, categories):
        dense = self.bottom(x)
        rows = [dense, *(table(categories[:, i]) for i, table in enumerate(self.tables))]
        vectors = torch.stack(rows, 1)
        products = (vectors @ vectors.transpose(1, 2)).flatten(1)[:, self.pairs]
        return self.top(torch.cat([dense, products], 1))


class WideAndDeep(nn.Module):
    """A linear model of the numbers beside a perceptron that also sees categories."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.table = nn.Linear(16, 1), nn.Embedding(20, 8)
        self.deep = nn.Sequential(
            nn.Linear(24, 32), nn.BatchNorm1d(32), nn.LeakyReLU(), nn.Linear(32, 1)
        )

    def forward(self, x, category):
        deep = self.deep(torch.cat([x, self.table(category)], 1))
        return torch.sigmoid(self.wide(x) + deep)


class Bag(nn.Module):
    """The mean of words' embeddings into scores."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(500, 32)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, words):
        return self.head(self.table(words).mean(1))


class TextCNN(nn.Module):
    """Convolutions over words, each at its largest."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(500, 24)
        self.convs = nn.ModuleList(nn.Conv1d(24, 16, size) for size in (3, 4, 5))
        self.head = nn.Linear(48, 4)

    def forward(self, words):
        y = self.table(words).transpose(1, 2)
        found = [torch.relu(conv(y)).amax(2) for conv in self.convs]
        return torch.log_softmax(self.head(torch.cat(found, 1)), 1)


def _mlp_bn() -> nn.Module:
    return nn.Sequential(
        nn.Linear(16, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(64, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 3),
        nn.Softmax(1),
    )


def _mlp_gelu() -> nn.Module:
    return nn.Sequential(
        nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1)
    )


def _mlp_selu() -> nn.Module:
    return nn.Sequential(
        nn.Linear(16, 64), nn.SELU(), nn.Linear(64, 64), nn.ELU(), nn.Linear(64, 1), nn.Softplus()
    )


NETWORKS: dict[str, Callable[[], Module]] = {
    "dlrm_like": lambda: Module(
        CrossedRanking(), [Input((1, 13), "noise"), tokens((1, 5), 50, "categories")]
    ),
    "embeddingbag_text": lambda: Module(Bag(), [tokens((1, 24), 500, "words")]),
    "mlp_bn": lambda: Module(_mlp_bn(), [_ROW]),
    "mlp_regression_gelu": lambda: Module(_mlp_gelu(), [_ROW]),
    "mlp_selu_elu_softplus": lambda: Module(_mlp_selu(), [_ROW]),
    "ncf_embedding": lambda: Module(
        FactoredRanking(), [tokens((1,), 100, "user"), tokens((1,), 100, "item")]
    ),
    "textcnn": lambda: Module(TextCNN(), [tokens((1, 24), 500, "words")]),
    "wide_and_deep": lambda: Module(WideAndDeep(), [_ROW, tokens((1,), 20, "category")]),
}
