"""Exponentials, logarithms, sines and their kin, with the same bits on every processor.

NumPy and the C library choose other instructions on other processors, and the last bit with them.
Here everything is a sum, difference, product, quotient or square root of float64, each rounded as
IEEE 754 says, one NumPy call after another so that no compiler can fuse two. So a calibration
gives the same ranges, and a function the same table, wherever it runs.

The approximations are those of FDLIBM 5.3 (K. C. Ng, Sun Microsystems, 1993), which are within an
ulp; what is made of several of them is within four. An array of a narrower float is computed in
float64 and rounded once.
"""

from edgeinfer.arithmetic.elementary.angles import arccos, arcsin, arctan, cos, sin, tan
from edgeinfer.arithmetic.elementary.error_function import erf
from edgeinfer.arithmetic.elementary.exponentials import cosh, exp, expm1, sinh, tanh
from edgeinfer.arithmetic.elementary.logarithms import (
    arccosh,
    arcsinh,
    arctanh,
    log,
    log1p,
    power,
)

__all__ = [
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "cos",
    "cosh",
    "erf",
    "exp",
    "expm1",
    "log",
    "log1p",
    "power",
    "sin",
    "sinh",
    "tan",
    "tanh",
]
