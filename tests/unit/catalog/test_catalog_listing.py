"""Which archives a store has, what each of them is worth, and what a listing costs."""

from __future__ import annotations

import datetime as dt
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.catalogs import (
    DAY,
    HOST,
    HOST_KEY,
    HOUR,
    NOW,
    OWN,
    Hands,
    Watched,
    add,
    add_record,
    archives,
    catalog,
    clear,
    head_of,
    identify,
    key_of,
    keys,
    root_of,
    sealed,
    sidecar_of,
    sidecar_v1,
    signers,
    trusting,
)

from drunner_vault.archive import Rest
from drunner_vault.archive.sidecar import assemble, encode_rest, place_of, state_head, state_place
from drunner_vault.archive.statements import make_statement
from drunner_vault.catalog.archive import Archive, Standing
from drunner_vault.catalog.cache import ObjectCache
from drunner_vault.catalog.catalog import Catalog, CatalogReader, newest
from drunner_vault.catalog.grouping import MOST_OBJECTS, signed_key
from drunner_vault.catalog.identity import IDENTITY_KEY
from drunner_vault.catalog.records import RecordKind
from drunner_vault.catalog.signers import HostSigners
from drunner_vault.errors import Unavailable
from drunner_vault.signing import AllowedSigner, SigningKey, parse_allowed_signer
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.store import Store, StoredObject, put

NAME = "notes-20260131T030000Z.tar.zst.age"
KEY = f"there/notes/{NAME}"
MADE = dt.datetime(2026, 1, 31, 3, tzinfo=dt.UTC)
OTHER_STORE = "6" * 32
STRANGER = SigningKey.generate()
KINDS: dict[str, Callable[[Path], Store]] = {"memory": lambda _: MemoryStore(), "local": LocalStore}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return KINDS[request.param](tmp_path)


def only(store: Store, by: HostSigners | None = None) -> Archive:
    (item,) = archives(store, by=by)
    return item


def test_an_archive_is_listed_with_what_its_sidecar_states(store: Store) -> None:
    earlier = "2026-01-30T03:00:00Z"
    add(store, MADE, head=lambda head: replace(head, sealed_to=("age1xyz",), problems=3, after=earlier))
    item = only(store)
    data = sealed()
    assert (item.key, item.name, item.group, item.created) == (KEY, NAME, ("there", "notes"), MADE)
    assert (item.size, item.stated_size, item.etag) == (len(data), len(data), store.stat(KEY).etag)
    assert (item.complete, item.has_sidecar, item.sidecar, item.fault) == (True, True, KEY + ".json", "")
    assert (item.recipients, item.sealed_to, item.problems) == (("X25519",), ("age1xyz",), 3)
    assert (item.after, item.basis, item.id, item.sha256) == (
        MADE - DAY,
        "written",
        "0" * 32,
        head_of(data, KEY).sha256,
    )
    assert (item.standing, item.why, item.series) == (Standing.PROVEN, "", HOST_KEY.public())
    assert item.signer == HOST_KEY.public().fingerprint
    assert item.is_proven
    assert item.is_stated
    assert item.keys == (KEY, KEY + ".json")


# Standings


def put_archive(store: Store, key: str = KEY, data: bytes | None = None) -> str:
    """An archive without a sidecar, in a store with an identity; returns its ETag."""
    identify(store)
    return put(store, key, sealed() if data is None else data)


def put_pair(store: Store, key: str, sidecar: Callable[[str], bytes]) -> None:
    """An archive with this sidecar, which is made from the archive's ETag."""
    put(store, key + ".json", sidecar(put_archive(store, key)))


def test_without_a_signature_an_archive_is_unsigned(store: Store) -> None:
    put_pair(store, KEY, lambda etag: sidecar_of(sealed(), KEY, etag=etag, sign=None))
    put_archive(store, key_of(NOW))
    put_pair(store, key_of(NOW - DAY), lambda _: sidecar_v1(sealed(), key_of(NOW - DAY)))
    found = archives(store)
    assert {item.standing for item in found} == {Standing.UNSIGNED}
    assert [item.why for item in found] == [
        "it has no sidecar",
        "its sidecar is of version 1, which is not signed",
        "its sidecar is not signed",
    ]
    assert not any(item.is_stated or item.series or item.signer for item in found)
    assert all(item.complete for item in found)


