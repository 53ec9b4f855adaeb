"""Text that may be printed: names out of models and files hold nothing that steers a terminal."""

from __future__ import annotations

__all__ = ["one_line", "printable"]


def printable(text: str, *, lines: bool = False) -> str:
    """``text`` with ``?`` in place of what is no character to be seen, such as ESC.

    With ``lines``, line breaks stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or (lines and c == "\n") else "?" for c in text)


def one_line(text: str) -> str:
    """``text`` as ``printable``, its lines joined by spaces."""
    return printable(" ".join(text.split()))
