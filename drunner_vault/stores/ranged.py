"""Reading parts of an archive where it lies, with few requests."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from drunner_vault.durable import storage_error

HEAD = 72 << 10  # the age header and its first chunk, in which the manifest is
TAIL = 264 << 10  # seek table, locator and index root of an archive of some 15 GiB, and the age chunks they touch


@dataclass
class RangedSource:
    """An archive that can be read from any offset. size: in bytes. Counts what it asked its place of storage for."""

    name: str
    size: int
    fetch: Callable[[int, int], bytes]
    requests: int = 0
    fetched: int = 0

    def read_at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer only at the end."""
        self.requests += 1
        data = self.fetch(offset, length)
        self.fetched += len(data)
        return data


class CachedEnds:
    """Keeps both ends of a source, as every use of an archive needs them; each is fetched at most once."""

    def __init__(self, source: RangedSource) -> None:
        self._source = source
        self._kept: list[tuple[int, bytes]] = []

    def read_at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer only at the end."""
        length = max(0, min(length, self._source.size - offset))
        for start, data in self._kept:
            if start <= offset and offset + length <= start + len(data):
                return data[offset - start : offset - start + length]
        widened = self._end_that_holds(offset, length)
        if widened is None:
            return self._source.read_at(offset, length)
        self._kept.append((widened[0], self._source.read_at(*widened)))
        return self.read_at(offset, length)

    def _end_that_holds(self, offset: int, length: int) -> tuple[int, int] | None:
        """The end of the source that this range lies in, if it has not been fetched."""
        size = self._source.size
        ends = ((0, min(HEAD, size)), (max(0, size - TAIL), min(TAIL, size)))
        for start, extent in ends:
            if start <= offset and offset + length <= start + extent and (start, extent) not in self._fetched():
                return start, extent
        return None

    def _fetched(self) -> list[tuple[int, int]]:
        return [(start, len(data)) for start, data in self._kept]


@contextlib.contextmanager
def open_ranged(path: Path) -> Iterator[RangedSource]:
    """A file of this host."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as cause:
        raise storage_error("read", path, cause) from cause

    def fetch(offset: int, length: int) -> bytes:
        try:
            pieces = []
            while length and (piece := os.pread(fd, length, offset)):
                pieces.append(piece)
                offset, length = offset + len(piece), length - len(piece)
        except OSError as cause:
            raise storage_error("read", path, cause) from cause
        return b"".join(pieces)

    try:
        yield RangedSource(str(path), os.fstat(fd).st_size, fetch)
    finally:
        os.close(fd)
