"""Copying archives: what arrives is byte for byte what was sent, and what was broken off is finished later."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from support.catalogs import DAY, HOUR, NOW, Watched, add, clear, daily, key_of, keys, sealed, sidecar_of

from drunner_vault.catalog.catalog import archives
from drunner_vault.clock import Clock
from drunner_vault.errors import AlreadyExists, BadUsage, DamagedArchive, NotFound, StorageError
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.readonly import ReadOnlyStore
from drunner_vault.stores.sources import FileSource, PipeSource, StoredSource
from drunner_vault.stores.store import Store, put
from drunner_vault.workflows.archives.copy import CopyReport, Target, copy_archives, copy_one
from drunner_vault.workflows.progress import Silent

SCHEMA = json.loads((Path(__file__).parents[3] / "formats/schemas/sidecar.schema.json").read_text())


class Guard:
    """Remembers whose archives were on their way. now: whose are."""

    def __init__(self) -> None:
        self.held: list[tuple[str, str]] = []
        self.now: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def __call__(self, host: str, service: str) -> Iterator[None]:
        self.held.append((host, service))
        self.now = {(host, service)}
        yield
        self.now = set()


def copy(source: Store, target: Store, guard: Guard | None = None) -> CopyReport:
    to = Target(target, "here", guard or Guard())
    return copy_archives(ReadOnlyStore(source), archives(source), archives(target), to, Silent())


def content(store: Store) -> dict[str, bytes]:
    return {key: store.read(key, 0, 1 << 30) for key in keys(store)}


@pytest.fixture
def source() -> Watched:
    store = Watched()
    for moment in daily((2, 0, 1)):
        add(store, moment)
    add(store, NOW + HOUR, "wiki", "other", data=sealed(3_000_000))
    return store


def test_a_copy_is_the_same_byte_for_byte_and_the_oldest_comes_first(source: Watched) -> None:
    target, guard = MemoryStore(), Guard()
    report = copy(source, target, guard)
    assert content(target) == content(source)
    assert [item.archive.rpartition("/")[2][:14] for item in report.copied] == [
        "notes-20260227",
        "notes-20260228",
        "notes-20260301",
        "wiki-20260301T",
    ]
    assert all(item.new for item in report.copied)
    assert sum(item.bytes for item in report.copied) == sum(item.size for item in archives(target))
    assert guard.held == [("there", "notes")] * 3 + [("other", "wiki")]


def test_copies_are_locked_as_their_service_and_age_demand(source: Watched) -> None:
    target, asked = MemoryStore(clock=Clock(now=lambda: NOW)), []

    def lock(created: dt.datetime, earlier: Sequence[dt.datetime]) -> dt.datetime | None:
        asked.append((created, list(earlier)))
        return None if created < NOW - DAY else NOW + 7 * DAY

    to = Target(target, "here", Guard(), lock)
    copy_archives(ReadOnlyStore(source), archives(source), archives(target), to, Silent())
    days = [NOW - 2 * DAY, NOW - DAY, NOW]
    assert asked == [*((day, days[:number]) for number, day in enumerate(days)), (NOW + HOUR, [])]
    for key in keys(source):
        old = key.startswith(key_of(NOW - 2 * DAY))
        assert target.stat(key).locked_until == (None if old else NOW + 7 * DAY)
    single = MemoryStore(clock=Clock(now=lambda: NOW))
    copy_one(StoredSource(source, key_of(NOW), source.stat(key_of(NOW)).size), replace(to, store=single), Silent())
    assert asked[-1] == (NOW, [])
    assert {single.stat(key).locked_until for key in keys(single)} == {NOW + 7 * DAY}


def test_what_is_there_is_not_copied_again(source: Watched) -> None:
    target = MemoryStore()
    copy(source, target)
    source.reads.clear()
    assert copy(source, target) == CopyReport()
    assert not [key for key in source.reads if not key.endswith(".json")]


def test_only_complete_archives_are_copied() -> None:
    source, target = Watched(), MemoryStore()
    add(source, NOW, data=sealed()[:-1], sidecar=False)
    put(source, key_of(NOW - DAY) + ".json", b"{}")
    assert copy(source, target) == CopyReport()
    assert keys(target) == set()


@pytest.mark.parametrize("data", [sealed(), clear(), sealed(3_000_000)])
def test_an_archive_without_a_sidecar_gets_a_valid_one(data: bytes) -> None:
    source, target = Watched(), MemoryStore()
    key = key_of(NOW, host="", encrypted=data is not clear()).strip("/")
    put(source, key, data)
    copy(source, target)
    document = json.loads(target.read(f"here/{key}.json", 0, 1 << 20))
    Draft202012Validator(SCHEMA).validate(document)
    (item,) = archives(target)
    assert (item.complete, item.has_sidecar, item.group) == (True, True, ("here", "notes"))
    assert document["sha256"] == sidecar_of(data, item.name).sha256
    assert bool(document["recipients"]) == (data is not clear())
    assert target.read(f"here/{key}", 0, 1 << 30) == data


def test_an_archive_that_is_not_as_its_sidecar_says_leaves_nothing_and_does_not_stop_the_others() -> None:
    source, target = Watched(), MemoryStore()
    good = [add(source, NOW - DAY), add(source, NOW + HOUR)]
    bad = add(source, NOW, data=sealed()[:-1] + b"?", sidecar=False)
    put(source, bad + ".json", sidecar_of(sealed(), bad.rpartition("/")[2]).encode())
    report = copy(source, target)
    assert len(report.failed) == 1
    assert "is not what its sidecar says" in report.failed[0]
    assert bad in report.failed[0]
    assert {item.key for item in archives(target)} == set(good)
    assert not [key for key in keys(target) if key.startswith(bad)]
    assert list(target.leftovers()) == []


def test_a_copy_that_was_broken_off_before_its_sidecar_is_finished(source: Watched) -> None:
    target = Watched()
    for moment in (NOW, NOW - DAY):
        put(target, key_of(moment), sealed())
    report = copy(source, target)
    assert report.failed == []
    assert content(target) == content(source)
    assert sorted(item.new for item in report.copied) == [False, False, True, True]


def test_a_copy_of_an_archive_without_sidecar_that_was_broken_off_is_finished() -> None:
    source, target = Watched(), MemoryStore()
    key = add(source, NOW, sidecar=False)
    put(target, key, sealed())
    assert [item.new for item in copy(source, target).copied] == [False]
    assert archives(target)[0].has_sidecar


@pytest.mark.parametrize("there", [b"", sealed()[:-1], sealed()[:-1] + b"?", clear()])
def test_something_else_of_that_name_is_left_alone_and_does_not_stop_the_others(there: bytes) -> None:
    source, target = Watched(), MemoryStore()
    taken, free = add(source, NOW - DAY), add(source, NOW)
    put(target, taken, there)
    report = copy(source, target)
    assert [failure.split()[0] for failure in report.failed] == [taken]
    assert target.read(taken, 0, 1 << 30) == there
    assert keys(target) == {taken, free, free + ".json"}


def test_one_archive_in_two_places_is_copied_once() -> None:
    source, target = Watched(), MemoryStore()
    key = add(source, NOW)
    for suffix in ("", ".json"):
        put(source, f"old/{key}{suffix}", source.read(key + suffix, 0, 1 << 20))
    guard = Guard()
    assert len(copy(source, target, guard).copied) == len(guard.held) == 1
    assert keys(target) == {key, key + ".json"}


@pytest.mark.parametrize("host", ["../..", "a\nb", ".hidden"])
def test_a_host_that_a_sidecar_makes_up_leads_nowhere(host: str) -> None:
    source, target = Watched(), MemoryStore()
    name = key_of(NOW).rpartition("/")[2]
    put(source, name, sealed())
    put(source, name + ".json", sidecar_of(sealed(), name, host).encode())
    good = add(source, NOW - DAY)
    report = copy(source, target)
    assert len(report.failed) == 1
    assert keys(target) == {good, good + ".json"}


@pytest.mark.parametrize("side", ["source", "target"])
def test_whichever_call_fails_nothing_half_counts_and_the_next_copy_finishes(side: str) -> None:
    def stock() -> Watched:
        store = Watched()
        add(store, NOW)
        add(store, NOW - DAY, sidecar=False)
        return store

    def attempt(source: Store, target: Store, faults: Faults) -> CopyReport:
        if side == "source":
            return copy(FaultyStore(source, faults), target)
        return copy(source, FaultyStore(target, faults))

    counting, whole = Faults(), MemoryStore()
    attempt(stock(), whole, counting)
    cases = 0
    for fault in Fault:
        for number in range(1, counting.calls + 1):
            source, target = stock(), MemoryStore()
            with contextlib.suppress(StorageError):
                attempt(source, target, Faults(number, fault))
            for item in archives(target):
                assert item.complete
                assert target.read(item.key, 0, 1 << 20) == sealed()
            assert copy(source, target).failed == []
            assert content(target) == content(whole)
            cases += 1
    assert cases == counting.calls * len(Fault) > 50


def one(source: FileSource | StoredSource | PipeSource, target: Store) -> CopyReport:
    return copy_one(source, Target(target, "here", Guard()), Silent())


def test_a_single_archive_goes_under_its_own_host_or_the_one_that_is_said(tmp_path: Path) -> None:
    target = MemoryStore()
    path = tmp_path / key_of(NOW).rpartition("/")[2]
    path.write_bytes(sealed())
    assert len(one(FileSource(path), target).copied) == 1
    path.with_name(path.name + ".json").write_bytes(sidecar_of(sealed(), path.name, "its-own").encode())
    assert len(one(FileSource(path), target).copied) == 1
    assert {item.group for item in archives(target)} == {("here", "notes"), ("its-own", "notes")}


def test_a_single_archive_that_is_there_is_not_copied_again() -> None:
    source, target = Watched(), Watched()
    key = add(source, NOW)
    single = StoredSource(source, key, len(sealed()))
    assert len(one(single, target).copied) == 1
    target.reads.clear()
    assert one(single, target) == CopyReport()
    assert key not in target.reads
    target.delete(key + ".json")
    assert [item.new for item in one(single, target).copied] == [False]
    assert content(target) == content(source)
    put(target, "x", b"")
    other = Watched()
    put(other, key, sealed()[:-1] + b"?")
    with pytest.raises(AlreadyExists):
        one(single, other)


@pytest.mark.parametrize("data", [sealed()[:-1], clear()[:-1], b"", b"rubbish"])
def test_a_single_archive_that_is_cut_is_not_made_to_look_whole(data: bytes) -> None:
    source, target = Watched(), MemoryStore()
    key = key_of(NOW)
    put(source, key, data)
    with pytest.raises(DamagedArchive, match="is not copied"):
        one(StoredSource(source, key, len(data)), target)
    assert keys(target) == set()


@pytest.mark.parametrize("name", ["n.backup", "notes.tar.zst.age", "notes-20260230T000000Z.tar.zst.age"])
def test_a_single_archive_of_another_name_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(sealed())
    with pytest.raises(BadUsage, match="is not named like an archive"):
        one(FileSource(tmp_path / name), MemoryStore())


def test_what_is_not_there_is_said_not_to_be(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        one(FileSource(tmp_path / "nothing"), MemoryStore())


def test_a_pipe_has_no_name_to_store_it_under() -> None:
    with pytest.raises(BadUsage):
        one(PipeSource(), MemoryStore())