def test_a_sidecar_of_version_1_is_shown_and_its_signer_is_not(store: Store) -> None:
    put_pair(store, KEY, lambda _: sidecar_v1(sealed(), KEY, signer=HOST_KEY.public().fingerprint))
    item = only(store)
    assert (item.has_sidecar, item.recipients, item.sha256) == (True, ("X25519",), head_of(sealed(), KEY).sha256)
    assert (item.signer, item.series) == ("", None)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "whose key does not count for there"),
        (trusting((STRANGER, "elsewhere")), "whose key does not count for there"),
        (trusting((STRANGER, "*")), "whose key does not count for there"),
        (trusting((STRANGER, "there,elsewhere")), "whose key does not count for there"),
        (trusting((STRANGER, "th?re")), "whose key does not count for there"),
    ],
    ids=["nobody", "of another host", "every host", "two hosts", "a pattern"],
)
def test_an_archive_by_a_key_that_is_not_for_its_host_alone_is_by_a_stranger(
    lines: list[AllowedSigner], why: str, store: Store
) -> None:
    add(store, MADE, sign=STRANGER)
    item = only(store, signers(lines))
    assert (item.standing, item.is_stated, item.series) == (Standing.STRANGER, False, None)
    assert item.signer == STRANGER.public().fingerprint
    assert STRANGER.public().fingerprint in item.why
    assert why in item.why


@pytest.mark.parametrize(
    "key",
    [
        NAME,
        f"notes/{NAME}",
        f"zz/there/notes/{NAME}",
        f"there/other/{NAME}",
        "there/notes/notes-20260131T030001Z.tar.zst.age",
    ],
)
def test_a_genuine_sidecar_proves_nothing_at_another_key(key: str, store: Store) -> None:
    put_pair(store, key, lambda etag: sidecar_of(sealed(), KEY, etag=etag))
    item = only(store)
    assert (item.standing, item.is_stated) == (Standing.MISPLACED, False)


def test_a_sidecar_that_was_signed_for_another_host_is_misplaced_if_that_host_is_known(store: Store) -> None:
    put_pair(store, f"other/notes/{NAME}", lambda etag: sidecar_of(sealed(), KEY, etag=etag))
    item = only(store)
    assert (item.standing, item.why, item.group) == (
        Standing.MISPLACED,
        "it was signed for host there",
        ("other", "notes"),
    )


def test_a_time_in_the_sidecar_that_is_not_that_of_the_name_is_misplaced(store: Store) -> None:
    add(store, MADE, head=lambda head: replace(head, created="2026-01-31T03:00:01Z"))
    assert only(store).standing is Standing.MISPLACED


def test_what_a_place_proves_depends_on_its_store_and_signer(store: Store) -> None:
    put_pair(store, KEY, lambda etag: sidecar_of(sealed(), KEY, etag=etag, store=OTHER_STORE))
    put_pair(store, key_of(NOW), lambda etag: sidecar_of(sealed(), key_of(NOW), etag=etag, placed_by=STRANGER))
    found = archives(store)
    assert [item.standing for item in found] == [Standing.STATED, Standing.STATED]
    assert "whose key does not count here" in found[0].why
    assert found[1].why == "it was signed for another store"
    assert {item.series for item in found} == {HOST_KEY.public()}
    trusted = archives(store, by=signers(trusting((HOST_KEY, HOST), (STRANGER, HOST))))
    assert [item.standing for item in trusted] == [Standing.PROVEN, Standing.STATED]
    assert {item.series for item in trusted} == {HOST_KEY.public()}


def test_a_store_without_an_identity_proves_nothing(store: Store) -> None:
    put(store, KEY, sealed())
    put(store, KEY + ".json", sidecar_of(sealed(), KEY, etag=store.stat(KEY).etag, store=""))
    assert (only(store).standing, only(store).why) == (Standing.STATED, "its store has no identity that is known here")


