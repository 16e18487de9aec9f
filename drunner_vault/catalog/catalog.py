"""Listing the archives of a store.

    objects → grouped by archive → sidecars and records, read and verified → archives, newest first

A listing costs the requests that the listing itself needs, one short read for each sidecar, and one for each record
that decides something. What has ETags is read once and then kept on this host.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from drunner_vault.archive import archive_service
from drunner_vault.catalog.archive import AHEAD, Archive, Standing
from drunner_vault.catalog.cache import ObjectCache
from drunner_vault.catalog.completeness import check_completeness
from drunner_vault.catalog.evidence import (
    HeadEvidence,
    RecordEvidence,
    Rules,
    after_of,
    judge_records,
    judge_sidecars,
)
from drunner_vault.catalog.grouping import (
    MOST_OBJECTS,
    ArchiveObjects,
    Directory,
    DirectoryObjects,
    StoreObjects,
    group_objects,
)
from drunner_vault.catalog.identity import StoreRoot
from drunner_vault.catalog.records import RecordKind
from drunner_vault.catalog.signers import HostSigners
from drunner_vault.errors import AccessDenied, NotFound
from drunner_vault.stores.ranged import RangedSource
from drunner_vault.stores.store import Store, StoredObject

__all__ = ["AHEAD", "Archive", "Catalog", "CatalogReader", "Standing", "newest"]

_AT_ONCE, _BATCH = 8, 1024
_NO_DRILL = 10**12  # milliseconds, which none takes: 30 years
_GONE = "it was deleted just now"
_ENDS = "ends:"  # before an archive's key: what its ends showed, in the cache


@dataclass(frozen=True)
class Catalog:
    """The archives in a store, or in a directory of it.

    root: the store, and the directory. signers: by whose signatures it was read. archives: newest first. frozen:
    directories in which nothing may be deleted, and why.
    """

    root: StoreRoot
    signers: HostSigners
    archives: tuple[Archive, ...]
    frozen: Mapping[Directory, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CatalogReader:
    """Reads catalogs. signers: whose signatures count. now: by this host's clock. cache: of what was read before."""

    signers: HostSigners
    now: dt.datetime
    cache: ObjectCache = field(default_factory=lambda: ObjectCache(None))

    def read(self, root: StoreRoot, service: str | None = None, host: str | None = None) -> Catalog:
        """Return the archives below the root's directory: of one service, or of one host, if these are given.

        Raises StorageError.
        """
        objects = group_objects(root.store.list(root.prefix))
        listing = _Listing(root, self, Rules(self.signers, root.identity, self.now))
        wanted = [item for item in objects.archives.values() if _may_be(item, root, service, host)]
        chosen: list[tuple[Archive, str]] = []
        with ThreadPoolExecutor(_AT_ONCE, "catalog") as pool:
            for start in range(0, len(wanted), _BATCH):  # so that a flooded store does not queue everything at once
                for item, freeze in pool.map(listing.judge, wanted[start : start + _BATCH]):
                    # misplaced ones are of no host, and shown whatever is asked for
                    if service in (None, item.service) and (host in (None, item.host) or not item.host):
                        chosen.append((item, freeze))
        found = sorted((item for item, _ in chosen), key=lambda item: (item.created, item.key), reverse=True)
        if not root.prefix and service is None and host is None:
            keys = (entry.key for group in objects.archives.values() for entry in group.all())
            self.cache.retain(root.identity, [*keys, *(_ENDS + key for key in objects.archives)])
        self.cache.close()
        return Catalog(root, self.signers, tuple(found), _frozen(objects, chosen, service, host))

    def read_newest(self, root: StoreRoot, count: int) -> list[Archive]:
        """Return the newest archives in a directory of a store, by their names. Raises StorageError."""
        objects = group_objects(root.store.list(root.prefix)).archives.values()
        listing = _Listing(root, self, Rules(self.signers, root.identity, self.now))
        latest = sorted(objects, key=lambda item: (item.created, item.key), reverse=True)[:count]
        found = [listing.judge(item)[0] for item in latest]
        self.cache.close()
        return found

    def read_one(self, root: StoreRoot, key: str) -> Archive | None:
        """Return one archive by its key in the store; None if there is nothing of it. Raises StorageError."""
        objects = group_objects(root.store.list(key.rpartition("/")[0]))
        found = objects.archives.get(key)
        if found is None:
            return None
        listing = _Listing(root, self, Rules(self.signers, root.identity, self.now))
        archive, _ = listing.judge(found)
        self.cache.close()
        return archive


