"""Adopting archives: signing what this host knows about archives that have no signed sidecar.

    catalog → what history or the log lists → window, bytes → head and place, signed

Versions before 1.1 did not sign sidecars. A host that upgrades holds no key that opens its archives, so it goes by its
own history: name, size, the time at which the archive appeared in the store, and bytes that match the sidecar. With an
identity the signature inside the archive is checked instead.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from drunner_vault.age import Identity
from drunner_vault.archive import ArchiveReader, Head, Rest, Sidecar
from drunner_vault.archive.sidecar import (
    HISTORY,
    ROOT,
    WRITTEN,
    HashingSink,
    assemble,
    encode_rest,
    place_of,
    state_head,
    state_place,
)
from drunner_vault.catalog.archive import Archive
from drunner_vault.catalog.catalog import Catalog
from drunner_vault.catalog.grouping import directory_of
from drunner_vault.catalog.identity import StoreRoot
from drunner_vault.catalog.records import RECORD_LIMIT, RecordKind, add_record, parse_record_name
from drunner_vault.clock import Clock, isoformat
from drunner_vault.errors import ArchiveError, DamagedArchive, KeyProblem, NotFound, StorageError, Unavailable
from drunner_vault.hoststate.archive_log import ArchiveLog, LoggedArchive
from drunner_vault.stores.sources import ArchiveSource
from drunner_vault.workflows.archives.finding import stored
from drunner_vault.workflows.archives.measuring import HEAD, Nowhere, age_facts, measure
from drunner_vault.workflows.archives.recording import Located, record_of, sidecar_of
from drunner_vault.workflows.into_store import logged, put_sidecar
from drunner_vault.workflows.keys import opened
from drunner_vault.workflows.progress import Progress, counted_read
from drunner_vault.workflows.trust import Trust
from drunner_vault.workflows.unattended.history import Run

_PIECE = 1 << 20
_TOLERANCE = dt.timedelta(minutes=10)  # between the store's clock and this host's, on both sides of a run
_BASES = (WRITTEN, ROOT, HISTORY)
_CARRIED = (RecordKind.DAMAGED, RecordKind.SUSPECT)


@dataclass(frozen=True)
class Adopted:
    """An archive that this host has signed now. basis: see Head; `recorded` if only the log lacked it."""

    archive: str
    basis: str
    bytes: int


@dataclass
class AdoptReport:
    """What was adopted. refused: what was not, a sentence each."""

    store: str
    adopted: list[Adopted] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class HostMemory:
    """What this host knows about its archives. runs: of its history. log: of the archives it has made. is_store: tells
    whether a run's name of a store means the one that is looked at."""

    runs: Sequence[Run]
    log: Sequence[LoggedArchive]
    is_store: Callable[[str], bool] = lambda _name: True

    @cached_property
    def _logged(self) -> Mapping[tuple[str, str, str, int], list[LoggedArchive]]:
        found: dict[tuple[str, str, str, int], list[LoggedArchive]] = {}
        for entry in self.log:
            found.setdefault((entry.host, entry.workload, entry.archive, entry.size), []).append(entry)
        return found

    @cached_property
    def _made(self) -> Mapping[tuple[str, ...], list[Run]]:
        """The runs that made an archive, by its host, workload and name."""
        found: dict[tuple[str, ...], list[Run]] = {}
        for run in self.runs:
            parts = run.archive.split("/")
            if run.task == "backup" and len(parts) > 3:
                found.setdefault(tuple(parts[-3:]), []).append(run)
        return found

    def logged(self, item: Archive) -> LoggedArchive | None:
        """Return the log's line for an archive, by name and size."""
        return next(reversed(self._entries(item)), None)

    def run_of(self, item: Archive) -> Run | None:
        """Return the run that made an archive, by name and size."""
        found = self._made.get((item.host, item.service, item.name), ())
        return next((run for run in found if run.bytes == item.size), None)

    def lists(self, item: Archive) -> bool:
        """Return True if history or log list an archive with this name and size in this directory."""
        return self.logged(item) is not None or self.run_of(item) is not None

    def knows(self, item: Archive) -> bool:
        """Return True if history or log list this archive, with the digest in its signed head where that is known."""
        entries = self._entries(item)
        if entries:
            return not item.sha256 or any(entry.sha256 == item.sha256 for entry in entries)
        return self.run_of(item) is not None

    def _entries(self, item: Archive) -> Sequence[LoggedArchive]:
        return self._logged.get((item.host, item.service, item.name, item.size), ())

    def appeared_in_time(self, item: Archive, run: Run) -> bool:
        """Return True if the archive appeared in the store while the run lasted, or a copy into this store."""
        copies = (
            copy
            for copy in self.runs
            if copy.task == "copy" and copy.service == item.service and copy.begun >= run.begun
            if self.is_store(copy.store)
        )
        return any(_lasted(each, item.modified) for each in (run, *copies))

    def before(self, item: Archive) -> str:
        """Return when the archive before this one was made, as the history knows it; empty if it knows of none."""
        ours = f"/{item.host}/{item.service}/"
        runs = (run.begun for run in self.runs if run.task == "backup" and ours in run.archive)
        log = (
            dt.datetime.fromisoformat(entry.created)
            for entry in self.log
            if (entry.host, entry.workload) == (item.host, item.service) and entry.created
        )
        earlier = [moment for moment in (*runs, *log) if moment < item.created]
        return isoformat(max(earlier)) if earlier else ""


