"""The trained digits model that `edgeinfer demo` quantizes, and its data; files, no code.

``examples/train_digits.py`` made them. The images are from the UCI data set "Optical Recognition
of Handwritten Digits" (E. Alpaydin, C. Kaynak; CC BY 4.0, see NOTICE), as scikit-learn ships it:
8x8 pixels of 0 to 16.
"""

from pathlib import Path

__all__ = ["CALIBRATION", "MODEL", "TEST"]

MODEL = Path(__file__).with_name("digits.onnx")
CALIBRATION = Path(__file__).with_name("digits_calib.npz")
TEST = Path(__file__).with_name("digits_test.npz")
