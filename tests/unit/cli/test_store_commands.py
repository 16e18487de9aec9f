"""The commands about stores, called as a person calls them."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from support import s3servers
from support.catalogs import DAY, HOST, HOST_KEY, IDENTITY, add, key_of, keys, sealed
from support.wirefaults import Reply, faulty_wire

from drunner_vault.signing import SigningKey
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.store import put

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
LARGE = 200_000
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """drunner-vault on a host that trusts the signer of the archives."""
    (tmp_path / "etc").mkdir()
    lines = [HOST_KEY.public().allowed_line(host) for host in (HOST, "other")]
    (tmp_path / "etc/allowed_signers").write_text("\n".join(lines))
    environment = {
        "PATH": "/usr/bin:/bin",
        "DRUNNER_CONFIG_DIR": str(tmp_path / "etc"),
        "DRUNNER_ROOT": str(tmp_path / "drunner"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }

    def call(*arguments: str | Path, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "drunner_vault", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment | more, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr
        return done

    return call


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "store").mkdir()
    return LocalStore(tmp_path / "store")


@pytest.fixture
def second(tmp_path: Path) -> LocalStore:
    (tmp_path / "second").mkdir()
    return LocalStore(tmp_path / "second")


def configure(tmp_path: Path, text: str) -> None:
    (tmp_path / "etc/vault.toml").write_text(text)


def as_json(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The last of a command's events, which all are JSON."""
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(event["event"] == "progress" for event in events[:-1])
    assert events[-1]["event"] == "result"
    return events[-1]  # type: ignore[no-any-return]


def test_archives_are_listed_for_people_and_for_programs(run: Run, store: LocalStore) -> None:
    made = [add(store, NOW - days * DAY) for days in (0, 3)]
    cut = add(store, NOW - DAY, "wiki", data=sealed()[:-1], sidecar=False)
    lines = run("archives", store.root).stdout.splitlines()
    assert lines[0].split()[:3] == ["HOST", "SERVICE", "CREATED"]
    assert [line.split()[-1] for line in lines[1:]] == [made[0], cut, made[1]]
    assert "cut short" in lines[2]
    assert "3 d" in lines[3]
    found = as_json(run("archives", f"file://{store.root}", "--json"))
    assert [item["key"] for item in found] == [made[0], cut, made[1]]
    assert [item["complete"] for item in found] == [True, False, True]
    assert found[0]["created"] == NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert 3 * 86400 <= found[2]["age_seconds"] < 4 * 86400
    assert found[0]["store"] == str(store.root)


def test_archives_can_be_chosen(run: Run, store: LocalStore) -> None:
    made = [add(store, NOW - days * DAY) for days in (0, 3)]
    wiki = add(store, NOW - DAY, "wiki", "other")
    cut = add(store, NOW, "wiki", "other", data=sealed()[:-1], sidecar=False)

    def listed(*options: str) -> list[str]:
        return [item["key"] for item in as_json(run("archives", store.root, "--json", *options))]

    assert listed("--service", "notes") == made
    assert listed("--host", "other") == [cut, wiki]
    assert listed("--since", "2d", "--complete") == [made[0], wiki]
    assert listed("--incomplete") == [cut]
    assert set(listed("--latest")) == {made[0], wiki}
    assert run("archives", store.root, "--since", "soon", code=1).stderr.startswith("error: 'soon' is not a duration")


def test_an_empty_store_is_an_empty_list(run: Run, store: LocalStore) -> None:
    assert as_json(run("archives", store.root, "--json")) == []
    assert len(run("archives", store.root).stdout.splitlines()) == 1


def test_all_stores_of_the_settings_are_listed(run: Run, store: LocalStore, second: LocalStore, tmp_path: Path) -> None:
    configure(tmp_path, f"[stores.one]\nurl = '{store.root}'\n[stores.two]\nurl = 'file://{second.root}'\n")
    for each in (store, second):
        add(each, NOW)
    assert [item["store"] for item in as_json(run("archives", "--json"))] == [str(store.root), str(second.root)]
    assert len(as_json(run("archives", "one/there", "--json"))) == 1


