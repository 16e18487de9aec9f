"""Copying archives: what arrives is byte for byte what was sent, and an interrupted copy is finished later."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.catalogs import (
    DAY,
    HOST,
    HOST_KEY,
    HOUR,
    NOW,
    Watched,
    add,
    add_record,
    archives,
    catalog,
    clear,
    daily,
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

from drunner_vault.archive import parse_sidecar
from drunner_vault.catalog.archive import Archive, Standing
from drunner_vault.catalog.catalog import CatalogReader
from drunner_vault.catalog.records import RecordKind
from drunner_vault.clock import Clock
from drunner_vault.errors import AlreadyExists, BadUsage, DamagedArchive, NotFound, StorageError
from drunner_vault.signing import SigningKey
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.readonly import ReadOnlyStore
from drunner_vault.stores.sources import ArchiveSource, FileSource, PipeSource, StoredSource
from drunner_vault.stores.store import Store, put
from drunner_vault.workflows.archives.copy import CopyReport, Target, copy_archives, copy_one, no_lock
from drunner_vault.workflows.archives.recording import Located
from drunner_vault.workflows.progress import Silent

TARGET_ID = "7" * 32
COPIER = SigningKey.generate()  # of the machine that copies
HOSTS = trusting((HOST_KEY, HOST), (HOST_KEY, "other"))
SEEN_BY_COPIER = signers(HOSTS, COPIER)
STRANGER = SigningKey.generate()
CLOCK = Clock(now=lambda: NOW)


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


def target_store(*, etags: bool = True) -> Watched:
    store = Watched(etags=etags)
    identify(store, TARGET_ID)
    return store


def to_target(store: Store, guard: Guard | None = None, *, faults: Faults | None = None) -> Target:
    root = root_of(store)
    root = replace(root, store=FaultyStore(store, faults)) if faults else root
    return Target(root, lambda: root.identity, COPIER.sign, "here", guard or Guard(), CLOCK, no_lock)


def copy(source: Store, target: Store, guard: Guard | None = None, faults: Faults | None = None) -> CopyReport:
    return copy_to(source, target, to_target(target, guard, faults=faults))


def copy_to(source: Store, target: Store, to: Target) -> CopyReport:
    chosen = CatalogReader(signers(HOSTS), NOW).read(root_of(source)).archives
    present = archives(target, by=SEEN_BY_COPIER)
    return copy_archives(root_of(ReadOnlyStore(source)), chosen, present, to, Silent())


def content(store: Store) -> dict[str, bytes]:
    return {key: store.read(key, 0, 1 << 30) for key in keys(store)}


def signed_by_the_host(store: Store) -> dict[str, list[bytes]]:
    """Lines 1, 2 and 5 of each sidecar."""
    lines = {key: data.split(b"\n") for key, data in content(store).items() if key.endswith(".json")}
    return {key: [*parts[:2], *parts[4:]] for key, parts in lines.items()}


def standings(store: Store) -> set[Standing]:
    return {item.standing for item in archives(store, by=SEEN_BY_COPIER)}


@pytest.fixture
def source() -> Watched:
    store = Watched()
    for moment in daily((2, 0, 1)):
        add(store, moment)
    add(store, NOW + HOUR, "wiki", "other", data=sealed(3_000_000))
    return store


def test_a_copy_keeps_what_the_host_has_signed_and_the_oldest_comes_first(source: Watched) -> None:
    target, guard = target_store(), Guard()
    report = copy(source, target, guard)
    assert keys(target) == keys(source)
    assert all(target.read(item.key, 0, 1 << 30) == source.read(item.key, 0, 1 << 30) for item in archives(source))
    assert signed_by_the_host(target) == signed_by_the_host(source)
    assert [item.archive.rpartition("/")[2][:14] for item in report.copied] == [
        "notes-20260227",
        "notes-20260228",
        "notes-20260301",
        "wiki-20260301T",
    ]
    assert all(item.new for item in report.copied)
    assert sum(item.bytes for item in report.copied) == sum(item.size for item in archives(target))
    assert guard.held == [("there", "notes")] * 3 + [("other", "wiki")]


def test_a_copy_is_proven_where_the_key_of_the_copying_machine_is_accepted(source: Watched) -> None:
    target = target_store()
    copy(source, target)
    assert standings(target) == {Standing.PROVEN}
    named = signers([*HOSTS, *trusting((COPIER, HOST), (COPIER, "other"))])
    assert {item.standing for item in archives(target, by=named)} == {Standing.PROVEN}
    assert {item.standing for item in archives(target, by=signers(HOSTS))} == {Standing.STATED}
    assert {item.series for item in archives(target, by=named)} == {HOST_KEY.public()}
    place = parse_sidecar(target.read(key_of(NOW) + ".json", 0, 1 << 20)).start.place
    assert place is not None
    assert (place.store, place.etag) == (TARGET_ID, target.stat(key_of(NOW)).etag)


def test_a_copy_made_by_other_tools_is_stated_until_it_is_verified(source: Watched) -> None:
    target = target_store()
    for key, data in content(source).items():
        put(target, key, data)
    assert standings(target) == {Standing.STATED}
    add_record(target, key_of(NOW), RecordKind.VERIFIED, NOW, sign=COPIER)
    (verified,) = (item for item in archives(target, by=SEEN_BY_COPIER) if item.is_proven)
    assert verified.key == key_of(NOW)


def test_copies_are_locked_as_their_service_and_age_demand(source: Watched) -> None:
    target, asked = target_store(), []

    def lock(created: dt.datetime, earlier: Sequence[dt.datetime]) -> dt.datetime | None:
        asked.append((created, list(earlier)))
        return None if created < NOW - DAY else NOW + 7 * DAY

    copy_to(source, target, replace(to_target(target), lock=lock))
    days = [NOW - 2 * DAY, NOW - DAY, NOW]
    assert asked == [*((day, days[:number]) for number, day in enumerate(days)), (NOW + HOUR, [])]
    for key in keys(source):
        old = key.startswith(key_of(NOW - 2 * DAY))
        assert target.stat(key).locked_until == (None if old else NOW + 7 * DAY)
    single = target_store()
    copy_one(
        StoredSource(source, key_of(NOW), source.stat(key_of(NOW)).size),
        None,
        lambda _: (),
        replace(to_target(single), lock=lock),
        Silent(),
    )
    assert asked[-1] == (NOW, [])
    assert {single.stat(key).locked_until for key in keys(single)} == {NOW + 7 * DAY}


def test_names_that_others_have_made_up_do_not_shorten_locks(source: Watched) -> None:
    target, asked = target_store(), []
    for store in (source, target):
        for minutes in (1, 2):
            put(store, key_of(NOW - minutes * dt.timedelta(minutes=1)), sealed())

    def lock(created: dt.datetime, earlier: Sequence[dt.datetime]) -> None:
        asked.append((created, list(earlier)))

    copy_to(source, target, replace(to_target(target), lock=lock))
    assert (NOW, [NOW - 2 * DAY, NOW - DAY]) in asked


def test_archives_that_are_there_are_not_copied_again(source: Watched) -> None:
    target = target_store()
    copy(source, target)
    source.reads.clear()
    assert copy(source, target) == CopyReport()
    assert not [key for key in source.reads if not key.endswith(".json")]


def test_only_archives_that_an_accepted_key_has_signed_are_copied() -> None:
    source, target = Watched(), target_store()
    stated = add(source, NOW, sidecar=False)
    put(source, stated + ".json", sidecar_of(sealed(), stated, store="6" * 32))
    add(source, NOW - DAY, sidecar=False)
    add(source, NOW - 2 * DAY, sign=STRANGER)
    version_1 = add(source, NOW - 3 * DAY, sidecar=False)
    put(source, version_1 + ".json", sidecar_v1(sealed(), version_1))
    source.overwrite(add(source, NOW - 4 * DAY), sealed())
    put(source, f"zz/{stated}", sealed())
    report = copy(source, target)
    assert [item.source.rpartition("memory/")[2] for item in report.copied] == [stated]
    assert keys(target) == {stated, stated + ".json"}
    assert report.failed == []
    assert len(report.skipped) == 2
    assert "1 archive of /notes" in report.skipped[0]
    assert "4 archives of there/notes that no accepted key has signed for it" in report.skipped[1]
    assert "(unsigned: it has no sidecar)" in report.skipped[1]


def test_damaged_archives_and_lone_sidecars_are_not_copied() -> None:
    source, target = Watched(), target_store()
    damaged, lone = add(source, NOW), add(source, NOW - DAY)
    add_record(source, damaged, RecordKind.DAMAGED, NOW)
    source.delete(lone)
    assert copy(source, target) == CopyReport()
    assert keys(target) == set()


def test_an_archive_that_is_not_as_its_sidecar_says_leaves_nothing_and_does_not_stop_the_others() -> None:
    source, target = Watched(etags=False), target_store()
    good = [add(source, NOW - DAY), add(source, NOW + HOUR)]
    bad = add(source, NOW)
    source.overwrite(bad, sealed()[:-1] + b"?")
    report = copy(source, target)
    assert len(report.failed) == 1
    assert "is not what its sidecar says" in report.failed[0]
    assert bad in report.failed[0]
    assert {item.key for item in archives(target)} == set(good)
    assert not [key for key in keys(target) if key.startswith(bad)]
    assert list(target.leftovers()) == []


def test_a_copy_that_was_interrupted_before_its_sidecar_is_finished(source: Watched) -> None:
    target = target_store()
    for moment in (NOW, NOW - DAY):
        put(target, key_of(moment), sealed())
    report = copy(source, target)
    assert report.failed == []
    assert standings(target) == {Standing.PROVEN}
    assert signed_by_the_host(target) == signed_by_the_host(source)
    assert sorted(item.new for item in report.copied) == [False, False, True, True]


@pytest.mark.parametrize("made_up", [b"junk", sidecar_v1(sealed(), key_of(NOW))])
def test_a_sidecar_that_somebody_has_made_up_beforehand_is_left_alone(made_up: bytes) -> None:
    source, target = Watched(), target_store()
    key = add(source, NOW)
    put(target, key + ".json", made_up)
    assert len(copy(source, target).copied) == 1
    assert target.read(key + ".json", 0, 1 << 20) == made_up
    assert standings(target) == {Standing.PROVEN}
    assert keys(target) == {key, key + ".json", f"{key}.signed-20260301T120000Z.json"}


@pytest.mark.parametrize("there", [b"", sealed()[:-1], sealed()[:-1] + b"?", clear()])
def test_something_else_of_that_name_is_left_alone_and_does_not_stop_the_others(there: bytes) -> None:
    source, target = Watched(), target_store()
    taken, free = add(source, NOW - DAY), add(source, NOW)
    put(target, taken, there)
    report = copy(source, target)
    assert [failure.split()[0] for failure in report.failed] == [taken]
    assert target.read(taken, 0, 1 << 30) == there
    assert keys(target) == {taken, free, free + ".json"}


def test_a_genuine_pair_in_a_further_directory_is_not_copied() -> None:
    source, target = Watched(), target_store()
    key = add(source, NOW)
    for suffix in ("", ".json"):
        put(source, f"old/{key}{suffix}", source.read(key + suffix, 0, 1 << 20))
    guard = Guard()
    assert len(copy(source, target, guard).copied) == len(guard.held) == 1
    assert keys(target) == {key, key + ".json"}


@pytest.mark.parametrize("side", ["source", "target"])
def test_whichever_call_fails_nothing_half_counts_and_the_next_copy_finishes(side: str) -> None:
    def stock() -> Watched:
        store = Watched()
        add(store, NOW)
        add(store, NOW - DAY)
        return store

    def attempt(source: Store, target: Store, faults: Faults) -> None:
        if side == "target":
            copy(source, target, faults=faults)
            return
        root = replace(root_of(source), store=FaultyStore(source, faults))
        chosen, present = archives(source), archives(target, by=SEEN_BY_COPIER)
        copy_archives(root, chosen, present, to_target(target), Silent())

    counting = Faults()
    attempt(stock(), target_store(), counting)
    cases = 0
    for fault in Fault:
        for number in range(1, counting.calls + 1):
            source, target = stock(), target_store()
            with contextlib.suppress(StorageError):
                attempt(source, target, Faults(number, fault))
            for item in archives(target):
                assert target.read(item.key, 0, 1 << 20) == sealed()
            assert copy(source, target).failed == []
            found = archives(target, by=SEEN_BY_COPIER)
            assert [item.key for item in found] == [key_of(NOW), key_of(NOW - DAY)]
            assert {item.standing for item in found} == {Standing.PROVEN}
            cases += 1
    assert cases == counting.calls * len(Fault) >= 24


# A single archive


def one(source: ArchiveSource, target: Store, located: Located | None = None) -> CopyReport:
    def present(directory: str) -> Sequence[Archive]:
        return catalog(target, by=SEEN_BY_COPIER, prefix=directory).archives

    return copy_one(source, located, present, to_target(target), Silent())


def in_store(store: Store, key: str) -> tuple[StoredSource, Located]:
    found = next(item for item in archives(store) if item.key == key)
    return StoredSource(store, key, store.stat(key).size), Located(root_of(store), key, found)


def test_a_single_archive_goes_under_its_own_host_or_the_one_that_is_said(tmp_path: Path) -> None:
    target = target_store()
    path = tmp_path / key_of(NOW).rpartition("/")[2]
    path.write_bytes(sealed())
    assert len(one(FileSource(path), target).copied) == 1
    path.with_name(path.name + ".json").write_bytes(sidecar_v1(sealed(), f"its-own/notes/{path.name}"))
    assert len(one(FileSource(path), target).copied) == 1
    assert {item.group for item in archives(target)} == {("here", "notes"), ("its-own", "notes")}
    assert standings(target) == {Standing.UNSIGNED}


@pytest.mark.parametrize("data", [sealed(), clear(), sealed(3_000_000)])
def test_an_archive_without_a_sidecar_gets_one_that_nobody_has_signed(data: bytes, tmp_path: Path) -> None:
    target = target_store()
    path = tmp_path / key_of(NOW, encrypted=data is not clear()).rpartition("/")[2]
    path.write_bytes(data)
    one(FileSource(path), target)
    (item,) = archives(target, by=SEEN_BY_COPIER)
    assert (item.standing, item.why) == (Standing.UNSIGNED, "its sidecar is not signed")
    assert (item.complete, item.has_sidecar, item.group) == (True, True, ("here", "notes"))
    assert (item.sha256, bool(item.recipients)) == (head_of(data, item.key).sha256, data is not clear())
    assert target.read(item.key, 0, 1 << 30) == data
    assert parse_sidecar(target.read(item.sidecar, 0, 1 << 20)).head.created == "2026-03-01T12:00:00Z"


def test_a_single_archive_keeps_what_was_signed_and_whoever_signed_it() -> None:
    source, target = Watched(), target_store()
    mine, strange = add(source, NOW), add(source, NOW - DAY, sign=STRANGER)
    version_1 = add(source, NOW - 2 * DAY, sidecar=False)
    put(source, version_1 + ".json", sidecar_v1(sealed(), version_1))
    for key in (mine, strange, version_1):
        single, located = in_store(source, key)
        assert len(one(single, target, located).copied) == 1
    assert signed_by_the_host(target) == signed_by_the_host(source)
    assert target.read(version_1 + ".json", 0, 1 << 20) == sidecar_v1(sealed(), version_1)
    found = archives(target, by=SEEN_BY_COPIER)
    assert [item.standing for item in found] == [Standing.PROVEN, Standing.STRANGER, Standing.UNSIGNED]


def test_the_accepted_sidecar_of_a_single_archive_is_copied_and_not_the_made_up_one() -> None:
    source, target = Watched(), target_store()
    key = add(source, NOW, sidecar=False)
    put(source, key + ".json", b"junk")
    put(source, f"{key}.signed-20260301T120000Z.json", sidecar_of(sealed(), key, etag=source.stat(key).etag))
    single, located = in_store(source, key)
    one(single, target, located)
    assert standings(target) == {Standing.PROVEN}
    assert keys(target) == {key, key + ".json"}


def test_a_single_archive_that_is_there_is_not_copied_again() -> None:
    source, target = Watched(), target_store()
    key = add(source, NOW)
    single, located = in_store(source, key)
    assert len(one(single, target, located).copied) == 1
    target.reads.clear()
    assert one(single, target, located) == CopyReport()
    assert key not in target.reads
    target.delete(key + ".json")
    assert [item.new for item in one(single, target, located).copied] == [False]
    assert standings(target) == {Standing.PROVEN}
    other = target_store()
    put(other, key, sealed()[:-1] + b"?")
    with pytest.raises(AlreadyExists):
        one(single, other, located)


def test_a_single_archive_without_sidecar_that_is_there_is_not_copied_again(tmp_path: Path) -> None:
    target = target_store()
    path = tmp_path / key_of(NOW).rpartition("/")[2]
    path.write_bytes(sealed())
    assert len(one(FileSource(path), target).copied) == 1
    before = content(target)
    assert one(FileSource(path), target) == CopyReport()
    assert content(target) == before


@pytest.mark.parametrize("data", [sealed()[:-1], clear()[:-1], b"", b"rubbish"])
def test_a_single_archive_that_is_cut_is_not_made_to_look_complete(data: bytes) -> None:
    source, target = Watched(), target_store()
    key = key_of(NOW)
    put(source, key, data)
    with pytest.raises(DamagedArchive, match="is not copied"):
        one(StoredSource(source, key, len(data)), target)
    assert keys(target) == set()


@pytest.mark.parametrize("host", ["../..", "a\nb", ".hidden", "a/b"])
def test_a_host_that_a_sidecar_makes_up_leads_nowhere(host: str, tmp_path: Path) -> None:
    target = target_store()
    path = tmp_path / key_of(NOW).rpartition("/")[2]
    path.write_bytes(sealed())
    head = replace(head_of(sealed(), key_of(NOW)), host=host)
    path.with_name(path.name + ".json").write_bytes(sidecar_of(sealed(), key_of(NOW), head=head, sign=STRANGER))
    with pytest.raises((BadUsage, NotFound)):
        one(FileSource(path), target)
    assert keys(target) == set()


@pytest.mark.parametrize("name", ["n.backup", "notes.tar.zst.age", "notes-20260230T000000Z.tar.zst.age"])
def test_a_single_archive_of_another_name_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(sealed())
    with pytest.raises(BadUsage, match="is not named like an archive"):
        one(FileSource(tmp_path / name), target_store())


def test_a_file_that_does_not_exist_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        one(FileSource(tmp_path / "nothing"), target_store())


def test_a_pipe_has_no_name_to_store_it_under() -> None:
    with pytest.raises(BadUsage):
        one(PipeSource(), target_store())


def test_a_copy_into_a_store_without_etags_is_proven_by_its_place(source: Watched) -> None:
    target = target_store(etags=False)
    copy(source, target)
    assert standings(target) == {Standing.PROVEN}
    assert isinstance(target, MemoryStore)
