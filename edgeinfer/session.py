"""The short public name of ``edgeinfer.runtime.session``."""

from edgeinfer.runtime.session import MAX_THREADS, Session, TensorInfo, load

__all__ = ["MAX_THREADS", "Session", "TensorInfo", "load"]
