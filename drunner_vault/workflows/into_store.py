"""A backup into a store: the archive, and its sidecar as the commit.

    workload → archive → upload ─ commit ─→ sidecar ─ commit

What the sidecar states is kept on this host before the archive appears. So an archive is never left without one for
longer than until the next command that opens the store.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from drunner_vault.archive import Head, Rest, archive_name
from drunner_vault.archive.sidecar import (
    SUFFIX,
    assemble,
    encode_rest,
    parse_sidecar_head,
    place_of,
    state_head,
    state_place,
)
from drunner_vault.archive.statements import Statement
from drunner_vault.catalog.grouping import signed_key
from drunner_vault.catalog.identity import StoreRoot
from drunner_vault.clock import Clock, isoformat
from drunner_vault.errors import (
    AccessDenied,
    AlreadyExists,
    ArchiveError,
    BadUsage,
    NotFound,
    StorageError,
    Unavailable,
)
from drunner_vault.hoststate.archive_log import ArchiveLog, LoggedArchive
from drunner_vault.hoststate.pending_sidecars import PendingSidecars
from drunner_vault.policy import Retention, lock_until
from drunner_vault.stores.store import Store, Upload, finishing, put
from drunner_vault.workflows.backup import BackupChoices, BackupReport, BackupResult, backup
from drunner_vault.workflows.progress import Progress
from drunner_vault.workflows.workload import Workload

_TRIES = 3  # for a name that nobody has taken; names change every second
_WAIT = 1.0  # seconds


@dataclass(frozen=True)
class StoreChoices:
    """A store to back up to.

    root: the store. identify: returns it with an identity, which it gets if it has none.
    retention, timezone: by which its locks are computed.
    notice: called with a line for the operator. sleep: waits for so many seconds.
    log, pending: what this host remembers about its archives.
    earlier: when archives of a workload were made before the log began, by host and workload.
    other_signers: fingerprints of further keys that have signed archives in a directory lately.
    is_copying: whether archives of a service are being copied, perhaps to the same place.
    """

    root: StoreRoot
    identify: Callable[[], StoreRoot]
    retention: Retention
    timezone: dt.tzinfo
    notice: Callable[[str], None]
    sleep: Callable[[float], None]
    log: ArchiveLog
    pending: PendingSidecars
    earlier: Callable[[str, str], Sequence[dt.datetime]] = lambda _host, _workload: ()
    other_signers: Callable[[str], Sequence[str]] = lambda _directory: ()
    is_copying: Callable[[str], bool] = lambda _service: False

    @property
    def store(self) -> Store:
        """Return the store itself."""
        return self.root.store


def into_store(
    workload: Workload, name: str, to: StoreChoices, choices: BackupChoices, clock: Clock, progress: Progress
) -> BackupReport:
    """Back up a workload called `name` to `HOST/NAME/` in a store. The caller holds its lock.

    Whatever can be refused is refused before the workload is paused. If anything fails before the archive is committed,
    it does not appear. If its sidecar cannot be written then, the archive is complete, and the error says so.
    """
    place = f"{choices.host}/{name}"
    _clear(to, place)
    _require_rules(to)
    known = sorted({*to.log.created(choices.host, name), *to.earlier(choices.host, name)})
    begun = _begin(to, place, _paces(to, choices.host, name), clock, encrypted=bool(choices.recipients))
    with contextlib.ExitStack() as stack:
        with finishing(begun.upload) as sink:
            result = backup(workload, sink, replace(choices, sidecar=True), clock, progress, begun.created)
            root = to.identify()
            written = _state(result, begun, choices, known[-1] if known else None)
            kept = stack.enter_context(to.pending.keep(root.token, begun.key))
            kept.write(written.sidecar("", "", choices, clock))  # nobody has seen it in the store yet
            to.log.add(logged(written.head, root, "", complete=False))
        etag = begun.upload.etag
        data = written.sidecar(root.identity, etag, choices, clock)
        kept.write(data)
        to.log.add(logged(written.head, root, etag, complete=True))
        _commit(to, begun, data, clock)
        kept.written()
    for fingerprint in to.other_signers(place):
        to.notice(
            f"{place} in {to.store.name} also has archives signed by {fingerprint}: another machine with this host's "
            "name, or a stranger; see: drunner-vault archives"
        )
    report = result.report
    report.archive = f"{to.store.name.rstrip('/')}/{begun.key}"
    report.etag = etag
    report.locked_until = isoformat(begun.lock) if begun.lock else ""
    return report


@dataclass(frozen=True)
class _Begun:
    """An upload under its key, which no other archive has."""

    key: str
    created: dt.datetime
    lock: dt.datetime | None
    upload: Upload


@dataclass(frozen=True)
class _Written:
    """What is stated of an archive that is written."""

    head: Head
    statement: Statement
    rest: Rest = field(repr=False)

    def sidecar(self, store: str, etag: str, choices: BackupChoices, clock: Clock) -> bytes:
        """The sidecar, with the place in which the archive is."""
        place = place_of(self.head, store, etag, isoformat(clock.now()))
        return assemble(self.statement, state_place(place, choices.sign), encode_rest(self.rest))


def logged(head: Head, root: StoreRoot, etag: str, *, complete: bool) -> LoggedArchive:
    """Return the line of this host's log for an archive in a store."""
    return LoggedArchive(
        archive=head.archive,
        host=head.host,
        workload=head.workload,
        id=head.id,
        created=head.created,
        size=head.size,
        sha256=head.sha256,
        store=root.identity,
        address=root.name,
        etag=etag,
        complete=complete,
        basis=head.basis,
    )


