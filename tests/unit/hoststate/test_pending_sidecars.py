"""Sidecars that are still to be written: kept by a backup, and written by the next command."""

from __future__ import annotations

import contextlib
import datetime as dt
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.catalogs import (
    NOW,
    STORE_ID,
    Hands,
    Watched,
    catalog,
    identify,
    key_of,
    keys,
    root_of,
    sealed,
    sidecar_of,
)

from drunner_vault.catalog.archive import Standing
from drunner_vault.catalog.identity import StoreRoot
from drunner_vault.errors import AccessDenied, StorageError, Unavailable
from drunner_vault.hoststate import pending_sidecars
from drunner_vault.hoststate.archive_log import ArchiveLog
from drunner_vault.hoststate.pending_sidecars import PendingSidecars
from drunner_vault.stores.store import StoredObject, Upload, put
from drunner_vault.workflows.into_store import write_pending

KEY = key_of(NOW)
DATA = b"line 1\nline 2\n" * 1000

# Keeps a sidecar, says so, and waits. With `torn` it is killed while it writes.
WRITER = """
import os, signal, sys, time
from pathlib import Path
from drunner_vault.hoststate.pending_sidecars import PendingSidecars
directory, store, key, how = sys.argv[1:]
with PendingSidecars(Path(directory)).keep(store, key) as kept:
    if how == "torn":
        os.ftruncate = lambda fd, size: None
        os.pwrite = lambda fd, data, at: (os.write(fd, data[:len(data) // 2]), os.kill(os.getpid(), signal.SIGKILL))
    kept.write(b"line 1\\nline 2\\n" * 1000)
    print("kept", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def pending(tmp_path: Path) -> PendingSidecars:
    return PendingSidecars(tmp_path / "vault")


def left(tmp_path: Path) -> list[str]:
    """The files that are left of pending sidecars; their directory goes with the last one."""
    directory = tmp_path / "vault" / "sidecars"
    assert not directory.exists() or list(directory.iterdir())
    return [path.suffix for path in directory.iterdir()] if directory.exists() else []


def owed(pending: PendingSidecars, data: bytes = DATA, store: str = STORE_ID, key: str = KEY) -> None:
    """Leave what a backup leaves that could not write its sidecar."""
    with pending.keep(store, key) as kept:
        kept.write(data)


def taken(pending: PendingSidecars, store: str = STORE_ID) -> list[tuple[str, bytes]]:
    return [(item.key, item.data) for item, _ in pending.take(store)]


@contextlib.contextmanager
def writer(tmp_path: Path, how: str = "whole") -> Iterator[subprocess.Popen[bytes]]:
    """Another process that keeps a sidecar."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "vault"), STORE_ID, KEY, how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_sidecar_that_is_owed_is_taken_until_it_is_written(pending: PendingSidecars, tmp_path: Path) -> None:
    owed(pending)
    for _ in range(2):
        assert taken(pending) == [(KEY, DATA)]
    for _, kept in pending.take(STORE_ID):
        kept.written()
    assert (taken(pending), left(tmp_path)) == ([], [])


def test_the_last_that_was_written_is_what_is_kept(pending: PendingSidecars) -> None:
    with pending.keep(STORE_ID, KEY) as kept:
        kept.write(DATA)
        kept.write(b"shorter")
    assert taken(pending) == [(KEY, b"shorter")]


def test_a_sidecar_that_is_written_is_not_kept(pending: PendingSidecars, tmp_path: Path) -> None:
    with pending.keep(STORE_ID, KEY) as kept:
        kept.write(DATA)
        kept.written()
    assert (taken(pending), left(tmp_path)) == ([], [])


def test_only_those_of_the_store_at_hand_are_taken(pending: PendingSidecars) -> None:
    owed(pending)
    owed(pending, store="s3://other")
    owed(pending, key=key_of(NOW, "wiki"))
    assert {key for key, _ in taken(pending)} == {KEY, key_of(NOW, "wiki")}
    assert taken(pending, "s3://other") == [(KEY, DATA)]