def test_a_store_that_fails_does_not_keep_the_others_from_being_listed_and_pruned(
    run: Run, store: LocalStore, tmp_path: Path
) -> None:
    rules = "[stores.{0}.retention]\nkeep_last = 1\n"
    configure(
        tmp_path,
        f"[stores.gone]\nurl = '{tmp_path}/gone'\n{rules.format('gone')}"
        f"[stores.here]\nurl = '{store.root}'\n{rules.format('here')}",
    )
    made = [add(store, NOW - days * DAY) for days in range(2)]
    listed = run("archives", "--json", code=1)
    assert [item["key"] for item in as_json(listed)] == made
    assert f"error: there is no directory {tmp_path}/gone\nhint: " in listed.stderr
    gone, here = as_json(run("prune", "--apply", "--json", code=1))
    assert gone == {"store": "gone", "error": f"there is no directory {tmp_path}/gone"}
    assert here["deleted"] == [made[1]]


@pytest.mark.parametrize(
    "arguments",
    [
        ("archives",),
        ("archives", "/nonexistent"),
        ("archives", "s3:/bucket"),
        ("prune",),
        ("prune", "/tmp"),
        ("prune", "/tmp", "--keep-daily", "-5"),
        ("prune", "/tmp", "--keep-within", "soon"),
        ("copy", "/nonexistent", "/tmp"),
        ("copy", "/tmp"),
        ("verify", "s3//x"),
    ],
)
def test_what_cannot_be_done_is_one_error_and_what_to_do(arguments: tuple[str, ...], run: Run) -> None:
    done = run(*arguments, code=1)
    assert [line.split(":")[0] for line in done.stderr.splitlines() if not line.startswith("  ")] == ["error", "hint"]
    error = json.loads(run(*arguments, "--json", code=1).stdout.splitlines()[-1])["error"]
    assert error["message"]
    assert error["hint"]


def test_pruning_shows_then_does_then_has_nothing_to_do(run: Run, store: LocalStore) -> None:
    made = [add(store, NOW - days * DAY) for days in range(4)]
    before = keys(store)
    rows = run("prune", store.root, "--keep-last", "2").stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["keep", "keep", "delete", "delete"]
    assert "last 1 of 2" in rows[0]
    said = as_json(run("prune", store.root, "--keep-last", "2", "--json"))
    assert [item["action"] for item in said["services"][0]["archives"]] == ["keep", "keep", "delete", "delete"]
    assert said["deleted"] == []
    assert keys(store) == before
    assert as_json(run("prune", store.root, "--keep-last", "2", "--apply", "--json"))["deleted"] == made[:1:-1]
    assert {key.removesuffix(".json") for key in keys(store)} == set(made[:2])
    run("prune", store.root, "--keep-last", "2", "--apply", code=3)


def test_a_frozen_service_is_an_error_until_it_is_accepted_as_the_hint_says(run: Run, store: LocalStore) -> None:
    for days in range(5, 0, -1):
        add(store, NOW - days * DAY, data=sealed(LARGE))
    add(store, NOW)
    done = run("prune", store.root, "--keep-last", "2", "--apply", code=1)
    assert "there/notes is frozen" in done.stderr
    assert "shrank to" in done.stderr
    hint = done.stderr.splitlines()[-1]
    assert hint.endswith(f"drunner-vault prune {store.root} --accept there/notes")
    run(*hint.split("drunner-vault ")[1].split())
    assert len([key for key in keys(store) if key.endswith(".age")]) == 6
    assert len(as_json(run("prune", store.root, "--keep-last", "2", "--apply", "--json"))["deleted"]) == 4


