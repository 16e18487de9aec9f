"""ETags in memory, through the wrappers, and from `put`."""

from __future__ import annotations

import datetime as dt

import pytest

from drunner_vault.clock import Clock
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.readonly import ReadOnlyStore
from drunner_vault.stores.retrying import Patience, RetryingStore
from drunner_vault.stores.store import Store, finishing, put, read_small, storing

START = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
AT_ONCE = Patience(sleep=lambda _seconds: None)


def shown(store: Store, key: str) -> set[str]:
    """The ETags that `stat` and `list` show for an object."""
    return {item.etag for item in (store.stat(key), *store.list()) if item.key == key}


def test_an_upload_has_its_etag_after_commit_and_not_before() -> None:
    store = MemoryStore()
    with storing(store, "a") as upload:
        upload.write(b"x")
        assert upload.etag == ""
    with finishing(store.begin("b")) as other:
        other.write(b"x")
    assert shown(store, "a") == {upload.etag}
    assert shown(store, "b") == {other.etag}
    assert "" not in (upload.etag, other.etag)


def test_put_returns_the_etag_and_nothing_for_bytes_that_were_there_before() -> None:
    store = MemoryStore()
    etag = put(store, "a", b"x")
    assert {etag} == shown(store, "a") != {""}
    assert put(store, "a", b"x") == ""
    assert shown(store, "a") == {etag}


def test_in_memory_the_same_bytes_written_again_have_another_etag() -> None:
    store = MemoryStore()
    first = put(store, "a", b"x")
    store.delete("a")
    second = put(store, "a", b"x")
    store.overwrite("a", b"x")
    assert len({first, second, *shown(store, "a")}) == 3


def test_in_memory_an_object_can_be_overwritten_and_shows_when() -> None:
    hours = iter(range(100))
    store = MemoryStore(clock=Clock(now=lambda: START + dt.timedelta(hours=next(hours))))
    put(store, "a", b"before", START)
    before = store.stat("a")
    store.overwrite("a", b"after that")
    after = store.stat("a")
    assert read_small(store, "a") == b"after that"
    assert (after.size, after.locked_until) == (10, None)
    assert after.modified > before.modified
    assert {before.etag} != shown(store, "a") == {after.etag}


def test_in_memory_overwriting_creates_an_object_that_is_not_there() -> None:
    store = MemoryStore()
    store.overwrite("a/b", b"new")
    assert [(item.key, item.size) for item in store.list()] == [("a/b", 3)]
    assert shown(store, "a/b") != {""}


def test_in_memory_a_lock_keeps_the_etag() -> None:
    store = MemoryStore()
    etag = put(store, "a", b"x")
    store.lock("a", START)
    assert shown(store, "a") == {etag}


def test_in_memory_objects_can_be_without_etags() -> None:
    store = MemoryStore(etags=False)
    assert put(store, "a", b"x") == ""
    store.overwrite("b", b"x")
    assert shown(store, "a") == shown(store, "b") == {""}


@pytest.mark.parametrize("wrapper", [RetryingStore, FaultyStore])
def test_a_wrapped_upload_has_the_etag_of_the_inner_one(wrapper: type[RetryingStore] | type[FaultyStore]) -> None:
    store = MemoryStore()
    upload = wrapper(store).begin("a")
    assert upload.etag == ""
    for _ in range(2):
        upload.commit()
        assert {upload.etag} == shown(store, "a") != {""}


def test_a_read_only_store_shows_etags() -> None:
    store = MemoryStore()
    assert {put(store, "a", b"x")} == shown(ReadOnlyStore(store), "a")


@pytest.mark.parametrize(("fault", "known"), [(Fault.BEFORE, True), (Fault.AFTER, False)])
def test_an_upload_whose_answer_was_lost_on_purpose_has_no_etag(fault: Fault, known: bool) -> None:
    store = MemoryStore()
    faulty = FaultyStore(store, Faults(3, fault))  # after begin and write
    etag = put(RetryingStore(faulty, AT_ONCE), "a", b"x")
    assert shown(store, "a") != {""}
    assert etag == (store.stat("a").etag if known else "")
