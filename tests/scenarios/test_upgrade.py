"""A host and two stores that version 1.0.0 wrote, after the upgrade: see tests/fixtures/v1_0_0.

The host has public keys only, so nothing here opens an archive, unless a test says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.version1 import HOSTNAME, Version1, unpack

from drunner_vault.archive.sidecar import parse_sidecar
from drunner_vault.catalog.identity import IDENTITY_KEY

WINDOW = 3600  # seconds: far more than the ten minutes that are tolerated


class Host:
    """The upgraded host, by its old name."""

    def __init__(self, state: Version1, etc: Path | None = None, root: Path | None = None) -> None:
        self.state = state
        self._own = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "DRUNNER_CONFIG_DIR": str(etc or state.etc),
            "DRUNNER_ROOT": str(root or state.root),
            "LC_ALL": "C.UTF-8",
        }

    def run(self, *arguments: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Give a command on it. code: what it has to exit with."""
        program = [sys.executable, "-P", "-m", "drunner_vault", *map(str, arguments)]
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', HOSTNAME, *program]
        done = subprocess.run(named, capture_output=True, text=True, env=self._own, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    def archives(self, store: str = "main") -> dict[str, dict[str, Any]]:
        """What `archives` lists, by key."""
        return {item["key"]: item for item in json.loads(self.run("archives", store, "--json").stdout)}

    def standings(self, store: str = "main") -> list[str]:
        """What each archive is worth, oldest first."""
        return [item["standing"] for _, item in sorted(self.archives(store).items())]

    def adopt(self, store: str = "main", *options: str | Path, code: int = 0) -> dict[str, Any]:
        """What `archives --adopt` did."""
        done = self.run("archives", store, "--adopt", "--json", *options, code=code)
        return json.loads(done.stdout.splitlines()[-1])["stores"][0]  # type: ignore[no-any-return]


@pytest.fixture
def state(tmp_path: Path) -> Version1:
    return unpack(tmp_path)


@pytest.fixture
def host(state: Version1) -> Host:
    return Host(state)


def names(store: Path) -> set[str]:
    return {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}


def keep_times(path: Path, data: bytes) -> None:
    """Overwrite a file as an attacker with rights on the store does, who also sets its time back."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_nothing_of_an_old_store_is_deleted_before_it_is_adopted(host: Host) -> None:
    before = names(host.state.main)
    assert host.standings() == ["unsigned"] * 5
    done = host.run("prune", "main", "--keep-last", "1", "--apply", code=3)
    assert "5 unsigned" in done.stderr
    assert before == names(host.state.main)


def test_health_says_in_one_line_what_to_type(host: Host) -> None:
    lines = host.run("health", code=1).stdout.splitlines()
    for store in ("main", "offsite"):
        (line,) = [line for line in lines if f"archives {store} --adopt" in line]
        assert line.startswith(f"5 archives in {store} are not signed")


def test_latest_and_restore_sources_work_on_an_old_store(host: Host) -> None:
    newest = host.state.archives[-1]
    for place in ("main/latest", f"main/{HOSTNAME}/notes/latest", f"main/{newest}"):
        done = host.run("verify", place, "-i", host.state.identity, "--json")
        assert newest in json.loads(done.stdout.splitlines()[-1])["archive"]


def test_adopting_signs_by_history_what_a_host_with_public_keys_can_know(host: Host) -> None:
    report = host.adopt()
    assert [item["archive"] for item in report["adopted"]] == host.state.archives
    assert {item["basis"] for item in report["adopted"]} == {"history"}
    assert host.standings() == ["proven"] * 5
    host.adopt(code=3)
    heads = [
        parse_sidecar(path.read_bytes()).head
        for key in host.state.archives
        for path in sorted(host.state.main.glob(f"{key}.signed-*.json"))
    ]
    assert [head.created[:10] for head in heads] == [f"2026-11-0{day}" for day in range(2, 7)]
    assert [head.after[:10] for head in heads][1:] == [f"2026-11-0{day}" for day in range(2, 6)]


def test_copies_are_adopted_by_the_time_of_their_copy(host: Host) -> None:
    report = host.adopt("offsite")
    assert {item["basis"] for item in report["adopted"]} == {"history"}
    assert host.standings("offsite") == ["proven"] * 5
    assert {item["basis"] for item in host.adopt("main")["adopted"]} == {"history"}


def test_what_version_1_recorded_against_an_archive_is_carried_over(host: Host) -> None:
    host.adopt()
    listed = host.archives()
    damaged = [key for key in host.state.archives if listed[key]["damaged"]]
    suspect = [key for key in host.state.archives if listed[key]["suspect"]]
    assert (damaged, suspect) == ([host.state.archives[1]], [host.state.archives[2]])
    done = host.run("prune", "main", "--keep-last", "1", "--apply", code=1)
    assert "is frozen" in done.stderr
    host.run("prune", "main", "--keep-last", "1", "--accept", "notes", "--apply", code=None)
    assert host.state.archives[-1] in names(host.state.main)


def test_verification_dates_of_version_1_are_not_carried_over(host: Host) -> None:
    assert any(".verified-" in name for name in names(host.state.main))
    host.adopt()
    assert not any(item["verified"] for item in host.archives().values())


def test_an_archive_that_was_swapped_before_the_upgrade_is_not_adopted(host: Host) -> None:
    """Adopt_swapped: other bytes of the same size, with and without a sidecar that fits them."""
    first, second = (host.state.main / key for key in host.state.archives[:2])
    keep_times(first, os.urandom(first.stat().st_size))
    data = os.urandom(second.stat().st_size)
    document = json.loads(Path(f"{second}.json").read_bytes())
    second.write_bytes(data)  # appears now, not in its night
    document |= {"sha256": hashlib.sha256(data).hexdigest(), "chunks": [hashlib.sha256(data).hexdigest()]}
    Path(f"{second}.json").write_text(json.dumps(document, indent=1))
    report = host.adopt()
    assert [item["archive"] for item in report["adopted"]] == host.state.archives[2:]
    assert len(report["refused"]) == 2
    assert host.standings()[:2] == ["unsigned", "unsigned"]


def test_a_pruned_name_that_was_added_again_is_not_adopted(host: Host) -> None:
    """Adopt_pruned_name: the history lists name and size, but the archive appeared at another time."""
    path = host.state.main / host.state.archives[0]
    late = path.stat().st_mtime + WINDOW
    os.utime(path, (late, late))
    report = host.adopt()
    assert host.state.archives[0] not in [item["archive"] for item in report["adopted"]]
    assert "appeared in the store" in report["refused"][0]


def test_archives_of_others_are_none_of_this_hosts_business(host: Host) -> None:
    directory = host.state.main / HOSTNAME / "notes"
    stranger = directory / "notes-20261107T030000Z.tar.zst.age"
    stranger.write_bytes(b"x" * 100)
    report = host.adopt()
    assert report["refused"] == []
    assert host.archives()[f"{HOSTNAME}/notes/{stranger.name}"]["standing"] == "unsigned"


def test_with_a_key_the_signature_inside_is_what_counts(host: Host) -> None:
    """Basis `root`, also for what appeared at another time; but not for what was not signed inside."""
    path = host.state.main / host.state.archives[0]
    late = path.stat().st_mtime + WINDOW
    os.utime(path, (late, late))
    keep_times(
        host.state.main / host.state.archives[1], b"x" * (host.state.main / host.state.archives[1]).stat().st_size
    )
    report = host.adopt("main", "-i", host.state.identity)
    assert {item["basis"] for item in report["adopted"]} == {"root"}
    assert [item["archive"] for item in report["adopted"]] == [host.state.archives[0], *host.state.archives[2:]]


def test_a_central_machine_adopts_archives_of_a_host_whose_signer_it_trusts(state: Version1, tmp_path: Path) -> None:
    central = Host(state, tmp_path / "central-etc", tmp_path / "central-root")
    report = central.adopt(str(state.main), "-i", state.identity, code=3)
    assert len(report["refused"]) == 5
    central.run("key", "trust", state.signer)
    report = central.adopt(str(state.main), "-i", state.identity)
    assert {item["basis"] for item in report["adopted"]} == {"root"}
    done = central.run("prune", state.main, "--keep-last", "2", "--json", code=None)
    (plan,) = json.loads(done.stdout)["services"]
    assert len(plan["archives"]) == 5


def test_a_new_host_restores_from_an_old_store_with_the_kits_line(state: Version1, tmp_path: Path) -> None:
    """The lost host: only the store, the key and the kit are left."""
    fresh = Host(state, tmp_path / "fresh-etc", tmp_path / "fresh-root")
    fresh.run("key", "trust", state.signer)
    done = fresh.run("verify", f"{state.main}/latest", "-i", state.identity)
    assert state.archives[-1].rpartition("/")[2] in done.stdout


def test_an_old_host_reads_what_a_new_one_left_in_the_same_store(host: Host) -> None:
    """Mixed_1_0: names, places and version 1 sidecars are as they were; nothing old is changed or removed."""
    before = {name: (host.state.main / name).read_bytes() for name in names(host.state.main)}
    host.adopt()
    after = {name: (host.state.main / name).read_bytes() for name in names(host.state.main)}
    assert before.items() <= after.items()
    added = after.keys() - before.keys() - {IDENTITY_KEY}
    assert all(".signed-" in name or ".damaged-" in name or ".suspect-" in name for name in added)


def test_settings_of_the_old_version_are_sound(host: Host) -> None:
    host.run("config", "check", code=None)
    assert "nightly" in host.run("config", "show").stdout
