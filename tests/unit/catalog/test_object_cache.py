"""What is kept of small objects on this host, and that it never decides more than the store itself."""

from __future__ import annotations

import datetime as dt
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.catalogs import (
    DAY,
    HOST,
    HOST_KEY,
    NOW,
    OWN,
    Watched,
    add,
    add_record,
    daily,
    key_of,
    root_of,
    sealed,
    sidecar_of,
    sidecar_v1,
)

from drunner_vault.catalog import cache as cache_module
from drunner_vault.catalog.cache import ObjectCache
from drunner_vault.catalog.catalog import Catalog, CatalogReader
from drunner_vault.catalog.records import RecordKind
from drunner_vault.errors import Unavailable
from drunner_vault.policy import Retention
from drunner_vault.signing import SigningKey
from drunner_vault.stores.store import Store, StoredObject
from drunner_vault.workflows.archives.prune import plan_prune

ITEM = StoredObject("there/notes/x.json", 5, NOW, etag="one")
ONE, OTHER = "1" * 32, "2" * 32
STRANGER = SigningKey.generate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "objects.sqlite"


class Fetch:
    """Counts how often something is fetched."""

    def __init__(self, data: bytes = b"12345") -> None:
        self.data = data
        self.calls = 0

    def __call__(self) -> bytes:
        self.calls += 1
        return self.data


def test_what_was_read_is_not_fetched_again_by_later_commands_either(path: Path) -> None:
    fetch = Fetch()
    for _ in range(2):
        cache = ObjectCache(path)
        assert [cache.read(ONE, ITEM, 10, fetch) for _ in range(2)] == [b"12345"] * 2
        cache.close()
    assert fetch.calls == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("store", "item"),
    [
        (OTHER, ITEM),
        (ONE, StoredObject("there/notes/y.json", 5, NOW, etag="one")),
        (ONE, StoredObject(ITEM.key, 6, NOW, etag="one")),
        (ONE, StoredObject(ITEM.key, 5, NOW, etag="two")),
    ],
    ids=["store", "key", "size", "etag"],
)
def test_another_object_is_fetched(path: Path, store: str, item: StoredObject) -> None:
    cache, fetch = ObjectCache(path), Fetch()
    cache.read(ONE, ITEM, 10, fetch)
    assert cache.read(store, item, 10, Fetch(b"other")) == b"other"
    assert cache.read(store, item, 10, fetch) == b"other"


@pytest.mark.parametrize(
    ("store", "item"), [("", ITEM), (ONE, StoredObject(ITEM.key, 5, NOW))], ids=["no identity", "no ETag"]
)
def test_what_cannot_be_told_from_another_object_is_not_kept(path: Path, store: str, item: StoredObject) -> None:
    cache, fetch = ObjectCache(path), Fetch()
    for _ in range(2):
        cache.read(store, item, 10, fetch)
    assert fetch.calls == 2
    assert not path.exists()


def test_without_a_path_nothing_is_kept() -> None:
    cache, fetch = ObjectCache(None), Fetch()
    for _ in range(2):
        cache.read(ONE, ITEM, 10, fetch)
    cache.retain(ONE, [])
    cache.close()
    assert fetch.calls == 2


def test_what_cannot_be_fetched_is_not_kept(path: Path) -> None:
    cache = ObjectCache(path)

    def fails() -> bytes:
        raise Unavailable("no route", "")

    with pytest.raises(Unavailable):
        cache.read(ONE, ITEM, 10, fails)
    assert cache.read(ONE, ITEM, 10, Fetch()) == b"12345"


def test_what_is_longer_than_can_be_is_fetched_again(path: Path) -> None:
    cache, fetch = ObjectCache(path), Fetch()
    cache.read(ONE, ITEM, 10, fetch)
    cache.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE objects SET data = ?", (b"x" * 11,))
    connection.close()
    assert ObjectCache(path).read(ONE, ITEM, 10, fetch) == b"12345"
    assert fetch.calls == 2


def test_objects_that_a_store_no_longer_has_are_forgotten_and_those_of_other_stores_stay(path: Path) -> None:
    cache, gone = ObjectCache(path), StoredObject("there/notes/gone.json", 5, NOW, etag="one")
    for store in (ONE, OTHER):
        for item in (ITEM, gone):
            cache.read(store, item, 10, Fetch())
    cache.retain(ONE, [ITEM.key])
    cache.close()
    with sqlite3.connect(path) as connection:
        kept = connection.execute("SELECT store, key FROM objects ORDER BY store, key").fetchall()
    connection.close()
    assert kept == [(ONE, ITEM.key), (OTHER, gone.key), (OTHER, ITEM.key)]


def test_a_cache_that_is_full_takes_nothing_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_LARGEST", 5)
    cache, fetch = ObjectCache(path), Fetch()
    other = StoredObject("there/notes/y.json", 5, NOW, etag="one")
    for item in (ITEM, other, ITEM, other):
        assert cache.read(ONE, item, 10, fetch) == b"12345"
    assert fetch.calls == 3