def _begin(to: StoreChoices, place: str, history: Sequence[dt.datetime], clock: Clock, *, encrypted: bool) -> _Begun:
    service = place.rpartition("/")[2]
    for attempt in range(_TRIES):
        created = clock.now()
        key = f"{place}/{archive_name(service, created, encrypted=encrypted)}"
        lock = lock_until(created, history, to.retention, to.timezone) if to.store.can_lock else None
        try:
            return _Begun(key, created, lock, to.store.begin(key, lock))
        except AlreadyExists:
            if attempt == _TRIES - 1:
                raise
            to.sleep(_WAIT)
    raise AssertionError


def _state(result: BackupResult, begun: _Begun, choices: BackupChoices, after: dt.datetime | None) -> _Written:
    assert result.head is not None and result.rest is not None  # noqa: S101, PT018 (they were asked for)
    name = begun.key.rpartition("/")[2]
    head = replace(result.head, archive=name, after=isoformat(after) if after else "")
    return _Written(head, state_head(head, result.rest, choices.sign), result.rest)


def _commit(to: StoreChoices, begun: _Begun, data: bytes, clock: Clock) -> None:
    """Write the sidecar. If that fails it stays on this host, for the next command that opens the store."""
    try:
        taken = put_sidecar(to.store, begun.key, data, clock, begun.lock)
    except StorageError as error:
        raise type(error)(
            f"{begun.key} is complete and in {to.store.name}, but its sidecar could not be written: {error.message}",
            error.hint or "it is kept on this host, and written by the next command that opens this store",
        ) from error
    if taken:
        to.notice(f"{begun.key}{SUFFIX} exists already and is not by this host; the sidecar is {taken}")


def put_sidecar(store: Store, archive: str, data: bytes, clock: Clock, lock: dt.datetime | None = None) -> str:
    """Write a sidecar beside the archive with the key `archive`; where its name is taken, under another one.

    Returns that other key; empty if the name was free. Raises StorageError.
    """
    try:
        put(store, archive + SUFFIX, data, lock)
    except AlreadyExists:
        other = signed_key(archive, clock.now())
        put(store, other, data, lock)
        return other
    return ""


def write_pending(
    root: StoreRoot, pending: PendingSidecars, log: ArchiveLog, clock: Clock, notice: Callable[[str], None]
) -> None:
    """Write the sidecars into a store that earlier commands could not write. What fails again stays pending."""
    for item, kept in pending.take(root.token):
        try:
            start = parse_sidecar_head(item.data)
            there, lock = _is_there(root.store, item.key, start.head.size)
            if there:
                put_sidecar(root.store, item.key, item.data, clock, lock)
                etag = start.place.etag if start.place else ""
                log.add(logged(start.head, root, etag, complete=True))
                notice(f"wrote the sidecar of {item.key}, which an earlier command could not write")
            kept.written()
        except (NotFound, ArchiveError):
            kept.written()  # the archive never appeared, or is gone
        except StorageError as error:
            notice(f"the sidecar of {item.key} cannot be written yet: {error.message}")


def _is_there(store: Store, key: str, size: int) -> tuple[bool, dt.datetime | None]:
    """Whether an archive appeared, and until when it is locked. A login that may only add cannot look, and writes the
    sidecar: one without its archive does no harm."""
    try:
        found = store.stat(key)
    except AccessDenied:
        return True, None
    return found.size == size, found.locked_until


def _clear(to: StoreChoices, place: str) -> None:
    """Remove what earlier backups of this service by this host left when they were killed. The caller holds the
    service's lock, so none of them is still running; but an archive that is being copied looks the same."""
    try:
        seen = list(to.store.leftovers(place))
        if seen and to.is_copying(place.rpartition("/")[2]):
            return
        for leftover in seen:
            to.store.discard(leftover)
            to.notice(f"removed what a backup that was killed had left of {leftover.key}")
    except Unavailable:
        raise
    except StorageError:
        return  # not allowed to look, or to delete: prune may be, elsewhere


def _require_rules(to: StoreChoices) -> None:
    if to.store.can_lock and not to.retention.is_set:
        raise BadUsage(
            f"archives in {to.store.name} are to be locked, but nothing says for how long",
            "set what is kept: --keep-daily 7 …, or a table [stores.NAME.retention] in the settings",
        )


def _paces(to: StoreChoices, host: str, workload: str) -> list[dt.datetime]:
    """When this host made the workload's other archives in this store. Names in the store do not count: whoever may add
    objects could shorten locks with them."""
    if not to.store.can_lock:
        return []
    return sorted({*to.log.created(host, workload, to.root.identity), *to.earlier(host, workload)})
