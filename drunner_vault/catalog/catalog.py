"""Listing the archives of a store.

    object keys → archives with their sidecars and records → facts of each → newest first

An archive is known by its file name. Whose it is, its path tells (`HOST/SERVICE/SERVICE-…`), else its sidecar, else
its name; so archives that somebody copied in by hand count too, wherever below the store they lie.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from drunner_vault.archive import Sidecar, archive_service, archive_stamp, parse_sidecar, parse_sidecar_head
from drunner_vault.archive.sidecar import HEAD, SUFFIX
from drunner_vault.catalog.judging import judge
from drunner_vault.catalog.records import Record, RecordKind, parse_record, parse_stamp, read_record
from drunner_vault.errors import AccessDenied, DamagedArchive, NotFound, StorageError
from drunner_vault.stores.ranged import RangedSource
from drunner_vault.stores.store import Store, StoredObject, is_key

AHEAD = dt.timedelta(days=1)  # an archive further in the future was made by a clock that ran ahead
_AT_ONCE = 8
_LONGEST_SIDECAR = 64 << 20
_NO_DRILL = 1e9  # seconds, which none takes: 30 years
_GONE = "it was deleted just now"


@dataclass(frozen=True)
class Archive:
    """One archive in a store, as far as this can be known without a key.

    size: in bytes; 0 if only its sidecar or records are left. recipients: the kinds it is encrypted to; none: in the
    clear. sealed_to, signer, problems: see Sidecar. has_sidecar: whether it was committed with one. fault: why it is
    not complete, empty if it is. modified: when it appeared here. verified, damaged, accepted, suspect,
    rehearsed, drilled, drill_failed: when a record last said so. drill_seconds: how long its service took to come back
    then. keys: of all objects that belong to it, the sidecar first, which has to go
    first.
    """

    key: str
    name: str
    host: str
    service: str
    created: dt.datetime
    modified: dt.datetime
    size: int
    recipients: tuple[str, ...] = ()
    sealed_to: tuple[str, ...] = ()
    signer: str = ""
    problems: int = 0
    has_sidecar: bool = False
    fault: str = ""
    verified: dt.datetime | None = None
    damaged: dt.datetime | None = None
    accepted: dt.datetime | None = None
    suspect: dt.datetime | None = None
    rehearsed: dt.datetime | None = None
    drilled: dt.datetime | None = None
    drill_failed: dt.datetime | None = None
    drill_seconds: float | None = None
    locked_until: dt.datetime | None = None
    keys: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether it counts: all of it is there, and nobody has found damage since it was last proven."""
        return not self.fault

    @property
    def group(self) -> tuple[str, str]:
        """Whose it is: host and service."""
        return self.host, self.service


@dataclass
class _Found:
    """What belongs to one archive's key. modified: when the newest of it appeared."""

    key: str
    modified: dt.datetime
    archive: StoredObject | None = None
    sidecar: StoredObject | None = None
    records: list[Record] = field(default_factory=list)


def archives(store: Store, prefix: str = "", service: str | None = None, host: str | None = None) -> list[Archive]:
    """The archives below a directory of a store, newest first; of one service, or one host, if these are given.

    Sidecars are read, several at once, and of archives without one their ends. Raises StorageError.
    """
    wanted = [found for found in _grouped(store.list(prefix)) if _may_be(found, service, host)]
    with ThreadPoolExecutor(_AT_ONCE, "catalog") as pool:
        known = list(pool.map(lambda found: _archive(store, found), wanted))
    chosen = [item for item in known if service in (None, item.service) and host in (None, item.host)]
    return sorted(chosen, key=lambda item: (item.created, item.key), reverse=True)


def creation_times(store: Store, prefix: str) -> list[dt.datetime]:
    """When the archives below a directory were made, as their names say. Raises StorageError."""
    moments = (parse_stamp(archive_stamp(item.key.rpartition("/")[2]) or "") for item in store.list(prefix))
    return sorted(moment for moment in moments if moment)


def newest(found: Iterable[Archive], now: dt.datetime) -> Archive | None:
    """The newest complete one; those from the future only if there is no other."""
    complete = [item for item in found if item.complete]
    believable = [item for item in complete if item.created <= now + AHEAD]
    return max(believable or complete, key=lambda item: (item.created, item.key), default=None)


def _grouped(objects: Iterable[StoredObject]) -> list[_Found]:
    groups: dict[str, _Found] = {}

    def group(key: str, item: StoredObject) -> _Found:
        found = groups.setdefault(key, _Found(key, item.modified))
        found.modified = max(found.modified, item.modified)
        return found

    for item in filter(lambda item: is_key(item.key), objects):
        record = parse_record(item.key)
        if record is not None and _dated(record.archive):
            group(record.archive, item).records.append(record)
        elif _dated(item.key):
            group(item.key, item).archive = item
        elif item.key.endswith(SUFFIX) and _dated(item.key.removesuffix(SUFFIX)):
            group(item.key.removesuffix(SUFFIX), item).sidecar = item
    return list(groups.values())


def _dated(key: str) -> bool:
    stamp = archive_stamp(key.rpartition("/")[2])
    return stamp is not None and parse_stamp(stamp) is not None


