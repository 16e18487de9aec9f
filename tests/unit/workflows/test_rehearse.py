"""Rehearsing recovery: whether what is offered opens the newest archive of every service."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.archives import make, some_files
from support.catalogs import (
    DAY,
    HOST,
    HOST_KEY,
    HOUR,
    IDENTITY,
    NOW,
    NoLocks,
    Watched,
    add,
    add_record,
    catalog,
    clear,
    key_of,
    keys,
    sealed,
)

from drunner_vault.age import HybridIdentity, Identity, ScryptIdentity, ScryptRecipient, X25519Identity
from drunner_vault.archive import WriterOptions
from drunner_vault.catalog.catalog import Catalog
from drunner_vault.catalog.records import RecordKind, parse_record, split_record
from drunner_vault.clock import Clock
from drunner_vault.errors import NoKey, Unavailable
from drunner_vault.signing import SigningKey
from drunner_vault.stores.faulty import Faults, FaultyStore
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.readonly import ReadOnlyStore
from drunner_vault.stores.store import Store, put
from drunner_vault.workflows.progress import Silent
from drunner_vault.workflows.recovery.rehearse import SHOWN, Rehearsal, RehearsalReport, Wanted, rehearse
from drunner_vault.workflows.trust import Trust

CLOCK = Clock(now=lambda: NOW)
MINE = str(IDENTITY.recipient())[:SHOWN]


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    """A host that trusts the signer of the archives."""
    trust = Trust(tmp_path / "etc", "here")
    for host in (HOST, "elsewhere"):
        trust.add(HOST_KEY.public().allowed_line(host))
    return trust


def listed(store: Store, trust: Trust) -> Catalog:
    return catalog(store, by=trust.host_signers(NOW))


def tried(
    store: Store, trust: Trust, offered: Sequence[Identity] = (IDENTITY,), *, full: bool = False, **wanted: object
) -> RehearsalReport:
    found = listed(store, trust)
    return rehearse(found, Wanted(**wanted), offered, trust, CLOCK, Silent(), full=full)  # type: ignore[arg-type]


def only(report: RehearsalReport) -> Rehearsal:
    (item,) = report.services
    return item


def spoil(store: Watched, created: dt.datetime, at: int) -> None:
    """One flipped bit in the archive of that moment, which keeps its size."""
    key = key_of(created)
    data = bytearray(store.read(key, 0, 1 << 30))
    data[at] ^= 1
    store.delete(key)
    put(store, key, bytes(data))


def test_the_newest_of_every_service_is_opened_and_only_that(trust: Trust) -> None:
    store = Watched()
    for days in range(3):
        add(store, NOW - days * DAY)
    add(store, NOW - DAY, "wiki", "elsewhere")
    report = tried(store, trust)
    assert [(item.host, item.service, item.archive) for item in report.services] == [
        ("elsewhere", "wiki", key_of(NOW - DAY, "wiki", "elsewhere")),
        ("there", "notes", key_of(NOW)),
    ]
    assert not report.failed
    assert all((item.checked, item.by, item.recorded) == ("index", (MINE,), True) for item in report.services)
    assert {item.key for item in listed(store, trust).archives if item.rehearsed} == {
        item.archive for item in report.services
    }


def test_what_was_opened_and_by_which_key_stands_beside_the_archive(trust: Trust) -> None:
    store = NoLocks()
    key = add(store, NOW)
    tried(store, trust)
    (record,) = keys(store) - {key, f"{key}.json"}
    statement = split_record(store.read(record, 0, 1 << 20))
    said = parse_record(statement.line)
    assert (said.kind, said.details) == (RecordKind.REHEARSED, {"checked": "index", "by": [MINE]})
    assert statement.signer() == trust.signing_key().public()


def test_a_key_that_opens_nothing_fails_every_service_and_changes_nothing(trust: Trust) -> None:
    store = Watched()
    add(store, NOW)
    add(store, NOW, "wiki")
    before = keys(store)
    report = tried(store, trust, [X25519Identity.generate()])
    assert [item.service for item in report.failed] == ["notes", "wiki"]
    assert all("none of the identities given fits" in item.problem for item in report.failed)
    assert len(report.idle) == 1
    assert keys(store) == before


def test_one_service_that_does_not_open_keeps_no_other_from_being_tried(trust: Trust) -> None:
    store, other = Watched(), X25519Identity.generate()
    add(store, NOW, "aaa", data=make(some_files(3), recipients=[other.recipient()]))
    add(store, NOW)
    report = tried(store, trust)
    assert [(item.service, bool(item.problem)) for item in report.services] == [("aaa", True), ("notes", False)]
    both = tried(store, trust, [IDENTITY, other])
    assert not both.failed
    assert both.idle == []
    assert [item.by for item in both.services] == [(str(other.recipient())[:SHOWN],), (MINE,)]


def test_after_a_change_of_keys_the_old_one_alone_is_not_enough_and_the_new_one_is(trust: Trust) -> None:
    store, new = Watched(), HybridIdentity.generate()
    add(store, NOW - DAY)
    add(store, NOW, data=make(some_files(3), recipients=[new.recipient()]))
    assert tried(store, trust).failed
    report = tried(store, trust, [IDENTITY, new])
    assert not report.failed
    assert report.idle == [MINE]  # the newest is what counts; older ones still open with it


@pytest.mark.parametrize("full", [False, True])
def test_a_passphrase_is_rehearsed_like_a_key(trust: Trust, full: bool) -> None:
    store = Watched()
    add(store, NOW, data=make(some_files(3), recipients=[ScryptRecipient("words", 10)]))
    assert only(tried(store, trust, [ScryptIdentity("words")], full=full)).problem == ""
    assert "passphrase" in only(tried(store, trust, [ScryptIdentity("others")], full=full)).problem


def test_without_any_key_there_is_nothing_to_rehearse_unless_all_is_in_the_clear(trust: Trust) -> None:
    store = Watched()
    add(store, NOW, "open", data=clear())
    item = only(tried(store, trust, []))
    assert (item.encrypted, item.by, item.problem, item.checked) == (False, (), "", "index")
    add(store, NOW)
    with pytest.raises(NoKey, match="no identity"):
        tried(store, trust, [])


@pytest.mark.parametrize("place", ["head", "tail"])
def test_what_is_damaged_where_recovery_begins_is_found(trust: Trust, place: str) -> None:
    store = Watched()
    add(store, NOW)
    spoil(store, NOW, len(sealed()) // 3 if place == "head" else len(sealed()) - 40)
    assert only(tried(store, trust)).problem


def test_damage_in_the_middle_is_found_by_reading_all_and_remembered(trust: Trust) -> None:
    store = Watched(etags=False)
    add(store, NOW, data=sealed(3_000_000))
    spoil(store, NOW, len(sealed(3_000_000)) // 2)
    assert only(tried(store, trust)).problem == ""
    assert only(tried(store, trust, full=True)).problem
    assert listed(store, trust).archives[0].damaged == NOW


def test_reading_all_of_it_counts_as_verifying(trust: Trust) -> None:
    store = Watched()
    add(store, NOW)
    assert only(tried(store, trust, full=True)).checked == "everything"
    (item,) = listed(store, trust).archives
    assert (item.verified, item.rehearsed) == (NOW, NOW)


def test_little_of_a_large_archive_is_read(trust: Trust) -> None:
    store = Watched()
    add(store, NOW, data=sealed(5_000_000))
    store.fetched = 0
    assert not tried(store, trust).failed
    assert store.fetched < 1_000_000


def test_what_is_newer_and_does_not_count_is_passed_over_and_that_is_said(trust: Trust) -> None:
    store = Watched()
    add(store, NOW - DAY)
    cut = add(store, NOW - 3 * HOUR, data=sealed()[:-1], sidecar=False)
    unsigned = add(store, NOW - 2 * HOUR, sign=None)
    stranger = add(store, NOW - HOUR, sign=SigningKey.generate())
    damaged = add(store, NOW)
    add_record(store, damaged, RecordKind.DAMAGED, NOW)
    item = only(tried(store, trust))
    assert (item.archive, item.problem) == (key_of(NOW - DAY), "")
    said = dict(text.split(": ", 1) for text in item.passed_over)
    assert said.keys() == {key.rpartition("/")[2] for key in (cut, unsigned, stranger, damaged)}
    assert [said[key.rpartition("/")[2]].partition(" by ")[0] for key in (cut, unsigned, stranger, damaged)] == [
        "it is cut short: no finished archive has this size",
        "its sidecar is not signed",
        "it is signed",
        f"it was found damaged on {NOW:%Y-%m-%d}",
    ]


def test_a_service_none_of_whose_archives_is_complete_would_not_come_back(trust: Trust) -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, RecordKind.DAMAGED, NOW)
    assert only(tried(store, trust)).problem.startswith("none of the archives of there/notes is complete")


@pytest.mark.parametrize("sign", [None, SigningKey.generate()], ids=["unsigned", "stranger"])
def test_a_service_of_which_no_accepted_key_has_signed_anything_would_not_come_back(
    trust: Trust, sign: SigningKey | None
) -> None:
    store = Watched()
    key = add(store, NOW, sign=sign)
    item = only(tried(store, trust))
    signer = sign.public().fingerprint if sign else "nobody"
    assert "no accepted key has signed an archive of there/notes" in item.problem
    assert f"{key} by {signer}" in item.problem
    assert "key trust" in item.hint
    assert keys(store) == {key, f"{key}.json"}


def test_an_archive_from_the_future_is_passed_over_and_that_is_said(trust: Trust) -> None:
    store = Watched()
    add(store, NOW)
    ahead = add(store, NOW + 9 * DAY)
    item = only(tried(store, trust))
    assert item.archive == key_of(NOW)
    assert item.passed_over == (f"{ahead.rpartition('/')[2]}: it was made in the future",)


def test_a_service_that_has_no_archive_is_a_failure_and_so_is_an_empty_store(trust: Trust) -> None:
    store = Watched()
    assert only(tried(store, trust)).problem.startswith("there is no archive")
    add(store, NOW)
    report = tried(store, trust, services=("notes", "wiki", "w*"))
    assert [(item.service, bool(item.problem)) for item in report.services] == [("notes", False), ("wiki", True)]
    assert only(tried(store, trust, host="nowhere")).problem == f"there is no archive of host nowhere in {store.name}"


def test_services_are_chosen_by_names_patterns_and_host(trust: Trust) -> None:
    store = Watched()
    for service in ("notes", "wiki", "wiki2"):
        add(store, NOW, service)
    add(store, NOW, "wiki", "elsewhere")
    report = tried(store, trust, services=("wiki*",), exclude=("wiki2",), host="there")
    assert [(item.host, item.service) for item in report.services] == [("there", "wiki")]


def test_who_signed_is_told_and_a_signature_of_something_else_is_a_failure(trust: Trust) -> None:
    store, own = Watched(), trust.signing_key()
    signed = make(some_files(3), recipients=[IDENTITY.recipient()], options=WriterOptions(threads=1, sign=own.sign))
    add(store, NOW, data=signed)
    item = only(tried(store, trust))
    assert item.trusted
    assert own.public().fingerprint in item.sender
    wrong = WriterOptions(threads=1, sign=lambda _root: own.sign(b"another root"))
    add(store, NOW + HOUR, data=make(some_files(3), recipients=[IDENTITY.recipient()], options=wrong))
    assert "signature" in only(tried(store, trust)).problem


def test_where_nothing_may_be_written_the_rehearsal_counts_all_the_same(trust: Trust) -> None:
    store = Watched()
    add(store, NOW)
    item = only(tried(ReadOnlyStore(store), trust))
    assert (item.problem, item.recorded) == ("", False)


def test_whatever_call_to_a_store_fails_a_rehearsal_never_says_that_all_is_well_unless_it_is(trust: Trust) -> None:
    counting = Faults()
    tried(_faulty(counting), trust)
    outcomes = []
    for number in range(1, counting.calls + 1):
        try:
            item = only(tried(_faulty(Faults(number)), trust))
        except Unavailable:
            outcomes.append("not listed")
            continue
        outcomes.append("not opened" if item.problem else "recorded" if item.recorded else "not recorded")
    assert sorted(set(outcomes), key=outcomes.index) == ["not listed", "not opened", "not recorded"]


def _faulty(faults: Faults) -> FaultyStore:
    inner = Watched()
    add(inner, NOW)
    return FaultyStore(inner, faults)


def test_a_directory_is_rehearsed_like_any_store(trust: Trust, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = LocalStore(tmp_path / "store")
    add(store, NOW)
    assert only(tried(store, trust)).recorded
    assert listed(store, trust).archives[0].rehearsed == NOW
