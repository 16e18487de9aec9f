"""Backing up to a store, listing what is there, and restoring from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.engines import Completed, Host
from support.keeper import Key, install_keeper, make_key


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> str:
    (tmp_path / "store").mkdir()
    return f"file://{tmp_path}/store"


def back_up(host: Host, store: str, key: Key, *options: str, check: bool = True) -> Completed:
    return host.drunner("backup", "keeper", store, "-r", key.recipient, *options, check=check)


def listed(host: Host, store: str, *options: str) -> list[dict[str, object]]:
    return json.loads(host.drunner("archives", store, "--json", *options).stdout)  # type: ignore[no-any-return]


def test_an_archive_in_a_store_is_listed_with_all_that_can_be_known_without_a_key(
    host: Host, store: str, key: Key
) -> None:
    install_keeper(host)
    report = json.loads(back_up(host, store, key, "--json").stdout.splitlines()[-1])
    (item,) = listed(host, store)
    assert report["archive"].endswith(str(item["key"]))
    assert (item["service"], item["complete"], item["has_sidecar"]) == ("keeper", True, True)
    assert item["key"] == f"{item['host']}/keeper/{item['name']}"
    assert item["recipients"] == ["X25519"]
    assert item["sealed_to"] == [key.recipient[:16]]
    assert str(item["signer"]).startswith("SHA256:")
    assert item["size"] == report["bytes"]
    shown = host.drunner("archives", store).stdout
    assert key.recipient[:16] in shown
    assert "complete" in shown


def test_another_host_restores_the_newest_of_a_service_knowing_only_place_and_key(
    host: Host, other_host: Host, store: str, key: Key
) -> None:
    install_keeper(host)
    back_up(host, store, key)
    host.drunner("obliterate", "keeper")
    other_host.drunner("restore", store, "keeper", "-i", key.identity, "--any-sender")
    other_host.run("keeper", "selftest")
    other_host.drunner("restore", f"{store}/latest", "clone", "-i", key.identity, "--any-sender")
    other_host.run("clone", "selftest")


def test_two_backups_within_a_second_get_names_of_their_own(host: Host, store: str, key: Key) -> None:
    install_keeper(host)
    for _ in range(3):
        back_up(host, store, key, "--images", "never")
    assert len({item["key"] for item in listed(host, store)}) == 3


def test_a_failing_hook_leaves_nothing_in_the_store(host: Host, store: str, key: Key, tmp_path: Path) -> None:
    install_keeper(host)
    done = host.drunner("backup", "keeper", store, "-r", key.recipient, env={"KEEPER_FAIL": "backupend"}, check=False)
    assert done.returncode == 1
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    back_up(host, store, key)
    assert len(listed(host, store)) == 1


def test_verifying_is_remembered_beside_the_archive(host: Host, store: str, key: Key) -> None:
    install_keeper(host)
    back_up(host, store, key)
    assert listed(host, store)[0]["verified"] is None
    host.drunner("verify", f"{store}/latest", "-i", key.identity)
    assert listed(host, store)[0]["verified"] is not None


def test_a_damaged_archive_is_passed_over_and_that_is_said(
    host: Host, other_host: Host, store: str, key: Key, tmp_path: Path
) -> None:
    install_keeper(host)
    for _ in range(2):
        back_up(host, store, key)
    newest = tmp_path / "store" / str(listed(host, store)[0]["key"])
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    assert host.drunner("verify", "--no-key", newest, check=False).returncode == 1
    damaged, well = listed(host, store)
    assert "found damaged" in str(damaged["fault"])
    other_host.drunner("key", "trust", host.drunner("key", "signer").stdout.strip())
    done = other_host.drunner("restore", store, "keeper", "-i", key.identity)
    assert f"{newest.name} is newer, and ignored: it was found damaged" in done.stderr
    assert str(well["name"])
    assert other_host.run("keeper", "selftest").returncode == 0


def test_an_archive_that_was_copied_in_by_hand_counts(host: Host, other_host: Host, key: Key, tmp_path: Path) -> None:
    install_keeper(host)
    (tmp_path / "store" / "old").mkdir(parents=True)
    host.drunner("backup", "keeper", f"{tmp_path}/store/old/", "-r", key.recipient)
    (item,) = listed(host, f"{tmp_path}/store")
    assert (item["service"], item["host"], item["complete"], item["has_sidecar"]) == ("keeper", "", True, False)
    whole = next((tmp_path / "store" / "old").iterdir())
    whole.write_bytes(whole.read_bytes()[:-1000])
    (item,) = listed(host, f"{tmp_path}/store")
    assert not item["complete"]
    done = other_host.drunner("restore", f"{tmp_path}/store", "keeper", "-i", key.identity, check=False)
    assert done.returncode == 1
    assert "cut short" in done.stderr


def test_pruning_previews_explains_and_then_deletes(host: Host, store: str, key: Key) -> None:
    install_keeper(host)
    for _ in range(3):
        back_up(host, store, key)
    preview = host.drunner("prune", store, "--keep-last", "1").stdout.splitlines()[1:]
    assert [line.split()[0] for line in preview] == ["keep", "delete", "delete"]
    assert len(listed(host, store)) == 3
    host.drunner("prune", store, "--keep-last", "1", "--apply")
    assert len(listed(host, store)) == 1
    assert host.drunner("prune", store, "--keep-last", "1", "--apply", check=False).returncode == 3


def test_copying_takes_what_is_missing_and_needs_no_key(
    host: Host, other_host: Host, store: str, key: Key, tmp_path: Path
) -> None:
    install_keeper(host)
    for _ in range(2):
        back_up(host, store, key)
    (tmp_path / "second").mkdir()
    second = f"file://{tmp_path}/second"
    host.drunner("copy", store, second)
    assert host.drunner("copy", store, second, check=False).returncode == 3
    for path in (tmp_path / "store").rglob("keeper-*"):
        copy, lines = tmp_path / "second" / path.relative_to(tmp_path / "store"), (0, 1, 4)
        if path.suffix == ".json":
            kept, made = path.read_bytes().splitlines(), copy.read_bytes().splitlines()
            assert [kept[line] for line in lines] == [made[line] for line in lines]
        else:
            assert copy.read_bytes() == path.read_bytes()
    assert {item["standing"] for item in listed(host, second)} == {"proven"}
    other_host.drunner("restore", second, "keeper", "-i", key.identity, "--any-sender")
    other_host.run("keeper", "selftest")