@pytest.mark.parametrize(
    "change", [{"size": 5}, {"sha256": "0" * 64}, {"archive": "x"}, {"host": "x"}, {"workload": "x"}]
)
def test_a_place_that_is_about_another_archive_proves_nothing(change: dict[str, object], store: Store) -> None:
    etag = put_archive(store)
    head, rest = head_of(sealed(), KEY), Rest()
    place = replace(place_of(head, "5" * 32, etag, "2026-01-31T03:00:00Z"), **change)
    lines = state_head(head, rest, HOST_KEY.sign), state_place(place, HOST_KEY.sign)
    put(store, KEY + ".json", assemble(*lines, encode_rest(rest)))
    assert only(store).standing is Standing.STATED


@pytest.mark.parametrize("line", [2, 3], ids=["the place", "its signature"])
def test_a_head_counts_without_a_readable_place(line: int, store: Store) -> None:
    lines = sidecar_of(sealed(), KEY, etag=put_archive(store)).split(b"\n")
    lines[line] = b"{}"
    put(store, KEY + ".json", b"\n".join(lines))
    assert only(store).standing is Standing.STATED


def test_an_object_that_was_overwritten_shows_another_etag() -> None:
    store = MemoryStore()
    key = add(store, MADE)
    store.overwrite(key, sealed())  # the same bytes, but nobody knows that without reading them
    item = only(store)
    assert (item.standing, item.is_stated, item.complete) == (Standing.OVERWRITTEN, False, False)
    assert item.series == HOST_KEY.public()
    assert item.fault == item.why == "its object is not the one that was uploaded"


def test_without_an_etag_from_the_upload_an_archive_is_stated_until_it_is_verified() -> None:
    store = MemoryStore()
    put_pair(store, KEY, lambda _: sidecar_of(sealed(), KEY))
    assert (only(store).standing, only(store).why) == (Standing.STATED, "the answer to its upload was lost")
    add_record(store, KEY, RecordKind.VERIFIED, NOW)
    assert (only(store).standing, only(store).why) == (Standing.PROVEN, "")


def test_an_archive_of_another_size_than_its_sidecar_says_is_overwritten(store: Store) -> None:
    etag = put_archive(store, data=sealed()[:-1])
    put(store, KEY + ".json", sidecar_of(sealed(), KEY, etag=etag))
    item = only(store)
    assert (item.standing, item.complete) == (Standing.OVERWRITTEN, False)
    assert str(len(sealed())) in item.fault


@pytest.mark.parametrize("head", [{"kind": "compose"}, {"features": ("delta",)}])
def test_a_kind_or_feature_that_is_not_known_freezes_its_directory(head: dict[str, object], store: Store) -> None:
    add(store, MADE, head=lambda stated: replace(stated, **head))
    add(store, NOW, "wiki")
    found = catalog(store)
    assert found.archives[1].standing is Standing.UNKNOWN
    assert set(found.frozen) == {("there", "notes")}
    assert NAME in found.frozen["there", "notes"]


@pytest.mark.parametrize("sign", [None, STRANGER])
def test_a_feature_that_nobody_accepted_has_signed_freezes_nothing(sign: SigningKey | None, store: Store) -> None:
    add(store, MADE, sign=sign, head=lambda stated: replace(stated, features=("delta",)))
    assert catalog(store).frozen == {}


@pytest.mark.parametrize(
    ("sign", "standing"),
    [(HOST_KEY, Standing.UNKNOWN), (STRANGER, Standing.STRANGER), (None, Standing.UNSIGNED)],
    ids=["accepted", "stranger", "unsigned"],
)
def test_a_sidecar_of_a_later_version_freezes_its_directory_if_an_accepted_key_signed_it(
    sign: SigningKey | None, standing: Standing, store: Store
) -> None:
    put_archive(store)
    later = make_statement("drunner-vault-sidecar", 3, {"anything": [1]}, sign.sign if sign else None)
    put(store, KEY + ".json", later.encode())
    found = catalog(store)
    assert found.archives[0].standing is standing
    assert set(found.frozen) == ({("there", "notes")} if standing is Standing.UNKNOWN else set())


def test_the_best_of_several_sidecars_counts(store: Store) -> None:
    etag = put_archive(store)
    put(store, KEY + ".json", sidecar_v1(sealed(), KEY))
    put(store, signed_key(KEY, NOW), sidecar_of(sealed(), KEY, etag=etag))
    for number in range(1, 15):
        put(store, signed_key(KEY, NOW + number * DAY), b"junk %d" % number)
    item = only(store)
    assert (item.standing, item.sidecar) == (Standing.PROVEN, signed_key(KEY, NOW))
    assert item.keys[-1] == KEY + ".json"
    assert len(item.keys) == 17


