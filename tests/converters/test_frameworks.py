"""Models of PyTorch, Keras and scikit-learn are taken as they are, files and objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli.models import import_model
from edgeinfer.converters import from_keras, from_pytorch, from_sklearn
from edgeinfer.errors import InputError, MissingExtraError, UnsupportedError
from edgeinfer.meaning.float_executor import execute
from edgeinfer.runtime.session import Session
from tests.refusals import refused

pytestmark = [
    pytest.mark.filterwarnings("ignore::edgeinfer.errors.EdgeInferWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SAMPLES = np.random.default_rng(0).normal(size=(24, 3, 8, 8)).astype(np.float32)


def module(torch):
    """Trained for some steps, so that its batch norm has seen something."""
    made = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 4),
    )
    optimizer = torch.optim.SGD(made.parameters(), 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        made(torch.as_tensor(SAMPLES)).square().mean().backward()
        optimizer.step()
    return made


def near(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_module_of_pytorch_and_its_file(tmp_path: Path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    made = module(torch)
    graph = from_pytorch(made, SAMPLES[:1])
    assert made.training
    made.eval()
    expected = made(torch.as_tensor(SAMPLES[:1])).detach().numpy()
    near(execute(graph, {graph.inputs[0]: SAMPLES[:1]})[graph.outputs[0]], expected)
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(made, (torch.as_tensor(SAMPLES[:1]),)), path)
    again = import_model(path)
    near(execute(again, {again.inputs[0]: SAMPLES[:1]})[again.outputs[0]], expected)
    for model in (made, path):
        integer = edgeinfer.quantize(model, SAMPLES)
        assert np.abs(Session(integer).run(SAMPLES[:1]) - expected).max() < 0.05


def test_what_pytorch_does_not_read_is_told_in_one_line(tmp_path: Path):
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    path = tmp_path / "m.pt2"
    path.write_bytes(b"nothing")
    with pytest.raises(UnsupportedError) as caught:
        from_pytorch(path)
    assert str(caught.value).startswith(f"{path} cannot be read by PyTorch: ")
    assert "\n" not in str(caught.value)


def test_a_module_needs_an_example():
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    with refused(
        "a module of PyTorch is exported by what it does with an example: give one", InputError
    ):
        from_pytorch(torch.nn.ReLU())
    with refused(
        "a module of PyTorch is exported with the first sample: give arrays or a list", InputError
    ):
        edgeinfer.quantize(torch.nn.ReLU(), iter([SAMPLES]))


def test_a_model_of_keras_and_its_file(tmp_path: Path):
    keras = pytest.importorskip("keras")
    pytest.importorskip("tf2onnx")
    made = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    samples = SAMPLES.transpose(0, 2, 3, 1)
    made.compile("sgd", "mse")
    made.fit(samples, np.zeros((24, 4)), verbose=0)
    expected = np.asarray(made(samples[:1]))
    path = tmp_path / "m.keras"
    made.save(path)
    for graph in (from_keras(made), import_model(path)):
        near(execute(graph, {graph.inputs[0]: samples[:1]})[graph.outputs[0]], expected)
        assert graph.free_batch
    integer = edgeinfer.quantize(path, samples)
    assert np.abs(Session(integer).run(samples[:1]) - expected).max() < 0.05


def test_an_estimator_of_scikit_learn():
    pytest.importorskip("skl2onnx")
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = SAMPLES.reshape(24, -1)[:, :6]
    made = linear_model.LogisticRegression().fit(x, x[:, 0] > 0)
    graph = from_sklearn(made)
    found = execute(graph, {graph.inputs[0]: x[:1]})
    near(found["probabilities"], made.predict_proba(x[:1]))
    integer = edgeinfer.quantize(made, x)
    found = Session(integer).run({"x": x[:1]})
    assert np.abs(found["probabilities"] - made.predict_proba(x[:1])).max() < 0.05


@pytest.mark.parametrize(
    ("ends", "package", "extra"), [(".keras", "keras", "keras"), (".pt2", "torch", "pytorch")]
)
def test_what_is_not_installed_is_named(ends, package, extra, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with refused(
        f"{package} is not installed; install it with: pip install 'edgeinfer[{extra}]'",
        MissingExtraError,
    ):
        edgeinfer.quantize(tmp_path / f"m{ends}", SAMPLES)