def newest(found: Iterable[Archive], now: dt.datetime) -> Archive | None:
    """Return the newest complete one; those from the future only if there is no other."""
    complete = [item for item in found if item.complete]
    past = [item for item in complete if item.created <= now + AHEAD]
    return max(past or complete, key=lambda item: (item.created, item.key), default=None)


def _may_be(found: ArchiveObjects, root: StoreRoot, service: str | None, host: str | None) -> bool:
    """Whether the key allows it to be of this service and host: saves reading the sidecars of others."""
    own = _by_path(found.key, root)
    return own is None or (service in (None, own[1]) and host in (None, own[0]))


def _by_path(key: str, root: StoreRoot) -> Directory | None:
    """Host and service by the key. In a store without an identity the root may be anywhere above."""
    parts = key.split("/")
    if len(parts) < 3 or (root.identity and len(parts) != 3):
        return None
    return (parts[-3], parts[-2]) if parts[-2] == archive_service(parts[-1]) or len(parts) == 3 else None


@dataclass(frozen=True)
class _Listing:
    """One listing under way. May be used from several threads."""

    root: StoreRoot
    reader: CatalogReader
    rules: Rules

    def judge(self, objects: ArchiveObjects) -> tuple[Archive, str]:
        """Return the archive, and why nothing may be deleted in its directory; empty if it is no reason."""
        if self.root.identity and objects.directory is None:
            why = "it is not at HOST/WORKLOAD/NAME in its store"
            evidence = HeadEvidence(Standing.MISPLACED, why)
        else:
            evidence = judge_sidecars(objects, self._read, self.rules)
        accepted = evidence.standing in (Standing.PROVEN, Standing.STATED, Standing.OVERWRITTEN)
        records = RecordEvidence()
        if accepted and evidence.head is not None:
            records = judge_records(objects, evidence.head, self._read, self.rules)
        evidence = _seen_again(objects, evidence, records)
        return self._archive(objects, evidence, records), _freeze(objects, evidence, records)

    def _read(self, item: StoredObject, limit: int) -> bytes:
        def fetch() -> bytes:
            return _without_rest(self.root.store.read(item.key, 0, min(limit, max(item.size, 1))))

        return self.reader.cache.read(self.root.identity, item, limit, fetch)

    def _archive(self, objects: ArchiveObjects, evidence: HeadEvidence, records: RecordEvidence) -> Archive:
        head, archive = evidence.head, objects.archive
        fault, recipients = _fault(objects, evidence), head.recipients if head else ()
        if archive is not None and head is None and not fault and evidence.standing is not Standing.MISPLACED:
            recipients, fault = self._check_ends(archive)
        host, service = _by_path(objects.key, self.root) or ((head.host, head.workload) if head else ("", ""))
        verified, damaged = records.at(RecordKind.VERIFIED), records.at(RecordKind.DAMAGED)
        if damaged and (verified is None or verified <= damaged):
            fault = f"it was found damaged on {damaged:%Y-%m-%d}"
        counts = evidence.signer is not None and evidence.standing in _OF_A_SERIES
        return Archive(
            key=objects.key,
            host=sys.intern(host),
            service=sys.intern(service or archive_service(objects.name) or ""),
            created=objects.created,
            modified=archive.modified if archive else objects.modified,
            size=archive.size if archive else 0,
            etag=archive.etag if archive else "",
            stated_size=head.size if head else 0,
            standing=evidence.standing,
            why=evidence.why,
            signer=evidence.signer.fingerprint if evidence.signer else "",
            series=self.rules.signers.series(evidence.signer, host) if counts and evidence.signer else None,
            id=head.id if head else "",
            sha256=head.sha256 if head else "",
            after=after_of(head) if head else None,
            basis=head.basis if head else "",
            recipients=recipients,
            sealed_to=head.sealed_to if head else (),
            problems=head.problems if head else 0,
            has_sidecar=head is not None,
            sidecar=evidence.document,
            missing=archive is None,
            fault=fault,
            verified=verified,
            damaged=damaged,
            accepted=records.at(RecordKind.ACCEPTED),
            suspect=records.at(RecordKind.SUSPECT),
            rehearsed=records.at(RecordKind.REHEARSED),
            drilled=records.at(RecordKind.DRILLED),
            drill_failed=records.at(RecordKind.DRILL_FAILED),
            drill_seconds=_drill_seconds(records),
            locked_until=_locked_until(self.root.store, objects),
            objects=tuple(objects.all()),
        )

    def _check_ends(self, item: StoredObject) -> tuple[tuple[str, ...], str]:
        """Recipients and fault of an archive by its ends; kept, so that the next listing does not read them again."""

        def check() -> bytes:
            source = RangedSource(item.key, item.size, partial(self.root.store.read, item.key))
            try:
                kinds, fault = check_completeness(source)
            except NotFound:
                kinds, fault = (), _GONE
            return "\n".join([fault.replace("\n", " "), *kinds]).encode()

        entry = StoredObject(_ENDS + item.key, item.size, item.modified, etag=item.etag)
        kept = self.reader.cache.read(self.root.identity, entry, 1 << 16, check)
        fault, *kinds = kept.decode("utf-8", "replace").split("\n")
        return tuple(kinds), fault