def test_pruning_goes_by_the_rules_of_the_settings(run: Run, store: LocalStore, tmp_path: Path) -> None:
    configure(tmp_path, f"[stores.one]\nurl = '{store.root}'\n[stores.one.retention]\nkeep_last = 1\n")
    for days in range(3):
        add(store, NOW - days * DAY)
    (said,) = as_json(run("prune", "--apply", "--json"))
    assert (said["store"], len(said["deleted"])) == ("one", 2)


def test_dead_uploads_are_removed(run: Run, store: LocalStore) -> None:
    add(store, NOW)
    dead = store.root / f"there/notes/.{key_of(NOW).rpartition('/')[2]}.0123456789ab.partial"
    dead.write_bytes(b"x" * 5000)
    run("prune", store.root, "--keep-last", "1", "--apply", code=3)
    long_ago = (NOW - 2 * DAY).timestamp()
    os.utime(dead, (long_ago, long_ago))
    assert "a dead upload" in run("prune", store.root, "--keep-last", "1").stdout
    assert as_json(run("prune", store.root, "--keep-last", "1", "--apply", "--json"))["removed"] == [key_of(NOW)]
    assert not dead.exists()


def test_a_server_that_cannot_list_uploads_is_pruned_all_the_same_and_that_is_said(run: Run) -> None:
    lacking = b"<Error><Code>NotImplemented</Code><Message>no</Message></Error>"
    with s3servers.moto_server() as server, faulty_wire(server.address) as wire:
        bucket = server.bucket("backups").store()
        made = [add(bucket, NOW - days * DAY) for days in range(2)]
        wire.choose(lambda _method, path: Reply(501, lacking) if "?uploads" in path else None)
        url = f"s3://backups?endpoint={wire.endpoint}"
        done = run("prune", url, "--keep-last", "1", "--apply", "--json", **s3servers.credentials())
        checked = run("store", "check", url, code=1, **s3servers.credentials())
        assert as_json(done)["deleted"] == [made[1]]
        assert "dead uploads were not looked for" in done.stderr
        assert "failed   what a dead upload left can be removed" in checked.stdout
        assert keys(bucket) == {made[0], made[0] + ".json"}


def test_a_second_listing_of_a_bucket_reads_no_sidecar_again(run: Run, tmp_path: Path) -> None:
    require("" if os.geteuid() == 0 else "only root keeps a cache")
    with s3servers.moto_server() as server, faulty_wire(server.address) as wire:
        bucket = server.bucket("backups").store()
        made = [add(bucket, NOW - days * DAY) for days in range(3)]
        url, keys_there = f"s3://backups?endpoint={wire.endpoint}", s3servers.credentials()

        def listed() -> tuple[list[dict[str, Any]], int]:
            """What is listed, and how many sidecars were read for it."""
            wire.forget()
            found = as_json(run("archives", url, "--json", **keys_there))
            read = [seen for seen in wire.requests if seen.method == "GET" and ".age.json" in seen.path]
            return [{**item, "age_seconds": 0} for item in found], len(read)

        first, second = listed(), listed()
        assert [item["key"] for item in first[0]] == made
        assert {item["standing"] for item in first[0]} == {"proven"}
        assert (first[1], second) == (3, (first[0], 0))
        (tmp_path / "drunner/vault/objects.sqlite").unlink()
        assert listed() == first
        bucket.delete(made[1])
        add(bucket, NOW - 3 * DAY)
        assert listed()[1] == 1


def test_copying_a_store_takes_what_is_missing(run: Run, store: LocalStore, second: LocalStore) -> None:
    made = [add(store, NOW - days * DAY) for days in range(2)]
    done = run("copy", store.root, second.root, "--json")
    assert [item["archive"] for item in result(done)["copied"]] == [f"{second.root}/{key}" for key in reversed(made)]
    assert result(done)["failed"] == []
    assert keys(second) == keys(store)
    done = run("copy", store.root, second.root, code=3)
    assert done.stdout == done.stderr == ""


