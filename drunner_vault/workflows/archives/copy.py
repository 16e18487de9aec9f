"""Copying archives to another store, byte for byte and without a key: the further copies of 3-2-1.

What a host has signed about an archive (lines 1, 2 and 5 of the sidecar) is kept as it stands. Where its bytes are now
(lines 3 and 4) is signed anew, by the machine that has written them there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from drunner_vault.archive import Head, Rest, Sidecar, archive_service, archive_stamp
from drunner_vault.archive.frames import Sink
from drunner_vault.archive.sidecar import (
    Digests,
    assemble,
    encode_rest,
    place_of,
    state_head,
    state_place,
)
from drunner_vault.archive.statements import Statement
from drunner_vault.catalog.archive import Archive
from drunner_vault.catalog.completeness import check_completeness
from drunner_vault.catalog.grouping import Directory
from drunner_vault.catalog.identity import StoreRoot
from drunner_vault.catalog.records import parse_stamp
from drunner_vault.clock import Clock, isoformat
from drunner_vault.errors import AlreadyExists, ArchiveError, BadUsage, DamagedArchive, NotFound
from drunner_vault.stores.sources import ArchiveSource, StoredSource
from drunner_vault.stores.store import finishing, is_key
from drunner_vault.text import plural
from drunner_vault.workflows.archives.finding import stored
from drunner_vault.workflows.archives.measuring import Nowhere, age_facts, measure
from drunner_vault.workflows.archives.recording import Located, sidecar_of
from drunner_vault.workflows.into_store import put_sidecar
from drunner_vault.workflows.progress import Progress


@dataclass(frozen=True)
class Copied:
    """An archive that was copied. bytes: its size. new: False if an earlier copy was interrupted before its sidecar."""

    source: str
    archive: str
    bytes: int
    new: bool = True


@dataclass
class CopyReport:
    """What was copied. failed: what could not be, a sentence each. skipped: what was left out, a sentence each."""

    copied: list[Copied] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


Lock = Callable[[dt.datetime, Sequence[dt.datetime]], dt.datetime | None]


def no_lock(_created: dt.datetime, _earlier: Sequence[dt.datetime]) -> None:
    """For stores whose archives are not locked."""


@dataclass(frozen=True)
class Target:
    """Where archives are copied to.

    root: the store. identify: returns its identity, which it gets with its first archive. sign: signs where the bytes
    are. host: under whose name archives go whose host is not known. guard: entered while an archive of a host and
    service is on its way, so that nobody takes it for a dead upload. lock: until when an archive is to be locked, given
    when it and the earlier ones of its service were made.
    """

    root: StoreRoot
    identify: Callable[[], str]
    sign: Callable[[bytes], bytes]
    host: str
    guard: Callable[[str, str], AbstractContextManager[None]]
    clock: Clock
    lock: Lock = no_lock

    @property
    def name(self) -> str:
        """Return the name of the store."""
        return self.root.name.rstrip("/")


def copy_archives(
    source: StoreRoot, chosen: Sequence[Archive], present: Sequence[Archive], target: Target, progress: Progress
) -> CopyReport:
    """Copy the archives of a store that an accepted key has signed and that the target lacks, the oldest first.

    present: what the target holds; only proven archives count. An archive that is not as it must be does not keep
    others from being copied. Raises StorageError for what is not a single archive's fault; what was copied stays.
    """
    there = {item.key: item for item in present if not item.missing}
    have = {key for key, item in there.items() if item.is_proven and item.complete}
    made = _made([*(item for item in chosen if item.is_stated), *(item for item in present if item.is_proven)])
    report = CopyReport(skipped=_skipped(chosen))
    for item in reversed(chosen):
        if not item.is_stated or not item.complete or item.key in have:
            continue
        have.add(item.key)
        until = target.lock(item.created, [moment for moment in made[item.group] if moment < item.created])
        try:
            found = stored(source.store, item.key, source.address)
            sidecar = sidecar_of(found, Located(source, item.key, item))
            done = copy_archive(found, item.key, sidecar, until, target, progress, there.get(item.key))
            report.copied += [done] if done else []
        except (ArchiveError, BadUsage, AlreadyExists, NotFound) as error:
            report.failed.append(error.message)
    return report


def copy_one(
    source: ArchiveSource,
    located: Located | None,
    present: Callable[[str], Sequence[Archive]],
    target: Target,
    progress: Progress,
) -> CopyReport:
    """Copy an archive that the operator named. What nobody accepted has signed stays as unsigned as it is.

    present: the archives in a directory of the target. One without a sidecar is only copied if its ends are as they
    must be. Raises BadUsage for a pipe.
    """
    try:
        sidecar = sidecar_of(source, located)
    except (NotFound, ArchiveError):
        sidecar = None
    if sidecar is None:
        with source.ranged() as ranged:
            _, fault = check_completeness(ranged)
        if fault:
            raise DamagedArchive(f"{source.name} is not copied: {fault}", "try: drunner-vault salvage")
    key = key_of(source, sidecar, target.host)
    others = present(key.rpartition("/")[0])
    there = next((item for item in others if item.key == key and not item.missing), None)
    if there and sidecar and _has(there, sidecar.head, signed=_is_signed(sidecar)):
        return CopyReport()
    created = parse_stamp(archive_stamp(source.name.rpartition("/")[2]) or "")
    until = None
    if created is not None and target.root.store.can_lock:
        until = target.lock(
            created, sorted(item.created for item in others if item.is_proven and item.created < created)
        )
    done = copy_archive(source, key, sidecar, until, target, progress, there)
    return CopyReport([done] if done else [])


def _has(there: Archive, head: Head, *, signed: bool) -> bool:
    """Whether the target has this archive, with all that a copy could give it."""
    same = there.complete and there.has_sidecar and there.sha256 == head.sha256
    return same and (there.is_proven or not signed)


def _is_signed(sidecar: Sidecar) -> bool:
    return sidecar.start.statement is not None and bool(sidecar.start.statement.signature)


def _skipped(chosen: Sequence[Archive]) -> list[str]:
    """What is left out because nobody who is accepted has signed it, a line for each directory."""
    groups: dict[Directory, list[Archive]] = {}
    for item in chosen:
        if not item.is_stated and not item.missing:
            groups.setdefault(item.group, []).append(item)
    return [
        f"not copied: {plural(len(items), 'archive')} of {host}/{service} that no accepted key has signed for it, "
        f"first {items[0].name} ({items[0].standing.value}: {items[0].why})"
        for (host, service), items in sorted(groups.items())
    ]


def _made(items: Sequence[Archive]) -> dict[Directory, list[dt.datetime]]:
    """When the complete archives of each service were made."""
    made: dict[Directory, set[dt.datetime]] = {}
    for item in items:
        made.setdefault(item.group, set()).update([item.created] if item.complete else [])
    return {place: sorted(moments) for place, moments in made.items()}


def key_of(source: ArchiveSource, sidecar: Sidecar | None, host: str) -> str:
    """Return where an archive goes that is in no store. Raises BadUsage if its name is not an archive's."""
    name = source.name.rpartition("/")[2]
    service = archive_service(name)
    if service is None or parse_stamp(archive_stamp(name) or "") is None:
        raise BadUsage(f"{name} is not named like an archive", "name it SERVICE-YYYYMMDDTHHMMSSZ.tar.zst.age")
    places = (sidecar.head.host or host, sidecar.head.workload or service) if sidecar else (host, service)
    for place in places:
        if "/" in place or not is_key(place):
            raise BadUsage(f"{place!r} in the sidecar of {name} cannot be a directory", "remove that sidecar")
    return "/".join((*places, name))


