"""Telling how far long work has come. Workflows count; whoever started them decides what to show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol


class Progress(Protocol):
    """Told what is being done, and how much of it. visible: whether anybody sees it, so that a total is worth finding
    out."""

    visible: bool

    def begin(self, what: str, total: int | None) -> None:
        """A stretch of work begins. total: in bytes, where it is known."""

    def advance(self, count: int) -> None:
        """So many bytes more are done."""


class Silent:
    """Shows nothing."""

    visible = False

    def begin(self, what: str, total: int | None) -> None:
        """See Progress."""

    def advance(self, count: int) -> None:
        """See Progress."""


def counted(content: Iterable[bytes], progress: Progress) -> Iterable[bytes]:
    """The same bytes, counted as they go by where somebody sees it."""
    return _counted(content, progress) if progress.visible else content


def _counted(content: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
    for piece in content:
        progress.advance(len(piece))
        yield piece


def counted_read(read: Callable[[int], bytes], progress: Progress) -> Callable[[int], bytes]:
    """The same reads, their bytes counted as they are read."""

    def read_and_count(size: int) -> bytes:
        data = read(size)
        progress.advance(len(data))
        return data

    return read_and_count
