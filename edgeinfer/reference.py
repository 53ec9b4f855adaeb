"""The short public name of ``edgeinfer.meaning.reference``."""

from edgeinfer.meaning.reference import evaluate, execute

__all__ = ["evaluate", "execute"]
