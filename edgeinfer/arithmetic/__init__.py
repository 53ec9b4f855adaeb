"""The arithmetic of single numbers: fixed-point integers (EI-1), and functions of one variable."""
