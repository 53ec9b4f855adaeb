"""Trains a keyword spotter in seconds, on words that it speaks itself, for hear_keywords.py.

    pip install -e ".[convert,metrics]"
    python examples/train_keywords.py [FOLDER]

writes ``keywords.eqm``, three dense layers that tell four words of nothing but vowels from others
and from noise, and ``keywords.wav``, in which each is spoken once. The voice is a source and a
filter: pulses of the glottis through resonators, whose frequencies go from one vowel's formants to
the next one's (Peterson and Barney, 1952). Other voices are understood less well: for a product,
take recordings of many people.
"""

import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from hear_keywords import FRAMES, HOP, RATE, WINDOW, mfcc
from onnx import TensorProto, helper, numpy_helper
from scipy.signal import lfilter
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

import edgeinfer

SEED = 1
SPOKEN, TAKES, HELD_OUT = 700, 6, 100  # words; seconds that each is placed in; words of these
EPOCHS = 20

FORMANTS = {
    "i": (270, 2290, 3010),
    "e": (530, 1840, 2480),
    "a": (730, 1090, 2440),
    "o": (450, 800, 2400),
    "u": (300, 870, 2240),
    "ae": (660, 1720, 2410),
    "er": (490, 1350, 1690),
}
WORDS = {"we": "u i i", "wow": "u a u", "yeah": "i e ae", "you": "i u u"}
OTHERS = ("a i", "o i", "o u", "a u", "u er", "e i", "u o", "i o", "u a", "a", "er", "ae", "i", "u")
LABELS = ("silence", "unknown", *WORDS)


def resonated(x: np.ndarray, frequencies: np.ndarray, bandwidth: float) -> np.ndarray:
    """Sound behind a resonator, which has each of the frequencies, in Hz, for 10 ms."""
    radius = np.exp(-np.pi * bandwidth / RATE)
    parts, left = [], np.zeros(2)
    for part, frequency in zip(np.split(x, len(frequencies)), frequencies, strict=True):
        poles = [1, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2]
        part, left = lfilter([sum(poles)], poles, part, zi=left)
        parts.append(part)
    return np.concatenate(parts)


def spoken(vowels: str, rng: np.random.Generator) -> np.ndarray:
    """A word of vowels, by a voice that is drawn, as sound of -1 to 1."""
    formants = np.array([FORMANTS[vowel] for vowel in vowels.split()])
    formants = formants * rng.uniform(0.95, 1.3) * rng.normal(1, 0.04, formants.shape)
    steps = rng.integers(35, 60)  # of 10 ms
    place = np.linspace(0, 1, steps * RATE // 100)
    pitch = rng.uniform(90, 260) * (1 + rng.uniform(-0.3, 0.3) * place)
    pulses = np.diff(np.floor(np.cumsum(pitch / RATE)), prepend=0)
    breath = rng.normal(0, 0.005, len(place))
    x = (pulses + breath) * np.minimum(1, 8 * np.minimum(place, 1 - place))
    x = resonated(x, np.zeros(steps), rng.uniform(100, 400))  # the slope of the glottis
    targets = np.linspace(0.1, 0.9, len(formants))
    for track in formants.T:
        x = resonated(x, np.interp(np.arange(steps) / steps, targets, track), 60 + track[0] / 30)
    x = np.diff(x, prepend=0)  # as the lips radiate it
    return x / np.abs(x).max()


def placed(word: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A second of noise with a word at a place, and of a loudness, that are drawn."""
    second = rng.normal(0, 10 ** rng.uniform(-4, -2.2), RATE)
    at = rng.integers(0, RATE - len(word))
    second[at : at + len(word)] += word * 10 ** rng.uniform(-1.5, -0.1)
    return second


def features(second: np.ndarray) -> np.ndarray:
    """A second of sound as hear_keywords.py makes frames of it, [FRAMES * COEFFICIENTS]."""
    windows = np.lib.stride_tricks.sliding_window_view(second, WINDOW)[::HOP]
    return mfcc(windows[:FRAMES]).ravel()


def samples(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, y = [], []
    for _ in range(SPOKEN):
        label = rng.integers(len(LABELS))
        vowels = WORDS.get(LABELS[label]) or rng.choice(OTHERS)
        word = spoken(vowels, rng) * (LABELS[label] != "silence")
        x += [features(placed(word, rng)) for _ in range(TAKES)]
        y += [label] * TAKES
    return np.array(x, np.float32), np.array(y)


def as_onnx(network: MLPClassifier, mean: np.ndarray, deviation: np.ndarray) -> onnx.ModelProto:
    """The network as three dense layers; the first takes the features as they are."""
    weights = [network.coefs_[0] / deviation[:, None], *network.coefs_[1:]]
    biases = [network.intercepts_[0] - mean @ weights[0], *network.intercepts_[1:]]
    nodes, constants, x = [], [], "mfcc"
    for i, pair in enumerate(zip(weights, biases, strict=True)):
        names = [f"weights{i}", f"bias{i}"]
        constants += map(numpy_helper.from_array, map(np.float32, pair), names)
        follower = "Relu" if i + 1 < len(weights) else "Softmax"
        nodes.append(helper.make_node("Gemm", [x, *names], [f"sums{i}"], f"dense{i}"))
        nodes.append(helper.make_node(follower, [f"sums{i}"], [f"y{i}"], f"{follower.lower()}{i}"))
        x = f"y{i}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", extent])
        for name, extent in (("mfcc", len(mean)), (x, len(LABELS)))
    ]
    graph = helper.make_graph(nodes, "keywords", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def main(folder: Path) -> None:
    rng = np.random.default_rng(SEED)
    x, y = samples(rng)
    test, train = np.split(np.arange(len(x)), [HELD_OUT * TAKES])
    mean, deviation = x[train].mean(0), x[train].std(0)
    network = MLPClassifier((64, 64), alpha=0.01, random_state=SEED)
    classes = np.arange(len(LABELS))
    for _ in range(EPOCHS):
        network.partial_fit((x[train] - mean) / deviation, y[train], classes=classes)

    graph = edgeinfer.quantize(as_onnx(network, mean, deviation), x[train][::20])
    edgeinfer.save(replace(graph, labels=LABELS), folder / "keywords.eqm")
    scores = edgeinfer.load(folder / "keywords.eqm").run(x[test])
    floats = network.predict((x[test] - mean) / deviation)
    print(
        f"of {len(test)} seconds with words of other voices, {np.mean(floats == y[test]):.1%} are "
        f"right in float32 and {np.mean(scores.argmax(1) == y[test]):.1%} in int8"
    )
    words = [np.pad(0.5 * spoken(vowels, rng), (0, RATE)) for vowels in WORDS.values()]
    sound = np.concatenate([np.zeros(RATE), *words])
    sound += rng.normal(0, 1e-3, len(sound))
    with wave.open(str(folder / "keywords.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(sound * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    with threadpool_limits(1):  # the products are too small to share
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
