"""Attackers on a store: who may add, who may overwrite, who signs for another host, who has a retired key.

Whatever they do, nothing is deleted that would stay without them, `latest`, `health` and `copy` say the same as without
them, and the operator is told.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.attackers import (
    HERE,
    NOW,
    Place,
    Victim,
    assert_nothing_gained,
    junk,
    later_the_same_day,
)
from support.catalogs import (
    DAY,
    HOUR,
    add_record,
    head_and_rest,
    head_of,
    identify,
    key_of,
    sealed,
    sidecar_of,
    sidecar_v1,
)
from support.s3servers import REGION, Server, moto_server

from drunner_vault.archive.sidecar import parse_sidecar
from drunner_vault.catalog.grouping import signed_key
from drunner_vault.catalog.identity import IDENTITY_KEY, read_identity
from drunner_vault.catalog.records import RecordKind, record_key
from drunner_vault.signing import SigningKey
from drunner_vault.stores.local import LocalStore

STRANGER = SigningKey.generate()
Attack = Callable[[Victim, list[str]], None]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with moto_server() as running:
        yield running


def local_place(directory: Path, name: str = "main") -> Place:
    (directory / name).mkdir()
    return Place(LocalStore(directory / name), str(directory / name))


def s3_place(server: Server, name: str) -> Place:
    bucket = server.bucket(name)
    return Place(bucket.store(), f"s3://{name}", server, name)


def s3_options(server: Server) -> str:
    return f'endpoint = "{server.endpoint}"\nregion = "{REGION}"'


@pytest.fixture(params=["local", "s3"])
def victim(request: pytest.FixtureRequest, tmp_path: Path) -> Victim:
    """A host with a store of each kind."""
    if request.param == "local":
        return Victim(tmp_path, local_place(tmp_path), tmp_path / "second")
    server = request.getfixturevalue("server")
    name = f"b-{abs(hash(tmp_path)):x}"
    return Victim(tmp_path, s3_place(server, name), tmp_path / "second", s3_options(server))


@pytest.fixture
def on_s3(server: Server, tmp_path: Path) -> Victim:
    name = f"b-{abs(hash(tmp_path)):x}"
    return Victim(tmp_path, s3_place(server, name), tmp_path / "second", s3_options(server))


@pytest.fixture
def on_disk(tmp_path: Path) -> Victim:
    return Victim(tmp_path, local_place(tmp_path), tmp_path / "second")


def lines_of(document: bytes) -> list[bytes]:
    return document.splitlines(keepends=True)


# Who may only add


def junk_of_the_same_size(victim: Victim, nights: list[str]) -> None:
    for key in nights:
        victim.place.add(later_the_same_day(key), junk())


def forged_version_1(victim: Victim, nights: list[str]) -> None:
    for key in nights:
        other, data = later_the_same_day(key), sealed()
        victim.place.add(other, data)
        victim.place.add(f"{other}.json", sidecar_v1(data, other, signer=victim.key.public().fingerprint))


def forged_without_signature(victim: Victim, nights: list[str]) -> None:
    for key in nights:
        other, data = later_the_same_day(key), sealed()
        victim.place.add(other, data)
        victim.place.add(f"{other}.json", sidecar_of(data, other, sign=None))


def forged_with_a_signature_of_something_else(victim: Victim, nights: list[str]) -> None:
    for key in nights:
        other, data = later_the_same_day(key), sealed()
        victim.place.add(other, data)
        forged, genuine = (lines_of(item) for item in (sidecar_of(data, other), victim.place.read(f"{key}.json")))
        victim.place.add(f"{other}.json", b"".join([forged[0], genuine[1], forged[2], genuine[3], forged[4]]))


def signed_by_a_stranger(victim: Victim, nights: list[str]) -> None:
    for key in nights:
        other, data = later_the_same_day(key), sealed()
        victim.place.add(other, data)
        store, etag = read_identity(victim.place.store), victim.place.store.stat(other).etag
        victim.place.add(f"{other}.json", sidecar_of(data, other, sign=STRANGER, store=store, etag=etag))


def replayed_under_a_new_name(victim: Victim, nights: list[str]) -> None:
    for key in nights:
        other = later_the_same_day(key)
        victim.place.add(other, victim.place.read(key))
        victim.place.add(f"{other}.json", victim.place.read(f"{key}.json"))


def replayed_elsewhere(directory: str) -> Attack:
    def attack(victim: Victim, nights: list[str]) -> None:
        for key in nights:
            name = key.rpartition("/")[2]
            victim.place.add(f"{directory}{name}", junk())
            victim.place.add(f"{directory}{name}.json", victim.place.read(f"{key}.json"))

    return attack


@pytest.mark.parametrize(
    ("attack", "standing"),
    [
        pytest.param(junk_of_the_same_size, "unsigned", id="add_junk_same_day"),
        pytest.param(forged_version_1, "unsigned", id="add_forged_sidecar_v1"),
        pytest.param(forged_without_signature, "unsigned", id="add_forged_sidecar_v2_null"),
        pytest.param(forged_with_a_signature_of_something_else, "unreadable", id="add_forged_sidecar_v2_bad_sig"),
        pytest.param(signed_by_a_stranger, "stranger", id="add_stranger_signed"),
        pytest.param(replayed_under_a_new_name, "misplaced", id="replay_new_name"),
    ],
)
def test_who_may_only_add_gains_nothing(victim: Victim, attack: Attack, standing: str) -> None:
    nights = victim.nights()
    attack(victim, nights)
    seen = victim.observe()
    said = {"archives": standing, "health": standing, "copy": standing, "prune": standing}
    assert_nothing_gained(victim, nights, seen, said=said)
    assert {seen.standings[key] for key in seen.standings if key not in nights} == {standing}


@pytest.mark.parametrize(
    ("directory", "standing"),
    [
        pytest.param(f"{HERE}/other/", "misplaced", id="replay_other_directory"),
        pytest.param("elsewhere/notes/", "misplaced", id="replay_other_host"),
        pytest.param(f"zz/{HERE}/notes/", "misplaced", id="replay_deeper_path"),
        pytest.param("", "misplaced", id="replay_root_of_the_store"),
    ],
)
def test_a_genuine_archive_counts_in_its_own_directory_only(victim: Victim, directory: str, standing: str) -> None:
    nights = victim.nights()
    replayed_elsewhere(directory)(victim, nights)
    seen = victim.observe()
    assert_nothing_gained(victim, nights, seen, said={"archives": standing, "prune": standing})
    others = {seen.standings[key] for key in seen.standings if key not in nights}
    assert others <= {standing, "stranger"}
    assert others


def test_a_store_that_was_read_does_not_help_with_another(tmp_path: Path, server: Server) -> None:
    """Replay_other_store: genuine sidecars of one store beside junk of the same size in another."""
    for kind in ("local", "s3"):
        directory = tmp_path / kind
        directory.mkdir()
        place = local_place(directory) if kind == "local" else s3_place(server, f"other-{abs(hash(tmp_path)):x}")
        victim = Victim(directory, place, directory / "second", "" if kind == "local" else s3_options(server))
        nights = victim.nights()
        first = local_place(directory, "first")
        identify(first.store, "1" * 32)
        reader = Victim.__new__(Victim)
        reader.directory, reader.place, reader.key = directory, first, victim.key
        for key in nights:
            other = later_the_same_day(key)
            data = sealed()
            document = sidecar_of(data, other, sign=victim.key, store="1" * 32)
            victim.place.add(other, junk(len(data)))
            victim.place.add(f"{other}.json", document)
        seen = victim.observe()
        assert_nothing_gained(victim, nights, seen, said={"archives": "stated", "prune": "stated"})


def test_the_identity_of_a_known_store_is_refused_in_another(on_disk: Victim, tmp_path: Path) -> None:
    nights = on_disk.nights()
    on_disk.run("prune", "main", code=0)  # from now on this host knows the store
    copy = local_place(tmp_path, "copy")
    for key in (IDENTITY_KEY, *on_disk.place.all_keys()):
        copy.overwrite(key, on_disk.place.read(key))
    done = on_disk.run("prune", copy.directory, "--keep-daily", "1", "--apply", code=1)
    assert f"the identity of {on_disk.place.directory}" in done.stderr
    assert "--accept" in done.stderr
    assert copy.all_keys() >= set(nights)
    listed = on_disk.run("archives", copy.directory, "--json", code=0)
    assert {item["standing"] for item in json.loads(listed.stdout)} == {"stated"}


def test_a_copied_identity_does_not_make_other_objects_proven_on_s3(server: Server, tmp_path: Path) -> None:
    first = s3_place(server, f"one-{abs(hash(tmp_path)):x}")
    victim = Victim(tmp_path, first, tmp_path / "second", s3_options(server))
    victim.nights(2)
    other = s3_place(server, f"two-{abs(hash(tmp_path)):x}")
    for key in (IDENTITY_KEY, *first.all_keys()):
        other.add(key, junk() if key.endswith(".age") else first.read(key))
    url = f"{other.url}?endpoint={server.endpoint}&region={REGION}"
    listed = json.loads(victim.run("archives", url, "--json", code=0).stdout)
    assert {item["standing"] for item in listed} == {"overwritten"}


# Who may also overwrite


def test_an_archive_that_was_overwritten_on_s3_is_neither_latest_nor_deleted(on_s3: Victim) -> None:
    nights = on_s3.nights()
    for key in (nights[-1], nights[0]):
        on_s3.place.overwrite(key, junk())
    assert {on_s3.archives()[key]["standing"] for key in (nights[-1], nights[0])} == {"overwritten"}
    assert on_s3.chosen() == nights[-2].rpartition("/")[2]
    on_s3.run("prune", "main", "--apply")
    assert {nights[-1], nights[0]} <= on_s3.place.all_keys()
    said = on_s3.run("health", code=0)
    assert "2 overwritten" in said.stderr


def test_no_version_of_an_overwritten_archive_is_deleted(server: Server, tmp_path: Path) -> None:
    name = f"versions-{abs(hash(tmp_path)):x}"
    bucket = server.bucket(name)
    versioning = {"Status": "Enabled"}
    server.client().put_bucket_versioning(Bucket=name, VersioningConfiguration=versioning)
    victim = Victim(tmp_path, Place(bucket.store(), f"s3://{name}", server, name), tmp_path / "x", s3_options(server))
    nights = victim.nights()
    victim.place.overwrite(nights[0], junk())
    victim.run("verify", "--no-key", f"main/{nights[0]}", code=1)
    victim.run("prune", "main", "--apply")
    assert bucket.versions().count(nights[0]) == 2
    assert bucket.versions().count(nights[1]) == 0


def test_an_overwritten_archive_with_the_wanted_checksum_is_overwritten_all_the_same(on_s3: Victim) -> None:
    """Overwrite_with_crc: whatever checksum junk has, its ETag is not the signed one."""
    nights = on_s3.nights()
    client, data = on_s3.place.server.client(), junk()  # type: ignore[union-attr]
    client.put_object(Bucket=on_s3.place.bucket, Key=nights[3], Body=data, ChecksumAlgorithm="CRC32")
    assert on_s3.archives()[nights[3]]["standing"] == "overwritten"


def test_an_archive_that_was_overwritten_in_a_directory_is_found_by_verify_and_not_deleted_sooner(
    on_disk: Victim,
) -> None:
    nights = on_disk.nights()
    for key in nights[3:6]:
        on_disk.place.overwrite(key, junk())
        on_disk.run("verify", "--no-key", f"main/{key}", code=1)
        assert "found damaged" in on_disk.archives()[key]["fault"]
    assert on_disk.doomed() <= set(nights[:2])
    on_disk.run("prune", "main", "--apply")
    assert set(nights[2:]) <= on_disk.place.all_keys()


@pytest.mark.parametrize("forgery", ["version 1", "junk", "another night"])
def test_an_overwritten_sidecar_makes_an_archive_unsigned_and_it_stays(victim: Victim, forgery: str) -> None:
    nights = victim.nights()
    spoilt = nights[0]
    document = {
        "version 1": sidecar_v1(sealed(), spoilt),
        "junk": junk(500),
        "another night": victim.place.read(f"{nights[1]}.json"),
    }[forgery]
    victim.place.overwrite(f"{spoilt}.json", document)
    seen = victim.observe()
    standing = {"version 1": "unsigned", "junk": "unreadable", "another night": "misplaced"}[forgery]
    assert seen.standings[spoilt] == standing
    assert spoilt in victim.place.all_keys()
    assert seen.deleted <= {nights[1]}
    assert seen.latest == nights[-1].rpartition("/")[2]
    if forgery == "version 1":  # this host's history knows the archive: it can be adopted
        assert "archives main --adopt" in seen.texts["health"]
    else:
        assert standing in seen.texts["health"] or "--adopt" in seen.texts["health"]


def test_verify_signs_nothing_about_a_sidecar_that_nobody_has_signed(victim: Victim) -> None:
    nights = victim.nights(3)
    for key in nights:
        victim.place.overwrite(f"{key}.json", sidecar_v1(junk(), key))
        victim.run("verify", "--no-key", f"main/{key}", code=1)
    assert not [key for key in victim.place.all_keys() if ".damaged-" in key or ".verified-" in key]
    assert not any(item["damaged"] for item in victim.archives().values())


# Damage and records


def test_a_damaged_archive_stays_as_long_as_an_intact_one(victim: Victim) -> None:
    nights = victim.nights()
    for key in nights[2:8]:
        add_record(victim.place.store, key, RecordKind.DAMAGED, NOW - HOUR, sign=victim.key)
    assert victim.doomed() == set(), "older intact ones take the places of damaged ones, which stay"
    for key in nights[2:8]:
        assert victim.archives()[key]["damaged"]


def test_forged_records_say_nothing(victim: Victim) -> None:
    nights = victim.nights()
    at = NOW - HOUR
    for kind in (RecordKind.DAMAGED, RecordKind.SUSPECT, RecordKind.ACCEPTED, RecordKind.VERIFIED):
        add_record(victim.place.store, nights[4], kind, at, sign=None)
        add_record(victim.place.store, nights[5], kind, at, sign=STRANGER)
        genuine = add_record(victim.place.store, nights[0], kind, NOW - 2 * HOUR, sign=victim.key)
        victim.place.add(record_key(nights[6], kind, NOW - 2 * HOUR), victim.place.read(genuine))
        other = RecordKind.REHEARSED if kind is not RecordKind.REHEARSED else RecordKind.DRILLED
        victim.place.add(record_key(nights[0], other, NOW - kind_hours(kind)), victim.place.read(genuine))
        victim.place.store.delete(genuine)
    listed = victim.archives()
    for key in nights:
        found = {name: listed[key][name] for name in ("damaged", "suspect", "accepted", "verified", "rehearsed")}
        assert set(found.values()) == {None}, key
    assert victim.doomed() == set(nights[:2])


def kind_hours(kind: RecordKind) -> dt.timedelta:
    """A time of its own for each kind."""
    return (3 + list(RecordKind).index(kind)) * HOUR


@pytest.mark.parametrize(("hiding", "frozen"), [(15, False), (16, True)])
def test_a_damaged_record_is_not_hidden_by_newer_junk(victim: Victim, hiding: int, frozen: bool) -> None:
    nights = victim.nights()
    add_record(victim.place.store, nights[3], RecordKind.DAMAGED, NOW - 2 * HOUR, sign=victim.key)
    for number in range(hiding):
        at = NOW - HOUR + number * dt.timedelta(seconds=1)
        victim.place.add(record_key(nights[3], RecordKind.DAMAGED, at), junk(100))
    done = victim.run("prune", "main", code=1 if frozen else 0)
    assert ("is frozen" in done.stderr) is frozen
    assert victim.doomed() == (set() if frozen else {nights[0]})
    assert victim.archives()[nights[3]]["damaged"], "what appeared before the junk is still found"


def test_good_news_from_the_future_does_not_count(victim: Victim) -> None:
    nights = victim.nights(2)
    add_record(victim.place.store, nights[1], RecordKind.VERIFIED, NOW + 1000 * DAY, sign=victim.key)
    add_record(victim.place.store, nights[1], RecordKind.DAMAGED, NOW - HOUR, sign=victim.key)
    item = victim.archives()[nights[1]]
    assert (item["verified"], bool(item["damaged"]), item["complete"]) == (None, True, False)


def test_pruned_archives_that_come_back_take_nobody_with_them(victim: Victim) -> None:
    nights = victim.nights()
    kept = {key: (victim.place.read(key), victim.place.read(f"{key}.json")) for key in nights[:2]}
    victim.run("prune", "main", "--apply", code=0)
    assert not set(nights[:2]) & victim.place.all_keys()
    data, document = kept[nights[0]]
    victim.place.add(nights[0], junk(len(data)))
    victim.place.add(f"{nights[0]}.json", document)
    data, document = kept[nights[1]]
    victim.place.add(nights[1], data)
    victim.place.add(f"{nights[1]}.json", document)
    victim.run("prune", "main", "--apply")
    assert set(nights[2:]) <= victim.place.all_keys()
    assert nights[1] not in victim.place.all_keys(), "the genuine bytes are deleted again"


# Who signs for another host


@pytest.mark.parametrize("line", ["literal", "*"])
def test_another_host_decides_nothing_in_this_ones_directory(victim: Victim, line: str) -> None:
    nights = victim.nights()
    text = STRANGER.public().allowed_line("other" if line == "literal" else "*")
    victim.run("key", "trust", text, *(["--pattern"] if line == "*" else []), code=0)
    signed_by_a_stranger(victim, nights)
    seen = victim.observe()
    assert_nothing_gained(victim, nights, seen, said={"archives": "stranger", "health": "stranger"})


def test_a_line_for_two_hosts_is_not_taken(on_disk: Victim) -> None:
    done = on_disk.run("key", "trust", STRANGER.public().allowed_line(f"other,{HERE}"), code=1)
    assert f"other,{HERE}" in done.stderr
    done = on_disk.run("key", "trust", STRANGER.public().allowed_line("other"), code=0)
    assert "other" in done.stdout


def test_two_machines_of_one_name_are_two_series(on_disk: Victim, tmp_path: Path) -> None:
    nights = on_disk.nights(3)
    twin = tmp_path / "twin"
    twin.mkdir()
    other = Victim(twin, on_disk.place, twin / "second")
    theirs = [other.backup(NOW - number * DAY - HOUR) for number in (2, 1)]
    for one, ours, others in ((on_disk, nights, theirs), (other, theirs, nights)):
        done = one.run("prune", "main", "--keep-last", "1", "--json")
        doomed = {
            item["key"]
            for plan in json.loads(done.stdout)["services"]
            for item in plan["archives"]
            if item["action"] == "delete"
        }
        assert doomed == set(ours[:-1])
        assert not doomed & set(others)
        assert "2 keys have signed archives" in one.run("health").stderr
    assert on_disk.chosen() == nights[-1].rpartition("/")[2]
    assert other.chosen() == theirs[-1].rpartition("/")[2]


def test_a_rebuilt_host_goes_on_with_the_series_of_the_old_one(victim: Victim, tmp_path: Path) -> None:
    """A new key, and the line of the recovery kit: two series, and one as soon as the old key is retired."""
    old = victim.nights()[:-1]
    victim.place.store.delete(key_of(NOW, "notes", HERE))
    victim.place.store.delete(f"{key_of(NOW, 'notes', HERE)}.json")
    directory = tmp_path / "rebuilt"
    directory.mkdir()
    options = s3_options(victim.place.server) if victim.place.server else ""
    rebuilt = Victim(directory, victim.place, directory / "second", options)
    rebuilt.run("key", "trust", victim.key.public().allowed_line(HERE), code=0)
    assert rebuilt.chosen() == old[-1].rpartition("/")[2]
    first = rebuilt.backup(NOW)
    assert rebuilt.chosen() == first.rpartition("/")[2]
    assert len(rebuilt.planned()["services"]) == 2
    assert "2 keys have signed archives" in rebuilt.run("health").stderr
    rebuilt.run("key", "retire", victim.key.public().fingerprint, code=0)
    (plan,) = rebuilt.planned()["services"]
    assert {item["key"] for item in plan["archives"]} == {*old, first}
    assert rebuilt.doomed() == set(old[:2])


# Keys that were changed or stolen


def test_a_key_that_was_changed_keeps_one_series(victim: Victim) -> None:
    nights = [victim.backup(NOW - number * DAY) for number in range(8, 0, -1)]
    victim.run("key", "rotate", code=0)
    victim.key = SigningKey.parse((victim.directory / "etc" / "signing_key").read_bytes(), "key")
    nights.append(victim.backup(NOW))
    assert {victim.archives()[key]["standing"] for key in nights} == {"proven"}
    services = victim.planned()["services"]
    assert len(services) == 1
    assert victim.doomed() == set(nights[:2])
    assert victim.run("health").returncode == 0


def retired_an_hour_ago(victim: Victim) -> None:
    """The host's old key was retired before the thief comes."""
    path = victim.directory / "etc" / "allowed_signers"
    text = path.read_text()
    stamp = text.split('valid-before="')[1][:14]
    retired = dt.datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=dt.UTC)
    path.write_text(text.replace(stamp, f"{retired - HOUR:%Y%m%d%H%M%S}"))