def _without_rest(data: bytes) -> bytes:
    """The lines of a sidecar or record that a listing needs: those before line 5."""
    if not data.startswith(b'{"format":'):
        return data
    end = 0
    for _ in range(4):
        end = data.find(b"\n", end) + 1
        if not end:
            return data
    return data[:end]


_OF_A_SERIES = (Standing.PROVEN, Standing.STATED, Standing.OVERWRITTEN)


def _seen_again(objects: ArchiveObjects, evidence: HeadEvidence, records: RecordEvidence) -> HeadEvidence:
    """An accepted `verified` record of these bytes in this store proves as much as a place."""
    archive, head = objects.archive, evidence.head
    same_size = archive is not None and head is not None and archive.size == head.size
    if records.seen and same_size and evidence.standing in (Standing.STATED, Standing.OVERWRITTEN):
        return replace(evidence, standing=Standing.PROVEN, why="")
    return evidence


def _freeze(objects: ArchiveObjects, evidence: HeadEvidence, records: RecordEvidence) -> str:
    if evidence.standing is Standing.UNKNOWN:
        return f"{objects.name}: {evidence.why}"
    for kind in (RecordKind.DAMAGED, RecordKind.SUSPECT):
        if kind in records.hidden and evidence.standing in _OF_A_SERIES:
            return f"the newest `{kind.value}` records of {objects.name} are not by an accepted key"
    return ""


def _frozen(
    objects: StoreObjects, judged: Iterable[tuple[Archive, str]], service: str | None, host: str | None
) -> dict[Directory, str]:
    """The directories in which nothing may be deleted, and why."""
    found = {
        place: reason
        for place, directory in objects.directories.items()
        if service in (None, place[1]) and host in (None, place[0]) and (reason := _reason(directory))
    }
    for item, freeze in judged:
        if freeze:
            found.setdefault(item.group, freeze)
    return found


def _reason(directory: DirectoryObjects) -> str:
    if directory.unknown:
        return f"it holds what this program does not know: {', '.join(directory.unknown)}"
    if directory.objects > MOST_OBJECTS:
        return f"it holds {directory.objects} objects, more than {MOST_OBJECTS}"
    return ""


def _fault(objects: ArchiveObjects, evidence: HeadEvidence) -> str:
    """Why an archive is not complete, without having read it."""
    if objects.archive is None:
        has_sidecar = objects.sidecar is not None or objects.signed
        return "only its sidecar is here" if has_sidecar else "only records of it are here"
    if evidence.head is not None and objects.archive.size != evidence.head.size:
        return f"it is {objects.archive.size} bytes long, and its sidecar says {evidence.head.size}"
    return evidence.why if evidence.standing is Standing.OVERWRITTEN else ""


def _drill_seconds(records: RecordEvidence) -> float | None:
    """How long the last good drill took, in seconds."""
    record = records.latest.get(RecordKind.DRILLED)
    taken = record.details.get("milliseconds") if record else None
    valid = isinstance(taken, int) and not isinstance(taken, bool) and 0 <= taken < _NO_DRILL
    return taken / 1000 if valid and isinstance(taken, int) else None


def _locked_until(store: Store, objects: ArchiveObjects) -> dt.datetime | None:
    if not store.can_lock or objects.archive is None:
        return None
    try:
        return store.stat(objects.key).locked_until
    except (NotFound, AccessDenied):
        return None
