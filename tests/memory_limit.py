"""What a process may take of memory beside what it holds already, such as its packages."""

import resource
from pathlib import Path

__all__ = ["GIB", "limit_memory"]

GIB = 1 << 30


def limit_memory(more: int) -> None:
    """Let this process, on Linux, take ``more`` bytes of addresses from now on."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