def test_a_retired_key_signs_nothing_any_more(victim: Victim) -> None:
    old = victim.key
    victim.run("key", "rotate", code=0)
    retired_an_hour_ago(victim)
    victim.key = SigningKey.parse((victim.directory / "etc" / "signing_key").read_bytes(), "key")
    nights = victim.nights()
    for key in nights:  # back-dated by their names, and added now
        other, data = later_the_same_day(key), sealed()
        victim.place.add(other, data, dt.datetime.now(dt.UTC))
        store, etag = read_identity(victim.place.store), victim.place.store.stat(other).etag
        victim.place.add(
            f"{other}.json", sidecar_of(data, other, sign=old, store=store, etag=etag), dt.datetime.now(dt.UTC)
        )
    seen = victim.observe()
    assert_nothing_gained(victim, nights, seen, said={"archives": "retired", "prune": "stranger"})


def test_the_thief_of_a_retired_key_does_not_change_what_is_said_of_a_copy(on_disk: Victim) -> None:
    """A copy's place is by the new key, and may be put below another head by the old one."""
    old = on_disk.key
    night = on_disk.backup(NOW - 2 * DAY)
    on_disk.run("key", "rotate", code=0)
    retired_an_hour_ago(on_disk)
    on_disk.run("copy", "main", "second", code=0)
    second = Place(on_disk.second, str(on_disk.second.root))
    genuine = lines_of(second.read(f"{night}.json"))
    head = replace(head_of(sealed(), night), after="2026-01-01T00:00:00Z", id="f" * 32)
    forged = lines_of(sidecar_of(sealed(), night, sign=old, head=head))
    second.add(signed_key(night, NOW), b"".join([*forged[:2], *genuine[2:4], forged[4]]))
    (item,) = json.loads(on_disk.run("archives", "second", "--json", code=0).stdout)
    assert item["standing"] == "proven"
    assert item["basis"] == "history", "it takes no place from others"


