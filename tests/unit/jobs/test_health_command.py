"""health on a host whose store has archives of several kinds: what it prints, and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from support.catalogs import DAY, HOUR, add, head_of, identify, key_of, root_of, sealed, sidecar_v1

from drunner_vault.catalog.identity import IDENTITY_KEY
from drunner_vault.clock import SYSTEM_CLOCK, isoformat
from drunner_vault.hoststate.archive_log import ArchiveLog
from drunner_vault.signing import SigningKey
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.store import put
from drunner_vault.workflows.into_store import logged
from drunner_vault.workflows.trust import Trust
from drunner_vault.workflows.unattended.history import History, Run

HERE = os.uname().nodename
NOW = SYSTEM_CLOCK.now().replace(microsecond=0)
SETTINGS = """\
[stores.near]
url = "{directory}/near"

[jobs.nightly]
store = "near"
max_age = "2d"
"""
WELL = "all is well: 1 jobs, 1 services in their stores\n"


@dataclass
class Site:
    """A host with one service, and a job whose store is a directory."""

    directory: Path

    def __post_init__(self) -> None:
        (self.directory / "near").mkdir()
        (self.directory / "root/services/notes").mkdir(parents=True)
        self.store = LocalStore(self.directory / "near")
        self.vault = self.directory / "root/vault"
        self.key = Trust(self.directory, HERE).signing_key()
        (self.directory / "vault.toml").write_text(SETTINGS.format(directory=self.directory))

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        ours = {"DRUNNER_CONFIG_DIR": str(self.directory), "DRUNNER_ROOT": str(self.directory / "root")}
        command = [sys.executable, "-m", "drunner_vault", *arguments]
        done = subprocess.run(command, env=os.environ | ours, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def health(self, *options: str, code: int = 0) -> dict[str, Any]:
        """What health tells programs."""
        return dict(json.loads(self.run("health", "--json", *options, code=code).stdout))

    def back_up(self, ago: Any = HOUR, *, log: bool = True) -> str:
        """What a backup leaves. log: whether this host remembers it."""
        identify(self.store)
        if log:
            head = head_of(sealed(), key_of(NOW - ago, host=HERE))
            ArchiveLog(self.vault).add(logged(head, root_of(self.store), "", complete=True))
        return add(self.store, NOW - ago, host=HERE, sign=self.key)

    def back_up_as_version_1(self, ago: Any = HOUR) -> str:
        """What a backup by version 1.0 leaves, and the line of it in the history."""
        key = key_of(NOW - ago, host=HERE)
        put(self.store, key, sealed())
        put(self.store, f"{key}.json", sidecar_v1(sealed(), key))
        moment = (NOW - ago).timestamp()
        for name in (key, f"{key}.json"):
            os.utime(self.store.root / name, (moment, moment))
        path, size = f"{self.store.root}/{key}", len(sealed())
        run = Run("x", "nightly", "backup", "notes", "near", isoformat(NOW - ago), 5.0, archive=path, bytes=size)
        History(self.vault).add(run)
        return key


@pytest.fixture
def site(tmp_path: Path) -> Site:
    require("" if os.geteuid() == 0 else "health is for root")
    return Site(tmp_path)


def test_a_fresh_proven_archive_of_this_host_is_well(site: Site) -> None:
    site.back_up()
    done = site.run("health")
    assert (done.stdout, done.stderr) == (WELL, "")
    assert site.health()["notices"] == []


@pytest.mark.parametrize("sign", [None, SigningKey.generate()], ids=["unsigned", "stranger"])
def test_archives_that_others_added_are_a_notice_and_change_neither_lines_nor_exit_code(
    site: Site, sign: SigningKey | None
) -> None:
    site.back_up()
    for hours in (1, 2):
        add(site.store, NOW + hours * HOUR, host=HERE, sign=sign)
    done = site.run("health")
    assert done.stdout == WELL
    assert done.stderr.splitlines()[0].startswith(f"notice: near: 2 archives in {HERE}/notes do not count")
    assert "drunner-vault prune near --unsigned" in done.stderr
    assert site.run("health", "--quiet").stderr == ""
    said = site.health()
    assert (said["healthy"], said["problems"]) == (True, [])
    (notice,) = [item for item in said["notices"] if item["kind"] == "others"]
    assert (notice["store"], notice["count"], notice["bytes"]) == ("near", 2, 2 * len(sealed()))


def test_what_only_others_added_does_not_make_a_service_well(site: Site) -> None:
    add(site.store, NOW - HOUR, host=HERE, sign=SigningKey.generate())
    assert site.health()["services"][0]["newest"] is None  # and nothing is late yet
    site.back_up(3 * DAY)
    assert site.run("health", code=1).stdout.startswith("the newest good archive of notes in near is 3 d old")


def test_archives_of_version_1_are_one_line_that_says_what_to_type_and_then_all_is_well(site: Site) -> None:
    made = [site.back_up_as_version_1(hours * HOUR) for hours in (1, 25)]
    done = site.run("health", code=1)
    (line,) = done.stdout.splitlines()
    assert line.startswith("2 archives in near are not signed")
    command = line.rpartition("drunner-vault ")[2]
    assert command == "archives near --adopt"
    assert done.stderr == ""
    site.run("prune", "near", "--keep-last", "1", "--apply", code=3)
    assert {item.key for item in site.store.list()} >= set(made)
    assert site.run(*command.split()).stdout.count("adopted by history") == 2
    assert site.run("health").stdout == WELL
    site.run(*command.split(), code=3)


def test_an_archive_with_this_hosts_key_that_it_does_not_know_is_a_problem_until_somebody_says_it_is_right(
    site: Site,
) -> None:
    site.back_up()
    unknown = site.back_up(2 * HOUR, log=False)
    (line,) = site.run("health", code=1).stdout.splitlines()
    assert line.startswith(f"1 archive in near, first {unknown}, bears this host's key and is not in its history")
    assert site.run("archives", "near", "--adopt").stdout.startswith(f"{unknown}: adopted by recorded")
    assert site.run("health").stdout == WELL


def test_two_machines_of_one_name_are_a_notice_that_names_both_keys(site: Site) -> None:
    site.back_up()
    twin = SigningKey.generate()
    (site.directory / "allowed_signers").write_text(twin.public().allowed_line(HERE))
    add(site.store, NOW, host=HERE, sign=twin)
    done = site.run("health")
    assert done.stdout == WELL
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"notice: near: 2 keys have signed archives in {HERE}/notes")
    assert twin.public().fingerprint in line
    assert site.key.public().fingerprint in line


@pytest.mark.parametrize("identity", ["", "6" * 32])
def test_a_store_that_is_not_the_one_that_was_used_before_is_a_problem(site: Site, identity: str) -> None:
    site.back_up()
    site.run("health")
    site.store.delete(IDENTITY_KEY)
    if identity:
        identify(site.store, identity)
    (line,) = site.run("health", code=1).stdout.splitlines()
    assert line.startswith(f"store near cannot be read: {site.store.root} is not the store that was used before")


def test_a_directory_with_names_of_an_unknown_kind_is_a_notice(site: Site) -> None:
    key = site.back_up()
    put(site.store, f"{key}.later", b"of a later version")
    done = site.run("health")
    assert done.stdout == WELL
    assert f"nothing is deleted in {HERE}/notes: it holds what this program does not know" in done.stderr
