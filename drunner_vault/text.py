"""Small pieces of English for messages."""

from __future__ import annotations


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: `1 archive`, `2 archives`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
