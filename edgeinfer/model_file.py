"""The short public name of ``edgeinfer.files.model_file``."""

from edgeinfer.files.model_file import FORMAT, from_bytes, read, save, to_bytes

__all__ = ["FORMAT", "from_bytes", "read", "save", "to_bytes"]
