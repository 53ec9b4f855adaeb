"""The zoo's models, by the names under which it loads them."""

FEED_FORWARD = (
    "ad_autoencoder",
    "armkws_ds_cnn_s",
    "cifar10_resnet20",
    "ic_resnet8",
    "kws_dscnn",
    "vww_mobilenet",
)

RECURRENT = ("armkws_gru_s", "armkws_lstm_s", "mnist_lstm")