def test_copies_that_the_new_key_made_of_archives_by_the_retired_one_are_proven(on_disk: Victim) -> None:
    nights = [on_disk.backup(NOW - number * DAY) for number in (3, 2)]
    on_disk.run("key", "rotate", code=0)
    on_disk.run("copy", "main", "second", code=0)
    listed = json.loads(on_disk.run("archives", "second", "--json", code=0).stdout)
    assert {item["key"]: item["standing"] for item in listed} == dict.fromkeys(nights, "proven")


def test_health_reports_archives_with_this_hosts_key_that_its_history_does_not_know(victim: Victim) -> None:
    victim.nights(2)
    forged = key_of(NOW - HOUR, "notes", HERE)
    data = sealed(300)
    victim.place.add(forged, data)
    store, etag = read_identity(victim.place.store), victim.place.store.stat(forged).etag
    victim.place.add(f"{forged}.json", sidecar_of(data, forged, sign=victim.key, store=store, etag=etag))
    done = victim.run("health", code=1)
    assert "bears this host's key" in done.stdout
    assert forged in done.stdout


# Names that were made up beforehand, floods, and what is not known


def test_a_sidecar_that_exists_before_the_backup_does_not_make_it_unsigned(victim: Victim) -> None:
    nights = victim.nights(2)
    key, data = key_of(NOW - 2 * HOUR, "notes", HERE), sealed()
    victim.place.add(f"{key}.json", junk(300))
    victim.place.add(key, data)
    store, etag = read_identity(victim.place.store), victim.place.store.stat(key).etag
    document = sidecar_of(data, key, sign=victim.key, store=store, etag=etag)
    victim.place.add(signed_key(key, NOW), document)
    assert victim.archives()[key]["standing"] == "proven"
    for number in range(3):  # junk that is newer does not hide it
        victim.place.add(signed_key(key, NOW + number * HOUR + HOUR), junk(100))
    assert victim.archives()[key]["standing"] == "proven"
    assert victim.archives()[nights[0]]["standing"] == "proven"


