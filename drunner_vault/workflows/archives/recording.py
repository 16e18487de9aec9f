"""Writing signed records about an archive in a store.

A record is made only about an archive whose head is accepted, or whose signature inside an accepted key has made. What
differs from a sidecar that nobody accepted has signed is reported, and not recorded.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from drunner_vault.archive import Sidecar, archive_stamp, parse_sidecar
from drunner_vault.archive.sidecar import SUFFIX, sidecar_limit
from drunner_vault.catalog.archive import Archive, Standing
from drunner_vault.catalog.identity import StoreRoot
from drunner_vault.catalog.records import Record, RecordKind, try_record
from drunner_vault.clock import Clock
from drunner_vault.errors import AccessDenied, DamagedArchive, NotFound, StorageError, Unavailable
from drunner_vault.stores.address import Address
from drunner_vault.stores.ranged import RangedSource
from drunner_vault.stores.sources import ArchiveSource, OpenSource
from drunner_vault.workflows.archives.places import Places
from drunner_vault.workflows.trust import Trust

_ACCEPTED = (Standing.PROVEN, Standing.STATED, Standing.OVERWRITTEN)
_LARGEST = 5 << 40  # bytes of an archive; limits what is read of a sidecar beside a file


@dataclass(frozen=True)
class Located:
    """An archive in a store with an identity. key: from the store's root. archive: what is known of it."""

    root: StoreRoot
    key: str
    archive: Archive

    @property
    def is_accepted(self) -> bool:
        """Return True if an accepted key has signed what the archive is."""
        return self.archive.standing in _ACCEPTED


def locate(places: Places, source: ArchiveSource) -> Located | None:
    """Return where in a store an archive is; None for a file or pipe in no store with an identity."""
    location = source.location()
    if location is None or archive_stamp(location[1].rpartition("/")[2]) is None:
        return None
    address, key = location
    try:
        root = places.root(address)
        if not root.identity:
            return None
        full = root.key(key)
        archive = places.reader().read_one(root, full)
    except (NotFound, AccessDenied):
        return None
    return Located(root, full, archive) if archive is not None else None


def record_of(
    root: StoreRoot, archive: Archive, kind: RecordKind, at: dt.datetime, details: Mapping[str, Any]
) -> Record:
    """Return a record about an archive as it is in a store now."""
    return Record(
        kind=kind,
        archive=archive.name,
        host=archive.host,
        workload=archive.service,
        size=archive.stated_size,
        sha256=archive.sha256,
        store=root.identity,
        etag=archive.etag,
        at=at,
        details=details,
    )


def sidecar_of(source: ArchiveSource, located: Located | None) -> Sidecar:
    """Return the sidecar of an archive: the accepted one if there is one, else the one beside it.

    Raises NotFound, StorageError, DamagedArchive, UnsupportedArchive.
    """
    if located is not None and located.archive.sidecar:
        limit = sidecar_limit(located.archive.size)
        return parse_sidecar(located.root.store.read(located.archive.sidecar, 0, limit))
    try:
        return parse_sidecar(source.beside(SUFFIX, sidecar_limit(_LARGEST)))
    except NotFound as cause:
        raise NotFound(
            f"there is no sidecar {source.name}{SUFFIX}", "verify the archive with a key instead: verify SOURCE -i FILE"
        ) from cause


@dataclass
class Observed:
    """An archive whose bytes are hashed while they are read from start to end. See ArchiveSource.

    sha256: of the whole file in hex, and size in bytes, once it was read to its end; empty until then.
    """

    source: ArchiveSource
    sha256: str = ""
    size: int = 0

    @property
    def name(self) -> str:
        """See ArchiveSource."""
        return self.source.name

    @property
    def can_seek(self) -> bool:
        """See ArchiveSource."""
        return self.source.can_seek

    @contextlib.contextmanager
    def sequential(self) -> Iterator[OpenSource]:
        """See ArchiveSource."""
        digest, size = hashlib.sha256(), 0
        with self.source.sequential() as opened:

            def read(count: int) -> bytes:
                nonlocal size
                data = opened.read(count)
                digest.update(data)
                size += len(data)
                return data

            yield OpenSource(opened.name, read, opened.size)
            if opened.size is None or size == opened.size:
                self.sha256, self.size = digest.hexdigest(), size

    def ranged(self) -> AbstractContextManager[RangedSource]:
        """See ArchiveSource."""
        return self.source.ranged()

    def beside(self, suffix: str, limit: int) -> bytes:
        """See ArchiveSource."""
        return self.source.beside(suffix, limit)

    def location(self) -> tuple[Address, str] | None:
        """See ArchiveSource."""
        return self.source.location()

    def modified(self) -> dt.datetime | None:
        """See ArchiveSource."""
        return self.source.modified()


@dataclass(frozen=True)
class Recorder:
    """Writes records about one archive. located: None where nothing can be recorded."""

    located: Located | None
    trust: Trust
    clock: Clock

    def record(self, kind: RecordKind, details: Mapping[str, Any], sha256: str = "") -> bool:
        """Write a record if that is allowed and possible; returns True if it was written.

        sha256: of the bytes that were read to their end; empty where they were not. A `verified` record needs it, and
        it has to be that of the accepted head. Raises Unavailable.
        """
        located = self.located
        if located is None or not located.is_accepted:
            return False
        if kind is RecordKind.VERIFIED and sha256 != located.archive.sha256:
            return False
        return self._write(located, kind, details)

    def _write(self, located: Located, kind: RecordKind, details: Mapping[str, Any]) -> bool:
        archive = located.archive
        try:
            if located.root.store.stat(located.key).etag != archive.etag:
                return False  # it was overwritten while it was read
        except Unavailable:
            raise
        except StorageError:
            return False
        record = record_of(located.root, archive, kind, self.clock.now(), details)
        return try_record(located.root.store, located.key, record, self.trust.signing_key().sign)

    @contextlib.contextmanager
    def recording_damage(self) -> Iterator[None]:
        """Record damage that is found in the block."""
        try:
            yield
        except DamagedArchive as error:
            self.record(RecordKind.DAMAGED, {"problem": error.message[:1000]})
            raise
