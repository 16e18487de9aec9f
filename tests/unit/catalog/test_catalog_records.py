"""What is remembered beside an archive, and what it makes of it."""

from __future__ import annotations

import json

import pytest
from support.catalogs import DAY, HOUR, NOW, Watched, add, sealed

from drunner_vault.catalog.catalog import Archive, archives
from drunner_vault.catalog.records import RecordKind, add_record, parse_record, try_record
from drunner_vault.errors import AlreadyExists, Unavailable
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.store import Store, put

VERIFIED, DAMAGED, SUSPECT, ACCEPTED = (
    RecordKind.VERIFIED,
    RecordKind.DAMAGED,
    RecordKind.SUSPECT,
    RecordKind.ACCEPTED,
)


def only(store: Store) -> Archive:
    (item,) = archives(store)
    return item


def test_a_record_is_known_by_its_name() -> None:
    store = Watched()
    key = add(store, NOW)
    record_key = add_record(store, key, DAMAGED, NOW, {"problem": "a flipped bit"})
    record = parse_record(record_key)
    assert record is not None
    assert (record.archive, record.kind, record.at, record.key) == (key, DAMAGED, NOW, record_key)
    said = json.loads(store.read(record_key, 0, 1000))
    assert (said["kind"], said["problem"], said["at"]) == ("damaged", "a flipped bit", NOW.isoformat())


@pytest.mark.parametrize(
    "name",
    [
        "a.tar.zst.age.json",
        "a.tar.zst.age.praised-20260101T000000Z.json",
        "a.tar.zst.age.verified-20260230T000000Z.json",
        "a.tar.zst.age.verified-20260101T000000Z",
        "a.age.verified-20260101T000000Z.json",
    ],
)
def test_what_is_no_record_is_not_taken_for_one(name: str) -> None:
    assert parse_record(name) is None


def test_the_last_record_of_each_kind_counts() -> None:
    store = Watched()
    key = add(store, NOW)
    for kind in (VERIFIED, SUSPECT, ACCEPTED):
        for hours in (1, 3, 2):
            add_record(store, key, kind, NOW + hours * HOUR, {})
    item = only(store)
    assert {item.verified, item.suspect, item.accepted} == {NOW + 3 * HOUR}
    assert item.damaged is None
    assert item.complete
    assert len(item.keys) == 11


def test_damage_counts_until_the_archive_is_proven_again() -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, VERIFIED, NOW, {})
    assert only(store).complete
    add_record(store, key, DAMAGED, NOW + HOUR, {})
    assert not only(store).complete
    assert "found damaged on 2026-03-01" in only(store).fault
    add_record(store, key, VERIFIED, NOW + HOUR, {})
    assert not only(store).complete, "of two in one second the worse counts"
    add_record(store, key, VERIFIED, NOW + 2 * HOUR, {})
    assert only(store).complete


def test_a_proof_counts_more_than_how_an_archive_without_sidecar_looks() -> None:
    store = Watched()
    key = add(store, NOW, data=sealed()[:-1], sidecar=False)
    assert not only(store).complete
    add_record(store, key, VERIFIED, NOW, {})
    assert only(store).complete


def test_no_proof_makes_up_for_an_archive_of_another_size_than_its_sidecar_says() -> None:
    store = Watched()
    key = add(store, NOW)
    store.delete(key)
    add(store, NOW, data=sealed() + b"x", sidecar=False)
    add_record(store, key, VERIFIED, NOW, {})
    assert not only(store).complete


def test_records_whose_archive_is_gone_are_shown_and_count_for_nothing() -> None:
    store = Watched()
    key = add(store, NOW)
    record = add_record(store, key, VERIFIED, NOW + DAY, {})
    for each in (key, key + ".json"):
        store.delete(each)
    item = only(store)
    assert (item.complete, item.fault, item.keys) == (False, "only records of it are here", (record,))
    assert item.group == ("there", "notes")


def test_a_record_is_never_changed() -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, VERIFIED, NOW, {"checked": "everything"})
    add_record(store, key, VERIFIED, NOW, {"checked": "everything"})
    with pytest.raises(AlreadyExists):
        add_record(store, key, VERIFIED, NOW, {"checked": "sidecar"})


def test_a_record_that_may_not_be_written_is_left_out_and_one_that_cannot_now_is_an_error() -> None:
    store = Watched()
    key = add(store, NOW)
    assert try_record(store, key, VERIFIED, NOW, {})
    assert not try_record(FaultyStore(store, Faults(1, Fault.REFUSED)), key, DAMAGED, NOW, {})
    with pytest.raises(Unavailable):
        try_record(FaultyStore(store, Faults(1, Fault.BEFORE)), key, DAMAGED, NOW, {})


@pytest.mark.parametrize(
    "document",
    [
        "[" * 100_000,
        '{"seconds": 1e400}',
        '{"seconds": NaN}',
        '{"seconds": 1' + "0" * 400 + "}",
        '{"seconds": -1}',
        "[1]",
    ],
    ids=["a bomb", "infinite", "not a number", "too large for a float", "negative", "a list"],
)
def test_a_record_that_others_have_made_up_does_not_disturb_the_listing(document: str) -> None:
    store = Watched()
    made = add(store, NOW)
    put(store, f"{made}.drilled-20260201T041500Z.json", document.encode())
    (found,) = archives(store)
    assert found.complete
    assert found.drilled
    assert found.drill_seconds is None