def test_of_further_sidecars_the_newest_16_are_read() -> None:
    store = Watched()
    etag = put_archive(store)
    put(store, signed_key(KEY, NOW), sidecar_of(sealed(), KEY, etag=etag))
    for number in range(1, 17):
        put(store, signed_key(KEY, NOW + number * DAY), b"junk %d" % number)
    put(store, KEY + ".json", b"junk")
    store.reads.clear()
    item = only(store)
    assert item.standing is Standing.UNREADABLE
    assert signed_key(KEY, NOW) in item.keys
    assert sum(1 for key in store.reads if key.endswith(".json") and key != IDENTITY_KEY) == 17


# Retired keys


def retired(key: SigningKey, at: dt.datetime, host: str = HOST) -> AllowedSigner:
    fields = key.public().allowed_line(host).split(" ")
    return parse_allowed_signer(" ".join([fields[0], f'{fields[1]},valid-before="{at:%Y%m%d%H%M%SZ}"', *fields[2:]]))


def test_what_a_retired_key_signed_counts_if_it_appeared_before() -> None:
    hands, new = Hands(NOW - 10 * DAY), SigningKey.generate()
    store = MemoryStore(clock=hands.clock)
    before = add(store, NOW - 9 * DAY)
    hands.moment = NOW
    after = add(store, NOW - 8 * DAY)
    lines = [retired(HOST_KEY, NOW - DAY), *trusting((new, HOST))]
    found = {item.key: item for item in archives(store, by=signers(lines))}
    assert (found[before].standing, found[before].series) == (Standing.PROVEN, new.public())
    assert (found[after].standing, found[after].series) == (Standing.STRANGER, None)
    assert "was retired before it appeared here" in found[after].why
    (line,) = trusting((HOST_KEY, HOST))
    assert {item.standing for item in archives(store, by=signers([line]))} == {Standing.PROVEN}


def test_a_copy_made_after_a_key_was_retired_counts_if_a_current_key_saw_it() -> None:
    hands, new = Hands(NOW), SigningKey.generate()
    store = MemoryStore(clock=hands.clock)
    put_pair(store, KEY, lambda etag: sidecar_of(sealed(), KEY, etag=etag, placed_by=new))
    put_pair(
        store, key_of(NOW), lambda etag: sidecar_of(sealed(), key_of(NOW), etag=etag, placed_by=new, store=OTHER_STORE)
    )
    by = signers([retired(HOST_KEY, NOW - DAY), *trusting((new, HOST))])
    assert [item.standing for item in archives(store, by=by)] == [Standing.STRANGER, Standing.PROVEN]
    assert {item.standing for item in archives(store, by=signers([retired(HOST_KEY, NOW - DAY)]))} == {
        Standing.STRANGER
    }


def test_two_current_keys_of_a_host_have_a_series_each() -> None:
    store, other = MemoryStore(), SigningKey.generate()
    add(store, MADE)
    add(store, NOW, sign=other)
    by = signers(trusting((HOST_KEY, HOST), (other, HOST)))
    assert [item.series for item in archives(store, by=by)] == [other.public(), HOST_KEY.public()]


# Directories


@pytest.mark.parametrize("key", [NAME, f"notes/{NAME}", f"2024/there/notes/{NAME}"])
@pytest.mark.parametrize("sidecar", [True, False])
def test_elsewhere_than_below_host_and_service_an_archive_is_of_no_host(key: str, sidecar: bool, store: Store) -> None:
    put_archive(store, key)
    if sidecar:
        put(store, key + ".json", sidecar_of(sealed(), KEY))
    item = only(store)
    assert (item.standing, item.group, item.why) == (
        Standing.MISPLACED,
        ("", "notes"),
        "it is not at HOST/WORKLOAD/NAME in its store",
    )
    assert [found.key for found in archives(store, host="any")] == [key], "it is shown whoever is asked for"
    assert archives(store, service="other") == []


