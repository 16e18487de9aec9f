"""The archives that this host has made or signed: one line of JSON each, in `ROOT/vault/archives.jsonl`.

A line is written before the archive appears in its store, so that no archive with this host's key is unknown here.
Locks, `after` and the search for stolen keys rely on it; names in a store can be made up by others.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from drunner_vault.durable import make_directory, replace_file, storage_error

_MOST = 200_000  # lines that are kept
_LEAST_LINE = 200  # bytes; a file that cannot hold too many lines need not be counted


@dataclass(frozen=True, kw_only=True)
class LoggedArchive:
    """One archive.

    archive: file name. host, workload, id, created, size, sha256: as in its head. store: identity of its store, empty
    if that is unknown. address: of the store. etag: of the object; empty where it is not known. complete: False in the
    line that is written before the archive appears. basis: as in its head; only those of `written` this host has made.
    """

    archive: str
    host: str
    workload: str
    id: str
    created: str
    size: int
    sha256: str
    store: str
    address: str
    etag: str = ""
    complete: bool = False
    basis: str = "written"


class ArchiveLog:
    """The log of this host. directory: `ROOT/vault`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "archives.jsonl"

    def all(self) -> list[LoggedArchive]:
        """Return all lines, the oldest first; those that cannot be read are left out. Raises StorageError."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as cause:
            raise storage_error("read", self._path, cause) from cause
        return [item for line in data.splitlines() if (item := _parse(line)) is not None]

    def add(self, item: LoggedArchive) -> None:
        """Add a line, durably. Raises StorageError."""
        try:
            with self._locked():
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                with os.fdopen(fd, "r+b", buffering=0) as file:
                    size = file.seek(0, os.SEEK_END)
                    torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
                    file.write(b"\n" * torn + json.dumps(asdict(item)).encode() + b"\n")
                    os.fsync(file.fileno())
                if size > _MOST * _LEAST_LINE:
                    self._drop_oldest()
        except OSError as cause:
            raise storage_error("write", self._path, cause) from cause

    def created(self, host: str, workload: str, store: str | None = None) -> list[dt.datetime]:
        """Return when the archives of a workload were made, in order; only those in one store, if that is given."""
        found = {
            moment
            for item in self.all()
            if item.complete and (item.host, item.workload) == (host, workload) and store in (None, item.store)
            if (moment := _moment(item.created)) is not None
        }
        return sorted(found)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time: the directory itself is the lock, so none is left behind."""
        make_directory(self._path.parent)
        fd = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _drop_oldest(self) -> None:
        lines = self._path.read_bytes().splitlines(keepends=True)
        if len(lines) > _MOST:
            replace_file(self._path, b"".join(lines[-_MOST:]))


_NAMES = {field.name for field in fields(LoggedArchive)}


def _parse(line: bytes) -> LoggedArchive | None:
    try:
        values: dict[str, Any] = json.loads(line)
        item = LoggedArchive(**{name: value for name, value in values.items() if name in _NAMES})
    except (ValueError, TypeError, AttributeError):
        return None
    texts = all(isinstance(getattr(item, name), str) for name in _NAMES - {"size", "complete"})
    return item if texts and isinstance(item.size, int) and isinstance(item.complete, bool) else None


def _moment(text: str) -> dt.datetime | None:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
