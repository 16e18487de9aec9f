"""Records: which of them count, and what they say about an archive."""

from __future__ import annotations

import datetime as dt
import json
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
    STORE_ID,
    Hands,
    Watched,
    add,
    add_record,
    archives,
    catalog,
    head_of,
    key_of,
    sealed,
    sidecar_of,
    signers,
    trusting,
)

from drunner_vault.archive.statements import make_statement
from drunner_vault.catalog import records
from drunner_vault.catalog.archive import Archive, Standing
from drunner_vault.catalog.records import (
    FORMAT,
    Record,
    RecordKind,
    parse_record,
    parse_record_name,
    split_record,
    state_record,
    try_record,
)
from drunner_vault.clock import stamp
from drunner_vault.errors import AlreadyExists, DamagedArchive, Unavailable
from drunner_vault.signing import SigningKey, parse_allowed_signer, retired_line
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.store import Store, put

VERIFIED, DAMAGED, SUSPECT, ACCEPTED, DRILLED = (
    RecordKind.VERIFIED,
    RecordKind.DAMAGED,
    RecordKind.SUSPECT,
    RecordKind.ACCEPTED,
    RecordKind.DRILLED,
)
MOST = 16  # records of a kind that are read
STRANGER = SigningKey.generate()
Change = Callable[[Record], Record]


def only(store: Store) -> Archive:
    (item,) = archives(store)
    return item


def record_of(kind: RecordKind, at: dt.datetime, **details: object) -> Record:
    """A record about the archive that `add(store, NOW)` makes."""
    head = head_of(sealed(), key_of(NOW))
    return Record(
        kind=kind,
        archive=head.archive,
        host=head.host,
        workload=head.workload,
        size=head.size,
        sha256=head.sha256,
        store=STORE_ID,
        etag="",
        at=at,
        details=details,
    )


def test_a_record_is_known_by_its_name_and_states_what_it_is_about() -> None:
    store = Watched()
    key = add(store, NOW)
    written = add_record(store, key, DAMAGED, NOW, problem="a flipped bit")
    name = parse_record_name(written)
    assert name is not None
    assert (name.archive, name.kind, name.at, name.key) == (key, DAMAGED, NOW, written)
    statement = split_record(store.read(written, 0, 1000))
    assert statement.signer() == HOST_KEY.public()
    record, head = parse_record(statement.line), head_of(sealed(), key)
    assert (record.kind, record.at, record.details) == (DAMAGED, NOW, {"problem": "a flipped bit"})
    assert (record.archive, record.host, record.workload) == (head.archive, "there", "notes")
    assert (record.size, record.sha256, record.store) == (head.size, head.sha256, STORE_ID)
    assert record.etag == store.stat(key).etag


@pytest.mark.parametrize(
    "name",
    [
        "a.tar.zst.age.json",
        "a.tar.zst.age.praised-20260101T000000Z.json",
        "a.tar.zst.age.verified-20260230T000000Z.json",
        "a.tar.zst.age.verified-20260101T000000Z",
        "a.age.verified-20260101T000000Z.json",
        "a.tar.zst.age.signed-20260101T000000Z.json",
    ],
)
def test_other_names_are_not_those_of_records(name: str) -> None:
    assert parse_record_name(name) is None


def test_the_last_record_of_each_kind_counts() -> None:
    store = Watched()
    key = add(store, NOW)
    for kind in (VERIFIED, SUSPECT, ACCEPTED):
        for hours in (1, 3, 2):
            add_record(store, key, kind, NOW - hours * HOUR)
    item = only(store)
    assert {item.verified, item.suspect, item.accepted} == {NOW - HOUR}
    assert item.damaged is None
    assert item.complete
    assert len(item.keys) == 11


