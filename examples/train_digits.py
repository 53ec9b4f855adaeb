"""Scikit-learn's handwritten digits into the trained ONNX model and the data of `edgeinfer demo`.

    pip install -e ".[examples]"
    python examples/train_digits.py [FOLDER]

writes ``digits.onnx``, ``digits_calib.npz`` and ``digits_test.npz`` to FOLDER, which is
``edgeinfer/demo`` if it is not given. The images are the test part of the UCI data set "Optical
Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak; CC BY 4.0): 8x8 pixels of 0 to 16.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from torch import nn

SEED = 1
EPOCHS = 60
BATCH = 64
TEST, CALIBRATION = 400, 200


def digits_cnn() -> nn.Sequential:
    """A convolution, a depthwise-separable block, a convolution, a global average, a dense layer.

    It takes raw pixels: the first batch norm learns their scale.
    """

    def conv(inputs: int, outputs: int, kernel: int, **options: int) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options)
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *conv(1, 16, 3),
        *conv(16, 16, 3, stride=2, groups=16),
        *conv(16, 32, 1),
        *conv(32, 32, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    steps = EPOCHS * -(-len(images) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    model.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH):
            # noise of one grey level keeps so small a set from being learned by heart
            x = images[batch] + torch.randn_like(images[batch])
            loss = nn.functional.cross_entropy(model(x), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def export(model: nn.Module, path: Path) -> None:
    """The model with a free batch, without the traces of this machine that torch adds."""
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        input_names=["image"],
        output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    proto = program.model_proto
    del proto.metadata_props[:]
    proto.doc_string = ""
    proto.graph.name = "digits"
    for entry in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input):
        del entry.metadata_props[:]
        entry.doc_string = ""
    for entry in (*proto.graph.output, *proto.graph.initializer):
        del entry.metadata_props[:]
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def main(folder: Path) -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.images))
    test, calibration, training = np.split(order, [TEST, TEST + CALIBRATION])
    images = digits.images[:, None].astype(np.uint8)
    labels = digits.target.astype(np.uint8)

    model = digits_cnn()
    train(model, torch.tensor(images[training]).float(), torch.tensor(labels[training]).long())
    with torch.no_grad():
        guesses = model(torch.tensor(images[test]).float()).argmax(1).numpy()
    print(f"test accuracy {(guesses == labels[test]).mean():.4f}")

    export(model, folder / "digits.onnx")
    np.savez_compressed(folder / "digits_calib.npz", image=images[calibration])
    np.savez_compressed(folder / "digits_test.npz", image=images[test], y=labels[test])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "edgeinfer/demo"))
