"""What happens between two calls of a store: kills, swaps, names that were taken, and floods."""

from __future__ import annotations

import datetime as dt
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import killed_commands
from support.catalogs import (
    DAY,
    HOST,
    HOST_KEY,
    HOUR,
    IDENTITY,
    NOW,
    OWN,
    Watched,
    add,
    add_record,
    catalog,
    head_and_rest,
    identify,
    key_of,
    keys,
    root_of,
    sealed,
    sidecar_of,
)
from support.workloads import SmallWorkload

from drunner_vault.catalog.archive import Standing
from drunner_vault.catalog.cache import ObjectCache
from drunner_vault.catalog.catalog import CatalogReader
from drunner_vault.catalog.identity import IDENTITY_KEY
from drunner_vault.catalog.records import RecordKind
from drunner_vault.clock import Clock
from drunner_vault.errors import AlreadyExists
from drunner_vault.hoststate.archive_log import ArchiveLog
from drunner_vault.hoststate.pending_sidecars import PendingSidecars
from drunner_vault.policy import Retention
from drunner_vault.signing import SigningKey
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.store import StoredObject, put
from drunner_vault.workflows.archives.prune import carry_out, plan_prune
from drunner_vault.workflows.backup import BackupChoices, BackupReport
from drunner_vault.workflows.into_store import StoreChoices, into_store
from drunner_vault.workflows.progress import Silent

TESTS = Path(__file__).resolve().parents[1]
WEEK = Retention(keep_daily=7)