def test_damage_counts_until_the_archive_is_verified_again() -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, VERIFIED, NOW - 3 * HOUR)
    assert only(store).complete
    add_record(store, key, DAMAGED, NOW - 2 * HOUR)
    assert not only(store).complete
    assert only(store).standing is Standing.PROVEN
    assert "found damaged on 2026-03-01" in only(store).fault
    add_record(store, key, VERIFIED, NOW - 2 * HOUR)
    assert not only(store).complete, "of two in one second the worse counts"
    add_record(store, key, VERIFIED, NOW - HOUR)
    assert only(store).complete


def test_good_news_from_the_future_does_not_count_and_bad_news_does() -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, DAMAGED, NOW - HOUR)
    add_record(store, key, VERIFIED, NOW + 1400 * DAY)
    add_record(store, key, ACCEPTED, NOW + HOUR)
    add_record(store, key, SUSPECT, NOW + HOUR)
    item = only(store)
    assert (item.verified, item.accepted, item.damaged, item.suspect) == (None, None, NOW - HOUR, NOW + HOUR)
    assert not item.complete


# What does not count


FORGED: dict[str, tuple[SigningKey | None, Change]] = {
    "unsigned": (None, lambda record: record),
    "by a stranger": (STRANGER, lambda record: record),
    "about another archive": (HOST_KEY, lambda record: replace(record, archive=key_of(NOW - DAY).rpartition("/")[2])),
    "about another host": (HOST_KEY, lambda record: replace(record, host="other")),
    "about another service": (HOST_KEY, lambda record: replace(record, workload="wiki")),
    "about another size": (HOST_KEY, lambda record: replace(record, size=record.size + 1)),
    "about other bytes": (HOST_KEY, lambda record: replace(record, sha256="0" * 64)),
    "about another store": (HOST_KEY, lambda record: replace(record, store="6" * 32)),
    "about no store": (HOST_KEY, lambda record: replace(record, store="")),
    "of another kind than its name says": (HOST_KEY, lambda record: replace(record, kind=RecordKind.REHEARSED)),
    "of another time than its name says": (HOST_KEY, lambda record: replace(record, at=record.at - DAY)),
}


@pytest.mark.parametrize("kind", [VERIFIED, DAMAGED, SUSPECT, ACCEPTED, DRILLED, RecordKind.DRILL_FAILED])
@pytest.mark.parametrize("why", FORGED)
def test_a_record_that_nobody_accepted_has_signed_about_this_archive_counts_for_nothing(
    why: str, kind: RecordKind
) -> None:
    sign, change = FORGED[why]
    store = Watched()
    key = add(store, NOW)
    before = only(store)
    add_record(store, key, kind, NOW - HOUR, sign=sign, change=change, milliseconds=1000)
    after = only(store)
    assert replace(after, objects=before.objects) == before
    assert catalog(store).frozen == {}


@pytest.mark.parametrize("kind", RecordKind)
def test_a_genuine_record_counts_for_nothing_beside_another_archive(kind: RecordKind) -> None:
    store = Watched()
    key, other = add(store, NOW), add(store, NOW - DAY)
    before = {item.key: item for item in archives(store)}[other]
    data = store.read(add_record(store, key, kind, NOW), 0, 1 << 20)
    put(store, f"{other}.{kind.value}-{stamp(NOW)}.json", data)
    after = {item.key: item for item in archives(store)}[other]
    assert replace(after, objects=before.objects) == before


@pytest.mark.parametrize(
    ("kind", "counts"),
    [(VERIFIED, False), (ACCEPTED, False), (DRILLED, False), (DAMAGED, True), (SUSPECT, True)],
)
def test_good_news_is_about_the_object_that_is_there_now(kind: RecordKind, counts: bool) -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, kind, NOW)
    store.overwrite(key, sealed())
    item = only(store)
    assert item.standing is Standing.OVERWRITTEN
    assert bool(item.verified or item.accepted or item.drilled or item.damaged or item.suspect) == counts


