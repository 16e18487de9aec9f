"""A backup into a store: its name, its lock, its sidecar, and stores that allow little."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.catalogs import DAY, HOUR, IDENTITY, NOW, Hands, NoLocks, Watched, daily, key_of, keys
from support.workloads import SmallWorkload

from drunner_vault.archive import differences, parse_sidecar
from drunner_vault.catalog.catalog import archives
from drunner_vault.clock import Clock
from drunner_vault.errors import AccessDenied, AlreadyExists, BadUsage, StorageError, Unavailable
from drunner_vault.policy import Retention
from drunner_vault.stores.faulty import FaultyStore
from drunner_vault.stores.store import Leftover, Store, StoredObject, put
from drunner_vault.workflows.backup import BackupChoices, BackupReport
from drunner_vault.workflows.into_store import StoreChoices, into_store
from drunner_vault.workflows.progress import Silent

DAILY = Retention(keep_daily=7)


class WriteOnly(FaultyStore):
    """What a host may use that must not be able to destroy its own backups."""

    def _no(self, *_: object) -> AccessDenied:
        return AccessDenied("you may only write", "")

    def read(self, key: str, offset: int, length: int) -> bytes:
        raise self._no()

    def stat(self, key: str) -> StoredObject:
        raise self._no()

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        raise self._no()

    def delete(self, key: str) -> None:
        raise self._no()

    def lock(self, key: str, until: dt.datetime) -> None:
        raise self._no()

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        raise self._no()

    def discard(self, leftover: Leftover) -> None:
        raise self._no()


@dataclass
class Host:
    """A host that backs up a small service."""

    workload: SmallWorkload
    clock: Clock = field(default_factory=lambda: Clock(now=lambda: NOW))
    notices: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    copying: Callable[[str], bool] = lambda _service: False

    def back_up(self, store: Store, retention: Retention = DAILY, *, encrypted: bool = True) -> BackupReport:
        to = StoreChoices(store, retention, dt.UTC, self.notices.append, self.waits.append, self.copying)
        recipients = [IDENTITY.recipient()] if encrypted else []
        choices = BackupChoices(recipients, threads=1, host="there", signer="SHA256:" + "x" * 43)
        return into_store(self.workload, "notes", to, choices, self.clock, Silent())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(SmallWorkload(tmp_path))


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_backup_is_an_archive_with_a_sidecar_that_tells_all_of_it(encrypted: bool, host: Host) -> None:
    store = NoLocks()
    report = host.back_up(store, encrypted=encrypted)
    (item,) = archives(store)
    key = key_of(NOW, encrypted=encrypted)
    assert (item.key, item.complete, item.has_sidecar, item.created) == (key, True, True, NOW)
    assert (report.archive, report.bytes, report.locked_until) == (f"memory/{key}", item.size, "")
    sidecar = parse_sidecar(store.read(key + ".json", 0, 1 << 20))
    assert list(differences(sidecar, [store.read(key, 0, item.size)])) == []
    assert (sidecar.archive, sidecar.host, sidecar.service) == (item.name, "there", "notes")
    assert sidecar.created == "2026-03-01T12:00:00Z"
    assert sidecar.recipients == (["X25519"] if encrypted else [])
    assert sidecar.sealed_to == ([str(IDENTITY.recipient())[:16]] if encrypted else [])
    assert sidecar.signer == "SHA256:" + "x" * 43
    assert host.workload.pauses == 1
    assert host.notices == []


def test_a_lock_is_computed_for_each_archive_and_put_on_both_objects(host: Host) -> None:
    store = Watched()
    report = host.back_up(store)
    until = dt.datetime(2026, 3, 8, tzinfo=dt.UTC)
    for suffix in ("", ".json"):
        assert store.stat(key_of(NOW) + suffix).locked_until == until
    assert report.locked_until == "2026-03-08T00:00:00Z"


def test_a_lock_goes_by_the_pace_of_those_before(host: Host) -> None:
    hourly, daily_store = Watched(), Watched()
    for number in range(1, 5):
        put(hourly, key_of(NOW - number * HOUR), b"x")
    for moment in daily(range(1, 5)):
        put(daily_store, key_of(moment), b"x")
    assert host.back_up(hourly).locked_until == ""
    assert host.back_up(daily_store).locked_until == "2026-03-08T00:00:00Z"
    others = Watched()
    for number in range(1, 5):
        put(others, key_of(NOW - number * HOUR, "wiki"), b"x")
    assert host.back_up(others).locked_until == "2026-03-08T00:00:00Z"


def test_a_store_that_locks_needs_rules_before_anything_is_paused(host: Host) -> None:
    store = Watched()
    with pytest.raises(BadUsage, match="nothing says for how long"):
        host.back_up(store, Retention())
    assert host.workload.pauses == 0
    assert keys(store) == set()
    assert list(store.leftovers()) == []
    host.back_up(NoLocks(), Retention())


@pytest.mark.parametrize("kind", [Watched, NoLocks])
def test_a_store_that_may_only_be_written_takes_a_backup(kind: type[Watched], host: Host) -> None:
    store = kind()
    report = host.back_up(WriteOnly(store))
    (item,) = archives(store)
    assert (item.complete, item.has_sidecar) == (True, True)
    if store.can_lock:
        assert report.locked_until == "2026-03-08T00:00:00Z"
        assert len(host.notices) == 1
        assert "not allowed to list" in host.notices[0]
    else:
        assert host.notices == []


def test_a_name_that_is_taken_is_left_and_the_next_second_used(host: Host) -> None:
    store, seconds = NoLocks(), itertools.count()
    put(store, key_of(NOW), b"theirs")
    host.clock = Clock(now=lambda: NOW + dt.timedelta(seconds=next(seconds)))
    host.back_up(store)
    assert host.waits == [1.0]
    assert store.read(key_of(NOW), 0, 9) == b"theirs"
    assert archives(store)[0].created == NOW + dt.timedelta(seconds=1)
    assert host.workload.pauses == 1


def test_a_clock_that_stands_still_is_not_waited_for_for_ever(host: Host) -> None:
    store = NoLocks()
    put(store, key_of(NOW), b"theirs")
    with pytest.raises(AlreadyExists):
        host.back_up(store)
    assert len(host.waits) == 2
    assert host.workload.pauses == 0


def test_what_a_killed_backup_left_is_removed_and_that_is_said(host: Host) -> None:
    hands = Hands()
    store = NoLocks(hands.clock)
    for key in (key_of(NOW - HOUR), key_of(NOW - HOUR, "wiki"), key_of(NOW - HOUR, host="other")):
        store.begin(key).write(b"x")
    host.back_up(store)
    assert {item.key for item in store.leftovers()} == {key_of(NOW - HOUR, "wiki"), key_of(NOW - HOUR, host="other")}
    (notice,) = host.notices
    assert key_of(NOW - HOUR) in notice


def test_what_is_being_copied_is_not_taken_for_what_a_killed_backup_left(host: Host) -> None:
    store = NoLocks()
    copy = store.begin(key_of(NOW - DAY))
    host.copying = lambda service: service == "notes"
    host.back_up(store)
    assert [item.key for item in store.leftovers()] == [key_of(NOW - DAY)]
    assert host.notices == []
    copy.commit()
    assert len(keys(store)) == 3


@pytest.mark.parametrize("error", [AccessDenied, Unavailable])
def test_an_archive_whose_sidecar_cannot_be_written_is_whole_and_that_is_said(
    error: type[StorageError], host: Host
) -> None:
    class NoSidecars(NoLocks):
        def begin(self, key: str, lock: dt.datetime | None = None):  # type: ignore[no-untyped-def]
            if key.endswith(".json"):
                raise error("no", "hint")
            return super().begin(key, lock)

    store = NoSidecars()
    with pytest.raises(error, match="is whole and in memory, but its sidecar could not be written") as told:
        host.back_up(store)
    assert told.value.hint == "hint"
    (item,) = archives(store)
    assert (item.complete, item.has_sidecar) == (True, False)
