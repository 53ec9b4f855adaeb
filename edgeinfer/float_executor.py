"""The short public name of ``edgeinfer.meaning.float_executor``."""

from edgeinfer.meaning.float_executor import evaluate, execute

__all__ = ["evaluate", "execute"]
