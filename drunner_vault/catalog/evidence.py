"""What the sidecars and records beside an archive prove about it.

    objects → sidecars, the newest 16 `signed` first → head, place → records → standing

Nothing here trusts a document before its signature was checked with a key that counts for the archive's host.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from drunner_vault.archive.sidecar import (
    FORMAT,
    HEAD_LIMIT,
    HISTORY,
    KINDS,
    VERSION,
    Head,
    Place,
    SidecarHead,
    first_statement,
    parse_sidecar_head,
)
from drunner_vault.archive.statements import statement_version
from drunner_vault.catalog.archive import Standing
from drunner_vault.catalog.grouping import ArchiveObjects
from drunner_vault.catalog.records import (
    RECORD_LIMIT,
    Record,
    RecordKind,
    RecordName,
    parse_record,
    parse_stamp,
    split_record,
)
from drunner_vault.catalog.signers import HostSigners
from drunner_vault.clock import stamp
from drunner_vault.errors import ArchiveError, DamagedArchive, NotFound, UnsupportedArchive
from drunner_vault.signing import SignerKey
from drunner_vault.stores.store import StoredObject

MOST_READ = 16  # documents of one kind that are read of one archive
_POSITIVE = frozenset({RecordKind.VERIFIED, RecordKind.ACCEPTED, RecordKind.DRILLED, RecordKind.REHEARSED})

Read = Callable[[StoredObject, int], bytes]
"""Reads an object, at most so many bytes of it. Raises NotFound, StorageError."""


@dataclass(frozen=True)
class Rules:
    """By what documents are judged. identity: of the store; empty if it has none. now: by this host's clock."""

    signers: HostSigners
    identity: str
    now: dt.datetime


@dataclass(frozen=True)
class HeadEvidence:
    """What the sidecars of an archive prove.

    head: the best that was found, None if none can be read. signer: who signed it, if the signature is valid. why: for
    people. document: the key of the sidecar. by_place: the head's own signature does not count any more, since its key
    was retired; it does because a key that is not retired has signed the place.
    """

    standing: Standing
    why: str = ""
    head: Head | None = None
    signer: SignerKey | None = None
    document: str = ""
    by_place: bool = False


@dataclass
class RecordEvidence:
    """The newest accepted record of each kind. hidden: the kinds of which the newest 16 are all not accepted."""

    latest: dict[RecordKind, Record] = field(default_factory=dict)
    hidden: list[RecordKind] = field(default_factory=list)
    seen: bool = False  # an accepted `verified` record shows these bytes in this store

    def at(self, kind: RecordKind) -> dt.datetime | None:
        """Return when an archive was last said to be of this kind."""
        record = self.latest.get(kind)
        return record.at if record else None


def judge_sidecars(objects: ArchiveObjects, read: Read, rules: Rules) -> HeadEvidence:
    """Return the best that any sidecar of an archive proves; the first of equals.

    Read are the newest 16 `signed` ones and the sidecar itself, no further than to the first that proves the archive.
    """
    best: HeadEvidence | None = None
    for item in _sidecars(objects):
        try:
            found = _judge(objects, item, read(item, HEAD_LIMIT), rules)
        except NotFound:
            continue
        if best is None or _rank(found) < _rank(best):
            best = replace(found, document=item.key)
        if best.standing is Standing.PROVEN and not best.by_place:
            break
    return best or HeadEvidence(Standing.UNSIGNED, "it has no sidecar")


def _rank(found: HeadEvidence) -> tuple[int, bool]:
    """The best is the least. What a thief of a retired key could have signed comes after what nobody else could."""
    return _RANK[found.standing], found.by_place


_RANK = {
    standing: rank
    for rank, standing in enumerate(
        (
            Standing.PROVEN,
            Standing.STATED,
            Standing.OVERWRITTEN,
            Standing.UNKNOWN,
            Standing.MISPLACED,
            Standing.STRANGER,
            Standing.UNSIGNED,
            Standing.UNREADABLE,
        )
    )
}


def judge_records(objects: ArchiveObjects, head: Head, read: Read, rules: Rules) -> RecordEvidence:
    """Return what accepted records say about an archive whose head is accepted."""
    found = RecordEvidence()
    for kind, items in _by_kind(objects, rules.now).items():
        judged = (_accepted_record(objects, name, item, head, read, rules) for name, item in items[:MOST_READ])
        record = next(filter(None, judged), None)
        if record is None and len(items) >= MOST_READ:
            found.hidden.append(kind)
            # those that appeared first: nobody who came later can have added them
            first = sorted(items[MOST_READ:], key=lambda pair: pair[1].modified)[:MOST_READ]
            early = (_accepted_record(objects, name, item, head, read, rules) for name, item in first)
            record = max(filter(None, early), key=lambda record: record.at, default=None)
        if record is not None:
            found.latest[kind] = record
            found.seen = found.seen or kind is RecordKind.VERIFIED
    return found