@dataclass(frozen=True)
class Opening:
    """What opens archives, for adopting them by the signature inside. offered, ask: see restore_service."""

    offered: Callable[[], list[Identity]]
    ask: Callable[[str], str] | None


@dataclass(frozen=True)
class _Adopting:
    root: StoreRoot
    memory: HostMemory
    trust: Trust
    log: ArchiveLog
    clock: Clock
    progress: Progress
    opening: Opening | None


def adopt(
    catalog: Catalog,
    memory: HostMemory,
    trust: Trust,
    log: ArchiveLog,
    clock: Clock,
    progress: Progress,
    opening: Opening | None = None,
) -> AdoptReport:
    """Sign what this host knows about the archives of a catalog that nobody accepted has signed.

    opening: None to go by this host's history. One archive that cannot be adopted does not stop the others. Raises
    Unavailable and errors of listing.
    """
    work = _Adopting(catalog.root, memory, trust, log, clock, progress, opening)
    report = AdoptReport(catalog.root.name)
    for item in reversed(catalog.archives):
        if item.missing or item.is_stated:
            _record_own(work, item, report)
            continue
        try:
            adopted = _adopt_one(work, item)
        except (ArchiveError, KeyProblem, NotFound) as error:
            report.refused.append(f"{item.key}: {error.message}")
            continue
        if isinstance(adopted, Adopted):
            report.adopted.append(adopted)
        elif adopted:
            report.refused.append(f"{item.key}: {adopted}")
    return report


def _record_own(work: _Adopting, item: Archive, report: AdoptReport) -> None:
    """Add an archive with this host's own key to the log, if a lost history made it unknown."""
    own = work.trust.signing_key().public().fingerprint
    if item.is_proven and item.host == work.trust.host and item.signer == own and not work.memory.knows(item):
        head = _head_of(item, item.created, work.memory.before(item))
        head = replace(head, size=item.size, sha256=item.sha256, id=item.id)
        work.log.add(logged(head, work.root, item.etag, complete=True))
        report.adopted.append(Adopted(item.key, "recorded", item.size))


def _adopt_one(work: _Adopting, item: Archive) -> Adopted | str:
    """Adopt one archive; returns why not, or an empty text for what is none of this host's business."""
    if directory_of(item.key) is None:
        return "" if work.opening is None else f"it is misplaced: {item.why}"
    source = stored(work.root.store, item.key, work.root.address)
    if work.opening is not None:
        head, rest = _by_signature(work, item, source, work.opening)
    else:
        known = work.memory.logged(item)
        run = work.memory.run_of(item)
        if known is None and run is None:
            return ""
        head, rest = _by_log(work, item, source, known) if known else _by_history(work, item, source, run)
    _sign(work, item, head, rest)
    return Adopted(item.key, head.basis, item.size)


def _by_log(work: _Adopting, item: Archive, source: ArchiveSource, known: LoggedArchive) -> tuple[Head, Rest]:
    """What this host has logged about the archive, with its digest. Raises DamagedArchive."""
    head, rest = _measured(work, item, source)
    if head.sha256 != known.sha256:
        raise DamagedArchive("its bytes are not those that this host has logged", "use another copy")
    return replace(head, id=known.id, basis=known.basis if known.basis in _BASES else HISTORY), rest


def _by_history(work: _Adopting, item: Archive, source: ArchiveSource, run: Run | None) -> tuple[Head, Rest]:
    """What the history knows, by name, size and time. Raises DamagedArchive, NotFound."""
    assert run is not None  # noqa: S101 (the caller has looked)
    if not work.memory.appeared_in_time(item, run):
        raise DamagedArchive(
            f"it appeared in the store at {isoformat(item.modified)}, and was made at {run.started}",
            "adopt it with a key: archives --adopt -i FILE",
        )
    sidecar: Sidecar = sidecar_of(source, Located(work.root, item.key, item))
    head, rest = _measured(work, item, source)
    if (head.size, head.sha256) != (sidecar.head.size, sidecar.head.sha256):
        raise DamagedArchive("its bytes are not what its sidecar says", "use another copy")
    stated = sidecar.head
    sealed = tuple(text for text in stated.sealed_to if text.startswith("age1"))
    return replace(head, id=stated.id, sealed_to=sealed, problems=stated.problems, basis=HISTORY), rest


