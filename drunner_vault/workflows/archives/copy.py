"""Copying archives to another store, byte for byte and without any key: the further copies of 3-2-1."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial

from drunner_vault.age import MAGIC, read_outline
from drunner_vault.archive import HashingSink, Sidecar, Sink, archive_service, archive_stamp, parse_sidecar
from drunner_vault.archive.sidecar import SUFFIX
from drunner_vault.catalog.catalog import Archive, creation_times
from drunner_vault.catalog.judging import judge
from drunner_vault.catalog.records import parse_stamp
from drunner_vault.clock import isoformat
from drunner_vault.errors import AccessDenied, AlreadyExists, ArchiveError, BadUsage, DamagedArchive, NotFound
from drunner_vault.stores.sources import ArchiveSource, StoredSource
from drunner_vault.stores.store import Store, finishing, put
from drunner_vault.workflows.archives.finding import stored
from drunner_vault.workflows.progress import Progress, counted_read

_PIECE = 1 << 20
_HEAD = 72 << 10


@dataclass(frozen=True)
class Copied:
    """An archive that was copied. bytes: of it. new: whether it was not there before; it was if an earlier copy was
    broken off before its sidecar."""

    source: str
    archive: str
    bytes: int
    new: bool = True


@dataclass
class CopyReport:
    """What was copied, and what could not be, a sentence each."""

    copied: list[Copied] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


Lock = Callable[[dt.datetime, Sequence[dt.datetime]], dt.datetime | None]


def no_lock(_created: dt.datetime, _earlier: Sequence[dt.datetime]) -> None:
    """For stores whose archives are not locked."""


@dataclass(frozen=True)
class Target:
    """Where archives are copied to. host: under whose name those go whose own is not known. guard: entered while an
    archive of a host and service is on its way, so that nobody here takes it for a dead upload. lock: until when an
    archive is to be locked, told when it and the earlier ones of its service were made."""

    store: Store
    host: str
    guard: Callable[[str, str], AbstractContextManager[None]]
    lock: Lock = no_lock


def copy_archives(
    source: Store, chosen: Sequence[Archive], present: Sequence[Archive], target: Target, progress: Progress
) -> CopyReport:
    """Copy what is complete and not yet in the target, the oldest first; returns what was done.

    present: what the target holds. An archive that is not as it must be does not keep others from being copied. Raises
    StorageError for what is no single archive's fault; what was copied until then stays.
    """
    have = {item.key for item in present if item.complete and item.has_sidecar}
    made = _made([*chosen, *present], target.host)
    report = CopyReport()
    for item in reversed(chosen):
        place = _place(item, target.host)
        key = f"{place}/{item.name}"
        if item.complete and key not in have:
            have.add(key)
            until = target.lock(item.created, [moment for moment in made[place] if moment < item.created])
            try:
                report.copied += _once(stored(source, item.key), key, until, target, progress)
            except (ArchiveError, BadUsage, AlreadyExists, NotFound) as error:
                report.failed.append(error.message)
    return report


def copy_one(source: ArchiveSource, target: Target, progress: Progress) -> CopyReport:
    """Copy an archive that a person named; see `copy_archive`. One without a sidecar is only copied if its ends are as
    they must be, since it gets one. Raises BadUsage for a pipe."""
    if _sidecar(source) is None:
        with source.ranged() as ranged:
            _, fault = judge(ranged)
        if fault:
            raise DamagedArchive(f"{source.name} is not copied: {fault}", "try: drunner-vault salvage")
    key = key_of(source, target.host)
    return CopyReport(_once(source, key, _lock_of(key, target), target, progress))


def _place(item: Archive, host: str) -> str:
    return f"{item.host or host}/{item.service}"


def _made(items: Iterable[Archive], host: str) -> dict[str, list[dt.datetime]]:
    """When the complete archives of each service were made, by their directory in the target."""
    made: dict[str, set[dt.datetime]] = {}
    for item in items:
        made.setdefault(_place(item, host), set()).update([item.created] if item.complete else [])
    return {place: sorted(moments) for place, moments in made.items()}


def _lock_of(key: str, target: Target) -> dt.datetime | None:
    """Until when a single archive is to be locked, by those of its service that the target has."""
    place, _, name = key.rpartition("/")
    created = parse_stamp(archive_stamp(name) or "")
    if created is None or not target.store.can_lock:
        return None
    try:
        others = creation_times(target.store, place)
    except AccessDenied:
        others = []
    return target.lock(created, [moment for moment in others if moment < created])


def _once(
    source: ArchiveSource, key: str, until: dt.datetime | None, target: Target, progress: Progress
) -> list[Copied]:
    done = copy_archive(source, key, until, target, progress)
    return [done] if done else []


def key_of(source: ArchiveSource, host: str) -> str:
    """Where an archive goes that lies in no store of ours. Raises BadUsage if its name is not an archive's."""
    name = source.name.rpartition("/")[2]
    service = archive_service(name)
    if service is None or parse_stamp(archive_stamp(name) or "") is None:
        raise BadUsage(f"{name} is not named like an archive", "name it SERVICE-YYYYMMDDTHHMMSSZ.tar.zst.age")
    sidecar = _sidecar(source)
    if sidecar:
        return f"{sidecar[0].host or host}/{sidecar[0].service or service}/{name}"
    return f"{host}/{service}/{name}"