def _sidecars(objects: ArchiveObjects) -> Iterator[StoredObject]:
    yield from (item for _, item in objects.signed[:MOST_READ])
    if objects.sidecar is not None:
        yield objects.sidecar


def _judge(objects: ArchiveObjects, item: StoredObject, data: bytes, rules: Rules) -> HeadEvidence:
    """What one sidecar proves."""
    version = statement_version(data, FORMAT)
    try:
        if version not in (None, 1, VERSION):
            return _judge_later(objects, item, data, rules)
        start = parse_sidecar_head(data)
    except ArchiveError as error:
        return HeadEvidence(Standing.UNREADABLE, error.message)
    if start.statement is None:
        return HeadEvidence(Standing.UNSIGNED, "its sidecar is of version 1, which is not signed", start.head)
    try:
        signer = start.statement.signer()
    except DamagedArchive:
        return HeadEvidence(Standing.UNREADABLE, "the signature of its sidecar is not valid", start.head)
    if signer is None:
        return HeadEvidence(Standing.UNSIGNED, "its sidecar is not signed", start.head)
    standing, why = _standing(objects, item, start, signer, rules)
    appeared = _appeared(objects, item)
    by_place = not rules.signers.accepts(signer, start.head.host, *appeared)
    head = replace(start.head, basis=HISTORY) if by_place else start.head
    return HeadEvidence(standing, why, head, signer, by_place=by_place)


def _judge_later(objects: ArchiveObjects, item: StoredObject, data: bytes, rules: Rules) -> HeadEvidence:
    """A sidecar of a version that is not known: only who signed it can be told."""
    try:
        signer = first_statement(data).signer()
    except DamagedArchive as error:
        return HeadEvidence(Standing.UNREADABLE, error.message)
    host = (objects.directory or ("", ""))[0]
    if signer is None or not rules.signers.accepts(signer, host, item.modified):
        standing = Standing.STRANGER if signer else Standing.UNSIGNED
        return HeadEvidence(standing, "its sidecar is of a later version", None, signer)
    return HeadEvidence(Standing.UNKNOWN, "its sidecar is of a version that this program does not know", None, signer)


def _standing(
    objects: ArchiveObjects, item: StoredObject, start: SidecarHead, signer: SignerKey, rules: Rules
) -> tuple[Standing, str]:
    """What a signed sidecar proves, and why no more."""
    head, host = start.head, (objects.directory or ("", ""))[0]
    appeared = _appeared(objects, item)
    by_own_host = host or head.host
    if not _counts(signer, by_own_host, appeared, objects, start, rules):
        if head.host != by_own_host and rules.signers.accepts(signer, head.host, *appeared):
            return Standing.MISPLACED, f"it was signed for host {head.host}"
        retired = rules.signers.accepts(signer, by_own_host)
        why = "whose key was retired before it appeared here" if retired else f"whose key does not count for {host}"
        return Standing.STRANGER, f"it is signed by {signer.fingerprint}, {why}"
    if head.features or head.kind not in KINDS:
        return Standing.UNKNOWN, f"it is of a kind or feature that this program does not know: {_named(head)}"
    if (misplaced := _misplaced(objects, head)) is not None:
        return Standing.MISPLACED, misplaced
    if objects.archive is not None and objects.archive.size != head.size:
        return Standing.OVERWRITTEN, f"it is {objects.archive.size} bytes long, and its sidecar says {head.size}"
    return _seen_here(objects, item, start, rules)


def _appeared(objects: ArchiveObjects, item: StoredObject) -> tuple[dt.datetime, dt.datetime]:
    """When an archive and a sidecar appeared in the store."""
    return objects.archive.modified if objects.archive else item.modified, item.modified


def _named(head: Head) -> str:
    return ", ".join([head.kind, *head.features])[:80]


