"""The archives that this host has made or signed: one line of JSON each, in `ROOT/vault/archives.jsonl`.

A line is written before the archive appears in its store, so that no archive with this host's key is unknown here.
Locks, `after` and the search for stolen keys rely on it; names in a store can be made up by others.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from drunner_vault.durable import storage_error
from drunner_vault.hoststate.line_file import LineFile

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
        self._lines = LineFile(self._path, _MOST, _LEAST_LINE)

    def all(self) -> list[LoggedArchive]:
        """Return all lines, the oldest first; those that cannot be read are left out. Raises StorageError."""
        return [item for line in self._lines.read() if (item := _parse(line)) is not None]

    def add(self, item: LoggedArchive) -> None:
        """Add a line, durably. Raises StorageError."""
        try:
            with self._lines.locked():
                self._lines.append([json.dumps(asdict(item)).encode()])
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
