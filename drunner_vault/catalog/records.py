"""Records: small signed files beside an archive that say what happened to it after it was made.

    notes-20260131T030000Z.tar.zst.age.verified-20260201T041500Z.json

A record is one statement and its signature, two lines. It is never changed; a later one adds to it. Records of version
1 were not signed, so they count for nothing.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from drunner_vault.archive.documents import Fields
from drunner_vault.archive.statements import (
    LINE_LIMIT,
    Statement,
    make_statement,
    parse_pair,
    parse_statement,
    split_lines,
)
from drunner_vault.clock import isoformat, stamp
from drunner_vault.errors import DamagedArchive, StorageError, Unavailable
from drunner_vault.stores.store import Store, put

FORMAT = "drunner-vault-record"
VERSION = 2
RECORD_LIMIT = 2 * LINE_LIMIT  # bytes
_NAME = re.compile(r"(?P<archive>.+\.tar\.zst(\.age)?)\.(?P<kind>[a-z]+)-(?P<stamp>[0-9]{8}T[0-9]{6}Z)\.json")
_FIRST_YEAR = 1970  # no clock of ours shows an earlier one
_FIELDS = ("format", "version", "kind", "archive", "host", "workload", "size", "sha256", "store", "etag", "at")


class RecordKind(Enum):
    """What can be known about an archive after it was made."""

    VERIFIED = "verified"  # read to its end, and every byte is as written
    DAMAGED = "damaged"  # read, and it is not as written
    SUSPECT = "suspect"  # much smaller or larger than those before it; deletions of its series wait for a person
    ACCEPTED = "accepted"  # a person confirmed that its size is right
    DRILLED = "drilled"  # test-restored, and the service was healthy
    DRILL_FAILED = "drillfailed"  # test-restored, and the service was not healthy
    REHEARSED = "rehearsed"  # an identity was tried and opened it


@dataclass(frozen=True)
class RecordName:
    """What the name of a record says. archive, key: of the archive and of the record itself."""

    archive: str
    kind: RecordKind
    at: dt.datetime
    key: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a record states.

    kind: see RecordKind. archive, host, workload, size, sha256: of the archive, as in its head. store: identity of the
    store in which it was read. etag: of the object that was read; empty where the store has none. at: when, in UTC,
    whole seconds. details: further keys.
    """

    kind: RecordKind
    archive: str
    host: str
    workload: str
    size: int
    sha256: str
    store: str
    etag: str
    at: dt.datetime
    details: Mapping[str, Any]


def parse_record_name(key: str) -> RecordName | None:
    """Return what the key of a record says; None for every other key."""
    match = _NAME.fullmatch(key)
    if match is None or match["kind"] not in {kind.value for kind in RecordKind}:
        return None
    at = parse_stamp(match["stamp"])
    return RecordName(match["archive"], RecordKind(match["kind"]), at, key) if at else None


def record_key(archive: str, kind: RecordKind, at: dt.datetime) -> str:
    """Return the key of a record beside an archive's key."""
    return f"{archive}.{kind.value}-{stamp(at)}.json"


def state_record(record: Record, sign: Callable[[bytes], bytes] | None) -> Statement:
    """Return a record as a statement. details: whole numbers, texts, lists and objects of those."""
    fields = {
        "kind": record.kind.value,
        "archive": record.archive,
        "host": record.host,
        "workload": record.workload,
        "size": record.size,
        "sha256": record.sha256,
        "store": record.store,
        "etag": record.etag,
        "at": isoformat(record.at),
    }
    details = {name: value for name, value in record.details.items() if name not in _FIELDS}
    return make_statement(FORMAT, VERSION, {**fields, **details}, sign)


def split_record(data: bytes) -> Statement:
    """Return the statement in a record's file. Raises DamagedArchive."""
    (first, second), rest = split_lines(data[: RECORD_LIMIT + 1], 2)
    if rest:
        raise DamagedArchive("a record has more than two lines", "do not rely on this document")
    return parse_pair(first, second)


def parse_record(line: bytes) -> Record:
    """Return what a record states. Raises DamagedArchive, UnsupportedArchive."""
    return parse_statement(line, FORMAT, VERSION, _record)


def add_record(store: Store, archive: str, record: Record, sign: Callable[[bytes], bytes]) -> str:
    """Write a record beside the archive with the key `archive`; returns its key. Raises StorageError."""
    key = record_key(archive, record.kind, record.at)
    put(store, key, state_record(record, sign).encode())
    return key


def try_record(store: Store, archive: str, record: Record, sign: Callable[[bytes], bytes]) -> bool:
    """Write a record where that is allowed and possible; returns True if it was. Raises Unavailable."""
    try:
        add_record(store, archive, record, sign)
    except Unavailable:
        raise
    except StorageError:
        return False
    return True


def parse_stamp(text: str) -> dt.datetime | None:
    """Return the moment that YYYYMMDDTHHMMSSZ stands for; None if there is no such time, or it is before 1970."""
    try:
        moment = dt.datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    return moment if moment.year >= _FIRST_YEAR else None


def _record(document: Fields) -> Record:
    try:
        at = dt.datetime.strptime(document.text("at"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
        kind = RecordKind(document.text("kind"))
    except ValueError as cause:
        raise ValueError(f"kind or time is not valid: {cause}") from cause
    return Record(
        kind=kind,
        archive=document.text("archive"),
        host=document.text("host"),
        workload=document.text("workload"),
        size=document.number("size"),
        sha256=document.text("sha256"),
        store=document.text("store"),
        etag=document.text("etag"),
        at=at,
        details={name: value for name, value in document.values.items() if name not in _FIELDS},
    )