@pytest.mark.parametrize(
    "name",
    [
        "notes-20260101T000000Z.inc.zst.age",
        "notes-20260101T000000Z.tar.xz",
        "x-20260101T000000Z.tar.zst.age.new-1.json",
    ],
)
def test_a_name_that_is_not_known_freezes_its_directory_only(victim: Victim, name: str) -> None:
    nights = victim.nights()
    others = [victim.backup(NOW - number * DAY, "wiki") for number in range(9)]
    victim.place.add(f"{HERE}/notes/{name}", junk(50))
    done = victim.run("prune", "main", "--apply", code=1)
    assert name in done.stderr
    assert f"{HERE}/notes is frozen" in done.stderr
    assert set(nights) <= victim.place.all_keys()
    assert len(set(others) & victim.place.all_keys()) == 7


@pytest.mark.parametrize("change", [{"features": ("chunked",)}, {"kind": "compose"}])
def test_a_signed_head_of_an_unknown_kind_or_feature_freezes_its_directory(
    victim: Victim, change: dict[str, object]
) -> None:
    nights = victim.nights()
    key, data = later_the_same_day(nights[0]), sealed()
    victim.place.add(key, data)
    head = replace(head_of(data, key), **change)  # type: ignore[arg-type]
    victim.place.add(f"{key}.json", sidecar_of(data, key, sign=victim.key, head=head))
    done = victim.run("prune", "main", "--apply", code=1)
    assert "is frozen" in done.stderr
    assert set(nights) <= victim.place.all_keys()