def test_an_overwritten_archive_that_was_verified_since_is_proven() -> None:
    store = Watched()
    key = add(store, NOW)
    store.overwrite(key, sealed())
    add_record(store, key, VERIFIED, NOW)
    assert (only(store).standing, only(store).complete) == (Standing.PROVEN, True)


def test_no_record_helps_an_archive_of_another_size_than_its_sidecar_says() -> None:
    store = Watched()
    key = key_of(NOW)
    add(store, NOW, data=sealed() + b"x", sidecar=False)
    put(store, key + ".json", sidecar_of(sealed(), key, etag=store.stat(key).etag))
    add_record(store, key, VERIFIED, NOW, change=lambda _: replace(record_of(VERIFIED, NOW), etag=store.stat(key).etag))
    item = only(store)
    assert item.verified == NOW
    assert (item.standing, item.complete) == (Standing.OVERWRITTEN, False)


@pytest.mark.parametrize("sidecar", ["none", "unsigned"])
def test_records_about_an_archive_that_is_not_signed_count_for_nothing(sidecar: str) -> None:
    store = Watched()
    key = add(store, NOW, sidecar=sidecar == "unsigned", sign=None)
    add_record(store, key, VERIFIED, NOW)
    add_record(store, key, DAMAGED, NOW)
    item = only(store)
    assert (item.standing, item.verified, item.damaged, item.complete) == (Standing.UNSIGNED, None, None, True)


def test_a_record_of_a_retired_key_counts_if_it_appeared_before() -> None:
    hands, new = Hands(NOW - 2 * DAY), SigningKey.generate()
    store = Watched(hands.clock)
    key = add(store, NOW - 3 * DAY)
    add_record(store, key, DAMAGED, NOW - 2 * DAY)
    hands.moment = NOW
    add_record(store, key, VERIFIED, NOW - HOUR)
    line = retired_line(HOST_KEY.public().allowed_line(HOST), NOW - DAY)
    (item,) = archives(store, by=signers([parse_allowed_signer(line), *trusting((new, HOST))]))
    assert (item.damaged, item.verified) == (NOW - 2 * DAY, None)
    (item,) = archives(store)
    assert (item.damaged, item.verified) == (NOW - 2 * DAY, NOW - HOUR)


# Too many records


@pytest.mark.parametrize("kind", [DAMAGED, SUSPECT])
def test_an_accepted_record_is_found_among_fewer_than_16_newer_ones(kind: RecordKind) -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, kind, NOW - HOUR)
    for number in range(MOST - 1):
        add_record(store, key, kind, NOW + number * HOUR, sign=STRANGER)
    assert NOW - HOUR in (only(store).damaged, only(store).suspect)
    assert catalog(store).frozen == {}


@pytest.mark.parametrize(("kind", "freezes"), [(DAMAGED, True), (SUSPECT, True), (VERIFIED, False), (ACCEPTED, False)])
def test_a_record_that_could_be_hidden_freezes_its_directory(kind: RecordKind, freezes: bool) -> None:
    store = Watched()
    key = add(store, NOW)
    add(store, NOW, "wiki")
    add_record(store, key, kind, NOW - 100 * HOUR)
    for number in range(MOST):
        add_record(store, key, kind, NOW - number * HOUR, sign=STRANGER)
    frozen = catalog(store).frozen
    assert set(frozen) == ({("there", "notes")} if freezes else set())
    assert not freezes or f"the newest `{kind.value}` records of {key.rpartition('/')[2]}" in frozen["there", "notes"]


# How records are written and read


def test_records_whose_archive_is_gone_are_shown_and_count_for_nothing() -> None:
    store = Watched()
    key = add(store, NOW)
    record = add_record(store, key, VERIFIED, NOW)
    for each in (key, key + ".json"):
        store.delete(each)
    item = only(store)
    assert (item.complete, item.fault, item.keys) == (False, "only records of it are here", (record,))
    assert item.group == ("there", "notes")


