"""A backup that goes into a store: the archive, and when that is proven, its sidecar.

workload → archive → upload ─ commit ─→ sidecar ─ commit
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace

from drunner_vault.archive import Sidecar, archive_name
from drunner_vault.archive.sidecar import SUFFIX
from drunner_vault.catalog.catalog import creation_times
from drunner_vault.clock import Clock, isoformat
from drunner_vault.errors import AccessDenied, AlreadyExists, BadUsage, StorageError, Unavailable
from drunner_vault.policy import Retention, lock_until
from drunner_vault.stores.store import Store, Upload, finishing, put
from drunner_vault.workflows.backup import BackupChoices, BackupReport, backup
from drunner_vault.workflows.progress import Progress
from drunner_vault.workflows.workload import Workload

_TRIES = 3  # for a name that nobody has taken; names change every second
_WAIT = 1.0


@dataclass(frozen=True)
class StoreChoices:
    """A store to back up to. retention, timezone: by which its locks are computed. notice: told, a line each, what a
    person should know. sleep: waits for so many seconds. is_copying: whether archives of a service of ours are being
    copied, perhaps to the same place."""

    store: Store
    retention: Retention
    timezone: dt.tzinfo
    notice: Callable[[str], None]
    sleep: Callable[[float], None]
    is_copying: Callable[[str], bool] = lambda _service: False


def into_store(
    workload: Workload, name: str, to: StoreChoices, choices: BackupChoices, clock: Clock, progress: Progress
) -> BackupReport:
    """Back up a workload called `name` to `HOST/NAME/` in a store. Whoever calls holds its lock.

    Whatever can be refused is refused before the workload is paused. If anything fails before the archive is committed,
    it does not appear; if its sidecar cannot be written then, it is whole and counts, and the error says so.
    """
    place = f"{choices.host}/{name}"
    _clear(to, place)
    begun = _begin(to, place, _history(to, place), clock, encrypted=bool(choices.recipients))
    with finishing(begun.upload) as sink:
        result = backup(workload, sink, replace(choices, sidecar=True), clock, progress, begun.created)
    assert result.sidecar is not None  # noqa: S101 (it was asked for)
    _commit(to.store, begun, result.sidecar)
    report = result.report
    report.archive = f"{to.store.name.rstrip('/')}/{begun.key}"
    report.locked_until = isoformat(begun.lock) if begun.lock else ""
    return report


@dataclass(frozen=True)
class _Begun:
    """An upload under its key, which no other archive has."""

    key: str
    created: dt.datetime
    lock: dt.datetime | None
    upload: Upload


def _begin(to: StoreChoices, place: str, history: list[dt.datetime], clock: Clock, *, encrypted: bool) -> _Begun:
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


def _commit(store: Store, begun: _Begun, sidecar: Sidecar) -> None:
    name = begun.key.rpartition("/")[2]
    try:
        put(store, begun.key + SUFFIX, replace(sidecar, archive=name).encode(), begun.lock)
    except StorageError as error:
        raise type(error)(
            f"{begun.key} is whole and in {store.name}, but its sidecar could not be written: {error.message}",
            error.hint,
        ) from error


def _clear(to: StoreChoices, place: str) -> None:
    """Remove what earlier backups of this service by this host left when they were killed. We hold the service's lock,
    so none of them is still at work; but what is being copied looks the same."""
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


def _history(to: StoreChoices, place: str) -> list[dt.datetime]:
    """When the service's other archives were made, where that matters and may be known."""
    if not to.store.can_lock:
        return []
    if not to.retention.is_set:
        raise BadUsage(
            f"archives in {to.store.name} are to be locked, but nothing says for how long",
            "say what is kept: --keep-daily 7 …, or a table [stores.NAME.retention] in the settings",
        )
    try:
        return creation_times(to.store, place)
    except AccessDenied:
        to.notice(f"not allowed to list {to.store.name}: the lock is computed as if backups were made daily")
        return []