@pytest.mark.parametrize("how", ["directory", "read-only", "locked"])
def test_a_cache_that_cannot_be_used_is_no_reason_to_fail(
    path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = Fetch()
    if how == "directory":
        path.mkdir(parents=True)
    if how == "read-only":
        path.parent.parent.joinpath("vault").write_text("a file in place of the directory")
    other = None
    if how == "locked":
        first = ObjectCache(path)
        first.read(ONE, ITEM, 10, fetch)
        first.close()
        other = sqlite3.connect(path)
        other.execute("BEGIN EXCLUSIVE")
        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda name, **options: connect(name, **{**options, "timeout": 0}))
    cache = ObjectCache(path)
    assert [cache.read(ONE, ITEM, 10, fetch) for _ in range(2)] == [b"12345"] * 2
    cache.retain(ONE, [])
    cache.close()
    if other is not None:
        other.close()


def test_several_threads_may_use_it(path: Path) -> None:
    cache = ObjectCache(path)
    items = [StoredObject(f"there/notes/{number}.json", 5, NOW, etag="one") for number in range(200)] * 2

    def read(item: StoredObject) -> bytes:
        return cache.read(ONE, item, 100, item.key.encode)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, items)) == [item.key.encode() for item in items]
    cache.close()


# --- decisions --------------------------------------------------------------------------------------------------------


def listed(store: Store, path: Path | None) -> Catalog:
    return CatalogReader(OWN, NOW, ObjectCache(path)).read(root_of(store))


def doomed(catalog: Catalog) -> set[str]:
    """The archives that prune would delete."""
    plan = plan_prune(catalog, Retention(keep_daily=3), NOW, dt.UTC)
    return {verdict.archive.key for service in plan.services for verdict in service.verdicts if not verdict.keep}


def proven(catalog: Catalog) -> set[str]:
    return {item.key for item in catalog.archives if item.is_proven}


def stocked() -> Watched:
    """Six nights, of which the last but one is damaged, and an archive that nobody has signed."""
    store = Watched()
    for created in daily(range(6)):
        add(store, created)
    add_record(store, key_of(NOW - DAY), RecordKind.DAMAGED, NOW)
    add_record(store, key_of(NOW), RecordKind.VERIFIED, NOW)
    add(store, NOW - 6 * DAY, sign=None)
    return store


def poison(path: Path, key: str, data: bytes) -> None:
    with sqlite3.connect(path) as connection:
        assert connection.execute("UPDATE objects SET data = ? WHERE key = ?", (data, key)).rowcount == 1
    connection.close()


def cached_keys(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        found = [row[0] for row in connection.execute("SELECT key FROM objects")]
    connection.close()
    return found


def forgeries(store: Store, key: str) -> dict[str, bytes]:
    """What an attacker could put into the cache in place of an object that belongs to this archive."""
    etag = store.stat(key).etag
    other = key_of(NOW - 2 * DAY)
    return {
        "junk": b"junk",
        "empty": b"",
        "version 1": sidecar_v1(sealed(), key),
        "unsigned": sidecar_of(sealed(), key, etag=etag, sign=None),
        "stranger": sidecar_of(sealed(), key, etag=etag, sign=STRANGER),
        "another archive": sidecar_of(sealed(), other, etag=etag, sign=HOST_KEY),
        "another store": sidecar_of(sealed(), key, etag=etag, store=OTHER, sign=HOST_KEY),
    }


@pytest.mark.parametrize("how", forgeries(stocked(), key_of(NOW)))
def test_a_poisoned_sidecar_proves_nothing_and_deletes_nothing(path: Path, how: str) -> None:
    store = stocked()
    honest = listed(store, path)
    assert (proven(honest), doomed(honest)) == (proven(listed(store, None)), doomed(listed(store, None)))
    assert doomed(honest)
    for key in [key for key in cached_keys(path) if key.endswith(".age.json")]:
        poison(path, key, forgeries(store, key.removesuffix(".json"))[how])
        found = listed(store, path)
        assert proven(found) <= proven(honest)
        assert doomed(found) <= doomed(honest)
        path.unlink()
        listed(store, path)


@pytest.mark.parametrize("kind", [RecordKind.DAMAGED, RecordKind.VERIFIED])
@pytest.mark.parametrize("data", [b"junk", b""])
def test_a_poisoned_record_changes_no_decision(path: Path, kind: RecordKind, data: bytes) -> None:
    store = stocked()
    honest = listed(store, path)
    (key,) = [key for key in cached_keys(path) if f".{kind.value}-" in key]
    poison(path, key, data)
    assert doomed(listed(store, path)) == doomed(honest)


def test_a_cache_is_free_for_other_commands_once_something_was_looked_up(path: Path) -> None:
    store = stocked()
    reader = CatalogReader(OWN, NOW, ObjectCache(path))
    root = root_of(store)
    for look in (
        lambda: reader.read_one(root, key_of(NOW)),
        lambda: reader.read_newest(replace(root, prefix=f"{HOST}/notes"), 3),
        lambda: reader.read(root),
    ):
        look()
        other = sqlite3.connect(path, timeout=0)
        other.execute("BEGIN EXCLUSIVE")  # raises if somebody holds a lock
        other.close()
        store.reads.clear()
        look()
        assert store.reads == []
