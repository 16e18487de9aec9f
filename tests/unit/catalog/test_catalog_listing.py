"""Which archives a store has: wherever they lie, whatever was lost of them, and whoever else is at work there."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.catalogs import DAY, HOUR, NOW, Hands, Watched, add, clear, key_of, keys, sealed, sidecar_of

from drunner_vault.catalog.catalog import Archive, archives, creation_times, newest
from drunner_vault.errors import Unavailable
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.store import Store, put

NAME = "notes-20260131T030000Z.tar.zst.age"
KEY = f"there/notes/{NAME}"
KINDS: dict[str, Callable[[Path], Store]] = {"memory": lambda _: MemoryStore(), "local": LocalStore}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return KINDS[request.param](tmp_path)


def only(store: Store) -> Archive:
    (item,) = archives(store)
    return item


def test_an_archive_where_we_put_it_is_listed_with_what_its_sidecar_tells(store: Store) -> None:
    data = sealed()
    put(store, KEY, data)
    sidecar = replace(sidecar_of(data, NAME), sealed_to=["age1xyz"], signer="SHA256:abc", problems=3)
    put(store, KEY + ".json", sidecar.encode())
    item = only(store)
    assert (item.key, item.name, item.group) == (KEY, NAME, ("there", "notes"))
    assert item.created == dt.datetime(2026, 1, 31, 3, tzinfo=dt.UTC)
    assert (item.size, item.complete, item.has_sidecar, item.fault) == (len(data), True, True, "")
    assert (item.recipients, item.sealed_to, item.signer, item.problems) == (
        ("X25519",),
        ("age1xyz",),
        "SHA256:abc",
        3,
    )
    assert item.keys == (KEY + ".json", KEY)


@pytest.mark.parametrize(
    ("key", "group"),
    [
        (KEY, ("there", "notes")),
        (f"2024/old/there/notes/{NAME}", ("there", "notes")),
        (NAME, ("sidecar-host", "sidecar-service")),
        (f"notes/{NAME}", ("sidecar-host", "sidecar-service")),
        (f"there/elsewhere/{NAME}", ("sidecar-host", "sidecar-service")),
    ],
)
def test_whose_an_archive_is_its_path_tells_or_else_its_sidecar(key: str, group: tuple[str, str], store: Store) -> None:
    put(store, key, sealed())
    put(store, key + ".json", sidecar_of(sealed(), NAME, "sidecar-host", "sidecar-service").encode())
    assert only(store).group == group
    assert [item.key for item in archives(store, service=group[1], host=group[0])] == [key]
    assert archives(store, service="other") == archives(store, host="other") == []


@pytest.mark.parametrize("key", [NAME, f"notes/{NAME}", f"a/b/{NAME}"])
def test_an_archive_copied_in_by_hand_without_its_sidecar_counts_under_its_name(key: str, store: Store) -> None:
    put(store, key, sealed())
    item = only(store)
    assert (item.group, item.complete, item.has_sidecar) == (("", "notes"), True, False)
    assert item.recipients == ("X25519",)


def test_what_is_no_archive_is_not_listed(store: Store) -> None:
    put(store, KEY, sealed())
    for name in (
        "notes-20260131T030000Z.tar.gz",
        "notes.tar.zst.age",
        "readme.json",
        "notes-20260230T030000Z.tar.zst.age",
        "notes-20260131T240000Z.tar.zst.age",
        "notes-20260131T036060Z.tar.zst.age",
        "notes-00010101T000000Z.tar.zst.age",
        "notes-00000101T000000Z.tar.zst.age",
        "notes-20260230T030000Z.tar.zst.age.json",
        "notes-20260230T030000Z.tar.zst.age.verified-20260201T000000Z.json",
    ):
        put(store, f"there/notes/{name}", b"x")
    assert [item.key for item in archives(store)] == [KEY]
    assert creation_times(store, "there/notes") == [dt.datetime(2026, 1, 31, 3, tzinfo=dt.UTC)]


def test_two_hosts_may_have_a_service_of_the_same_name(store: Store) -> None:
    for host in ("a", "b"):
        add(store, NOW, host=host)
    assert [item.group for item in archives(store)] == [("b", "notes"), ("a", "notes")]
    assert [item.host for item in archives(store, host="a")] == ["a"]


def test_a_listing_keeps_to_its_directory_and_begins_with_the_newest(store: Store) -> None:
    for number in (3, 1, 2):
        add(store, NOW - number * DAY)
    add(store, NOW, "wiki")
    found = archives(store, "there/notes")
    assert [(NOW - item.created).days for item in found] == [1, 2, 3]
    assert archives(store, "there/not") == []


def test_sidecars_of_other_services_are_not_read() -> None:
    store = Watched()
    add(store, NOW, "wiki")
    key = add(store, NOW)
    archives(store, service="notes")
    assert set(store.reads) == {key + ".json"}


def test_an_archive_whose_sidecar_is_damaged_is_judged_by_its_ends(store: Store) -> None:
    put(store, KEY, sealed())
    put(store, KEY + ".json", b"{]")
    item = only(store)
    assert (item.complete, item.has_sidecar, item.recipients) == (True, False, ("X25519",))
    assert KEY + ".json" in item.keys


@pytest.mark.parametrize("sidecar", [b"{]", sidecar_of(sealed(), NAME).encode()])
def test_a_sidecar_alone_is_no_archive(sidecar: bytes, store: Store) -> None:
    put(store, KEY + ".json", sidecar)
    item = only(store)
    assert (item.complete, item.size) == (False, 0)
    assert "only its sidecar is here" in item.fault
    assert item.keys == (KEY + ".json",)


def test_an_archive_of_another_size_than_its_sidecar_says_is_not_complete(store: Store) -> None:
    put(store, KEY, sealed()[:-1])
    put(store, KEY + ".json", sidecar_of(sealed(), NAME).encode())
    assert not only(store).complete
    assert str(len(sealed())) in only(store).fault


def test_a_cut_archive_without_its_sidecar_is_not_complete() -> None:
    """Wherever it was cut: in the clear always, and sealed, where the end says nothing, nearly always."""
    taken = 0
    for data, name in ((clear(), NAME.removesuffix(".age")), (sealed(), NAME)):
        cuts = sorted({0, 1, 20, 22, 100, 150, len(data) - 1, *random.Random(1).sample(range(len(data)), 60)})
        for cut in cuts:
            store = MemoryStore()
            put(store, f"there/notes/{name}", data[:cut])
            taken += only(store).complete
            assert data is sealed() or not only(store).complete
    assert taken <= 2


@pytest.mark.parametrize("size", [0, 1, 10_000, 1_000_000])
@pytest.mark.parametrize("magic", [b"", b"age-encryption.org/v1\n", b"\x28\xb5\x2f\xfd"])
def test_rubbish_that_is_named_like_an_archive_is_not_complete(magic: bytes, size: int) -> None:
    store = MemoryStore()
    put(store, KEY, magic + random.Random(size).randbytes(size))
    assert not only(store).complete
    assert only(store).fault


def huge_sidecar(chunks: int = 5000) -> tuple[bytes, int]:
    """A sidecar of many chunks, and the size of the archive that it is of."""
    size = chunks << 24
    plain = sidecar_of(sealed(), NAME)
    return replace(plain, size=size, chunks=["0" * 64] * chunks).encode(), size


class Large(Watched):
    """Says that archives are as large as they would have to be."""

    size = 0

    def list(self, prefix: str = ""):  # type: ignore[no-untyped-def]
        return (item if item.key.endswith(".json") else replace(item, size=self.size) for item in super().list(prefix))


def test_of_a_large_sidecar_only_the_beginning_is_read() -> None:
    store = Large()
    data, store.size = huge_sidecar()
    put(store, KEY, b"x")
    put(store, KEY + ".json", data)
    assert only(store).complete
    assert len(data) > 300_000
    assert store.fetched == 64 << 10


def test_a_large_sidecar_whose_keys_are_in_another_order_is_read_as_well() -> None:
    store = Large()
    data, store.size = huge_sidecar()
    document = json.loads(data)
    put(store, KEY, b"x")
    put(store, KEY + ".json", json.dumps(dict(sorted(document.items()))).encode())
    assert (only(store).complete, only(store).has_sidecar) == (True, True)


def test_what_is_far_too_large_for_a_sidecar_is_not_read() -> None:
    class Endless(Watched):
        def list(self, prefix: str = ""):  # type: ignore[no-untyped-def]
            return (
                replace(item, size=1 << 40) if item.key.endswith(".json") else item for item in super().list(prefix)
            )

        def read(self, key: str, offset: int, length: int) -> bytes:
            assert length < 1 << 20
            return super().read(key, offset, length)

    store = Endless()
    put(store, KEY, sealed())
    put(store, KEY + ".json", bytes(100_000))
    assert (only(store).complete, only(store).has_sidecar) == (True, False)


@pytest.mark.parametrize("gone", ["archive", "sidecar", "both"])
@pytest.mark.parametrize("had", ["archive", "sidecar", "both"])
def test_a_listing_survives_what_is_deleted_meanwhile(had: str, gone: str) -> None:
    store = Watched()
    add(store, NOW - DAY)
    parts = {"archive": [KEY], "sidecar": [KEY + ".json"], "both": [KEY, KEY + ".json"]}
    data = {KEY: sealed(), KEY + ".json": sidecar_of(sealed(), NAME).encode()}
    for key in parts[had]:
        put(store, key, data[key])

    def delete(key: str) -> None:
        if key.startswith(KEY):
            for each in parts[gone]:
                store.delete(each)

    store.on_read = delete
    found = {item.key: item for item in archives(store)}
    assert found.pop(key_of(NOW - DAY)).complete
    for item in found.values():
        # what is complete was whole when it was looked at
        assert not item.complete or had != "sidecar"


def test_an_archive_from_the_future_is_the_newest_only_if_there_is_no_other() -> None:
    store = MemoryStore(clock=Hands().clock)
    ahead = add(store, NOW + 400 * DAY)
    assert newest(archives(store), NOW).key == ahead  # type: ignore[union-attr]
    past = add(store, NOW - DAY)
    assert newest(archives(store), NOW).key == past  # type: ignore[union-attr]
    slightly = add(store, NOW + HOUR)
    assert newest(archives(store), NOW).key == slightly  # type: ignore[union-attr]
    add(store, NOW, sidecar=False, data=sealed()[:-1])
    assert newest([], NOW) is None
    assert newest([item for item in archives(store) if not item.complete], NOW) is None


def test_until_when_an_archive_is_locked_is_listed() -> None:
    store = MemoryStore(clock=Hands().clock)
    add(store, NOW, lock=NOW + DAY)
    add(store, NOW - DAY)
    assert [item.locked_until for item in archives(store)] == [NOW + DAY, None]


def test_a_store_that_fails_is_not_an_empty_one() -> None:
    inner = MemoryStore()
    for number in range(3):
        add(inner, NOW - number * DAY)
    counting = Faults()
    archives(FaultyStore(inner, counting))
    assert counting.calls > 3
    for number in range(1, counting.calls + 1):
        with pytest.raises(Unavailable):
            archives(FaultyStore(inner, Faults(number, Fault.BEFORE)))


def test_objects_that_have_no_keys_of_ours_do_not_disturb_the_listing() -> None:
    class Strange(Watched):
        def list(self, prefix: str = ""):  # type: ignore[no-untyped-def]
            for item in super().list(prefix):
                yield item
                yield from (replace(item, key=key) for key in (f".old/{NAME}", f"a//{NAME}", f"a\\{NAME}"))

    store = Strange()
    put(store, KEY, sealed())
    assert only(store).key == KEY
    assert keys(MemoryStore()) == set()