def copy_archive(
    source: ArchiveSource,
    key: str,
    sidecar: Sidecar | None,
    until: dt.datetime | None,
    target: Target,
    progress: Progress,
    there: Archive | None = None,
) -> Copied | None:
    """Copy one archive, and commit it with its sidecar: its own, or an unsigned one made on the way.

    there: what the target has under its key.

    Both are locked until then. If the archive is in the target from a copy that was interrupted, it only gets its
    sidecar; None if it has that too. Raises AlreadyExists if another archive has its name; DamagedArchive if the source
    is not what its sidecar says: nothing is copied then.
    """
    host, service, _ = key.split("/")[-3:]
    store, new = target.root.store, True
    with target.guard(host, service):
        try:
            with finishing(store.begin(key, until)) as upload:
                stated = _read(source, key, sidecar, upload, progress)
            etag = upload.etag
        except AlreadyExists:
            new = False
            stated = _read(source, key, sidecar, Nowhere(), progress)
            if there and _has(there, stated.head, signed=stated.is_signed):
                return None
            etag = _seen(target, key, stated, progress)
        put_sidecar(store, key, stated.sidecar(target, etag), target.clock, until)
    return Copied(source.name, f"{target.name}/{key}", stated.head.size, new)


@dataclass(frozen=True)
class _Stated:
    """What the copy's sidecar says. statement: lines 1 and 2 as they stand; None for a sidecar of version 1, which is
    copied as it is: `legacy`."""

    head: Head
    statement: Statement | None
    rest_line: bytes
    legacy: bytes = b""

    @property
    def is_signed(self) -> bool:
        """Return True if somebody has signed lines 1 and 2."""
        return self.statement is not None and bool(self.statement.signature)

    def sidecar(self, target: Target, etag: str) -> bytes:
        """The copy's sidecar."""
        if self.statement is None:
            return self.legacy
        place = place_of(self.head, target.identify(), etag, isoformat(target.clock.now()))
        return assemble(self.statement, state_place(place, target.sign if self.is_signed else None), self.rest_line)