@pytest.mark.parametrize(
    ("key", "group"),
    [
        (KEY, ("there", "notes")),
        (f"2024/old/there/notes/{NAME}", ("there", "notes")),
        (f"there/elsewhere/{NAME}", ("there", "elsewhere")),
        (NAME, ("stated-host", "stated-service")),
        (f"notes/{NAME}", ("stated-host", "stated-service")),
    ],
)
def test_in_a_store_without_an_identity_the_root_may_be_anywhere_above(
    key: str, group: tuple[str, str], store: Store
) -> None:
    put(store, key, sealed())
    put(store, key + ".json", sidecar_v1(sealed(), f"stated-host/stated-service/{NAME}"))
    assert only(store).group == group
    assert [item.key for item in archives(store, service=group[1], host=group[0])] == [key]
    assert archives(store, service="other") == archives(store, host="other") == []


@pytest.mark.parametrize(
    ("key", "group"), [(NAME, ("", "notes")), (f"notes/{NAME}", ("", "notes")), (f"a/b/{NAME}", ("a", "b"))]
)
def test_an_archive_that_was_copied_in_without_its_sidecar_is_listed(
    key: str, group: tuple[str, str], store: Store
) -> None:
    put(store, key, sealed())
    item = only(store)
    assert (item.group, item.complete, item.has_sidecar) == (group, True, False)
    assert item.recipients == ("X25519",)


def test_names_that_only_look_like_those_of_archives_freeze_their_directory(store: Store) -> None:
    add(store, MADE)
    add(store, MADE, "wiki")
    names = (
        "notes-20260131T030000Z.tar.gz",
        "notes-20260230T030000Z.tar.zst.age",
        "notes-20260131T240000Z.tar.zst.age",
        "notes-00010101T000000Z.tar.zst.age",
        "notes-20260230T030000Z.tar.zst.age.json",
        f"{NAME}.praised-20260201T000000Z.json",
        f"{NAME}.verified-20260230T000000Z.json",
        f"{NAME}.signed-20260230T000000Z.json",
    )
    for name in names:
        put(store, f"there/notes/{name}", b"x")
        found = catalog(store)
        assert [item.key for item in found.archives] == ["there/wiki/wiki-20260131T030000Z.tar.zst.age", KEY]
        assert found.frozen == {("there", "notes"): f"it holds what this program does not know: {name}"}
        assert catalog(store, service="wiki").frozen == catalog(store, host="other").frozen == {}
        store.delete(f"there/notes/{name}")


def test_what_is_not_named_like_an_archive_is_not_listed_and_freezes_nothing(store: Store) -> None:
    add(store, MADE)
    for name in ("notes.tar.zst.age", "readme.json", "notes-20260131T036060Z", "README"):
        put(store, f"there/notes/{name}", b"x")
    found = catalog(store)
    assert [item.key for item in found.archives] == [KEY]
    assert found.frozen == {}


def test_a_directory_with_too_many_objects_is_frozen() -> None:
    class Flooded(Watched):
        def list(self, prefix: str = ""):  # type: ignore[no-untyped-def]
            yield from super().list(prefix)
            yield from (StoredObject(f"there/notes/{number}", 1, NOW) for number in range(MOST_OBJECTS - 1))

    store = Flooded()
    add(store, MADE)
    add(store, MADE, "wiki")
    found = catalog(store)
    assert found.frozen == {("there", "notes"): "it holds 100001 objects, more than 100000"}
    assert {item.standing for item in found.archives} == {Standing.PROVEN}


def test_two_hosts_may_have_a_service_of_the_same_name(store: Store) -> None:
    for host in ("a", "b"):
        add(store, NOW, host=host)
    assert [item.group for item in archives(store)] == [("b", "notes"), ("a", "notes")]
    assert [item.host for item in archives(store, host="a")] == ["a"]


def test_a_listing_keeps_to_its_directory_and_begins_with_the_newest(store: Store) -> None:
    for number in (3, 1, 2):
        add(store, NOW - number * DAY)
    add(store, NOW, "wiki")
    found = catalog(store, prefix="there/notes").archives
    assert [(NOW - item.created).days for item in found] == [1, 2, 3]
    assert {item.standing for item in found} == {Standing.PROVEN}
    assert catalog(store, prefix="there/not").archives == ()


