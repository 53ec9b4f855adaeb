"""What SAME pads: as many windows as strides fit, the odd element behind."""

from __future__ import annotations

__all__ = ["same_pads"]


def same_pads(extent: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """How many elements are padded before and behind an axis."""
    windows = -(-extent // stride)
    total = max((windows - 1) * stride + (kernel - 1) * dilation + 1 - extent, 0)
    return total // 2, total - total // 2
