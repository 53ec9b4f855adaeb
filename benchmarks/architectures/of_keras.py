"""Keras models: its applications, and layers that TensorFlow's users put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tf_keras
from keras import layers

from architectures.inputs import Input, tokens
from architectures.keras_export import KerasModel


def _image(side: int, channels: int = 3) -> Input:
    return Input((1, side, side, channels), "noise")


def _sequential(given: Input, *parts: Any) -> KerasModel:
    shape = keras.Input(given.shape[1:], dtype=given.dtype, name=given.name)
    return KerasModel(keras.Sequential([shape, *parts]), [given])


def _functional(given: Sequence[Input], function: Callable[..., Any]) -> KerasModel:
    inputs = [keras.Input(i.shape[1:], dtype=i.dtype, name=i.name) for i in given]
    return KerasModel(keras.Model(inputs, function(*inputs)), given)


def _application(name: str, side: int, **options: Any) -> KerasModel:
    model = getattr(keras.applications, name)(
        weights=None,
        input_shape=(side, side, 3),
        classes=100,
        classifier_activation=None,
        **options,
    )
    return KerasModel(model, [_image(side)])


def _series(*parts: Any, channels: int = 6) -> KerasModel:
    return _sequential(Input((1, 32, channels), "noise"), *parts)


def _recurrent(*parts: Any) -> KerasModel:
    """By Keras 2, whose recurrent layers tf2onnx makes nodes of; those of Keras 3 become loops."""
    given = Input((1, 32, 6), "noise")
    first = tf_keras.layers.InputLayer(given.shape[1:], name=given.name)
    return KerasModel(tf_keras.Sequential([first, *parts]), [given])


def _block(x: Any, channels: int) -> Any:
    x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _unet(x: Any, up: Callable[[Any, int], Any]) -> Any:
    kept = []
    for channels in (8, 16):
        x = _block(x, channels)
        kept.append(x)
        x = layers.MaxPooling2D()(x)
    x = _block(x, 32)
    for channels in (16, 8):
        x = layers.Concatenate()([up(x, channels), kept.pop()])
        x = _block(x, channels)
    return layers.Conv2D(2, 1, activation="sigmoid")(x)


def _mixed_up(x: Any, channels: int) -> Any:
    """Once by a transposed convolution, once by bilinear interpolation."""
    if channels == 16:
        return layers.Conv2DTranspose(channels, 2, strides=2)(x)
    return layers.UpSampling2D(interpolation="bilinear")(x)


def _vit(x: Any) -> Any:
    x = layers.Conv2D(32, 8, strides=8)(x)
    x = layers.Reshape((16, 32))(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 8)(y, y)])
        # the exact one is an Erfc, which tf2onnx leaves as it is
        gelu = partial(keras.activations.gelu, approximate=True)
        y = layers.Dense(64, activation=gelu)(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(32)(y)])
    return layers.Dense(10)(layers.GlobalAveragePooling1D()(x))


def _two(image: Any, numbers: Any) -> Any:
    x = layers.GlobalAveragePooling2D()(_block(image, 16))
    y = layers.Dense(16, activation="relu")(numbers)
    return layers.Dense(1)(layers.Concatenate()([x, y]))


def _normalized() -> KerasModel:
    known = layers.Normalization(mean=[0.1] * 8, variance=[2.0] * 8)
    return _sequential(
        Input((1, 8), "noise"), known, layers.Dense(32, activation="relu"), layers.Dense(1)
    )


NETWORKS: dict[str, Callable[[], KerasModel]] = {
    "keras_autoencoder_lstm": lambda: _series(
        layers.LSTM(16),
        layers.RepeatVector(32),
        layers.LSTM(16, return_sequences=True),
        layers.TimeDistributed(layers.Dense(6)),
    ),
    "keras_bilstm": lambda: _series(layers.Bidirectional(layers.LSTM(16)), layers.Dense(5)),
    "keras_conv1d": lambda: _series(
        layers.Conv1D(16, 5, activation="relu"),
        layers.MaxPooling1D(),
        layers.Conv1D(32, 3, padding="causal", dilation_rate=2, activation="relu"),
        layers.GlobalMaxPooling1D(),
        layers.Dense(5, activation="softmax"),
    ),
    "keras_dense_bn": lambda: _sequential(
        Input((1, 16), "noise"),
        layers.Dense(32),
        layers.BatchNormalization(),
        layers.LeakyReLU(),
        layers.Dropout(0.3),
        layers.Dense(3, activation="softmax"),
    ),
    "keras_depthwise1d": lambda: _series(
        layers.DepthwiseConv1D(5, padding="same"),
        layers.SeparableConv1D(16, 3, activation="relu6"),
        layers.Flatten(),
        layers.Dense(5),
    ),
    "keras_efficientnetb0": partial(_application, "EfficientNetB0", 64),
    "keras_embedding_text": lambda: _sequential(
        tokens((1, 20), 200, "words"),
        layers.Embedding(200, 16),
        layers.GlobalAveragePooling1D(),
        layers.Dense(16, activation="relu"),
        layers.Dense(3),
    ),
    "keras_embedding_masked": lambda: _sequential(
        tokens((1, 20), 200, "words"),
        layers.Embedding(200, 16, mask_zero=True),
        layers.GlobalAveragePooling1D(),
        layers.Dense(3),
    ),
    "keras_gru": lambda: _series(layers.GRU(16), layers.Dense(5)),
    "keras_lstm": lambda: _series(layers.LSTM(16), layers.Dense(5)),
    "keras_mobilenet_025": partial(_application, "MobileNet", 64, alpha=0.25),
    "keras_mobilenetv2": partial(_application, "MobileNetV2", 64, alpha=0.35),
    "keras_mobilenetv3small": partial(_application, "MobileNetV3Small", 64),
    "keras_nasnetmobile": partial(_application, "NASNetMobile", 64),
    "keras_normalization": _normalized,
    "keras_rescale_aug": lambda: _sequential(
        _image(32),
        layers.Rescaling(1 / 127.5, -1),
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.Conv2D(16, 3, strides=2, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(5),
    ),
    "keras_separable": lambda: _sequential(
        _image(32),
        layers.SeparableConv2D(16, 3, strides=2, padding="same", activation="relu"),
        layers.SeparableConv2D(32, 3, strides=2, padding="same", activation="elu"),
        layers.AveragePooling2D(3, padding="same"),
        layers.Flatten(),
        layers.Dense(5),
    ),
    "keras_simplernn_unroll": lambda: _series(layers.SimpleRNN(16, unroll=True), layers.Dense(5)),
    "keras_two_inputs": lambda: _functional(
        [
            Input((1, 32, 32, 3), "noise", "image"),
            Input((1, 8), "noise", "numbers"),
        ],
        _two,
    ),
    "keras_unet": lambda: _functional([_image(32)], lambda x: _unet(x, _mixed_up)),
    "keras_unet_nearest": lambda: _functional(
        [_image(32)], lambda x: _unet(x, lambda y, _: layers.UpSampling2D()(y))
    ),
    "keras_vit": lambda: _functional([_image(32)], _vit),
    "keras2_autoencoder_lstm": lambda: _recurrent(
        tf_keras.layers.LSTM(16),
        tf_keras.layers.RepeatVector(32),
        tf_keras.layers.LSTM(16, return_sequences=True),
        tf_keras.layers.TimeDistributed(tf_keras.layers.Dense(6)),
    ),
    "keras2_bilstm": lambda: _recurrent(
        tf_keras.layers.Bidirectional(tf_keras.layers.LSTM(16)), tf_keras.layers.Dense(5)
    ),
    "keras2_gru": lambda: _recurrent(tf_keras.layers.GRU(16), tf_keras.layers.Dense(5)),
    "keras2_lstm": lambda: _recurrent(tf_keras.layers.LSTM(16), tf_keras.layers.Dense(5)),
}