def test_one_archive_or_the_newest_can_be_read_alone(store: Store) -> None:
    for number in (3, 1, 2):
        add(store, NOW - number * DAY)
    reader, root = CatalogReader(signers(), NOW), root_of(store)
    all_of_them = archives(store)
    assert reader.read_one(root, key_of(NOW - DAY)) == all_of_them[0]
    assert reader.read_one(root, key_of(NOW)) is None
    assert reader.read_newest(replace(root, prefix="there/notes"), 2) == all_of_them[:2]


# Objects that are lost, damaged or deleted meanwhile


def test_sidecars_of_other_services_are_not_read() -> None:
    store = Watched()
    add(store, NOW, "wiki")
    key = add(store, NOW)
    store.reads.clear()
    archives(store, service="notes")
    assert set(store.reads) == {key + ".json", IDENTITY_KEY}


def test_an_archive_whose_sidecar_is_damaged_is_judged_by_its_ends(store: Store) -> None:
    put_archive(store)
    put(store, KEY + ".json", b"{]")
    item = only(store)
    assert item.standing is Standing.UNREADABLE
    assert (item.complete, item.has_sidecar, item.recipients) == (True, False, ("X25519",))
    assert KEY + ".json" in item.keys


def test_a_signature_that_is_not_of_its_head_makes_a_sidecar_unreadable(store: Store) -> None:
    etag = put_archive(store)
    lines = sidecar_of(sealed(), KEY, etag=etag).split(b"\n")
    lines[0] = lines[0].replace(b'"problems":0', b'"problems":1')
    put(store, KEY + ".json", b"\n".join(lines))
    item = only(store)
    assert (item.standing, item.signer, item.series) == (Standing.UNREADABLE, "", None)
    assert item.why == "the signature of its sidecar is not valid"


@pytest.mark.parametrize("sidecar", [b"{]", sidecar_of(sealed(), KEY), sidecar_v1(sealed(), KEY)])
@pytest.mark.parametrize("suffix", [".json", ".signed-20260131T040000Z.json"])
def test_a_sidecar_alone_is_not_an_archive(sidecar: bytes, suffix: str, store: Store) -> None:
    identify(store)
    put(store, KEY + suffix, sidecar)
    item = only(store)
    assert (item.complete, item.size, item.missing, item.is_proven, item.is_stated) == (False, 0, True, False, False)
    assert "only its sidecar is here" in item.fault
    assert item.keys == (KEY + suffix,)


def test_a_cut_archive_without_its_sidecar_is_not_complete() -> None:
    """Unencrypted: wherever it was cut. Encrypted, where the end says nothing: nearly always."""
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


class Large(Watched):
    """Says that archives are as large as they would have to be."""

    size = 5000 << 24

    def list(self, prefix: str = ""):  # type: ignore[no-untyped-def]
        return (item if item.key.endswith(".json") else replace(item, size=self.size) for item in super().list(prefix))


def large_sidecar(key: str, etag: str, size: int) -> bytes:
    """A signed sidecar of many chunks."""
    head, rest = replace(head_of(sealed(), key), size=size), Rest(chunks=("0" * 64,) * (size >> 24))
    place = place_of(head, "5" * 32, etag, "2026-01-31T03:00:00Z")
    return assemble(state_head(head, rest, HOST_KEY.sign), state_place(place, HOST_KEY.sign), encode_rest(rest))


def test_of_a_large_sidecar_only_the_beginning_is_read() -> None:
    store = Large()
    data = large_sidecar(KEY, put_archive(store), store.size)
    put(store, KEY + ".json", data)
    root = root_of(store)
    store.fetched = 0
    (item,) = CatalogReader(signers(), NOW).read(root).archives
    assert item.standing is Standing.PROVEN
    assert len(data) > 300_000
    assert store.fetched == 64 << 10


def test_of_a_large_sidecar_of_version_1_only_the_beginning_is_read() -> None:
    store = Large()
    document = sidecar_v1(sealed(), KEY).replace(b'"%s"' % head_of(sealed(), KEY).sha256.encode(), b'"x"', 1)
    document = document.replace(b'"chunks": [', b'"chunks": [' + b'"%s",' % (b"0" * 64) * 5000)
    document = document.replace(b'"size": %d' % len(sealed()), b'"size": %d' % store.size)
    put_archive(store)
    put(store, KEY + ".json", document)
    root = root_of(store)
    store.fetched = 0
    (item,) = CatalogReader(signers(), NOW).read(root).archives
    assert (item.standing, item.complete, item.has_sidecar) == (Standing.UNSIGNED, True, True)
    assert store.fetched == 64 << 10 < len(document)


