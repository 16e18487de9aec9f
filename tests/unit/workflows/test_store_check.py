"""Trying a store: every broken promise is told, and nothing of the check stays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.catalogs import keys

from drunner_vault.clock import SYSTEM_CLOCK, Clock
from drunner_vault.errors import AccessDenied, Interrupted, Unsupported
from drunner_vault.stores.contract import PROMISES
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.store import Store, StoredObject, Upload
from drunner_vault.workflows.archives.store_check import Finding, check_store


class Waiting:
    """The time, with waits that take none of it and are counted all the same."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.clock = Clock(now=lambda: dt.datetime.now(dt.UTC) + dt.timedelta(seconds=sum(self.waits)))

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class Without(MemoryStore):
    """A store that cannot lock."""

    can_lock = False

    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        if lock:
            raise Unsupported("no locks", "")
        return super().begin(key)


def check(store: Store) -> dict[str, Finding]:
    clock = Waiting()
    return {finding.promise: finding for finding in check_store(store, SYSTEM_CLOCK, clock.sleep)}


def test_a_good_store_keeps_every_promise_and_is_left_as_it_was(tmp_path: Path) -> None:
    for store in (Without(), LocalStore(tmp_path)):
        found = check(store)
        assert list(found) == [*(promise.name for promise in PROMISES), "tidy"]
        assert {finding.verdict for finding in found.values()} == {"kept"}
        assert keys(store) == set()
        assert list(store.leftovers()) == []
    assert list(tmp_path.iterdir()) == []


def test_locked_objects_of_the_check_are_removed_when_their_lock_is_over() -> None:
    clock = Waiting()
    store = MemoryStore(clock=clock.clock)
    verdicts = {finding.promise: finding.verdict for finding in check_store(store, SYSTEM_CLOCK, clock.sleep)}
    assert set(verdicts.values()) == {"kept"}
    assert len(clock.waits) == 1
    assert keys(store) == set()


def test_a_lock_that_does_not_end_is_told_as_a_finding() -> None:
    clock = Waiting()
    store = MemoryStore(clock=clock.clock)
    found = {finding.promise: finding for finding in check_store(store, SYSTEM_CLOCK, lambda _: None)}
    assert found["tidy"].verdict == "failed"
    assert "is locked until" in found["tidy"].details


class Overwriting(Without):
    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        self.delete(key)
        return super().begin(key, lock)


class Forgetful(Without):
    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        return iter(list(super().list(prefix))[1:])


class Short(Without):
    def read(self, key: str, offset: int, length: int) -> bytes:
        return super().read(key, offset, min(length, 1 << 20))


class Mistaken(Without):
    """Shows another ETag than the upload has returned."""

    def stat(self, key: str) -> StoredObject:
        return replace(super().stat(key), etag="another")


@pytest.mark.parametrize(
    ("store", "broken"),
    [
        (Overwriting(), {"once"}),
        (Forgetful(), {"listing", "names", "at once"}),
        (Short(), {"whole", "large", "at once"}),
        (Mistaken(), {"etags"}),
    ],
)
def test_a_promise_that_is_not_kept_is_named(store: Store, broken: set[str]) -> None:
    found = check(store)
    assert broken & {name for name, finding in found.items() if finding.verdict == "broken"}
    assert all(finding.details for finding in found.values() if finding.verdict != "kept")
    assert found["inside"].verdict == "kept"


def test_a_store_that_allows_nothing_is_told_as_refused() -> None:
    found = check(FaultyStore(Without(), Faults(1, Fault.REFUSED, times=10**9)))
    verdicts = {name: finding.verdict for name, finding in found.items()}
    assert verdicts["whole"] == verdicts["tidy"] == "refused"
    assert "kept" not in {verdict for name, verdict in verdicts.items() if name != "locks"}


def test_a_store_that_is_gone_is_told_as_failed() -> None:
    found = check(FaultyStore(Without(), Faults(1, Fault.DEAD)))
    assert found["whole"].verdict == "failed"


def test_a_check_that_is_interrupted_tidies_up() -> None:
    store = Without()
    checking = check_store(store, SYSTEM_CLOCK, lambda _: None)
    next(checking)
    next(checking)
    assert keys(store)
    with pytest.raises(Interrupted):
        checking.throw(Interrupted("stopped"))
    assert keys(store) == set()
    half = check_store(store, SYSTEM_CLOCK, lambda _: None)
    next(half)
    half.close()
    assert keys(store) == set()


def test_not_being_allowed_to_delete_is_refused_not_broken() -> None:
    class Keeping(Without):
        def delete(self, key: str) -> None:
            raise AccessDenied("never", "")

    assert check(Keeping())["tidy"].verdict == "refused"