def test_a_signed_sidecar_of_a_later_version_freezes_its_directory(victim: Victim) -> None:
    nights = victim.nights()
    key = later_the_same_day(nights[0])
    line = b'{"format":"drunner-vault-sidecar","version":3,"anything":[1.5]}\n'
    signature = json.dumps({"signature": victim.key.sign(line).decode()}, separators=(",", ":")).encode() + b"\n"
    victim.place.add(key, junk())
    victim.place.add(f"{key}.json", line + signature + b"what later versions say\n")
    done = victim.run("prune", "main", "--apply", code=1)
    assert "is frozen" in done.stderr
    assert set(nights) <= victim.place.all_keys()
    other = key_of(NOW - HOUR, "notes", HERE)
    by_stranger = json.dumps({"signature": STRANGER.sign(line).decode()}, separators=(",", ":")).encode() + b"\n"
    victim.place.store.delete(f"{key}.json")
    victim.place.add(f"{other}.json", line + by_stranger)
    assert victim.doomed() == set(nights[:2]), "a stranger's later version is junk"


def test_an_archive_by_a_clock_that_was_behind_stays_and_does_not_count(victim: Victim) -> None:
    nights = victim.nights()
    key, data = key_of(dt.datetime(1980, 1, 1, tzinfo=dt.UTC), "notes", HERE), sealed()
    victim.place.add(key, data)
    store, etag = read_identity(victim.place.store), victim.place.store.stat(key).etag
    head = replace(head_of(data, key), after=head_of(data, nights[-1]).created)
    document = sidecar_of(data, key, sign=victim.key, store=store, etag=etag, head=head)
    victim.place.add(f"{key}.json", document)
    victim.log(key)
    done = victim.run("prune", "main", "--apply", code=0)
    assert "its clock was behind" in done.stdout
    assert key in victim.place.all_keys()
    assert not set(nights[:2]) & victim.place.all_keys()