def copy_archive(
    source: ArchiveSource, key: str, until: dt.datetime | None, target: Target, progress: Progress
) -> Copied | None:
    """Copy one archive, and commit it with its sidecar: its own, or one made on the way. Both are locked until then.

    If it is there already, from a copy that was broken off, it only gets its sidecar; None if it has that too. Raises
    AlreadyExists if what is there is something else; DamagedArchive if the source is not what its sidecar says: nothing
    is copied then.
    """
    known = _sidecar(source)
    host, service, _ = key.split("/")[-3:]
    new = True
    with target.guard(host, service):
        try:
            with finishing(target.store.begin(key, until)) as upload:
                sidecar, encoded = _read(source, key, known, upload, progress)
        except AlreadyExists:
            new = False
            sidecar, encoded = known or _read(source, key, known, Nowhere(), progress)
            if _is_there(target.store, key, sidecar, progress):
                return None
        put(target.store, key + SUFFIX, encoded, until)
    return Copied(source.name, f"{target.store.name.rstrip('/')}/{key}", sidecar.size, new)


Known = tuple[Sidecar, bytes]  # a sidecar, and its bytes


def _read(source: ArchiveSource, key: str, known: Known | None, sink: Sink, progress: Progress) -> Known:
    """Read all of an archive, held against its sidecar if it has one, into a sink; returns the sidecar that it is to
    have there."""
    hashing, head = HashingSink(sink), b""
    with source.sequential() as opened:
        progress.begin(f"copying {key.rpartition('/')[2]}", opened.size)
        for piece in iter(partial(counted_read(opened.read, progress), _PIECE), b""):
            head += piece[: _HEAD - len(head)]
            hashing.write(piece)
    found = hashing.measured(_facts(key))
    if known:
        _require_same(source.name, known[0], found)
        return known
    made = _with_outline(found, head)
    return made, made.encode()


class Nowhere:
    """A sink for what is only read."""

    def write(self, data: bytes) -> None:
        """See Sink."""


def _is_there(store: Store, key: str, expected: Sidecar, progress: Progress) -> bool:
    """Whether the archive and a sidecar that says so are there; else the object is read, and is this archive. Raises
    AlreadyExists if it is not."""
    there = StoredSource(store, key, store.stat(key).size)
    beside = _sidecar(there)
    if beside and there.size == expected.size and beside[0].sha256 == expected.sha256:
        return True
    try:
        _read(there, key, (expected, b""), Nowhere(), progress)
    except DamagedArchive as cause:
        raise AlreadyExists(
            f"{key} exists already in {store.name}, and is something else", "compare them: verify both"
        ) from cause
    return False


def _sidecar(source: ArchiveSource) -> Known | None:
    """The sidecar beside an archive, read and as it is; None if there is none that can be read."""
    try:
        data = source.beside(SUFFIX)
        return parse_sidecar(data), data
    except (NotFound, DamagedArchive):
        return None


def _require_same(name: str, expected: Sidecar, found: Sidecar) -> None:
    if (found.size, found.sha256) != (expected.size, expected.sha256):
        raise DamagedArchive(f"{name} is not what its sidecar says", "see where: drunner-vault verify --no-key SOURCE")


def _facts(key: str) -> Sidecar:
    """What the name of an archive tells."""
    host, service, name = key.split("/")[-3:]
    created = parse_stamp(archive_stamp(name) or "")
    return Sidecar(name, 0, "", created=isoformat(created) if created else "", host=host, service=service)


def _with_outline(sidecar: Sidecar, head: bytes) -> Sidecar:
    """The same, with what the age header tells. Raises ArchiveError for what is no whole age file."""
    if not head.startswith(MAGIC):
        return sidecar
    outline = read_outline(head, sidecar.size)
    return replace(sidecar, age_header=outline.head, recipients=list(outline.header.recipient_types))
