"""An archive to read, wherever it is: a file, a pipe, or an object in a store."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from drunner_vault.durable import storage_error
from drunner_vault.errors import BadUsage, NotFound
from drunner_vault.stores.address import Address
from drunner_vault.stores.ranged import RangedSource, open_ranged
from drunner_vault.stores.store import Store, is_key
from drunner_vault.uncached import read_at

SIDECAR = ".json"  # after an archive's name: the sidecar that every archive in a store has
_FETCHED, _READ = 8 << 20, 2 << 20  # bytes asked for at once: of a store, of a file
_AHEAD = 3  # pieces asked for before they are needed


@dataclass(frozen=True)
class OpenSource:
    """An archive that is open for reading from its start. size: in bytes, None for a pipe."""

    name: str
    read: Callable[[int], bytes]
    size: int | None


class ArchiveSource(Protocol):
    """One archive. name: as a person knows it. can_seek: whether it can be read from any offset."""

    @property
    def name(self) -> str:
        """As a person knows it."""

    @property
    def can_seek(self) -> bool:
        """Whether `ranged` works."""

    def sequential(self) -> AbstractContextManager[OpenSource]:
        """From start to end. Raises NotFound, StorageError."""

    def ranged(self) -> AbstractContextManager[RangedSource]:
        """From any offset. Raises NotFound, StorageError; BadUsage for a pipe."""

    def beside(self, suffix: str, limit: int) -> bytes:
        """Return the small file whose name is the archive's with `suffix` appended, at most `limit` bytes of it.

        Raises NotFound if there is none.
        """

    def location(self) -> tuple[Address, str] | None:
        """Return the address of the directory or store that it is in, and its key there; None for a pipe."""

    def modified(self) -> dt.datetime | None:
        """Return when it appeared in its store, by the store's clock; None for what is in no store."""


@dataclass(frozen=True)
class FileSource:
    """A file of this host, or what behaves like one: a named pipe can only be read from its start."""

    path: Path

    @property
    def name(self) -> str:
        """See ArchiveSource."""
        return str(self.path)

    @property
    def can_seek(self) -> bool:
        """See ArchiveSource."""
        return self.path.is_file()

    @contextlib.contextmanager
    def sequential(self) -> Iterator[OpenSource]:
        """See ArchiveSource."""
        try:
            stream = self.path.open("rb", buffering=0)
        except OSError as cause:
            raise storage_error("read", self.path, cause) from cause
        with stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                yield OpenSource(self.name, _checked(stream.read, self.name), None)
                return
            fetch = _checked(lambda at, size: read_at(stream.fileno(), size, at), self.name)
            with _ahead(fetch, status.st_size, _READ, 1) as read:
                yield OpenSource(self.name, read, status.st_size)

    def ranged(self) -> AbstractContextManager[RangedSource]:
        """See ArchiveSource."""
        return open_ranged(self.path)

    def beside(self, suffix: str, limit: int) -> bytes:
        """See ArchiveSource."""
        path = self.path.with_name(self.path.name + suffix)
        try:
            with path.open("rb") as stream:
                return stream.read(limit)
        except OSError as cause:
            raise storage_error("read", path, cause) from cause

    def location(self) -> tuple[Address, str] | None:
        """See ArchiveSource."""
        path = self.path.absolute()
        return (Address("file", "", str(path.parent)), path.name) if is_key(path.name) else None

    def modified(self) -> dt.datetime | None:
        """See ArchiveSource. A file with a sidecar is in a store, any other is just a file."""
        if not self.path.with_name(self.path.name + SIDECAR).is_file():
            return None
        return dt.datetime.fromtimestamp(self.path.stat().st_mtime, dt.UTC)


class PipeSource:
    """Standard input."""

    name = "standard input"
    can_seek = False

    @contextlib.contextmanager
    def sequential(self) -> Iterator[OpenSource]:
        """See ArchiveSource."""
        yield OpenSource(self.name, _checked(sys.stdin.buffer.read, self.name), None)

    def ranged(self) -> AbstractContextManager[RangedSource]:
        """See ArchiveSource."""
        raise BadUsage("standard input can only be read from its start", "save it to a file first")

    def beside(self, suffix: str, limit: int) -> bytes:
        """See ArchiveSource."""
        raise NotFound(f"there is no {suffix} beside standard input", "save it to a file first")

    def location(self) -> tuple[Address, str] | None:
        """See ArchiveSource."""
        return None

    def modified(self) -> dt.datetime | None:
        """See ArchiveSource."""
        return None


@dataclass(frozen=True)
class StoredSource:
    """An object in a store. size: in bytes. address: of the store, None if it has none."""

    store: Store
    key: str
    size: int
    address: Address | None = None

    can_seek = True

    @property
    def name(self) -> str:
        """See ArchiveSource."""
        return f"{self.store.name.rstrip('/')}/{self.key}"

    @contextlib.contextmanager
    def sequential(self) -> Iterator[OpenSource]:
        """See ArchiveSource."""
        with _ahead(partial(self.store.read, self.key), self.size, _FETCHED, _AHEAD) as read:
            yield OpenSource(self.name, read, self.size)

    @contextlib.contextmanager
    def ranged(self) -> Iterator[RangedSource]:
        """See ArchiveSource."""
        yield RangedSource(self.name, self.size, partial(self.store.read, self.key))

    def beside(self, suffix: str, limit: int) -> bytes:
        """See ArchiveSource."""
        key = self.key + suffix
        return self.store.read(key, 0, min(limit, self.store.stat(key).size))

    def location(self) -> tuple[Address, str] | None:
        """See ArchiveSource."""
        return (self.address, self.key) if self.address else None

    def modified(self) -> dt.datetime | None:
        """See ArchiveSource."""
        return self.store.stat(self.key).modified


@contextlib.contextmanager
def _ahead(fetch: Callable[[int, int], bytes], size: int, piece: int, threads: int) -> Iterator[Callable[[int], bytes]]:
    """Reads `size` bytes from start to end, in pieces fetched by offset and length. What comes next is fetched while
    what came is being used."""
    with ThreadPoolExecutor(threads, "read-ahead") as pool:
        reader = _ReadAhead(pool, fetch, size, piece)
        try:
            yield reader.read
        finally:
            reader.cancel()


class _ReadAhead:
    def __init__(self, pool: ThreadPoolExecutor, fetch: Callable[[int, int], bytes], size: int, piece: int) -> None:
        self._pool = pool
        self._fetch = fetch
        self._size = size
        self._length = piece
        self._asked = 0
        self._coming: deque[Future[bytes]] = deque()
        self._piece = memoryview(b"")

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; none at the end."""
        if not self._piece:
            self._ask()
            self._piece = memoryview(self._coming.popleft().result()) if self._coming else self._piece
        data = self._piece[:count]
        self._piece = self._piece[len(data) :]
        return bytes(data)

    def cancel(self) -> None:
        """Ask for nothing more."""
        for future in self._coming:
            future.cancel()

    def _ask(self) -> None:
        while len(self._coming) <= _AHEAD and self._asked < self._size:
            length = min(self._length, self._size - self._asked)
            self._coming.append(self._pool.submit(self._fetch, self._asked, length))
            self._asked += length


def _checked(call: Callable[..., bytes], name: str) -> Callable[..., bytes]:
    """The same call, whose failures are errors of ours."""

    def checked(*arguments: int) -> bytes:
        try:
            return call(*arguments)
        except OSError as cause:
            raise storage_error("read", name, cause) from cause

    return checked