def test_adopted_archives_never_take_the_place_of_a_written_one(victim: Victim) -> None:
    nights = victim.nights(8)
    adopted = [later_the_same_day(key) for key in nights[:-1]]
    for key in adopted:
        data = sealed()
        victim.place.add(key, data)
        store, etag = read_identity(victim.place.store), victim.place.store.stat(key).etag
        head = replace(head_of(data, key), basis="history")
        victim.place.add(f"{key}.json", sidecar_of(data, key, sign=victim.key, store=store, etag=etag, head=head))
        victim.log(key)
    assert victim.doomed() <= {nights[0], adopted[0]}
    assert nights[1] not in victim.doomed()


def test_only_a_person_deletes_what_nobody_has_signed(victim: Victim) -> None:
    nights = victim.nights(3)
    junk_of_the_same_size(victim, nights)
    victim.run("prune", "main", "--apply")
    added = [later_the_same_day(key) for key in nights]
    assert set(added) <= victim.place.all_keys()
    shown = victim.run("prune", "main", "--unsigned", code=0)
    assert all(key in shown.stdout for key in added)
    assert set(added) <= victim.place.all_keys()
    victim.run("prune", "main", "--unsigned", "--apply", code=0)
    assert victim.place.all_keys() >= set(nights)
    assert not set(added) & victim.place.all_keys()
    victim.run("prune", "main", "--unsigned", code=3)