def test_what_a_running_command_keeps_is_left_to_it_and_taken_once_it_was_killed(
    pending: PendingSidecars, tmp_path: Path
) -> None:
    with writer(tmp_path) as process:
        assert taken(pending) == []
        assert left(tmp_path) == [".pending"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert taken(pending) == [(KEY, DATA)]


def test_what_was_cut_when_its_writer_was_killed_is_removed(pending: PendingSidecars, tmp_path: Path) -> None:
    with writer(tmp_path, "torn") as process:
        assert process.wait() == -signal.SIGKILL
        assert left(tmp_path) == [".pending"]
        assert (taken(pending), left(tmp_path)) == ([], [])


def test_what_one_command_takes_no_other_takes_at_the_same_time(pending: PendingSidecars) -> None:
    owed(pending)
    assert [taken(pending) for _ in pending.take(STORE_ID)] == [[]]


def test_a_command_that_takes_removes_nothing_that_another_is_beginning_to_write(
    pending: PendingSidecars, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = pending_sidecars.fcntl.flock

    def late(file: object, how: int) -> None:
        monkeypatch.undo()
        assert taken(pending) == []  # the file is there, and not yet locked
        lock(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(pending_sidecars.fcntl, "flock", late)
    owed(pending)
    assert taken(pending) == [(KEY, DATA)]


def test_a_directory_that_another_command_removes_meanwhile_is_made_again(
    pending: PendingSidecars, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = pending_sidecars.make_directory

    def removed(path: Path) -> None:
        monkeypatch.undo()
        make(path)
        path.rmdir()

    monkeypatch.setattr(pending_sidecars, "make_directory", removed)
    owed(pending)
    assert taken(pending) == [(KEY, DATA)]


def test_where_nothing_can_be_kept_that_is_an_error(pending: PendingSidecars, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "sidecars").touch()
    with pytest.raises(StorageError), pending.keep(STORE_ID, KEY):
        pass
    assert taken(pending) == []


# --- what a command does with them ------------------------------------------------------------------------------------


class Denying(Watched):
    """A store that refuses some calls. denied: names of calls that this login may not use."""

    denied: tuple[str, ...] = ()
    broken = False

    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        if self.broken and key.endswith(".json"):
            raise Unavailable("no route to the store", "try again")
        return super().begin(key, lock)

    def stat(self, key: str) -> StoredObject:
        if "stat" in self.denied:
            raise AccessDenied("this login may only add", "")
        return super().stat(key)


@dataclass
class Site:
    """A host that owes a store the sidecar of an archive."""

    directory: Path
    store: Denying = field(default_factory=lambda: Denying(Hands().clock))
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pending, self.log = PendingSidecars(self.directory), ArchiveLog(self.directory)
        identify(self.store)
        self.etag = put(self.store, KEY, sealed())
        self.sidecar = sidecar_of(sealed(), KEY, etag=self.etag)
        owed(self.pending, self.sidecar)

    def flush(self, root: StoreRoot | None = None) -> None:
        write_pending(root or root_of(self.store), self.pending, self.log, Hands().clock, self.notices.append)

    def is_owed(self) -> bool:
        return bool(taken(self.pending))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "vault")


def test_the_next_command_writes_the_sidecar_and_the_archive_is_proven(site: Site) -> None:
    site.flush()
    assert site.store.read(f"{KEY}.json", 0, 1 << 20) == site.sidecar
    assert not site.is_owed()
    assert site.notices == [f"wrote the sidecar of {KEY}, which an earlier command could not write"]
    assert [(item.archive, item.etag, item.complete) for item in site.log.all()] == [
        (KEY.rpartition("/")[2], site.etag, True)
    ]
    (item,) = catalog(site.store).archives
    assert item.standing is Standing.PROVEN
    site.flush()
    assert len(site.notices) == 1


def test_where_the_name_is_taken_the_sidecar_is_written_beside_it(site: Site) -> None:
    put(site.store, f"{KEY}.json", b"made up")
    site.flush()
    (item,) = catalog(site.store).archives
    assert (item.standing, ".signed-" in item.sidecar) == (Standing.PROVEN, True)
    assert not site.is_owed()


def test_a_sidecar_that_had_been_written_after_all_is_not_written_twice(site: Site) -> None:
    put(site.store, f"{KEY}.json", site.sidecar)
    site.flush()
    assert keys(site.store) == {KEY, f"{KEY}.json"}
    assert not site.is_owed()


@pytest.mark.parametrize("data", [b"", b"another archive"])
def test_a_sidecar_whose_archive_never_appeared_is_forgotten(site: Site, data: bytes) -> None:
    site.store.delete(KEY)
    if data:
        put(site.store, KEY, data)
    site.flush()
    assert keys(site.store) == ({KEY} if data else set())
    assert not site.is_owed()
    assert site.log.all() == []


def test_a_sidecar_that_cannot_be_written_yet_stays_owed_and_that_is_said(site: Site) -> None:
    site.store.broken = True
    site.flush()
    assert site.is_owed()
    assert site.notices == [f"the sidecar of {KEY} cannot be written yet: no route to the store"]
    site.store.broken = False
    site.flush()
    assert keys(site.store) == {KEY, f"{KEY}.json"}


def test_a_login_that_may_only_add_writes_what_it_owes(site: Site) -> None:
    site.store.denied = ("stat",)
    root = StoreRoot(site.store, readable=False)
    owed(site.pending, site.sidecar, store=root.token, key=KEY)
    site.flush(root)
    assert f"{KEY}.json" in keys(site.store)
    assert taken(site.pending, root.token) == []


def test_what_is_owed_to_another_store_is_left(site: Site) -> None:
    other = Watched(Hands().clock)
    identify(other, "6" * 32)
    site.flush(root_of(other))
    assert site.is_owed()
    assert keys(other) == set()
