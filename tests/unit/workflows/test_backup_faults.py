"""Every call of a backup to its store fails in turn, in every way a call can fail."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.archives import file, some_files
from support.workloads import SmallWorkload

from drunner_vault.age import X25519Identity
from drunner_vault.archive import ArchiveReader, differences, parse_sidecar
from drunner_vault.catalog.catalog import Archive, archives
from drunner_vault.clock import Clock
from drunner_vault.errors import StorageError
from drunner_vault.policy import Retention
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.retrying import Patience, RetryingStore
from drunner_vault.stores.store import Store
from drunner_vault.workflows.backup import BackupChoices
from drunner_vault.workflows.into_store import StoreChoices, into_store
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
    calls = _calls_of_one_backup(KINDS[kind](_directory(tmp_path, "counting")), workload)
    assert calls > 20
    cases = survived = 0
    for fault in Fault:
        for number in range(1, calls + 1):
            store = KINDS[kind](_directory(tmp_path, f"{fault.name}-{number}"))
            survived += _case(store, Faults(number, fault), workload)
            cases += 1
    tally(f"{kind}: {cases} cases, a call of {calls} failing in each of {len(Fault)} ways; {survived} backups done")
    assert cases == calls * len(Fault)
    # begins, commits and looks are tried again; what was written cannot be
    assert 0 < survived < cases


def _directory(parent: Path, name: str) -> Path:
    directory = parent / name
    directory.mkdir()
    return directory


def _calls_of_one_backup(store: Store, workload: SmallWorkload) -> int:
    faults = Faults()
    _back_up(FaultyStore(store, faults), workload)
    return faults.calls


def _back_up(store: Store, workload: SmallWorkload) -> None:
    """A backup as the program makes it, patient with the store."""
    patient = RetryingStore(store, Patience(attempts=3, sleep=lambda _: None))
    to = StoreChoices(patient, Retention(keep_daily=7), dt.UTC, lambda _: None, lambda _: None)
    choices = BackupChoices([IDENTITY.recipient()], threads=1, host="there")
    into_store(workload, "notes", to, choices, CLOCK, Silent())


def _case(store: Store, faults: Faults, workload: SmallWorkload) -> bool:
    """One backup with this fault, and one after it; whether the first was done."""
    pauses = workload.pauses
    try:
        _back_up(FaultyStore(store, faults), workload)
        done = True
    except StorageError:
        done = False
    assert not workload.paused
    assert workload.pauses <= pauses + 1  # no fault is worth a second pause
    _assert_complete_or_absent(store, done=done)
    before = {item.key for item in archives(store)}
    _back_up(store, workload)
    after = archives(store)
    assert len(after) == len(before) + 1
    assert all(item.complete for item in after)
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