def test_a_sidecar_without_its_archive_goes_after_a_month(on_disk: Victim) -> None:
    nights = on_disk.nights(3)
    gone = on_disk.backup(NOW - 60 * DAY)
    on_disk.place.store.delete(gone)
    recent = on_disk.backup(NOW - 5 * DAY)
    on_disk.place.store.delete(recent)
    on_disk.run("prune", "main", "--apply", code=0)
    assert f"{gone}.json" not in on_disk.place.all_keys()
    assert f"{recent}.json" in on_disk.place.all_keys()
    assert set(nights) <= on_disk.place.all_keys()


# `latest` where nobody is trusted


def test_latest_is_refused_where_it_is_not_clear_whose_archives_are_meant(victim: Victim, tmp_path: Path) -> None:
    nights = victim.nights(3)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    options = s3_options(victim.place.server) if victim.place.server else ""
    other = Victim(fresh, victim.place, fresh / "second", options)
    (fresh / "etc" / "signing_key").unlink()
    place = f"main/{HERE}/notes/latest"
    done = other.run("verify", "--no-key", place, code=0)
    assert victim.key.public().fingerprint in done.stderr, "a single signer is taken, with a notice"
    victim.place.add(later_the_same_day(nights[-1]), junk())
    done = other.run("verify", "--no-key", place, code=1)
    assert victim.key.public().fingerprint in done.stderr
    assert "nobody" in done.stderr
    other.run("key", "trust", victim.key.public().allowed_line(HERE), code=0)
    done = other.run("verify", "--no-key", place, "--json", code=0)
    assert nights[-1] in done.stdout


