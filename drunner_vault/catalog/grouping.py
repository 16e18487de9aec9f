"""Grouping the objects of a store: which belong to one archive, and which names are not understood.

HOST/WORKLOAD/NAME                        the archive
HOST/WORKLOAD/NAME.json                   its sidecar
HOST/WORKLOAD/NAME.signed-TIME.json       a further sidecar, where that name was taken
HOST/WORKLOAD/NAME.KIND-TIME.json         a record
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from drunner_vault.archive import archive_service, archive_stamp
from drunner_vault.archive.sidecar import SUFFIX
from drunner_vault.catalog.records import RecordName, parse_record_name, parse_stamp
from drunner_vault.clock import stamp
from drunner_vault.stores.store import StoredObject, is_key

MOST_OBJECTS = 100_000  # in one directory; nothing is deleted where there are more
_SIGNED = re.compile(r"(?P<archive>.+\.tar\.zst(\.age)?)\.signed-(?P<stamp>[0-9]{8}T[0-9]{6}Z)\.json")
_ARCHIVE_LIKE = re.compile(r".+-[0-9]{8}T[0-9]{6}Z\..+")
_UNKNOWN_SHOWN = 3  # names of each directory that are kept for messages

Item = TypeVar("Item")
Directory = tuple[str, str]  # host and workload


@dataclass(slots=True)
class ArchiveObjects:
    """The objects that belong to the archive with the key `key`.

    modified: when the newest of them appeared. archive, sidecar: None if there is no such object. signed: further
    sidecars with the times in their names, the newest first once grouped. records: with their objects.
    """

    key: str
    modified: dt.datetime
    archive: StoredObject | None = None
    sidecar: StoredObject | None = None
    signed: Sequence[tuple[dt.datetime, StoredObject]] = ()
    records: Sequence[tuple[RecordName, StoredObject]] = ()

    @property
    def name(self) -> str:
        """Return the file name of the archive."""
        return self.key.rpartition("/")[2]

    @property
    def directory(self) -> Directory | None:
        """Return host and workload by the key; None if it is not at HOST/WORKLOAD/NAME."""
        return directory_of(self.key)

    @property
    def created(self) -> dt.datetime:
        """Return the time in the archive's name."""
        moment = parse_stamp(archive_stamp(self.name) or "")
        assert moment is not None  # noqa: S101 (as grouped)
        return moment

    def all(self) -> list[StoredObject]:
        """Return all objects, in the order in which they are deleted: the archive, its records, its sidecars."""
        found = [self.archive] if self.archive else []
        found += [item for _, item in self.records]
        found += [item for _, item in self.signed]
        return found + ([self.sidecar] if self.sidecar else [])


@dataclass(slots=True)
class DirectoryObjects:
    """What a directory HOST/WORKLOAD holds. objects: their number. unknown: names that look like those of archives, or
    of something that belongs to one, and are of no kind that this program knows; the first few of them."""

    objects: int = 0
    unknown: list[str] = field(default_factory=list)


@dataclass
class StoreObjects:
    """The objects of a store, grouped. archives: by key."""

    archives: dict[str, ArchiveObjects] = field(default_factory=dict)
    directories: dict[Directory, DirectoryObjects] = field(default_factory=dict)


def directory_of(key: str) -> Directory | None:
    """Return host and workload of a key HOST/WORKLOAD/NAME; None for other depths."""
    parts = key.split("/")
    return (parts[0], parts[1]) if len(parts) == 3 else None


def signed_key(archive: str, at: dt.datetime) -> str:
    """Return the key of a further sidecar beside the archive with the key `archive`."""
    return f"{archive}.signed-{stamp(at)}{SUFFIX}"


def group_objects(objects: Iterable[StoredObject]) -> StoreObjects:
    """Group the objects of a listing. Objects whose names have nothing to do with archives are left out."""
    found = StoreObjects()
    for item in objects:
        if not is_key(item.key):
            continue
        place = directory_of(item.key)
        directory = found.directories.setdefault(place, DirectoryObjects()) if place else None
        if directory:
            directory.objects += 1
        known = _add(found.archives, item)
        name = item.key.rpartition("/")[2]
        if directory and not known and _ARCHIVE_LIKE.fullmatch(name) and len(directory.unknown) < _UNKNOWN_SHOWN:
            directory.unknown.append(name)
    for group in found.archives.values():
        if len(group.signed) > 1:
            group.signed = sorted(group.signed, key=lambda pair: (pair[0], pair[1].key), reverse=True)
    return found


def _add(groups: dict[str, ArchiveObjects], item: StoredObject) -> bool:
    """Add an object to its archive's group; returns True if its name is understood."""

    def group(key: str) -> ArchiveObjects:
        found = groups.get(key)
        if found is None:
            found = groups[key] = ArchiveObjects(key, item.modified)
        found.modified = max(found.modified, item.modified)
        return found

    key = item.key
    if is_archive(key):
        group(key).archive = item
        return True
    if not key.endswith(SUFFIX):
        return False
    owner = key.removesuffix(SUFFIX)
    if is_archive(owner):
        group(owner).sidecar = item
        return True
    signed = _SIGNED.fullmatch(key)
    moment = parse_stamp(signed["stamp"]) if signed else None
    if signed and moment and is_archive(signed["archive"]):
        owning = group(signed["archive"])
        owning.signed = _appended(owning.signed, (moment, item))
        return True
    record = parse_record_name(key)
    if record is not None and is_archive(record.archive):
        owning = group(record.archive)
        owning.records = _appended(owning.records, (record, item))
        return True
    return False


def _appended(found: Sequence[Item], item: Item) -> list[Item]:
    """A list that is only made when there is something to put into it: most archives of a flood have nothing."""
    if isinstance(found, list):
        found.append(item)
        return found
    return [*found, item]


def is_archive(key: str) -> bool:
    """Return True if a key's last part is the name of an archive."""
    name = key.rpartition("/")[2]
    moment = archive_stamp(name)
    return moment is not None and parse_stamp(moment) is not None and bool(archive_service(name))