def _by_signature(work: _Adopting, item: Archive, source: ArchiveSource, opening: Opening) -> tuple[Head, Rest]:
    """What the archive itself says, if an accepted key has signed it. Raises ArchiveError, KeyProblem."""
    hashing, start = HashingSink(Nowhere()), bytearray()
    with source.sequential() as archive:
        work.progress.begin(f"reading {item.name}", archive.size)
        fetch = counted_read(archive.read, work.progress)

        def read(count: int) -> bytes:
            data = fetch(count)
            start.extend(data[: HEAD - len(start)])
            hashing.write(data)
            return data

        stream = opened(read, archive.name, opening.offered, opening.ask)
        with ArchiveReader(stream.read) as reader:
            for _, content in reader.members():
                for _ in content:
                    pass
            manifest = reader.manifest
            sender = work.trust.sender(reader.root_bytes, reader.signature, manifest.host, item.modified)
            problems = reader.root.problem_count
        while read(_PIECE):
            pass
    if not sender.accepted:
        raise DamagedArchive(f"it is {sender.describe()}", "drunner-vault key trust LINE")
    if (manifest.host, manifest.service.name) != item.group or manifest.created != isoformat(item.created):
        raise DamagedArchive(
            f"it was made as {manifest.host}/{manifest.service.name} at {manifest.created}", "do not rely on it"
        )
    digests = hashing.digests()
    head = _head_of(item, item.created, work.memory.before(item))
    head = replace(
        head,
        size=digests.size,
        sha256=digests.sha256,
        id=manifest.id,
        kind=manifest.service.kind,
        recipients=tuple(stream.recipients),
        problems=problems,
        basis=ROOT,
    )
    header, _ = age_facts(bytes(start), digests.size)
    return head, Rest(age_header=header, chunks=digests.chunks)


def _measured(work: _Adopting, item: Archive, source: ArchiveSource) -> tuple[Head, Rest]:
    """Head and rest of an archive whose bytes are read now."""
    digests, start = measure(source, f"reading {item.name}", work.progress)
    header, kinds = age_facts(start, digests.size)
    head = _head_of(item, item.created, work.memory.before(item))
    head = replace(head, size=digests.size, sha256=digests.sha256, recipients=kinds)
    return head, Rest(age_header=header, chunks=digests.chunks)


def _head_of(item: Archive, created: dt.datetime, after: str) -> Head:
    """The head of an archive by its place, without what only its bytes tell."""
    return Head(
        archive=item.name,
        host=item.host,
        workload=item.service,
        created=isoformat(created),
        after=after,
        size=0,
        sha256="",
        sealed_to=item.sealed_to,
    )


def _sign(work: _Adopting, item: Archive, head: Head, rest: Rest) -> None:
    """Write the signed sidecar, and carry over what version 1 recorded against the archive."""
    store, sign, now = work.root.store, work.trust.signing_key().sign, work.clock.now()
    if store.stat(item.key).etag != item.etag:
        raise DamagedArchive("it was overwritten while it was read", "try again")
    place = place_of(head, work.root.identity, item.etag, isoformat(now))
    data = assemble(state_head(head, rest, sign), state_place(place, sign), encode_rest(rest))
    work.log.add(logged(head, work.root, item.etag, complete=True))
    put_sidecar(store, item.key, data, work.clock)
    signed = replace(item, sha256=head.sha256, stated_size=head.size)
    for kind, at in _version_1_records(work, item).items():
        record = record_of(work.root, signed, kind, now, {"carried_over": isoformat(at)})
        try:
            add_record(store, item.key, record, sign)
        except Unavailable:
            raise
        except StorageError as error:
            raise DamagedArchive(f"its {kind.value} record could not be carried over: {error.message}", "") from error


def _version_1_records(work: _Adopting, item: Archive) -> Mapping[RecordKind, dt.datetime]:
    """The newest `damaged` and `suspect` records of version 1."""
    found: dict[RecordKind, dt.datetime] = {}
    for entry in item.objects:
        name = parse_record_name(entry.key)
        if name is None or name.kind not in _CARRIED or found.get(name.kind, name.at) > name.at:
            continue
        try:
            document: Any = json.loads(work.root.store.read(entry.key, 0, RECORD_LIMIT))
        except (ValueError, RecursionError, NotFound):
            continue
        if isinstance(document, dict) and (document.get("version"), document.get("kind")) == (1, name.kind.value):
            found[name.kind] = name.at
    return found


def _lasted(run: Run, moment: dt.datetime) -> bool:
    return run.begun - _TOLERANCE <= moment <= run.begun + dt.timedelta(seconds=run.seconds) + _TOLERANCE
