"""A host is gone, and all its services come back on another: from the place of its archives, and the key."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.engines import Completed, Host
from support.faraway import without_images
from support.keeper import (
    Key,
    assert_refused,
    build_keeper,
    calls,
    make_key,
    start,
    volume_directory,
    wait_until,
)

OLD = os.uname().nodename
SERVICES = ("calendar", "mail", "wiki")


@dataclass(frozen=True)
class Left:
    """What is left of the old host."""

    store: str
    directory: Path
    key: Key
    signer: str

    def rebuild(self, host: Host, *options: str | Path, check: bool = True, **env: str) -> Completed:
        return host.drunner("rebuild", self.store, "-i", self.key.identity, *options, check=check, env=env)


@pytest.fixture(scope="module")
def left(host_a: Host, tmp_path_factory: pytest.TempPathFactory) -> Left:
    """The archives of three services, each of which kept a word; nothing else of that host."""
    directory = tmp_path_factory.mktemp("left")
    (directory / "store").mkdir()
    key, host = make_key(directory), host_a.anew()
    store = f"file://{directory}/store"
    image = build_keeper(host)
    for name in SERVICES:
        host.drunner("install", image, name)
        (volume_directory(host, name) / "word").write_text(f"of {name}\n")
        for _ in range(2 if name == "wiki" else 1):
            host.drunner("backup", name, store, "-r", key.recipient)
        host.drunner("obliterate", name)
    signer = host.drunner("key", "signer").stdout.strip()
    return Left(store, directory / "store", key, signer)


@pytest.fixture
def fresh(other_host: Host, left: Left) -> Host:
    """The new host: it has our program, and trusts the old one."""
    without_images(other_host, "test/keeper")
    other_host.drunner("key", "trust", left.signer)
    return other_host


def words(host: Host) -> dict[str, str]:
    """The word of each service that is on the host, and says that it is well."""
    names = sorted(path.name for path in (host.root / "services").iterdir())
    for name in names:
        host.run(name, "selftest")
    return {name: (volume_directory(host, name) / "word").read_text() for name in names}


def test_one_that_fails_does_not_stop_the_others_and_is_made_up_for_later(left: Left, fresh: Host) -> None:
    blocking = fresh.bin_dir / "mail"
    blocking.write_text("a program of that name\n")
    plan = json.loads(left.rebuild(fresh, "--host", OLD, "--dry-run", "--json", check=False).stdout)
    assert [(item["service"], item["action"]) for item in plan["services"]] == [
        ("calendar", "restore"),
        ("mail", "impossible"),
        ("wiki", "restore"),
    ]
    assert plan["free"] > plan["needed"] > 0
    assert not fresh.root.exists() or not (fresh.root / "services").exists()

    done = left.rebuild(fresh, "--json", check=False)
    assert done.returncode == 1
    outcomes = {item["service"]: item for item in json.loads(done.stdout.splitlines()[-1])["services"]}
    assert {name: item["verdict"] for name, item in outcomes.items()} == {
        "calendar": "restored",
        "mail": "impossible",
        "wiki": "restored",
    }
    assert outcomes["wiki"]["well"]
    assert "error: mail: " in done.stderr
    assert "is not the launcher of mail" in done.stderr
    assert words(fresh) == {"calendar": "of calendar\n", "wiki": "of wiki\n"}

    blocking.unlink()
    (volume_directory(fresh, "wiki") / "word").write_text("written since\n")
    left.rebuild(fresh)
    assert words(fresh) == {"calendar": "of calendar\n", "mail": "of mail\n", "wiki": "written since\n"}
    again = left.rebuild(fresh, check=False)
    assert (again.returncode, again.stdout, again.stderr) == (3, "", "")


def test_of_one_that_is_damaged_the_state_before_is_named(left: Left, fresh: Host, tmp_path: Path) -> None:
    shutil.copytree(left.directory, tmp_path / "store")
    before, newest = sorted((tmp_path / "store" / OLD / "wiki").glob("wiki-*.age"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    place = Left(f"file://{tmp_path}/store", tmp_path / "store", left.key, left.signer)
    done = place.rebuild(fresh, "--services", "wiki", check=False)
    assert "error: wiki: the file is damaged" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "perhaps whole: " in line]
    assert before.name in line
    fresh.drunner("restore", line.rpartition(" ")[2], "-i", left.key.identity)
    assert words(fresh) == {"wiki": "of wiki\n"}


def test_where_nobody_is_trusted_junk_beside_the_archives_is_not_chosen(
    left: Left, other_host: Host, tmp_path: Path
) -> None:
    shutil.copytree(left.directory, tmp_path / "store")
    (tmp_path / "store" / OLD / "wiki" / "wiki-20990101T000000Z.tar.zst").write_bytes(b"junk")
    place = Left(f"file://{tmp_path}/store", tmp_path / "store", left.key, left.signer)
    plan = place.rebuild(other_host, "--services", "wiki", "--any-sender", "--dry-run", "--json", check=False)
    (item,) = json.loads(plan.stdout.splitlines()[-1])["services"]
    assert (plan.returncode, item["action"]) == (1, "impossible")
    assert "SHA256:" in item["why"]
    assert "nobody" in item["why"]
    other_host.drunner("key", "trust", left.signer)
    place.rebuild(other_host, "--services", "wiki", "--dry-run")


def test_it_goes_on_where_it_was_killed(left: Left, fresh: Host, tmp_path: Path) -> None:
    log = tmp_path / "log"
    env = {"KEEPER_LOG": str(log), "KEEPER_WAIT": "selftest"}
    arguments = ("rebuild", left.store, "-i", left.key.identity, "--services", "[cm]*")
    process = start(fresh, *arguments, env=env)
    wait_until(lambda: "selftest" in calls(log, "calendar"))  # restored, and not yet found to be well
    process.kill()
    process.communicate()
    process = start(fresh, *arguments, env=env | {"KEEPER_WAIT": "restore"})
    wait_until(lambda: "restore" in calls(log, "mail"))
    process.kill()
    process.communicate()
    done = left.rebuild(fresh, "--services", "[cm]*", "--json", KEEPER_LOG=str(log))
    outcomes = {item["service"]: item["verdict"] for item in json.loads(done.stdout.splitlines()[-1])["services"]}
    assert outcomes == {"calendar": "here", "mail": "restored"}
    assert words(fresh) == {"calendar": "of calendar\n", "mail": "of mail\n"}
    assert calls(log, "calendar").count("install") == 1


def test_one_that_is_not_well_is_asked_again_and_one_of_another_origin_is_no_ones_doing(
    left: Left, fresh: Host
) -> None:
    first = left.rebuild(fresh, "--services", "wiki", check=False, KEEPER_FAIL="selftest")
    assert (first.returncode, "wiki says that it is not well" in first.stderr) == (1, True)
    plan = json.loads(left.rebuild(fresh, "--services", "wiki", "--dry-run", "--json").stdout)
    assert [item["action"] for item in plan["services"]] == ["finish"]
    assert left.rebuild(fresh, "--services", "wiki", check=False, KEEPER_FAIL="selftest").returncode == 1
    left.rebuild(fresh, "--services", " wiki , wiki ")
    assert left.rebuild(fresh, "--services", "wiki", check=False).returncode == 3
    fresh.drunner("obliterate", "wiki")
    fresh.drunner("install", build_keeper(fresh), "wiki")
    done = left.rebuild(fresh, "--services", "wiki", check=False)
    assert_refused(done, "wiki: a service named wiki is installed already")


def test_what_cannot_be_is_known_before_anything_is_restored(left: Left, other_host: Host, tmp_path: Path) -> None:
    other = make_key(tmp_path, "other.txt")
    unsigned = left.rebuild(other_host, "--dry-run", check=False)
    assert (unsigned.returncode, unsigned.stdout.count("who is not trusted on this host")) == (1, 3)
    assert "hint: " in unsigned.stderr
    assert "key trust" in unsigned.stderr
    wrong = other_host.drunner("rebuild", left.store, "-i", other.identity, "--any-sender", "--dry-run", check=False)
    assert wrong.returncode == 1
    assert wrong.stdout.count("impossible") == 3
    assert_refused(other_host.drunner("rebuild", left.store, check=False), "")
    absent = other_host.drunner("rebuild", left.store, "-i", tmp_path / "absent.txt", check=False)
    assert_refused(absent, "absent.txt: No such file")
    assert_refused(left.rebuild(other_host, "--services", " ,", check=False), "--services names none")
    assert_refused(left.rebuild(other_host, "--host", "elsewhere", check=False), "no archive of host elsewhere")
    unknown = left.rebuild(other_host, "--services", "wiki,shop", "--any-sender", check=False)
    assert unknown.returncode == 1
    assert "error: shop: there is no archive of it" in unknown.stderr
    assert words(other_host) == {"wiki": "of wiki\n"}
