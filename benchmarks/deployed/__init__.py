"""Trained models that packages of PyPI and npm ship, and what integers keep of what they find."""
