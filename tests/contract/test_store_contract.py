"""Every kind of store keeps every promise, by itself and inside each wrapper."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable

import pytest
from support.stores import KINDS, Places

from drunner_vault.errors import AccessDenied, AlreadyExists, NotFound, Unavailable
from drunner_vault.stores.contract import PROMISES, Promise
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.readonly import ReadOnlyStore
from drunner_vault.stores.retrying import Patience, RetryingStore
from drunner_vault.stores.store import Store, put


class Looked(FaultyStore):
    """A store that is written to directly, and looked at through a wrapper that only lets one look."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        looking = ReadOnlyStore(inner)
        self.read, self.stat, self.list, self.leftovers = looking.read, looking.stat, looking.list, looking.leftovers


_WRAPPERS: dict[str, Callable[[Store], Store]] = {
    "plain": lambda store: store,
    "retrying": RetryingStore,
    "faulty": FaultyStore,
    "read-only": Looked,
}


@pytest.fixture(scope="module")
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(request, tmp_path_factory)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
@pytest.mark.parametrize("wrapper", _WRAPPERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_store_keeps_its_promise(kind: str, wrapper: str, promise: Promise, places: Places) -> None:
    store = _WRAPPERS[wrapper](places.store(kind))
    promise.attempt(store, f"check-{secrets.token_hex(6)}")


@pytest.mark.parametrize("wrapper", _WRAPPERS)
@pytest.mark.parametrize("kind", KINDS)
def test_buckets_and_memory_have_etags_and_directories_have_none(kind: str, wrapper: str, places: Places) -> None:
    store, base = _WRAPPERS[wrapper](places.store(kind)), f"etags-{secrets.token_hex(6)}"
    etag = put(store, f"{base}/a", b"x")
    assert bool(etag) == (kind not in ("local", "ssh"))
    assert '"' not in etag
    assert store.stat(f"{base}/a").etag == etag
    assert [item.etag for item in store.list(base)] == [etag]


def test_a_store_that_is_only_looked_at_changes_nothing() -> None:
    inner = MemoryStore()
    put(inner, "a/b", b"x")
    dead = inner.begin("a/dead")
    looking = ReadOnlyStore(inner)
    (leftover,) = looking.leftovers()
    changes: list[Callable[[], object]] = [
        lambda: looking.begin("a/c"),
        lambda: looking.delete("a/b"),
        lambda: looking.lock("a/b", dt.datetime.now(dt.UTC)),
        lambda: looking.discard(leftover),
    ]
    for change in changes:
        with pytest.raises(AccessDenied):
            change()
    assert [item.key for item in looking.list()] == ["a/b"]
    dead.commit()


def test_what_is_unavailable_is_tried_again_with_growing_pauses_and_a_plain_no_is_not() -> None:
    inner, pauses = MemoryStore(), []
    put(inner, "a", b"x")
    patience = Patience(attempts=4, first=1.0, longest=3.0, sleep=pauses.append)
    assert RetryingStore(FaultyStore(inner, Faults(1, Fault.BEFORE, times=3)), patience).read("a", 0, 1) == b"x"
    for pause, longest in zip(pauses, (1, 2, 3), strict=True):
        assert longest / 2 <= pause <= longest
    pauses.clear()
    with pytest.raises(Unavailable):
        RetryingStore(FaultyStore(inner, Faults(1, Fault.DEAD)), patience).stat("a")
    assert len(pauses) == 3
    pauses.clear()
    with pytest.raises(AccessDenied):
        RetryingStore(FaultyStore(inner, Faults(1, Fault.REFUSED)), patience).stat("a")
    with pytest.raises(NotFound):
        RetryingStore(inner, patience).stat("b")
    assert pauses == []


def test_the_same_small_object_may_be_put_twice_and_another_may_not() -> None:
    store = MemoryStore()
    put(store, "a", b"x")
    put(store, "a", b"x")
    with pytest.raises(AlreadyExists):
        put(store, "a", b"y")
