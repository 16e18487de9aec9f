"""Volumes that are reached through Docker's archive calls: what they carry, what is said of what they do not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from support.engines import Host
from support.keeper import (
    Key,
    assert_refused,
    backup,
    install_keeper,
    make_key,
    manifest_of,
    open_by_hand,
    restore,
    snapshot,
    volume_directory,
)
from support.trees import assert_same_tree, make_odd_tree, plain_facts, tar_of

ENGINE = ("--volume-access", "engine")


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


@pytest.fixture
def odd(host: Host) -> Path:
    """The volume of a service, with odd things."""
    install_keeper(host)
    path = volume_directory(host, "keeper")
    make_odd_tree(path, big=False)
    return path


def test_content_survives_a_backup_by_the_engine_and_what_is_lost_is_recorded(
    host: Host, other_host: Host, odd: Path, key: Key, tmp_path: Path
) -> None:
    shutil.rmtree(odd / "times")
    done = host.drunner("backup", "keeper", tmp_path / "n.backup", "-r", key.recipient, *ENGINE, "--json")
    assert "extended attributes" in json.loads(done.stdout.splitlines()[-1])["lost"]["drunner-keeper-data"][1]
    expected = plain_facts(odd)
    open_by_hand(tmp_path / "n.backup", key, tmp_path / "opened")
    (record, _) = manifest_of(tmp_path / "opened")["volumes"]
    assert (record["access"], len(record["lost"])) == ("engine", 3)
    assert plain_facts(tmp_path / "opened/volumes/drunner-keeper-data") == expected
    done = restore(other_host, tmp_path / "n.backup", "clone", "-i", key.identity)
    assert done.stderr.count("warning: ") == 2
    assert "extended attributes and ACLs" in done.stderr
    assert plain_facts(volume_directory(other_host, "clone")) == expected


def test_a_restore_by_the_engine_loses_holes_and_what_it_names(
    host: Host, other_host: Host, odd: Path, key: Key, tmp_path: Path
) -> None:
    archive = backup(host, key, tmp_path)
    for path in (odd / "attributes/file", odd / "attributes/directory"):
        os.removexattr(path, "user.a=b")
        os.removexattr(path, "user.empty")
    for path in [odd / "times", *(odd / "times").iterdir()]:
        if path.lstat().st_mtime_ns < 0 and not path.is_symlink():
            os.utime(path, (0, 0))
    expected = tar_of(odd, holes=False)
    done = restore(other_host, archive, "clone", "-i", key.identity, *ENGINE)
    warnings = done.stderr.splitlines()
    assert warnings[:2] == [
        f"warning: drunner-keeper-{name} went through Docker's archive calls, which lose: "
        "holes in files: they are written as zeros"
        for name in ("data", "more")
    ]
    assert sum("user.a=b" in line for line in warnings) == sum("user.empty" in line for line in warnings) == 2
    assert sum("before 1970" in line for line in warnings) == len(warnings) - 6 == 7
    assert_same_tree(volume_directory(other_host, "clone"), expected, holes=False)
    other_host.run("clone", "selftest")
    assert other_host.containers() == set()


def test_both_ways_by_the_engine_content_is_right(
    host: Host, other_host: Host, odd: Path, key: Key, tmp_path: Path
) -> None:
    shutil.rmtree(odd / "times")
    expected = plain_facts(odd)
    archive = backup(host, key, tmp_path, *ENGINE)
    done = restore(other_host, archive, "clone", "-i", key.identity, *ENGINE, "--json")
    assert len(json.loads(done.stdout.splitlines()[-1])["lost"]["drunner-keeper-data"]) == 4
    assert plain_facts(volume_directory(other_host, "clone")) == expected
    assert host.containers() | other_host.containers() == set()


@pytest.fixture
def bound(host: Host, tmp_path: Path) -> Path:
    """The directory behind a volume with mount options, kept by an earlier uninstall; it outlasts its volume."""
    behind = tmp_path / "behind"
    behind.mkdir()
    options = [word for option in ("type=none", "o=bind", f"device={behind}") for word in ("-o", option)]
    install_keeper(host)
    host.drunner("uninstall", "keeper")
    host.docker("volume", "rm", "drunner-keeper-data")
    host.docker("volume", "create", *options, "drunner-keeper-data")
    host.drunner("install", "test/keeper:1", "keeper")
    return behind


def test_a_volume_with_mount_options_is_read_through_a_mount(
    host: Host, other_host: Host, bound: Path, key: Key, tmp_path: Path
) -> None:
    (bound / "word").write_text("behind the mount\n")
    assert list(volume_directory(host, "keeper").iterdir()) == []
    done = host.drunner("backup", "keeper", tmp_path / "n.backup", "-r", key.recipient, "--json")
    assert list(json.loads(done.stdout.splitlines()[-1])["lost"]) == ["drunner-keeper-data"]
    restore(other_host, tmp_path / "n.backup", "clone", "-i", key.identity)
    assert (volume_directory(other_host, "clone") / "word").read_text() == "behind the mount\n"
    done = host.drunner(
        "backup", "keeper", tmp_path / "m.backup", "-r", key.recipient, "--volume-access", "host", check=False
    )
    assert_refused(done, "mount options")


@pytest.mark.parametrize("failure", ["", "restore", "install"])
def test_a_volume_with_mount_options_is_replaced_or_put_back(
    host: Host, bound: Path, key: Key, tmp_path: Path, failure: str
) -> None:
    (bound / "word").write_text("archived\n")
    archive = backup(host, key, tmp_path)
    for number in range(20):
        (bound / f"later-{number}").write_text("kept" * number)
    (bound / "word").write_text("kept\n")
    (bound / ".hidden").write_text("kept\n")
    host.drunner("uninstall", "keeper")
    kept, before = plain_facts(bound), snapshot(host)
    done = restore(
        host, archive, "-i", key.identity, "--replace", check=False, env={"KEEPER_FAIL": failure} if failure else {}
    )
    assert "should the restore fail" in done.stderr
    if failure:
        assert done.returncode == 1
        assert plain_facts(bound) == kept
        assert snapshot(host) == before
    else:
        assert done.returncode == 0, done.stderr
        assert {path.name for path in bound.iterdir()} == {"word"}
        assert (bound / "word").read_text() == "archived\n"
        assert host.volumes() == {"drunner-keeper-data", "drunner-keeper-more"}
