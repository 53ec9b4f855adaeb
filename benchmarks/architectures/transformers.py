"""Attention: text, sound and images."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from architectures.blocks import Residual, conv1d
from architectures.inputs import Input, tokens
from architectures.torch_export import Module


def _layer(width: int, *, norm_first: bool = False, activation: str = "gelu") -> nn.Module:
    return nn.TransformerEncoderLayer(
        width, 4, 2 * width, 0.0, activation, batch_first=True, norm_first=norm_first
    )


class Attention(nn.Module):
    """Written out: heads, a product, a Softmax, a product; after ``mask``, if there is one."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.mixed, self.out = (
            heads,
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )

    def forward(self, x, mask=None):
        n, length, width = x.shape
        q, k, v = self.mixed(x).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if mask is not None:
            scores = scores + mask
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width))


class Bert(nn.Module):
    """Words, places and kinds embedded; two layers that do not see what is masked; a class."""

    def __init__(self, width: int = 64, length: int = 16) -> None:
        super().__init__()
        self.words, self.kinds = nn.Embedding(200, width), nn.Embedding(2, width)
        self.places = nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.ModuleList(Attention(width) for _ in range(2))
        self.dense = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.pooler, self.head = nn.Linear(width, width), nn.Linear(width, 3)
        self.register_buffer("positions", torch.arange(length)[None])

    def forward(self, words, attended, kinds):
        x = self.norm(self.words(words) + self.kinds(kinds) + self.places(self.positions))
        mask = (1.0 - attended[:, None, None, :].float()) * -10000.0
        for i, (attention, dense) in enumerate(zip(self.attention, self.dense, strict=True)):
            x = self.norms[2 * i](x + attention(x, mask))
            x = self.norms[2 * i + 1](x + dense(x))
        return self.head(torch.tanh(self.pooler(x[:, 0])))


class KeywordTransformer(nn.Module):
    """Columns of a spectrogram and a token of the class."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first, self.token = nn.Linear(40, width), nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, 33, width))
        self.layers = nn.Sequential(_layer(width), _layer(width))
        self.head = nn.Linear(width, 12)

    def forward(self, x):
        y = self.first(x.transpose(1, 2))
        y = torch.cat([self.token.expand(x.shape[0], -1, -1), y], 1) + self.places
        return self.head(self.layers(y)[:, 0])


class ConformerBlock(nn.Module):
    """Half a perceptron, attention, a gated convolution, half a perceptron."""

    def __init__(self, width: int) -> None:
        super().__init__()

        def dense() -> nn.Module:
            return nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, 2 * width),
                nn.SiLU(),
                nn.Linear(2 * width, width),
            )

        self.before, self.after = dense(), dense()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.attention = Attention(width)
        self.conv = nn.Sequential(
            nn.Conv1d(width, 2 * width, 1),
            nn.GLU(1),
            conv1d(width, width, 7, groups=width, act=nn.SiLU),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x):
        x = x + 0.5 * self.before(x)
        x = x + self.attention(self.norms[0](x))
        x = x + self.conv(self.norms[1](x).transpose(1, 2)).transpose(1, 2)
        return self.norms[2](x + 0.5 * self.after(x))


class Conformer(nn.Module):
    """A spectrogram at a quarter of its rate into probabilities of letters."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()
        )
        self.width = nn.Linear(8 * 10, width)
        self.blocks = nn.Sequential(ConformerBlock(width), ConformerBlock(width))
        self.head = nn.Linear(width, 30)

    def forward(self, x):
        y = self.first(x)
        n, c, t, f = y.shape
        y = self.width(y.transpose(1, 2).reshape(n, t, c * f))
        return F.log_softmax(self.head(self.blocks(y)), -1)