def _may_be(found: _Found, service: str | None, host: str | None) -> bool:
    """Whether its key allows it to be of this service and host: saves reading the others' sidecars."""
    own_path = _own_path(found.key)
    return own_path is None or (service in (None, own_path[1]) and host in (None, own_path[0]))


def _own_path(key: str) -> tuple[str, str] | None:
    """Host and service, if the key is as we write it."""
    parts = key.split("/")
    ours = len(parts) >= 3 and parts[-2] == archive_service(parts[-1])
    return (parts[-3], parts[-2]) if ours else None


def _archive(store: Store, found: _Found) -> Archive:
    sidecar, fault = _sidecar(store, found)
    name = found.key.rpartition("/")[2]
    recipients = tuple(sidecar.recipients) if sidecar else ()
    if found.archive is not None and sidecar is None and not fault:
        kinds, fault = _judged(store, found.archive)
        recipients = tuple(kinds)
    created = parse_stamp(archive_stamp(name) or "")
    assert created is not None  # noqa: S101 (as grouped)
    verified, damaged = _last(found, RecordKind.VERIFIED), _last(found, RecordKind.DAMAGED)
    stated = (sidecar.host, sidecar.service) if sidecar else ("", "")
    host, service = _own_path(found.key) or stated
    return Archive(
        key=found.key,
        name=name,
        host=host,
        service=service or archive_service(name) or "",
        created=created,
        modified=found.archive.modified if found.archive else found.modified,
        size=found.archive.size if found.archive else 0,
        recipients=recipients,
        sealed_to=tuple(sidecar.sealed_to) if sidecar else (),
        signer=sidecar.signer if sidecar else "",
        problems=sidecar.problems if sidecar else 0,
        has_sidecar=sidecar is not None,
        fault=_verdict(found, fault, verified, damaged),
        verified=verified,
        damaged=damaged,
        accepted=_last(found, RecordKind.ACCEPTED),
        suspect=_last(found, RecordKind.SUSPECT),
        rehearsed=_last(found, RecordKind.REHEARSED),
        drilled=_last(found, RecordKind.DRILLED),
        drill_failed=_last(found, RecordKind.DRILL_FAILED),
        drill_seconds=_drill_seconds(store, found),
        locked_until=_locked_until(store, found),
        keys=tuple(_keys(found)),
    )


def _sidecar(store: Store, found: _Found) -> tuple[Sidecar | None, str]:
    """Its sidecar, if it has one that can be read, and what that says against the archive."""
    if found.sidecar is None:
        return None, "" if found.archive else "only records of it are here"
    try:
        sidecar = read_sidecar_head(store, found.sidecar)
    except NotFound:
        return None, "" if found.archive else _GONE
    except DamagedArchive:
        return None, "" if found.archive else "only its sidecar is here, and it is damaged"
    if found.archive is None:
        return sidecar, "only its sidecar is here"
    if found.archive.size != sidecar.size:
        return sidecar, f"it is {found.archive.size} bytes long, and its sidecar says {sidecar.size}"
    return sidecar, ""


def read_sidecar_head(store: Store, item: StoredObject) -> Sidecar:
    """A sidecar without its chunks, from its beginning; from all of it where that does not do."""
    if item.size > HEAD:
        try:
            sidecar = parse_sidecar_head(store.read(item.key, 0, HEAD))
        except DamagedArchive:
            sidecar = None
        if sidecar is not None:
            return sidecar
    if item.size > _LONGEST_SIDECAR:
        raise DamagedArchive(f"{item.key} is {item.size} bytes long, which no sidecar is", "look at it")
    return parse_sidecar(store.read(item.key, 0, item.size))


def _judged(store: Store, item: StoredObject) -> tuple[list[str], str]:
    try:
        return judge(RangedSource(item.key, item.size, partial(store.read, item.key)))
    except NotFound:
        return [], _GONE


def _verdict(found: _Found, fault: str, verified: dt.datetime | None, damaged: dt.datetime | None) -> str:
    """What is wrong with it. What somebody found who read it to its end counts more than how it looks."""
    if damaged and (verified is None or verified <= damaged):
        return f"it was found damaged on {damaged:%Y-%m-%d}"
    if verified and found.archive and found.sidecar is None:
        return ""
    return fault


def _last(found: _Found, kind: RecordKind) -> dt.datetime | None:
    return max((record.at for record in found.records if record.kind is kind), default=None)


def _drill_seconds(store: Store, found: _Found) -> float | None:
    """How long the last good drill took: the one thing that a record's name does not say."""
    drills = [record for record in found.records if record.kind is RecordKind.DRILLED]
    if not drills:
        return None
    try:
        seconds = read_record(store, max(drills, key=lambda record: record.at)).get("seconds")
    except StorageError:
        return None
    return float(seconds) if isinstance(seconds, (int, float)) and 0 <= seconds < _NO_DRILL else None


def _locked_until(store: Store, found: _Found) -> dt.datetime | None:
    if not store.can_lock or found.archive is None:
        return None
    try:
        return store.stat(found.key).locked_until
    except (NotFound, AccessDenied):
        return None


def _keys(found: _Found) -> Iterator[str]:
    if found.sidecar:
        yield found.sidecar.key
    if found.archive:
        yield found.key
    yield from (record.key for record in found.records)