def test_a_record_is_never_changed() -> None:
    store = Watched()
    key = add(store, NOW)
    record = record_of(VERIFIED, NOW, checked="everything")
    written = records.add_record(store, key, record, HOST_KEY.sign)
    assert records.add_record(store, key, record, HOST_KEY.sign) == written
    with pytest.raises(AlreadyExists):
        records.add_record(store, key, replace(record, details={"checked": "sidecar"}), HOST_KEY.sign)


def test_a_record_that_may_not_be_written_is_left_out_and_one_that_cannot_be_now_is_an_error() -> None:
    store = Watched()
    key = add(store, NOW)
    assert try_record(store, key, record_of(VERIFIED, NOW), HOST_KEY.sign)
    refused, unavailable = (FaultyStore(store, Faults(1, fault)) for fault in (Fault.REFUSED, Fault.BEFORE))
    assert not try_record(refused, key, record_of(DAMAGED, NOW), HOST_KEY.sign)
    with pytest.raises(Unavailable):
        try_record(unavailable, key, record_of(DAMAGED, NOW), HOST_KEY.sign)


def test_details_cannot_replace_what_a_record_is_about() -> None:
    details = {"kind": "damaged", "sha256": "0" * 64, "checked": "ends"}
    record = replace(record_of(VERIFIED, NOW), details=details)
    stated = parse_record(state_record(record, HOST_KEY.sign).line)
    assert (stated.kind, stated.sha256, stated.details) == (VERIFIED, record.sha256, {"checked": "ends"})


def test_a_record_with_a_third_line_is_refused() -> None:
    data = state_record(record_of(VERIFIED, NOW), HOST_KEY.sign).encode()
    assert split_record(data).line
    for more in (b"\n", b"{}\n", b"x"):
        with pytest.raises(DamagedArchive):
            split_record(data + more)


@pytest.mark.parametrize(
    "milliseconds",
    [10**400, 10**13, -1, True, "1000", None, [1]],
    ids=["400 digits", "300 years", "negative", "a flag", "text", "null", "a list"],
)
def test_a_drill_of_an_impossible_length_has_no_length(milliseconds: object) -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, DRILLED, NOW - HOUR, milliseconds=milliseconds)
    assert (only(store).drilled, only(store).drill_seconds) == (NOW - HOUR, None)


def test_how_long_a_drill_took_is_listed() -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, DRILLED, NOW - HOUR, milliseconds=1500)
    assert only(store).drill_seconds == 1.5


def version_1(kind: str) -> bytes:
    return json.dumps({"format": FORMAT, "version": 1, "kind": kind, "at": NOW.isoformat()}).encode()


MADE_UP = {
    "nested too deeply": b"[" * 100_000,
    "nested too deeply in a line": b'{"format":"drunner-vault-record","version":2,"x":' + b"[" * 60_000 + b"\n{}\n",
    "infinite": b'{"seconds": 1e400}',
    "a list": b"[1]\n[1]\n",
    "empty": b"",
    "not text": bytes(range(256)),
    "version 1": version_1("damaged"),
    "a later version": make_statement(FORMAT, 3, {"kind": "damaged"}, HOST_KEY.sign).encode(),
    "another document": make_statement("drunner-vault-place", 1, {"kind": "damaged"}, HOST_KEY.sign).encode(),
    "too long": state_record(record_of(DAMAGED, NOW), HOST_KEY.sign).encode() + b" " * (200 << 10),
}


@pytest.mark.parametrize("why", MADE_UP)
@pytest.mark.parametrize("kind", [DAMAGED, DRILLED])
def test_a_document_that_is_not_a_record_does_not_disturb_the_listing(
    why: str, kind: RecordKind, tmp_path: Path
) -> None:
    for store in (Watched(), LocalStore(tmp_path)):
        key = add(store, NOW)
        put(store, f"{key}.{kind.value}-{stamp(NOW)}.json", MADE_UP[why])
        item = only(store)
        assert (item.standing, item.complete, item.damaged, item.drilled) == (Standing.PROVEN, True, None, None)
