"""Faults planted in real models, to judge what explains them."""
