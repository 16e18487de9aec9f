"""What is left of an archive's zstd stream: runs of bytes that can be read, with holes between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from drunner_vault.age import ReadAt

_PIECE = 256 << 10
Span = tuple[int, int]
"""From an offset up to, and without, another one; in bytes."""


class Stream(Protocol):
    """The zstd stream of a damaged archive.

    placed: whether offsets are those at which the bytes were written; if not, bytes may have come or gone before them.
    """

    @property
    def placed(self) -> bool: ...

    @property
    def spans(self) -> Sequence[Span]:
        """What can be read, ascending and apart."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, which must lie in one span."""
        ...


class ClearStream:
    """The stream of an archive that is not encrypted: the file itself. Nothing says which of its bytes are wrong."""

    placed = False

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at = read_at
        self.spans: Sequence[Span] = [(0, size)] if size else []

    def read(self, offset: int, length: int) -> bytes:
        """See Stream."""
        return self._read_at(offset, length) if length else b""


def pieces(stream: Stream, start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` to `end`, which lie in one span."""
    for at in range(start, end, _PIECE):
        yield stream.read(at, min(_PIECE, end - at))


def reading(stream: Stream, start: int, end: int) -> Callable[[int], bytes]:
    """A function that gives the bytes from `start` to `end` in turn, a piece a call whatever is asked for."""
    source = pieces(stream, start, end)
    return lambda _size: next(source, b"")
