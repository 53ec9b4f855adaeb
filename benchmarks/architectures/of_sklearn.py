"""Models of tables that are no networks, and scikit-learn's networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from architectures.ml_export import FEATURES, Fitted


def _rows(classes: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, and what follows from them: a number, or one of ``classes``."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, FEATURES)).astype(np.float32)
    y = x @ rng.normal(size=FEATURES) + np.sin(3 * x[:, 0])
    if classes:
        return x, np.digitize(y, np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1]))
    return x, y


def _sklearn(model: Any, classes: int = 0, **options: Any) -> Fitted:
    def convert(fitted: Any) -> Any:
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import FloatTensorType

        kind = [("x", FloatTensorType([1, FEATURES]))]
        return convert_sklearn(fitted, initial_types=kind, options=options or None)

    return Fitted(model.fit(*_rows(classes)), convert, f"scikit-learn {sklearn.__version__}")


def _classifier(model: Any) -> Fitted:
    """With probabilities as an array, not as a dictionary."""
    return _sklearn(model, 3, zipmap=False)


def _boosted(package: str, model: str, converter: str, classes: int) -> Fitted:
    def convert(fitted: Any) -> Any:
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType

        kind = [("x", FloatTensorType([1, FEATURES]))]
        return getattr(onnxmltools, converter)(fitted, initial_types=kind)

    module = __import__(package)
    fitted = getattr(module, model)(n_estimators=10).fit(*_rows(classes))
    return Fitted(fitted, convert, f"{package} {module.__version__}")


NETWORKS: dict[str, Callable[[], Fitted]] = {
    "lightgbm_regressor": lambda: _boosted("lightgbm", "LGBMRegressor", "convert_lightgbm", 0),
    "sk_linear": lambda: _sklearn(LinearRegression()),
    "sk_logistic": lambda: _classifier(LogisticRegression()),
    "sk_mlp_classifier": lambda: _classifier(
        make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(32, 16), max_iter=30))
    ),
    "sk_mlp_regressor": lambda: _sklearn(
        make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(32, 16), max_iter=30))
    ),
    "sk_pca_kmeans": lambda: _sklearn(make_pipeline(PCA(4), KMeans(3, n_init=1))),
    "sk_random_forest": lambda: _classifier(RandomForestClassifier(10)),
    "sk_svc": lambda: _sklearn(SVC(probability=True), 3),
    "xgboost_classifier": lambda: _boosted("xgboost", "XGBClassifier", "convert_xgboost", 3),
}