class RMSNorm(nn.Module):
    """Divides by the root of the mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * self.weight


class Llama(nn.Module):
    """A causal decoder with turned positions, RMSNorm and gated perceptrons."""

    def __init__(self, width: int = 64, length: int = 12, layers: int = 2) -> None:
        super().__init__()
        self.words, self.heads = nn.Embedding(200, width), 4
        self.projections = nn.ModuleList(
            nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(4))
            for _ in range(layers)
        )
        self.gates = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.Linear(width, 2 * width, bias=False),
                    nn.Linear(width, 2 * width, bias=False),
                    nn.Linear(2 * width, width, bias=False),
                ]
            )
            for _ in range(layers)
        )
        self.norms = nn.ModuleList(RMSNorm(width) for _ in range(2 * layers + 1))
        self.head = nn.Linear(width, 200, bias=False)
        half = width // self.heads // 2
        turns = torch.arange(length)[:, None] * 10000.0 ** -(torch.arange(half) / half)
        self.register_buffer("cos", torch.cat([turns, turns], 1).cos())
        self.register_buffer("sin", torch.cat([turns, turns], 1).sin())
        self.register_buffer("mask", torch.full((length, length), -1e9).triu(1))

    def turned(self, x):
        first, second = x.chunk(2, -1)
        return x * self.cos + torch.cat([-second, first], -1) * self.sin

    def forward(self, words):
        x = self.words(words)
        n, length, width = x.shape
        for i, (projections, gates) in enumerate(zip(self.projections, self.gates, strict=True)):
            y = self.norms[2 * i](x)
            q, k, v = (
                p(y).reshape(n, length, self.heads, -1).transpose(1, 2) for p in projections[:3]
            )
            scores = self.turned(q) @ self.turned(k).transpose(-1, -2) * q.shape[-1] ** -0.5
            y = (scores + self.mask).softmax(-1) @ v
            x = x + projections[3](y.transpose(1, 2).reshape(n, length, width))
            y = self.norms[2 * i + 1](x)
            x = x + gates[2](F.silu(gates[0](y)) * gates[1](y))
        return self.head(self.norms[-1](x))


class Decoder(nn.Module):
    """PyTorch's own decoder layer: attention to oneself and to a memory."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(width, 4, 64, 0.0, batch_first=True)
        self.head = nn.Linear(width, 20)

    def forward(self, x, memory):
        return self.head(self.layer(x, memory))


class PatchTST(nn.Module):
    """Patches of a series as tokens, and a forecast of all of them."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first = nn.Linear(8, width)
        self.places = nn.Parameter(torch.zeros(1, 12, width))
        self.layer = _layer(width, norm_first=True)
        self.head = nn.Linear(12 * width, 24)

    def forward(self, x):
        y = self.first(x.reshape(-1, 12, 8)) + self.places
        return self.head(self.layer(y).flatten(1))


class LinearAttention(nn.Module):
    """Attention without Softmax: keys and values are multiplied first."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.mixed, self.head = nn.Linear(width, 3 * width), nn.Linear(width, 10)

    def forward(self, x):
        q, k, v = self.mixed(x).chunk(3, -1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        y = q @ (k.transpose(1, 2) @ v) / (q @ k.sum(1)[:, :, None])
        return self.head(y.mean(1))


class MixerLike(nn.Module):
    """Perceptrons across tokens and across channels."""

    def __init__(self, tokens_: int = 16, width: int = 32) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 8, 8)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.across = nn.Sequential(nn.Linear(tokens_, 32), nn.GELU(), nn.Linear(32, tokens_))
        self.along = Residual(nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width)))
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        y = self.first(x).flatten(2).transpose(1, 2)
        y = y + self.across(self.norms[0](y).transpose(1, 2)).transpose(1, 2)
        return self.head(self.along(self.norms[1](y)).mean(1))


_WORDS = [
    tokens((1, 16), 200, "words"),
    tokens((1, 16), 2, "attended"),
    tokens((1, 16), 2, "kinds"),
]

NETWORKS: dict[str, Callable[[], Module]] = {
    "bert_tiny": lambda: Module(Bert(), _WORDS),
    "conformer_tiny": lambda: Module(Conformer(), [Input((1, 1, 64, 40))]),
    "keyword_transformer": lambda: Module(KeywordTransformer(), [Input((1, 40, 32), "signal")]),
    "linear_attention": lambda: Module(LinearAttention(), [Input((1, 16, 32), "noise")]),
    "mixer_tiny": lambda: Module(MixerLike(), [Input((1, 3, 32, 32))]),
    "patchtst_like": lambda: Module(PatchTST(), [Input((1, 96), "signal")]),
    "tinyllama_like": lambda: Module(Llama(), [tokens((1, 12), 200, "words")]),
    "torch_transformer_decoder": lambda: Module(
        Decoder(), [Input((1, 8, 32), "noise"), Input((1, 10, 32), "noise", "memory")]
    ),
    "torch_transformer_encoder": lambda: Module(
        nn.TransformerEncoder(_layer(32, activation="relu"), 2), [Input((1, 12, 32), "noise")]
    ),
}
