"""The error function, a quotient of polynomials on each of four intervals."""

from __future__ import annotations

import numpy as np

from edgeinfer.arithmetic.elementary.by_blocks import of_floats, polynomial
from edgeinfer.arithmetic.elementary.exponentials import exp

__all__ = ["erf"]

_ERF_NEAR = (
    1.28379167095512558561e-01,
    -3.25042107247001499370e-01,
    -2.84817495755985104766e-02,
    -5.77027029648944159157e-03,
    -2.37630166566501626084e-05,
)
_ERF_NEAR_BELOW = (
    1.0,
    3.97917223959155352819e-01,
    6.50222499887672944485e-02,
    5.08130628187576562776e-03,
    1.32494738004321644526e-04,
    -3.96022827877536812320e-06,
)
_ERF_ONE = 8.45062911510467529297e-01
_ERF_AT_ONE = (
    -2.36211856075265944077e-03,
    4.14856118683748331666e-01,
    -3.72207876035701323847e-01,
    3.18346619901161753674e-01,
    -1.10894694282396677476e-01,
    3.54783043256182359371e-02,
    -2.16637559486879084300e-03,
)
_ERF_AT_ONE_BELOW = (
    1.0,
    1.06420880400844228286e-01,
    5.40397917702171048937e-01,
    7.18286544141962662868e-02,
    1.26171219808761642112e-01,
    1.36370839120290507362e-02,
    1.19844998467991074170e-02,
)
_ERF_FAR = (
    -9.86494403484714822705e-03,
    -6.93858572707181764372e-01,
    -1.05586262253232909814e01,
    -6.23753324503260060396e01,
    -1.62396669462573470355e02,
    -1.84605092906711035994e02,
    -8.12874355063065934246e01,
    -9.81432934416914548592e00,
)
_ERF_FAR_BELOW = (
    1.0,
    1.96512716674392571292e01,
    1.37657754143519042600e02,
    4.34565877475229228821e02,
    6.45387271733267880336e02,
    4.29008140027567833386e02,
    1.08635005541779435134e02,
    6.57024977031928170135e00,
    -6.04244152148580987438e-02,
)
_ERF_FARTHER = (
    -9.86494292470009928597e-03,
    -7.99283237680523006574e-01,
    -1.77579549177547519889e01,
    -1.60636384855821916062e02,
    -6.37566443368389627722e02,
    -1.02509513161107724954e03,
    -4.83519191608651397019e02,
)
_ERF_FARTHER_BELOW = (
    1.0,
    3.03380607434824582924e01,
    3.25792512996573918826e02,
    1.53672958608443695994e03,
    3.19985821950859553908e03,
    2.55305040643316442583e03,
    4.74528541206955367215e02,
    -2.24409524465858183362e01,
)


@of_floats
def erf(x: np.ndarray) -> np.ndarray:
    """The error function."""
    far = np.minimum(np.abs(x), 6.0)
    z = far * far
    near = x + x * (polynomial(z, _ERF_NEAR) / polynomial(z, _ERF_NEAR_BELOW))
    from_one = far - 1.0
    middle = _ERF_ONE + polynomial(from_one, _ERF_AT_ONE) / polynomial(from_one, _ERF_AT_ONE_BELOW)
    at = np.maximum(far, 1.25)
    inverse = 1.0 / (at * at)
    share = np.where(
        at < 1 / 0.35,
        polynomial(inverse, _ERF_FAR) / polynomial(inverse, _ERF_FAR_BELOW),
        polynomial(inverse, _ERF_FARTHER) / polynomial(inverse, _ERF_FARTHER_BELOW),
    )
    # its square is exact
    short = (at.view(np.int64) & ~0xFFFFFFFF).view(np.float64)
    left = exp(-short * short - 0.5625) * exp((short - at) * (short + at) + share) / at
    beyond = np.where(far < 1.25, middle, 1.0 - left)
    return np.where(np.abs(x) < 0.84375, near, np.copysign(beyond, x))
