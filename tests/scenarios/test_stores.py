"""The host is gone. What is left is a URL and one key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import s3servers, sshservers
from support.engines import Completed, Host
from support.keeper import make_key
from support.services import build_example

WORDS = ("Water the plants", "Ünïcödé ☃", "two\nlines")


@dataclass(frozen=True)
class Offsite:
    """A store by its URL, with what a login there takes in the environment."""

    url: str
    environment: dict[str, str]

    def drunner(self, host: Host, *args: str | Path, check: bool = True) -> Completed:
        """A command on a host that may use the store, whose loopback is the test's own."""
        return host.drunner(*args, env=self.environment, in_netns=False, check=check)


def _moto(stack: ExitStack, _: Path) -> Offsite:
    server = stack.enter_context(s3servers.moto_server())
    server.bucket("backups")
    return Offsite(f"s3://backups/production?endpoint={server.endpoint}", s3servers.credentials())


def _rclone(stack: ExitStack, directory: Path) -> Offsite:
    server = stack.enter_context(s3servers.rclone_server(directory / "rclone"))
    server.bucket("backups")
    return Offsite("s3://backups", s3servers.credentials() | {"AWS_ENDPOINT_URL": server.endpoint})


def _ssh(stack: ExitStack, directory: Path) -> Offsite:
    server = stack.enter_context(sshservers.ssh_server(directory / "sshd"))
    (directory / "far").mkdir()
    return Offsite(server.url(directory / "far"), server.environment())


KINDS: dict[str, Callable[[ExitStack, Path], Offsite]] = {"moto": _moto, "rclone": _rclone, "ssh": _ssh}


@pytest.fixture(params=KINDS)
def offsite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Offsite]:
    with ExitStack() as stack:
        yield KINDS[request.param](stack, tmp_path)


@pytest.fixture
def notes(host: Host) -> Host:
    """A host on which somebody keeps notes, and serves them."""
    host.drunner("install", build_example(host, "notes"), "notes")
    for word in WORDS:
        host.run("notes", "add", word)
    host.run("notes", "start")
    return host


def test_a_live_service_comes_back_on_another_host_from_a_url_and_one_key(
    notes: Host, other_host: Host, offsite: Offsite, tmp_path: Path
) -> None:
    key = make_key(tmp_path)
    # the host that makes backups knows the public key only
    notes.config_dir.mkdir(parents=True, exist_ok=True)
    (notes.config_dir / "vault.toml").write_text(f'recipients = ["{key.recipient}"]\n')
    report = json.loads(offsite.drunner(notes, "backup", "notes", offsite.url, "--json").stdout.splitlines()[-1])
    notes.run("notes", "selftest")
    listed = notes.run("notes", "list").stdout
    notes.drunner("obliterate", "notes")

    (item,) = json.loads(offsite.drunner(other_host, "archives", offsite.url, "--json").stdout)
    assert (item["service"], item["complete"], item["size"]) == ("notes", True, report["bytes"])
    refused = offsite.drunner(other_host, "restore", offsite.url, "notes", "-i", key.identity, check=False)
    assert refused.returncode == 1
    assert "--any-sender" in refused.stderr
    offsite.drunner(other_host, "restore", offsite.url, "notes", "-i", key.identity, "--any-sender")
    assert other_host.run("notes", "list").stdout == listed
    assert "is well: 3 notes" in other_host.run("notes", "selftest").stdout


def test_archives_in_a_store_are_looked_into_verified_copied_and_pruned_where_they_lie(
    notes: Host, offsite: Offsite, tmp_path: Path
) -> None:
    key = make_key(tmp_path)
    for _ in range(2):
        offsite.drunner(notes, "backup", "notes", offsite.url, "-r", key.recipient)
        notes.run("notes", "add", "one more")
    latest = offsite.url.replace("?", "/latest?") if "?" in offsite.url else f"{offsite.url}/latest"
    assert "0001.txt" in offsite.drunner(notes, "ls", latest, "-i", key.identity).stdout
    offsite.drunner(notes, "verify", latest, "-i", key.identity)
    offsite.drunner(notes, "verify", latest, "--no-key")
    newest, older = json.loads(offsite.drunner(notes, "archives", offsite.url, "--json").stdout)
    assert newest["verified"]
    assert not older["verified"]
    (tmp_path / "copies").mkdir()
    offsite.drunner(notes, "copy", offsite.url, f"file://{tmp_path}/copies")
    assert len(list((tmp_path / "copies").rglob("*.age"))) == 2
    preview = offsite.drunner(notes, "prune", offsite.url, "--keep-last", "1").stdout.splitlines()[1:]
    assert [line.split()[0] for line in preview] == ["keep", "delete"]
    offsite.drunner(notes, "prune", offsite.url, "--keep-last", "1", "--apply")
    (left,) = json.loads(offsite.drunner(notes, "archives", offsite.url, "--json").stdout)
    assert left["key"] == newest["key"]


def test_the_promises_of_a_store_can_be_tried_by_anybody(host: Host, offsite: Offsite) -> None:
    done = offsite.drunner(host, "store", "check", offsite.url, "--json")
    found = json.loads(done.stdout)
    assert found["ok"]
    assert {item["verdict"] for item in found["findings"]} == {"kept"}
    assert json.loads(offsite.drunner(host, "archives", offsite.url, "--json").stdout) == []
