"""What drills have found of an archive, as listings show it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.catalogs import DAY, HOUR, NOW, Watched, add

from drunner_vault.catalog.catalog import Archive, archives
from drunner_vault.catalog.records import RecordKind, add_record
from drunner_vault.cli.archives_command import _drilled
from drunner_vault.cli.program import program
from drunner_vault.stores.store import Store, put

DRILLED, FAILED = RecordKind.DRILLED, RecordKind.DRILL_FAILED


def only(store: Store) -> Archive:
    (item,) = archives(store)
    return item


def test_an_archive_that_was_never_drilled_says_so() -> None:
    store = Watched()
    add(store, NOW)
    assert (only(store).drilled, only(store).drill_failed, only(store).drill_seconds) == (None, None, None)
    assert _drilled(only(store)) == "-"


def test_the_last_good_drill_says_how_long_it_took() -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, DRILLED, NOW + 2 * DAY, {"seconds": 41.6})
    add_record(store, key, DRILLED, NOW + DAY, {"seconds": 7})
    add_record(store, key, FAILED, NOW + HOUR, {"seconds": 3, "why": "it did not start"})
    assert (only(store).drilled, only(store).drill_seconds) == (NOW + 2 * DAY, 41.6)
    assert _drilled(only(store)) == f"{NOW + 2 * DAY:%Y-%m-%d}: 42 s"


def test_a_drill_that_failed_since_is_what_counts_and_the_archive_stays_complete() -> None:
    store = Watched()
    key = add(store, NOW)
    add_record(store, key, DRILLED, NOW + DAY, {"seconds": 7})
    add_record(store, key, FAILED, NOW + 2 * DAY, {})
    assert only(store).complete
    assert _drilled(only(store)) == f"failed {NOW + 2 * DAY:%Y-%m-%d}"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"seconds": "long"}', b"\xff"])
def test_a_record_that_makes_no_sense_still_says_when(content: bytes) -> None:
    store = Watched()
    key = add(store, NOW)
    put(store, f"{key}.drilled-{NOW:%Y%m%dT%H%M%SZ}.json", content)
    assert (only(store).drilled, only(store).drill_seconds) == (NOW, None)
    assert _drilled(only(store)) == f"{NOW:%Y-%m-%d}"


def test_records_of_drills_go_with_their_archive() -> None:
    store = Watched()
    key = add(store, NOW)
    record = add_record(store, key, FAILED, NOW, {})
    assert record in only(store).keys
    assert json.loads(store.read(record, 0, 1000))["kind"] == "drillfailed"


@pytest.mark.parametrize("span", ["0", "x", "-1m", "10d", ""])
def test_a_timeout_that_is_none_is_refused(span: str) -> None:
    done = CliRunner().invoke(program, ["drill", "/nowhere", "--timeout", span])
    assert done.exit_code == 2  # of click's own; the program makes it 1
    assert "90s" in done.output
