"""What a Graph computes, in NumPy: the meaning in floats, and the one in integers."""