def _counts(
    signer: SignerKey,
    host: str,
    appeared: tuple[dt.datetime, ...],
    objects: ArchiveObjects,
    start: SidecarHead,
    rules: Rules,
) -> bool:
    """Whether the signature of a head counts: of a retired key also if a key that is not retired signed the place."""
    if rules.signers.accepts(signer, host, *appeared):
        return True
    if not rules.signers.accepts(signer, host):
        return False
    place_signer = _place_signer(start)
    return (
        place_signer is not None
        and rules.signers.is_current(place_signer, host)
        and _is_about(start.place, start.head)
        and start.place is not None
        and start.place.store == rules.identity != ""
        and (objects.archive is None or _same_etag(start.place.etag, objects.archive.etag))
    )


def _misplaced(objects: ArchiveObjects, head: Head) -> str | None:
    """In which way a head is about another archive than the one beside it; None if it is not."""
    directory = objects.directory
    if directory is None:
        return "it is not at HOST/WORKLOAD/NAME in its store"
    if (head.host, head.workload) != directory:
        return f"it was signed for {head.host}/{head.workload}"
    if head.archive != objects.name:
        return f"it was signed as {head.archive[:200]}"
    if head.created.replace("-", "").replace(":", "") != stamp(objects.created):
        return f"it was signed as made at {head.created[:40]}"
    return None


def _seen_here(objects: ArchiveObjects, item: StoredObject, start: SidecarHead, rules: Rules) -> tuple[Standing, str]:
    """Whether the place proves that these bytes are in this store."""
    place, signer, host = start.place, _place_signer(start), start.head.host
    archive = objects.archive
    if not rules.identity:
        return Standing.STATED, "its store has no identity that is known here"
    if place is None or signer is None or not _is_about(place, start.head):
        return Standing.STATED, "nobody has signed that it is in this store"
    appeared = _appeared(objects, item)
    if not rules.signers.accepts(signer, host, *appeared):
        return Standing.STATED, f"{signer.fingerprint}, whose key does not count here, has signed that it is here"
    if place.store != rules.identity:
        return Standing.STATED, "it was signed for another store"
    if archive is None or _same_etag(place.etag, archive.etag):
        return Standing.PROVEN, ""
    if not place.etag:
        return Standing.STATED, "the answer to its upload was lost"
    return Standing.OVERWRITTEN, "its object is not the one that was uploaded"


def _place_signer(start: SidecarHead) -> SignerKey | None:
    if start.placed is None or start.place is None:
        return None
    try:
        return start.placed.signer()
    except DamagedArchive:
        return None


def _is_about(place: Place | None, head: Head) -> bool:
    return place is not None and (place.archive, place.host, place.workload, place.size, place.sha256) == (
        head.archive,
        head.host,
        head.workload,
        head.size,
        head.sha256,
    )


def _same_etag(stated: str, listed: str) -> bool:
    """Where a store lists no ETags nothing can be compared."""
    return not listed or stated == listed


def _by_kind(objects: ArchiveObjects, now: dt.datetime) -> Mapping[RecordKind, list[tuple[RecordName, StoredObject]]]:
    """The records of each kind, the newest first. Good news from the future does not count."""
    found: dict[RecordKind, list[tuple[RecordName, StoredObject]]] = {}
    for name, item in sorted(objects.records, key=lambda pair: (pair[0].at, pair[0].key), reverse=True):
        if name.kind not in _POSITIVE or name.at <= now:
            found.setdefault(name.kind, []).append((name, item))
    return found


def _accepted_record(
    objects: ArchiveObjects, name: RecordName, item: StoredObject, head: Head, read: Read, rules: Rules
) -> Record | None:
    """The record in an object, if a key that counts has signed it and it is about this archive in this store."""
    try:
        statement = split_record(read(item, RECORD_LIMIT + 1))
        signer = statement.signer()
        if signer is None or not rules.signers.accepts(signer, head.host, item.modified):
            return None
        record = parse_record(statement.line)
    except (DamagedArchive, UnsupportedArchive, NotFound):
        return None
    about = (record.archive, record.host, record.workload, record.size, record.sha256)
    if about != (head.archive, head.host, head.workload, head.size, head.sha256):
        return None
    if (record.kind, record.at) != (name.kind, name.at) or not rules.identity or record.store != rules.identity:
        return None
    archive = objects.archive
    if record.kind in _POSITIVE and archive is not None and not _same_etag(record.etag, archive.etag):
        return None
    return record


def after_of(head: Head) -> dt.datetime | None:
    """Return when the archive before this one was made, as its head states it; None if it knows of none."""
    return parse_stamp(head.after.replace("-", "").replace(":", "")) if head.after else None
