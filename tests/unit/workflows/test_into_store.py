"""A backup into a store: its name, its lock, its signed sidecar, and stores that allow little."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.catalogs import (
    DAY,
    HOST_KEY,
    HOUR,
    IDENTITY,
    NOW,
    OWN,
    STORE_ID,
    Hands,
    NoLocks,
    Watched,
    archives,
    identify,
    key_of,
    keys,
    root_of,
    sealed,
)
from support.workloads import SmallWorkload

from drunner_vault.archive import differences, parse_sidecar
from drunner_vault.catalog.archive import Archive, Standing
from drunner_vault.catalog.identity import StoreRoot, make_identity, read_identity
from drunner_vault.clock import Clock, isoformat
from drunner_vault.errors import AccessDenied, AlreadyExists, BadUsage, StorageError, Unavailable
from drunner_vault.hoststate.archive_log import ArchiveLog, LoggedArchive
from drunner_vault.hoststate.pending_sidecars import PendingSidecars
from drunner_vault.policy import Retention
from drunner_vault.stores.faulty import FaultyStore
from drunner_vault.stores.store import Leftover, Store, StoredObject, put
from drunner_vault.workflows.backup import BackupChoices, BackupReport
from drunner_vault.workflows.into_store import StoreChoices, into_store, write_pending
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
    """A host that backs up a small service. vault: what it remembers. earlier: before it kept a log."""

    workload: SmallWorkload
    vault: Path
    clock: Clock = field(default_factory=lambda: Clock(now=lambda: NOW))
    notices: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    copying: Callable[[str], bool] = lambda _service: False
    earlier: Sequence[dt.datetime] = ()
    others: Sequence[str] = ()

    @property
    def log(self) -> ArchiveLog:
        return ArchiveLog(self.vault)

    def back_up(
        self,
        store: Store,
        retention: Retention = DAILY,
        *,
        encrypted: bool = True,
        root: StoreRoot | None = None,
        identify: Callable[[], StoreRoot] | None = None,
    ) -> BackupReport:
        chosen = root or root_of(store)
        to = StoreChoices(
            root=chosen,
            identify=identify or (lambda: chosen),
            retention=retention,
            timezone=dt.UTC,
            notice=self.notices.append,
            sleep=self.waits.append,
            log=self.log,
            pending=PendingSidecars(self.vault),
            earlier=lambda host, workload: self.earlier if (host, workload) == ("there", "notes") else (),
            other_signers=lambda directory: self.others if directory == "there/notes" else (),
            is_copying=self.copying,
        )
        recipients = [IDENTITY.recipient()] if encrypted else []
        choices = BackupChoices(recipients, threads=1, host="there", sign=HOST_KEY.sign)
        return into_store(self.workload, "notes", to, choices, self.clock, Silent())

    def open_again(self, store: Store) -> None:
        """What every later command does first that opens the store."""
        write_pending(root_of(store), PendingSidecars(self.vault), self.log, self.clock, self.notices.append)

    def remember(self, *moments: dt.datetime, service: str = "notes", store: str = STORE_ID) -> None:
        """Log archives that were made earlier."""
        for moment in moments:
            name = key_of(moment, service).rpartition("/")[2]
            item = LoggedArchive(
                archive=name,
                host="there",
                workload=service,
                id="",
                created=isoformat(moment),
                size=1,
                sha256="",
                store=store,
                address="memory",
                complete=True,
            )
            self.log.add(item)


def own(store: Store) -> list[Archive]:
    """The archives of a store as the host sees them that made them."""
    return archives(store, by=OWN)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(SmallWorkload(tmp_path), tmp_path / "vault")


def identified(kind: type[Watched]) -> Watched:
    store = kind()
    identify(store)
    return store


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_backup_is_a_proven_archive_with_a_sidecar_that_describes_all_of_it(encrypted: bool, host: Host) -> None:
    store = identified(NoLocks)
    report = host.back_up(store, encrypted=encrypted)
    (item,) = own(store)
    key = key_of(NOW, encrypted=encrypted)
    assert (item.key, item.complete, item.standing, item.created) == (key, True, Standing.PROVEN, NOW)
    assert (report.archive, report.bytes, report.locked_until) == (f"memory/{key}", item.size, "")
    assert (report.etag, report.sha256, report.archive_id) == (store.stat(key).etag, item.sha256, item.id)
    sidecar = parse_sidecar(store.read(key + ".json", 0, 1 << 20))
    head, place = sidecar.head, sidecar.start.place
    assert list(differences(sidecar, [store.read(key, 0, item.size)])) == []
    assert (head.archive, head.host, head.workload, head.kind) == (item.name, "there", "notes", "drunner")
    assert (head.created, head.after, head.basis, head.features) == ("2026-03-01T12:00:00Z", "", "written", ())
    assert head.recipients == (("X25519",) if encrypted else ())
    assert head.sealed_to == ((str(IDENTITY.recipient())[:16],) if encrypted else ())
    assert (head.full_size, head.needs, head.problems) == (item.size, (), 0)
    assert place is not None
    assert (place.store, place.etag, place.at) == (STORE_ID, store.stat(key).etag, "2026-03-01T12:00:00Z")
    for statement in (sidecar.start.statement, sidecar.start.placed):
        assert statement is not None
        assert statement.signer() == HOST_KEY.public()
    assert host.workload.pauses == 1
    assert host.notices == []
    assert not (host.vault / "sidecars").exists()


def test_a_backup_is_logged_before_it_appears_and_after(host: Host) -> None:
    store = identified(NoLocks)
    host.back_up(store)
    (item,) = own(store)
    before, after = host.log.all()
    assert (before.etag, before.complete, after.etag, after.complete) == ("", False, item.etag, True)
    assert replace(before, etag=item.etag, complete=True) == after
    assert (after.archive, after.host, after.workload, after.size) == (item.name, "there", "notes", item.size)
    assert (after.sha256, after.id, after.store, after.address) == (item.sha256, item.id, STORE_ID, "memory")


def test_a_backup_states_when_the_one_before_it_was_made(host: Host) -> None:
    store = identified(NoLocks)
    host.earlier = [NOW - 3 * DAY]
    host.back_up(store)
    assert own(store)[0].after == NOW - 3 * DAY
    host.remember(NOW - 2 * DAY, store="another store")
    host.remember(NOW - DAY, service="wiki")
    host.clock = Clock(now=lambda: NOW - 9 * DAY)  # it is behind now
    host.back_up(store)
    assert [item.after for item in own(store)] == [NOW - 3 * DAY, NOW]


def test_a_store_gets_its_identity_with_its_first_archive(host: Host) -> None:
    store = NoLocks()
    root = StoreRoot(store)

    def identity() -> StoreRoot:
        assert keys(store) == set(), "not earlier than it is needed"
        assert host.workload.pauses == 1
        return replace(root, identity=make_identity(store))

    host.back_up(store, root=root, identify=identity)
    (item,) = own(store)
    assert item.standing is Standing.PROVEN
    assert host.log.all()[-1].store == read_identity(store) != ""


def test_without_an_identity_a_backup_is_made_and_is_not_proven(host: Host) -> None:
    store = NoLocks()
    host.back_up(store, root=StoreRoot(store))
    assert [item.standing for item in own(store)] == [Standing.STATED]


def test_other_signers_in_its_directory_are_announced(host: Host) -> None:
    host.others = ["SHA256:abc"]
    host.back_up(identified(NoLocks))
    (notice,) = host.notices
    assert notice.startswith("there/notes in memory also has archives signed by SHA256:abc")


def test_a_lock_is_computed_for_each_archive_and_put_on_both_objects(host: Host) -> None:
    store = identified(Watched)
    report = host.back_up(store)
    until = dt.datetime(2026, 3, 8, tzinfo=dt.UTC)
    for suffix in ("", ".json"):
        assert store.stat(key_of(NOW) + suffix).locked_until == until
    assert report.locked_until == "2026-03-08T00:00:00Z"


@pytest.mark.parametrize(("hours", "locked"), [(1, ""), (24, "2026-03-08T00:00:00Z")])
@pytest.mark.parametrize("logged", [True, False])
def test_a_lock_goes_by_the_pace_of_the_backups_that_this_host_made_before(
    hours: int, locked: str, logged: bool, host: Host
) -> None:
    moments = [NOW - number * hours * HOUR for number in range(4, 0, -1)]
    if logged:
        host.remember(*moments)
    else:
        host.earlier = moments
    assert host.back_up(identified(Watched)).locked_until == locked


def test_a_lock_does_not_go_by_names_in_the_store_nor_by_other_services_and_stores(host: Host) -> None:
    store = identified(Watched)
    hourly = [NOW - number * HOUR for number in range(4, 0, -1)]
    for moment in hourly:
        put(store, key_of(moment), b"x")
    host.remember(*hourly, service="wiki")
    host.remember(*hourly, store="another store")
    assert host.back_up(store).locked_until == "2026-03-08T00:00:00Z"


def test_a_store_that_locks_needs_rules_before_anything_is_paused(host: Host) -> None:
    store = identified(Watched)
    with pytest.raises(BadUsage, match="nothing says for how long"):
        host.back_up(store, Retention())
    assert host.workload.pauses == 0
    assert keys(store) == set()
    assert list(store.leftovers()) == []
    host.back_up(NoLocks(), Retention())


@pytest.mark.parametrize("kind", [Watched, NoLocks])
def test_a_store_that_may_only_be_written_takes_a_backup(kind: type[Watched], host: Host) -> None:
    store = identified(kind)
    report = host.back_up(store, root=StoreRoot(WriteOnly(store), readable=False))
    (item,) = own(store)
    assert (item.complete, item.has_sidecar) == (True, True)
    assert (item.standing, item.why) == (Standing.STATED, "it was signed for another store")
    assert report.locked_until == ("2026-03-08T00:00:00Z" if store.can_lock else "")
    assert host.notices == []


def test_a_name_that_is_taken_is_left_and_the_next_second_used(host: Host) -> None:
    store, seconds = identified(NoLocks), itertools.count()
    put(store, key_of(NOW), b"theirs")
    host.clock = Clock(now=lambda: NOW + dt.timedelta(seconds=next(seconds)))
    host.back_up(store)
    assert host.waits == [1.0]
    assert store.read(key_of(NOW), 0, 9) == b"theirs"
    assert own(store)[0].created == NOW + dt.timedelta(seconds=1)
    assert own(store)[0].is_proven
    assert host.workload.pauses == 1


def test_a_clock_that_stands_still_is_not_waited_for_for_ever(host: Host) -> None:
    store = identified(NoLocks)
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


@pytest.mark.parametrize("made_up", [b"junk", b""])
def test_a_sidecar_that_somebody_has_made_up_beforehand_is_left_and_another_one_written(
    made_up: bytes, host: Host
) -> None:
    store, key = identified(NoLocks), key_of(NOW)
    put(store, key + ".json", made_up)
    host.back_up(store)
    (item,) = own(store)
    assert (item.standing, item.sidecar) == (Standing.PROVEN, f"{key}.signed-20260301T120000Z.json")
    assert store.read(key + ".json", 0, 99) == made_up
    assert host.notices == [f"{key}.json exists already and is not by this host; the sidecar is {item.sidecar}"]


# Sidecars that could not be written


class NoSidecars(NoLocks):
    """Takes no sidecars. error: that it raises instead, None once it takes them."""

    error: type[StorageError] | None = AccessDenied

    def begin(self, key: str, lock: dt.datetime | None = None):  # type: ignore[no-untyped-def]
        if self.error and key.endswith(".tar.zst.age.json"):
            raise self.error("no", "hint")
        return super().begin(key, lock)


@pytest.mark.parametrize("error", [AccessDenied, Unavailable])
def test_an_archive_whose_sidecar_cannot_be_written_is_complete_and_gets_it_later(
    error: type[StorageError], host: Host
) -> None:
    store = NoSidecars()
    store.error = error
    identify(store)
    with pytest.raises(error, match="is complete and in memory, but its sidecar could not be written") as told:
        host.back_up(store)
    assert told.value.hint == "hint"
    (item,) = own(store)
    assert (item.complete, item.standing) == (True, Standing.UNSIGNED)
    host.open_again(store)
    assert host.notices == [f"the sidecar of {key_of(NOW)} cannot be written yet: no"]
    store.error = None
    host.open_again(store)
    assert host.notices[1:] == [f"wrote the sidecar of {key_of(NOW)}, which an earlier command could not write"]
    assert own(store)[0].is_proven
    host.open_again(store)
    assert len(host.notices) == 2
    assert not (host.vault / "sidecars").exists()


def test_a_sidecar_is_not_written_beside_another_archive(host: Host) -> None:
    store = NoSidecars()
    identify(store)
    with pytest.raises(AccessDenied):
        host.back_up(store)
    for other in (None, sealed() + b"x"):
        elsewhere = identified(NoLocks)
        vault = host.vault.with_name(f"copy-{other is None}")
        shutil.copytree(host.vault, vault)
        if other:
            put(elsewhere, key_of(NOW), other)
        replace(host, vault=vault).open_again(elsewhere)
        assert keys(elsewhere) == ({key_of(NOW)} if other else set())
        assert not (vault / "sidecars").exists()


def test_a_sidecar_waits_for_its_own_store(host: Host) -> None:
    store, other = NoSidecars(), NoLocks()
    identify(store)
    identify(other, "6" * 32)
    with pytest.raises(AccessDenied):
        host.back_up(store)
    put(other, key_of(NOW), store.read(key_of(NOW), 0, 1 << 30))
    host.open_again(other)
    assert keys(other) == {key_of(NOW)}
    assert len(list((host.vault / "sidecars").iterdir())) == 1
