"""Small files beside an archive that say what has become of it. Their names tell all that a listing needs.

    notes-20260131T030000Z.tar.zst.age.verified-20260201T041500Z.json

A record is never changed: a later one of the same archive adds to it. They go when the archive goes.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from drunner_vault.clock import stamp
from drunner_vault.errors import StorageError, Unavailable
from drunner_vault.stores.store import Store, put

_NAME = re.compile(r"(?P<archive>.+\.tar\.zst(\.age)?)\.(?P<kind>[a-z]+)-(?P<stamp>[0-9]{8}T[0-9]{6}Z)\.json")

_LONGEST = 1 << 20  # bytes; ours have some hundred
_FIRST_YEAR = 1970  # no clock of ours shows an earlier one


class RecordKind(Enum):
    """What can be known of an archive after it was made."""

    VERIFIED = "verified"  # read to its end, and every byte was as written
    DAMAGED = "damaged"  # read, and something was not
    SUSPECT = "suspect"  # much smaller or larger than those before it; deletes of its service wait for a person
    ACCEPTED = "accepted"  # a person has said that its size is right
    DRILLED = "drilled"  # restored apart, and the service was well
    DRILL_FAILED = "drillfailed"  # restored apart, or nearly, and it was not
    REHEARSED = "rehearsed"  # an identity that was offered opened it


@dataclass(frozen=True)
class Record:
    """One record. archive, key: of the archive and of the record itself."""

    archive: str
    kind: RecordKind
    at: dt.datetime
    key: str


def parse_record(key: str) -> Record | None:
    """The record that a key names; None for anything else."""
    match = _NAME.fullmatch(key)
    if match is None or match["kind"] not in {kind.value for kind in RecordKind}:
        return None
    at = parse_stamp(match["stamp"])
    return Record(match["archive"], RecordKind(match["kind"]), at, key) if at else None


def add_record(store: Store, archive: str, kind: RecordKind, at: dt.datetime, details: dict[str, Any]) -> str:
    """Record it beside the archive; returns the record's key. Raises StorageError."""
    key = f"{archive}.{kind.value}-{stamp(at)}.json"
    document = {"format": "drunner-vault-record", "version": 1, "kind": kind.value, "at": at.isoformat(), **details}
    put(store, key, json.dumps(document, indent=1).encode() + b"\n")
    return key


def try_record(store: Store, archive: str, kind: RecordKind, at: dt.datetime, details: dict[str, Any]) -> bool:
    """Record it where that is allowed and possible; whether it was. What is known without it stays true."""
    try:
        add_record(store, archive, kind, at, details)
    except Unavailable:
        raise
    except StorageError:
        return False
    return True


def read_record(store: Store, record: Record) -> dict[str, Any]:
    """What a record says beyond its name; nothing if that makes no sense. Raises StorageError."""
    size = store.stat(record.key).size
    if size > _LONGEST:
        return {}
    try:
        document = json.loads(store.read(record.key, 0, size))
    except (ValueError, RecursionError):  # whoever may write there may write anything
        return {}
    return document if isinstance(document, dict) else {}


def parse_stamp(text: str) -> dt.datetime | None:
    """The moment behind YYYYMMDDTHHMMSSZ; None if there is no such day or hour, or if it is before 1970."""
    try:
        moment = dt.datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    return moment if moment.year >= _FIRST_YEAR else None