def test_copies_keep_what_the_host_has_signed(victim: Victim, tmp_path: Path) -> None:
    """Copy_preserves: lines 1, 2 and 5 are equal; proven where the copying machine's key is named, else stated."""
    nights = victim.nights(2)
    central = tmp_path / "central"
    central.mkdir()
    options = s3_options(victim.place.server) if victim.place.server else ""
    machine = Victim(central, victim.place, central / "second", options)
    machine.run("key", "trust", victim.key.public().allowed_line(HERE), code=0)
    (central / "etc" / "vault.toml").write_text((central / "etc" / "vault.toml").read_text())
    machine.run("copy", "main", "second", code=0)
    copied = Place(machine.second, str(machine.second.root))
    for key in nights:
        ours, theirs = (lines_of(place.read(f"{key}.json")) for place in (victim.place, copied))
        assert [ours[line] for line in (0, 1, 4)] == [theirs[line] for line in (0, 1, 4)]
        assert parse_sidecar(copied.read(f"{key}.json")).rest == head_and_rest(sealed())[1]
    assert {item["standing"] for item in listed(victim, copied)} == {"stated"}
    victim.run("key", "trust", machine.key.public().allowed_line(HERE), code=0)
    assert {item["standing"] for item in listed(victim, copied)} == {"proven"}
    victim.run("copy", "main", "second", code=0)  # to a store of its own
    assert {item["standing"] for item in json.loads(victim.run("archives", "second", "--json").stdout)} == {"proven"}


def test_a_copy_that_another_tool_made_is_stated_until_it_is_verified(on_disk: Victim, tmp_path: Path) -> None:
    nights = on_disk.nights(2)
    mirror = local_place(tmp_path, "mirror")
    identify(mirror.store, "7" * 32)
    for key in on_disk.place.all_keys():
        mirror.overwrite(key, on_disk.place.read(key))
    assert {item["standing"] for item in listed(on_disk, mirror)} == {"stated"}
    on_disk.run("verify", "--no-key", mirror.directory / nights[0], code=0)
    found = {item["key"]: item["standing"] for item in listed(on_disk, mirror)}
    assert found == {nights[0]: "proven", nights[1]: "stated"}


def listed(victim: Victim, place: Place) -> list[dict[str, object]]:
    return json.loads(victim.run("archives", place.directory, "--json", code=0).stdout)  # type: ignore[no-any-return]
