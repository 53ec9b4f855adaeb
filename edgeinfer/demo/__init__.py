"""The trained digits model that `edgeinfer demo` quantizes, and its data; files, no code.

``examples/train_digits.py`` made them. The images are from the UCI data set "Optical Recognition
of Handwritten Digits" (E. Alpaydin, C. Kaynak; CC BY 4.0), as scikit-learn ships it: 8x8 pixels of
0 to 16.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable

__all__ = ["CALIBRATION", "MODEL", "TEST"]

MODEL: Traversable = files(__name__) / "digits.onnx"
CALIBRATION: Traversable = files(__name__) / "digits_calib.npz"
TEST: Traversable = files(__name__) / "digits_test.npz"