def test_copies_in_a_store_that_locks_are_locked_as_backups_there_would_be(run: Run, store: LocalStore) -> None:
    for days in range(3):
        add(store, NOW - days * DAY)
    keys_there = s3servers.credentials()
    with s3servers.moto_server() as server:
        server.bucket("locking", lockable=True)
        url = f"s3://locking?endpoint={server.endpoint}&lock=governance"
        assert "is not locked: nothing says for how long" in run("copy", store.root, url, **keys_there).stderr
        url = f"s3://locking/second?endpoint={server.endpoint}&lock=governance"
        run("copy", store.root, url, "--keep-daily", "7", **keys_there)
        listed = as_json(run("archives", url, "--json", **keys_there))
        left = [dt.datetime.fromisoformat(item["locked_until"]) - NOW for item in listed]
        assert [round(span / DAY) in (6 - days, 7 - days) for days, span in enumerate(left)] == [True] * 3
        server.bucket("open")
        failed = run(
            "copy",
            store.root,
            f"s3://open?endpoint={server.endpoint}&lock=governance",
            "--keep-daily",
            "7",
            code=1,
            **keys_there,
        )
        assert "hint: make the bucket with Object Lock" in failed.stderr


def test_copying_one_archive_or_the_newest(run: Run, store: LocalStore, second: LocalStore) -> None:
    made = [add(store, NOW - days * DAY) for days in range(2)]
    run("copy", f"{store.root}/there/notes/latest", second.root)
    assert keys(second) == {made[0], made[0] + ".json"}
    run("copy", f"file://{store.root}/{made[1]}", f"file://{second.root}")
    assert keys(second) == keys(store)
    run("copy", f"{store.root}/latest", second.root, code=3)


def test_what_cannot_be_copied_is_an_error_and_the_others_are_copied(
    run: Run, store: LocalStore, second: LocalStore
) -> None:
    made = [add(store, NOW - days * DAY) for days in range(3)]
    put(second, made[1], b"something else")
    done = run("copy", store.root, second.root, "--json", code=1)
    assert len(result(done)["copied"]) == 2
    assert made[1] in result(done)["failed"][0]
    assert done.stderr.startswith(f"error: {made[1]}")


def test_a_store_is_checked(run: Run, store: LocalStore) -> None:
    lines = run("store", "check", store.root).stdout.splitlines()
    assert len(lines) > 10
    assert {line.split()[0] for line in lines} == {"kept"}
    said = as_json(run("store", "check", store.root, "--json"))
    assert said["ok"] is True
    assert {finding["verdict"] for finding in said["findings"]} == {"kept"}
    assert list(store.root.iterdir()) == []


def test_a_store_that_is_not_there_keeps_no_promise(run: Run, tmp_path: Path) -> None:
    lines = run("store", "check", tmp_path / "nowhere", code=1).stdout.splitlines()
    assert f"there is no directory {tmp_path}/nowhere" in lines[0]
    said = as_json(run("store", "check", tmp_path / "nowhere", "--json", code=1))
    assert said["ok"] is False


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("options", [("--no-key",), ("-i", "key.txt")], ids=["without a key", "with a key"])
def test_what_verify_finds_is_remembered(run: Run, store: LocalStore, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "key.txt").write_text(f"{IDENTITY}\n")
    words = [str(tmp_path / word) if word == "key.txt" else word for word in options]
    path = store.root / add(store, NOW)
    assert as_json(run("verify", path, *words, "--json"))["recorded"]
    (item,) = as_json(run("archives", store.root, "--json"))
    assert (item["standing"], bool(item["verified"]), item["damaged"]) == ("proven", True, None)
    spoil(path)
    run("verify", f"file://{path}", *words, code=1)
    (item,) = as_json(run("archives", store.root, "--json"))
    assert item["damaged"]
    assert not item["complete"]


def test_a_damaged_sidecar_is_not_held_against_the_archive(run: Run, store: LocalStore) -> None:
    path = store.root / add(store, NOW)
    path.with_name(path.name + ".json").write_bytes(b"{]")
    before = keys(store)
    run("verify", path, "--no-key", code=1)
    (item,) = as_json(run("archives", store.root, "--json"))
    assert (item["standing"], item["damaged"]) == ("unreadable", None)
    assert keys(store) == before