def killed(command: str, directory: Path, number: int) -> bool:
    """Run a command that is killed at the n-th moment; True if it was, False if it ended before."""
    environment = {"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "PATH": os.environ["PATH"]}
    program = [sys.executable, "-m", "support.killed_commands", command, str(directory), str(number)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A host's directory with an empty store."""
    (tmp_path / "key").write_bytes(SigningKey.generate().encode())
    for name in ("main", "second"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_a_backup_that_was_killed_anywhere_is_finished_or_gone_by_the_next_command(place: Path) -> None:
    number, seen = 2, set()
    while killed("backup", place, number):
        killed_commands.next_command(place)
        found = killed_commands.reader_of(place).read(killed_commands.root_in(place)).archives
        seen |= {item.standing for item in found}
        assert all(item.complete and item.is_stated for item in found), number
        assert not list((place / "vault" / "sidecars").glob("*")) if (place / "vault").exists() else True
        store = LocalStore(place / "main")
        for item in list(store.list()):
            store.delete(item.key)
        for leftover in list(store.leftovers()):
            store.discard(leftover)
        number += 1
    assert number > 10
    assert seen >= {Standing.PROVEN}


def test_every_archive_with_this_hosts_key_is_logged_before_it_appears(place: Path) -> None:
    number = 2
    while killed("backup", place, number):
        killed_commands.next_command(place)
        logged = {item.archive for item in ArchiveLog(place / "vault").all()}
        found = killed_commands.reader_of(place).read(killed_commands.root_in(place)).archives
        assert {item.name for item in found} <= logged
        number += 3


def test_a_prune_that_was_killed_anywhere_is_finished_by_the_next_one(place: Path) -> None:
    number = 2
    while True:
        store = LocalStore(place / "main")
        for item in list(store.list()):
            store.delete(item.key)
        made = [
            add(store, NOW - days * DAY, sign=killed_commands.key_in(place), data=sealed()) for days in (4, 3, 2, 1)
        ]
        add_record(store, made[0], RecordKind.VERIFIED, NOW - DAY, sign=killed_commands.key_in(place))
        was_killed = killed("prune", place, number)
        killed_commands.prune(place, 0)
        left = keys(store)
        assert set(made[2:]) <= left
        assert not set(made[:2]) & left
        if not was_killed:
            break
        number += 1
    assert number > 10


def test_a_copy_that_was_killed_anywhere_is_finished_by_the_next_one(place: Path) -> None:
    key = killed_commands.key_in(place)
    identify(LocalStore(place / "second"), "2" * 32)
    made = add(LocalStore(place / "main"), NOW - DAY, sign=key)
    number = 2
    while True:
        was_killed = killed("copy", place, number)
        killed_commands.copy(place, 0)
        found = killed_commands.reader_of(place).read(killed_commands.root_in(place, name="second")).archives
        assert [(item.key, item.standing) for item in found] == [(made, Standing.PROVEN)]
        second = LocalStore(place / "second")
        for name in keys(second):
            second.delete(name)
        for leftover in list(second.leftovers()):
            second.discard(leftover)
        if not was_killed:
            break
        number += 1
    assert number > 6


def nights(store: Watched, count: int = 9) -> list[str]:
    return [add(store, NOW - days * DAY) for days in reversed(range(count))]


def plan_and(store: Watched, between: Callable[[], None]) -> tuple[list[str], list[str]]:
    """Plan a prune, let something happen, and carry it out; returns what was deleted and what failed."""
    plan = plan_prune(catalog(store, by=OWN), WEEK, NOW, dt.UTC)
    between()
    report = carry_out(root_of(store), plan, NOW, HOST_KEY.sign)
    return report.deleted, report.failed


def test_an_object_that_was_swapped_after_the_listing_is_not_deleted() -> None:
    store = Watched()
    made = nights(store)
    deleted, failed = plan_and(store, lambda: store.overwrite(made[0], sealed()[:-1] + b"x"))
    assert deleted == [made[1]]
    assert made[0] in keys(store)
    assert "has changed meanwhile" in failed[0]


def test_nothing_is_deleted_if_the_newest_that_stays_was_swapped_or_deleted() -> None:
    for change in ("swapped", "deleted"):
        store = Watched()
        made = nights(store)

        def happen(store: Watched = store, made: Sequence[str] = made, change: str = change) -> None:
            store.overwrite(made[-1], b"x") if change == "swapped" else store.delete(made[-1])

        deleted, failed = plan_and(store, happen)
        assert deleted == []
        assert any(line.startswith("nothing of there/notes was deleted") for line in failed)
        assert set(made[:2]) <= keys(store)


@dataclass
class LockingHost:
    """A host that backs up into a store that locks."""

    directory: Path
    store: Watched
    moment: dt.datetime = NOW
    notices: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def back_up(self, earlier: Sequence[dt.datetime] = ()) -> BackupReport:
        identify(self.store)
        vault, root = self.directory / "vault", root_of(self.store)
        to = StoreChoices(
            root, lambda: root, Retention(keep_last=7), dt.UTC, self.notices.append, self._sleep, ArchiveLog(vault),
            PendingSidecars(vault), lambda _host, _workload: earlier,
        )  # fmt: skip
        choices = BackupChoices([IDENTITY.recipient()], threads=1, host=HOST, sign=HOST_KEY.sign)
        clock = Clock(now=lambda: self.moment)
        return into_store(SmallWorkload(self.directory), "notes", to, choices, clock, Silent())

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.moment += dt.timedelta(seconds=seconds)


def lock_of(report: BackupReport) -> dt.datetime:
    return dt.datetime.fromisoformat(report.locked_until)


def test_names_that_others_add_do_not_shorten_locks(tmp_path: Path) -> None:
    """Lock_pace: two junk names a minute apart made a lock of seven days one of seven minutes."""
    honest = LockingHost(tmp_path, Watched())
    without = lock_of(honest.back_up([NOW - 2 * DAY, NOW - DAY]))
    attacked = LockingHost(tmp_path / "other", Watched())
    (tmp_path / "other").mkdir()
    for minutes in (1, 2):
        created = NOW - minutes * dt.timedelta(minutes=1)
        put(attacked.store, key_of(created), sealed())
        put(attacked.store, f"{key_of(created)}.json", sidecar_of(sealed(), key_of(created), sign=None))
    assert lock_of(attacked.back_up([NOW - 2 * DAY, NOW - DAY])) == without
    assert without >= NOW + 6 * DAY


def test_the_hosts_own_log_tells_how_often_it_makes_backups(tmp_path: Path) -> None:
    host = LockingHost(tmp_path, Watched())
    for _ in range(3):
        report = host.back_up()
        host.moment += HOUR
    assert lock_of(report) - (host.moment - HOUR) == 7 * HOUR


def test_a_name_that_is_taken_for_seconds_ends_in_one_clear_error(tmp_path: Path) -> None:
    host = LockingHost(tmp_path, Watched())
    for seconds in range(10):
        put(host.store, key_of(NOW + dt.timedelta(seconds=seconds)), b"junk")
    with pytest.raises(AlreadyExists, match="exists already"):
        host.back_up()
    assert sum(host.waits) <= 3


def test_all_sidecar_names_of_a_night_may_be_taken_beforehand(tmp_path: Path) -> None:
    host = LockingHost(tmp_path, Watched())
    put(host.store, f"{key_of(NOW)}.json", b"junk")
    report = host.back_up()
    assert any("exists already and is not by this host" in line for line in host.notices)
    (item,) = [item for item in catalog(host.store, by=OWN).archives if item.name in report.archive]
    assert item.standing is Standing.PROVEN


FLOOD = 100_000


class Flooded(Watched):
    """A store whose listing has very many junk objects, in this directory and in another."""

    def __init__(self, directories: Sequence[str]) -> None:
        super().__init__()
        self._directories = directories

    def list(self, prefix: str = ""):  # type: ignore[no-untyped-def]
        yield from super().list(prefix)
        for directory in self._directories:
            for number in range(FLOOD):
                at = NOW - number * dt.timedelta(minutes=1) - dt.timedelta(seconds=30)
                yield StoredObject(f"{directory}/notes-{at:%Y%m%dT%H%M%SZ}.tar.zst.age", 9, NOW, etag=f"e{number}")

    def read(self, key: str, offset: int, length: int) -> bytes:
        if key in self._objects or not key.endswith(".age"):
            return super().read(key, offset, length)
        self.reads.append(key)
        return b"no archive"[offset : offset + length]

    def stat(self, key: str) -> StoredObject:
        return super().stat(key) if key in self._objects or not key.endswith(".age") else StoredObject(key, 9, NOW)


def test_a_flood_freezes_one_directory_and_costs_bounded_memory(tmp_path: Path) -> None:
    """100,000 junk archives in the host's own directory, and as many elsewhere."""
    store = Flooded([f"{HOST}/notes", "x"])
    made = nights(store)
    wiki = [add(store, NOW - days * DAY, "wiki") for days in reversed(range(9))]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader = CatalogReader(OWN, NOW, ObjectCache(tmp_path / "objects.sqlite"))
    found = reader.read(root_of(store))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 256 << 10, f"{grown >> 10} MiB"
    plan = plan_prune(found, WEEK, NOW, dt.UTC)
    doomed = {verdict.archive.key for service in plan.services for verdict in service.verdicts if not verdict.keep}
    assert doomed == set(wiki[:2])
    assert set(found.frozen) == {(HOST, "notes")}
    assert set(made) <= {item.key for item in found.archives if item.is_proven}
    store.reads.clear()
    reader.read(root_of(store))
    assert set(store.reads) <= {IDENTITY_KEY}


def test_a_listing_reads_each_sidecar_once(tmp_path: Path) -> None:
    store = Watched()
    made = nights(store, 20)
    reader = CatalogReader(OWN, NOW, ObjectCache(tmp_path / "objects.sqlite"))
    root = root_of(store)
    store.reads.clear()
    reader.read(root)
    assert sorted(store.reads) == sorted(f"{key}.json" for key in made)
    assert store.fetched < 20 * (64 << 10)
    store.reads.clear()
    found = reader.read(root)
    assert store.reads == []
    assert {item.standing for item in found.archives} == {Standing.PROVEN}
    assert head_and_rest(sealed())[0].sha256 == found.archives[0].sha256