def test_an_object_that_is_far_too_large_for_a_sidecar_is_not_read() -> None:
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
    data = {KEY: sealed(), KEY + ".json": sidecar_of(sealed(), KEY)}
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
    add_record(inner, key_of(NOW), RecordKind.VERIFIED, NOW)
    counting = Faults()
    archives(FaultyStore(inner, counting))
    assert counting.calls > 3
    for number in range(1, counting.calls + 1):
        with pytest.raises(Unavailable):
            archives(FaultyStore(inner, Faults(number, Fault.BEFORE)))


def test_objects_that_have_no_valid_keys_do_not_disturb_the_listing() -> None:
    class Strange(Watched):
        def list(self, prefix: str = ""):  # type: ignore[no-untyped-def]
            for item in super().list(prefix):
                yield item
                yield from (replace(item, key=key) for key in (f".old/{NAME}", f"a//{NAME}", f"a\\{NAME}"))

    store = Strange()
    add(store, MADE)
    assert only(store).key == KEY
    assert keys(MemoryStore()) == set()


# The cache


def listed(store: Store, path: Path, by: HostSigners | None = None) -> Catalog:
    return CatalogReader(by or signers(), NOW, ObjectCache(path)).read(root_of(store))


def stocked() -> Watched:
    """Proven, unsigned, verified and unreadable archives."""
    store = Watched()
    for number in range(3):
        add(store, NOW - number * DAY)
    add_record(store, key_of(NOW), RecordKind.DAMAGED, NOW)
    add(store, NOW - 3 * DAY, sidecar=False)
    add(store, NOW - 4 * DAY, sidecar=False, data=sealed()[:-1])
    put(store, key_of(NOW - 4 * DAY) + ".json", b"junk")
    return store


def test_a_second_listing_reads_nothing_again(tmp_path: Path) -> None:
    store, path = stocked(), tmp_path / "cache" / "objects.sqlite"
    first = listed(store, path)
    store.reads.clear()
    assert listed(store, path).archives == first.archives == tuple(archives(store))
    before = store.reads.count(IDENTITY_KEY)
    store.reads.clear()
    listed(store, path)
    assert store.reads == [IDENTITY_KEY]
    assert before == 2
    key = add(store, NOW + HOUR)
    store.reads.clear()
    listed(store, path)
    assert store.reads == [IDENTITY_KEY, key + ".json"]


def test_a_cache_does_not_outlive_a_change_of_trust(tmp_path: Path) -> None:
    store, path = stocked(), tmp_path / "objects.sqlite"
    listed(store, path)
    assert not any(item.is_stated for item in listed(store, path, signers([])).archives)
    assert any(item.is_proven for item in listed(store, path, OWN).archives)


def test_an_entry_of_the_cache_that_somebody_changed_is_read_again(tmp_path: Path) -> None:
    store, path = Watched(), tmp_path / "objects.sqlite"
    add(store, MADE)
    listed(store, path)
    with sqlite3.connect(path) as connection:
        forged = sidecar_of(sealed(), KEY, etag=store.stat(KEY).etag, sign=STRANGER)
        connection.execute("UPDATE objects SET data = ? WHERE key = ?", (forged, KEY + ".json"))
    connection.close()
    store.reads.clear()
    assert listed(store, path).archives[0].standing is Standing.PROVEN
    assert store.reads == [IDENTITY_KEY, KEY + ".json"]


@pytest.mark.parametrize("content", [b"not a database" * 100, b""])
def test_a_cache_that_cannot_be_used_is_ignored(content: bytes, tmp_path: Path) -> None:
    store, path = stocked(), tmp_path / "objects.sqlite"
    path.write_bytes(content)
    assert listed(store, path).archives == tuple(archives(store))


def test_a_store_without_etags_is_not_cached(tmp_path: Path) -> None:
    store, path = Watched(etags=False), tmp_path / "objects.sqlite"
    add(store, MADE)
    listed(store, path)
    assert not path.exists()