def _read(source: ArchiveSource, key: str, sidecar: Sidecar | None, sink: Sink, progress: Progress) -> _Stated:
    """Read all of an archive into a sink and compare it with its sidecar; returns what the copy's sidecar says."""
    found, start = measure(source, f"copying {key.rpartition('/')[2]}", progress, sink)
    if sidecar is None:
        return _unsigned(key, found, start)
    if (found.size, found.sha256) != (sidecar.head.size, sidecar.head.sha256):
        raise DamagedArchive(
            f"{source.name} is not what its sidecar says", "see where: drunner-vault verify --no-key SOURCE"
        )
    statement = sidecar.start.statement
    if statement is None:
        return _Stated(sidecar.head, None, b"", sidecar.data)
    return _Stated(sidecar.head, statement, sidecar.rest_line)


def _seen(target: Target, key: str, expected: _Stated, progress: Progress) -> str:
    """The ETag of the object that is in the target already, and is this archive. Raises AlreadyExists if it is not."""
    before = target.root.store.stat(key)
    there = StoredSource(target.root.store, key, before.size)
    found, _ = measure(there, f"comparing {key.rpartition('/')[2]}", progress)
    same = (found.size, found.sha256) == (expected.head.size, expected.head.sha256)
    if not same or target.root.store.stat(key).etag != before.etag:
        raise AlreadyExists(
            f"{key} exists already in {target.name}, and is something else", "compare them: verify both"
        )
    return before.etag


def _unsigned(key: str, found: Digests, start: bytes) -> _Stated:
    """The unsigned sidecar of an archive that has none. Raises ArchiveError for what is not a complete age file."""
    host, service, name = key.split("/")[-3:]
    created = parse_stamp(archive_stamp(name) or "")
    header, kinds = age_facts(start, found.size)
    rest = Rest(age_header=header, chunks=found.chunks)
    head = Head(
        archive=name,
        host=host,
        workload=service,
        created=isoformat(created) if created else "",
        size=found.size,
        sha256=found.sha256,
        recipients=kinds,
    )
    return _Stated(head, state_head(head, rest, None), encode_rest(rest))