@pytest.mark.parametrize("sign", [None, SigningKey.generate()], ids=["unsigned", "stranger"])
def test_what_differs_from_a_sidecar_that_no_accepted_key_signed_is_reported_and_not_recorded(
    run: Run, store: LocalStore, sign: SigningKey | None
) -> None:
    path = store.root / add(store, NOW, sign=sign)
    before = keys(store)
    done = run("verify", path, "--no-key")
    assert "no accepted key has signed the sidecar, so this is not recorded" in done.stderr
    assert not as_json(run("verify", path, "--no-key", "--json"))["recorded"]
    spoil(path)
    run("verify", path, "--no-key", code=1)
    assert keys(store) == before


def test_a_listing_shows_what_each_archive_is_worth_and_who_signed_it(run: Run, store: LocalStore) -> None:
    stranger = SigningKey.generate()
    worth = {
        add(store, NOW): ("proven", HOST_KEY),
        add(store, NOW - DAY, sign=stranger): ("stranger", stranger),
        add(store, NOW - 2 * DAY, sign=None): ("unsigned", None),
        add(store, NOW - 3 * DAY, sidecar=False): ("unsigned", None),
    }
    rows = run("archives", store.root).stdout.splitlines()
    assert "STANDING" in rows[0]
    for row, item in zip(rows[1:], as_json(run("archives", store.root, "--json")), strict=True):
        standing, key = worth[item["key"]]
        fingerprint = key.public().fingerprint if key else ""
        assert (item["standing"], item["signer"]) == (standing, fingerprint)
        assert item["series"] == (fingerprint if standing == "proven" else "")
        assert f" {standing} " in row
        assert fingerprint[:17] in row


def test_archives_that_nobody_accepted_has_signed_count_for_nothing_and_stay(run: Run, store: LocalStore) -> None:
    made = [add(store, NOW - days * DAY) for days in (1, 2)]
    others = [add(store, NOW, sign=SigningKey.generate()), add(store, NOW - 3 * DAY, sign=None)]
    done = run("prune", store.root, "--keep-last", "1", "--apply", "--json")
    assert as_json(done)["deleted"] == [made[1]]
    assert "2 archives in there/notes do not count (1 stranger, 1 unsigned)" in done.stderr
    assert "--unsigned" in done.stderr
    listed = as_json(run("prune", store.root, "--unsigned", "--json"))
    assert {item["key"] for item in listed["unsigned"]} == set(others)
    assert keys(store) >= set(others)
    assert set(as_json(run("prune", store.root, "--unsigned", "--apply", "--json"))["deleted"]) == set(others)
    assert keys(store) == {made[0], f"{made[0]}.json"}
    run("prune", store.root, "--unsigned", code=3)


def test_copying_a_store_leaves_what_nobody_accepted_has_signed_unless_it_is_named(
    run: Run, store: LocalStore, second: LocalStore
) -> None:
    stated, other = add(store, NOW), add(store, NOW - DAY, sign=None)
    run("copy", store.root, second.root)
    assert keys(second) == {stated, f"{stated}.json"}
    run("copy", store.root / other, second.root)
    (item,) = [item for item in as_json(run("archives", second.root, "--json")) if item["key"] == other]
    assert item["standing"] == "unsigned"


def test_verifying_a_file_that_is_in_no_store_leaves_no_record(run: Run, tmp_path: Path, store: LocalStore) -> None:
    (tmp_path / "key.txt").write_text(f"{IDENTITY}\n")
    for name in ("n.backup", "n.backup.json"):
        (store.root / name).write_bytes(sealed())
    run("verify", store.root / "n.backup", "-i", tmp_path / "key.txt")
    assert keys(store) == {"n.backup", "n.backup.json"}
