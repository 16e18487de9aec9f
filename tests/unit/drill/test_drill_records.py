"""What drills have found of an archive, as listings show it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from click.testing import CliRunner
from support.catalogs import DAY, HOUR, NOW, Watched, add, add_record, catalog

from drunner_vault.catalog.archive import Archive
from drunner_vault.catalog.records import RecordKind, parse_record, split_record
from drunner_vault.cli.archives_command import _drilled
from drunner_vault.cli.program import program
from drunner_vault.signing import SigningKey
from drunner_vault.stores.store import Store, put

DRILLED, FAILED = RecordKind.DRILLED, RecordKind.DRILL_FAILED
LATER = NOW + 3 * DAY


def only(store: Store, now: dt.datetime = LATER) -> Archive:
    (item,) = catalog(store, now=now).archives
    return item


def test_an_archive_that_was_never_drilled_says_so() -> None:
    store = Watched()
    add(store, NOW)
    assert (only(store).drilled, only(store).drill_failed, only(store).drill_seconds) == (None, None, None)
    assert _drilled(only(store)) == "-"


def test_the_last_good_drill_says_how_long_it_took() -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, DRILLED, NOW + 2 * DAY, milliseconds=41_600)
    add_record(store, key, DRILLED, NOW + DAY, milliseconds=7_000)
    add_record(store, key, FAILED, NOW + HOUR, milliseconds=3_000, why="it did not start")
    assert (only(store).drilled, only(store).drill_seconds) == (NOW + 2 * DAY, 41.6)
    assert _drilled(only(store)) == f"{NOW + 2 * DAY:%Y-%m-%d}: 42 s"


def test_a_drill_that_failed_since_is_what_counts_and_the_archive_stays_complete() -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, DRILLED, NOW + DAY, milliseconds=7_000)
    add_record(store, key, FAILED, NOW + 2 * DAY)
    assert only(store).complete
    assert _drilled(only(store)) == f"failed {NOW + 2 * DAY:%Y-%m-%d}"


@pytest.mark.parametrize("milliseconds", ["long", -1, True, None, 10**15, [1]])
def test_a_record_whose_duration_is_not_valid_still_says_when(milliseconds: object) -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, DRILLED, NOW, milliseconds=milliseconds)
    assert (only(store).drilled, only(store).drill_seconds) == (NOW, None)
    assert _drilled(only(store)) == f"{NOW:%Y-%m-%d}"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"seconds": 7}', b"\xff"])
def test_a_record_that_is_not_valid_says_nothing(content: bytes) -> None:
    store = Watched()
    key = add(store, NOW)
    put(store, f"{key}.drilled-{NOW:%Y%m%dT%H%M%SZ}.json", content)
    assert (only(store).drilled, only(store).drill_seconds) == (None, None)


@pytest.mark.parametrize("sign", [None, SigningKey.generate()], ids=["unsigned", "stranger"])
def test_a_record_that_no_accepted_key_has_signed_says_nothing(sign: SigningKey | None) -> None:
    store = Watched()
    key = add(store, NOW)
    for kind in (DRILLED, FAILED):
        add_record(store, key, kind, NOW, sign=sign)
    assert (only(store).drilled, only(store).drill_failed) == (None, None)


def test_a_drill_of_another_archive_or_in_another_store_says_nothing() -> None:
    store = Watched()
    key = add(store, NOW)
    for number, change in enumerate(({"store": "6" * 32}, {"host": "other"}, {"sha256": "0" * 64}, {"size": 1})):
        at = NOW + number * HOUR
        add_record(store, key, DRILLED, at, change=lambda record, change=change: replace(record, **change))
    assert only(store).drilled is None


def test_a_good_drill_from_the_future_says_nothing_yet_and_a_failed_one_does() -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, DRILLED, NOW + DAY)
    add_record(store, key, FAILED, NOW + 2 * DAY)
    assert (only(store, NOW).drilled, only(store, NOW).drill_failed) == (None, NOW + 2 * DAY)
    assert only(store, LATER).drilled == NOW + DAY


def test_records_of_drills_go_with_their_archive() -> None:
    store = Watched()
    key = add(store, NOW)
    record = add_record(store, key, FAILED, NOW)
    assert record in only(store).keys
    assert parse_record(split_record(store.read(record, 0, 1 << 20)).line).kind is FAILED


@pytest.mark.parametrize("span", ["0", "x", "-1m", "10d", ""])
def test_a_timeout_that_is_none_is_refused(span: str) -> None:
    done = CliRunner().invoke(program, ["drill", "/nowhere", "--timeout", span])
    assert done.exit_code == 2  # of click's own; the program makes it 1
    assert "90s" in done.output
