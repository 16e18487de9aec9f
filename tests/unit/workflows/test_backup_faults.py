"""Every call of a backup to its store fails in turn, in every way a call can fail; and the backup is killed."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.archives import file, some_files
from support.catalogs import HOST_KEY, OWN, archives, identify, root_of
from support.workloads import SmallWorkload

from drunner_vault.age import X25519Identity
from drunner_vault.archive import ArchiveReader, differences, parse_sidecar
from drunner_vault.catalog.archive import Archive, Standing
from drunner_vault.clock import Clock
from drunner_vault.errors import Interrupted, StorageError, Unavailable
from drunner_vault.hoststate.archive_log import ArchiveLog
from drunner_vault.hoststate.pending_sidecars import PendingSidecars
from drunner_vault.policy import Retention
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.retrying import Patience, RetryingStore
from drunner_vault.stores.store import Leftover, Store, Upload
from drunner_vault.workflows.backup import BackupChoices
from drunner_vault.workflows.into_store import StoreChoices, into_store, write_pending
from drunner_vault.workflows.keys import opened
from drunner_vault.workflows.progress import Silent

LARGE = 1_200_000
IDENTITY = X25519Identity.generate()
_seconds = itertools.count()
# each look at it is a second later, so that nobody has to wait for another name
CLOCK = Clock(now=lambda: dt.datetime(2026, 1, 31, 3, tzinfo=dt.UTC) + dt.timedelta(seconds=next(_seconds)))
KINDS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "local": LocalStore,
}


@pytest.fixture
def workload(tmp_path: Path) -> SmallWorkload:
    (tmp_path / "hook").mkdir()
    return SmallWorkload(tmp_path / "hook", [*some_files(), file(b"z-large", random.Random(3).randbytes(LARGE))])


@pytest.mark.parametrize("kind", KINDS)
def test_whichever_call_fails_a_backup_is_complete_or_absent_and_the_next_one_works(
    kind: str, workload: SmallWorkload, tmp_path: Path, tally: Callable[[str], None]
) -> None:
    calls = _calls_of_one_backup(KINDS[kind](_directory(tmp_path, "counting")), workload, tmp_path / "vault")
    assert calls > 20
    cases = survived = 0
    for fault in Fault:
        for number in range(1, calls + 1):
            store = KINDS[kind](_directory(tmp_path, f"{fault.name}-{number}"))
            vault = _directory(tmp_path, f"{fault.name}-{number}-vault")
            survived += _case(store, Faults(number, fault), workload, vault)
            cases += 1
    tally(f"{kind}: {cases} cases, a call of {calls} failing in each of {len(Fault)} ways; {survived} backups done")
    assert cases == calls * len(Fault)
    # begins, commits and looks are tried again; what was written cannot be
    assert 0 < survived < cases


def _directory(parent: Path, name: str) -> Path:
    directory = parent / name
    directory.mkdir()
    return directory


def _calls_of_one_backup(store: Store, workload: SmallWorkload, vault: Path) -> int:
    faults = Faults()
    identify(store)
    _back_up(store, workload, vault, faults)
    return faults.calls


def _back_up(store: Store, workload: SmallWorkload, vault: Path, faults: Faults | None = None) -> None:
    """A backup as the program makes it, with retries. faults: of the store while it runs."""
    patience = Patience(attempts=3, sleep=lambda _: None)
    root = replace(root_of(store), store=RetryingStore(FaultyStore(store, faults), patience))
    to = StoreChoices(
        root=root,
        identify=lambda: root,
        retention=Retention(keep_daily=7),
        timezone=dt.UTC,
        notice=lambda _: None,
        sleep=lambda _: None,
        log=ArchiveLog(vault),
        pending=PendingSidecars(vault),
    )
    choices = BackupChoices([IDENTITY.recipient()], threads=1, host="there", sign=HOST_KEY.sign)
    into_store(workload, "notes", to, choices, CLOCK, Silent())


def _open_again(store: Store, vault: Path) -> None:
    """What every later command does first that opens the store."""
    write_pending(root_of(store), PendingSidecars(vault), ArchiveLog(vault), CLOCK, lambda _: None)


def _case(store: Store, faults: Faults, workload: SmallWorkload, vault: Path) -> bool:
    """One backup with this fault, and one after it; whether the first was done."""
    pauses = workload.pauses
    identify(store)
    try:
        _back_up(store, workload, vault, faults)
        done = True
    except StorageError:
        done = False
    assert not workload.paused
    assert workload.pauses <= pauses + 1  # no fault is worth a second pause
    _assert_complete_or_absent(store, done=done)
    before = {item.key for item in archives(store)}
    _open_again(store, vault)
    assert all(item.is_stated for item in archives(store, by=OWN)), "no archive is left without its sidecar"
    assert not list((vault / "sidecars").glob("*"))
    _back_up(store, workload, vault)
    after = archives(store, by=OWN)
    assert len(after) == len(before) + 1
    assert all(item.complete for item in after)
    assert after[0].standing is Standing.PROVEN
    assert {item.created for item in after} == set(ArchiveLog(vault).created("there", "notes"))
    assert not list(store.leftovers())
    return done


def _assert_complete_or_absent(store: Store, *, done: bool) -> None:
    found = archives(store)
    assert len(found) <= 1
    assert all(item.complete for item in found)
    if done:
        assert found[0].has_sidecar
    for item in found:
        _assert_opens(store, item)


def _assert_opens(store: Store, item: Archive) -> None:
    data = store.read(item.key, 0, item.size)
    if item.has_sidecar:
        sidecar = parse_sidecar(store.read(item.key + ".json", 0, 1 << 20))
        assert list(differences(sidecar, [data])) == []
    position = 0

    def read(count: int) -> bytes:
        nonlocal position
        piece = data[position : position + count]
        position += len(piece)
        return piece

    with ArchiveReader(opened(read, item.key, lambda: [IDENTITY], None).read) as reader:
        assert sum(len(b"".join(content)) for _, content in reader.members()) > LARGE


class Killed(BaseException):
    """The end of a command that is killed."""


class KillingStore(FaultyStore):
    """Ends the command at the `number`-th step of an upload, of which each `begin` and `commit` has two: before and
    after. on_kill: called then."""

    def __init__(self, inner: Store, number: int, on_kill: Callable[[], object]) -> None:
        super().__init__(inner)
        self._kill_at, self._on_kill = number, on_kill
        self.steps = 0

    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        self.step()
        upload = super().begin(key, lock)
        self.step()
        return KillingUpload(self, upload)

    def step(self) -> None:
        self.steps += 1
        if self.steps == self._kill_at:
            self._on_kill()
            raise Killed

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        return iter(())


class KillingUpload:
    def __init__(self, store: KillingStore, inner: Upload) -> None:
        self._store, self._inner = store, inner
        self.write = inner.write

    @property
    def etag(self) -> str:
        return self._inner.etag

    def commit(self) -> None:
        self._store.step()
        self._inner.commit()
        self._store.step()

    def abort(self) -> None:
        """Killed commands do not tidy up."""


STEPS = ("begin", "begun", "commit", "committed", "begin sidecar", "begun sidecar", "commit sidecar", "all done")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", STEPS)
def test_wherever_a_backup_is_killed_the_next_command_finishes_what_appeared(
    step: str, kind: str, workload: SmallWorkload, tmp_path: Path
) -> None:
    store, vault, kept = KINDS[kind](_directory(tmp_path, "store")), tmp_path / "vault", tmp_path / "kept"
    identify(store)
    number = STEPS.index(step) + 1
    killing = KillingStore(store, number, lambda: vault.exists() and shutil.copytree(vault, kept))
    with pytest.raises(Killed):
        _back_up(killing, workload, vault)
    _open_again(store, kept)
    found = archives(store, by=OWN)
    assert len(found) == (number > STEPS.index("commit") + 1)
    for item in found:
        assert item.complete
        answered = number > STEPS.index("committed") + 1  # else nobody has seen it in the store
        assert item.standing is (Standing.PROVEN if answered else Standing.STATED)
        assert ArchiveLog(kept).created("there", "notes") == [item.created]
    assert not (kept / "sidecars").exists()
    assert [logged.complete for logged in ArchiveLog(kept).all()][-1:] == [True] * len(found) or not found


@pytest.mark.parametrize("error", [Unavailable, Interrupted])
def test_an_archive_that_appeared_although_its_upload_failed_gets_its_sidecar(
    error: type[Exception], workload: SmallWorkload, tmp_path: Path
) -> None:
    class Lost(KillingStore):
        """Loses every answer from that to the first commit on."""

        def step(self) -> None:
            self.steps += 1
            if self.steps >= STEPS.index("committed") + 1:
                raise error("the answer was lost")

    store, vault = MemoryStore(), tmp_path / "vault"
    identify(store)
    with pytest.raises(error):
        _back_up(Lost(store, 0, list), workload, vault)
    (item,) = archives(store, by=OWN)
    assert item.standing is Standing.UNSIGNED
    _open_again(store, vault)
    (item,) = archives(store, by=OWN)
    assert (item.standing, item.complete) == (Standing.STATED, True)
