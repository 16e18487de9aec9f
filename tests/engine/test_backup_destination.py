"""Where archives go and come from: files, directories, pipes; what is said about it, to people and to programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.engines import Host
from support.keeper import (
    Key,
    assert_refused,
    backup,
    calls,
    install_keeper,
    make_key,
    open_by_hand,
    restore,
    snapshot,
    volume_directory,
)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


@pytest.fixture
def keeper(host: Host) -> Host:
    install_keeper(host)
    (volume_directory(host, "keeper") / "word").write_text("kept\n")
    return host


def test_a_backup_for_cron_is_silent_and_its_name_says_what_it_is(keeper: Host, key: Key, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = keeper.drunner("backup", "keeper", tmp_path / "out", "-r", key.recipient)
    assert (done.stdout, done.stderr) == ("", "")
    (archive,) = (tmp_path / "out").iterdir()
    assert re.fullmatch(r"keeper-\d{8}T\d{6}Z\.tar\.zst\.age", archive.name)
    done = restore(keeper, archive, "clone", "-i", key.identity)
    assert (done.stdout, done.stderr) == ("", "")
    keeper.run("clone", "selftest")


def test_a_backup_goes_to_the_current_directory_if_nothing_else_is_said(keeper: Host, key: Key, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    keeper.drunner("backup", "keeper", "-r", key.recipient, cwd=tmp_path / "here")
    assert len(list((tmp_path / "here").iterdir())) == 1


def test_the_hooks_are_called_around_the_reading_and_get_one_directory(keeper: Host, key: Key, tmp_path: Path) -> None:
    log = tmp_path / "log"
    archive = backup(keeper, key, tmp_path)
    assert calls(log) == []
    env = {"KEEPER_LOG": str(log)}
    keeper.drunner("backup", "keeper", tmp_path / "second", "-r", key.recipient, env=env)
    lines = log.read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["backupstart", "backupend"]
    assert lines[0].split()[2] == lines[1].split()[2]
    log.unlink()
    restore(keeper, archive, "clone", "-i", key.identity, env=env)
    assert calls(log, "clone") == ["install", "restore"]
    assert "clone note of keeper" in log.read_text()
    assert not (keeper.root / "tmp").exists()


def test_a_pipe_carries_a_service_to_another_host(keeper: Host, other_host: Host, key: Key) -> None:
    sender = subprocess.Popen(
        keeper.command("drunner", "backup", "keeper", "-", "-r", key.recipient),
        env=keeper.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    receiver = subprocess.run(
        other_host.command("drunner", "restore", "-", "moved", "--any-sender", "-i", key.identity),
        env=other_host.environment(), stdin=sender.stdout, capture_output=True, check=False,
    )  # fmt: skip
    assert sender.communicate()[1] == b""
    assert (receiver.returncode, receiver.stdout, receiver.stderr, sender.returncode) == (0, b"", b"", 0)
    assert (volume_directory(other_host, "moved") / "word").read_text() == "kept\n"


def test_latest_is_the_newest_by_name_whatever_else_lies_there(keeper: Host, key: Key, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    archive = backup(keeper, key, tmp_path / "out")
    for name in ("keeper-20010101T000000Z.tar.zst.age", "notes.txt", ".hidden.partial", "zzz"):
        (tmp_path / "out" / name).write_text("no archive")
    restore(keeper, tmp_path / "out/latest", "clone", "-i", key.identity)
    archive.unlink()
    assert_refused(restore(keeper, tmp_path / "out/latest", "other", "-i", key.identity, check=False), "20010101")
    assert_refused(restore(keeper, tmp_path / "nothing/latest", "other", "-i", key.identity, check=False))


@pytest.mark.parametrize("kind", ["file", "link", "missing directory", "missing parent"])
def test_a_destination_that_is_taken_or_has_no_place_is_refused_first(
    keeper: Host, key: Key, tmp_path: Path, kind: str
) -> None:
    destination = str(tmp_path / "n.backup")
    if kind == "file":
        Path(destination).write_text("precious")
    elif kind == "link":
        Path(destination).symlink_to(tmp_path / "elsewhere")
    elif kind == "missing directory":
        destination = f"{tmp_path}/not-mounted/"
    else:
        destination = str(tmp_path / "not-mounted/n.backup")
    before, there = snapshot(keeper), sorted(tmp_path.iterdir())
    env = {"KEEPER_LOG": str(tmp_path / "log")}
    done = keeper.drunner("backup", "keeper", destination, "-r", key.recipient, check=False, env=env)
    assert_refused(done, "exists" if kind in ("file", "link") else "no directory")
    assert (snapshot(keeper), sorted(tmp_path.iterdir())) == (before, there)
    if kind == "file":
        assert Path(destination).read_text() == "precious"


def test_a_service_that_is_not_there_or_not_well_is_not_backed_up(keeper: Host, key: Key, tmp_path: Path) -> None:
    def attempt(name: str) -> subprocess.CompletedProcess[str]:
        return keeper.drunner("backup", name, tmp_path / "n.backup", "-r", key.recipient, check=False)

    assert_refused(attempt("nobody"), "nobody")
    assert_refused(attempt("../keeper"))
    assert_refused(attempt(""))
    (keeper.root / "services/keeper/drunner/servicerunner").rename(tmp_path / "taken")
    assert_refused(attempt("keeper"))
    (tmp_path / "taken").rename(keeper.root / "services/keeper/drunner/servicerunner")
    keeper.docker("volume", "rm", "drunner-keeper-more")
    assert_refused(attempt("keeper"), "drunner-keeper-more")
    assert not (tmp_path / "n.backup").exists()


def test_programs_get_one_document(keeper: Host, key: Key, tmp_path: Path) -> None:
    done = keeper.drunner("backup", "keeper", tmp_path / "n.backup", "-r", key.recipient, "--json")
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["service"], report["archive"], report["encrypted"]) == ("keeper", str(tmp_path / "n.backup"), True)
    assert report["bytes"] == (tmp_path / "n.backup").stat().st_size
    assert (report["problem_count"], report["problems"], report["lost"]) == (0, [], {})
    assert report["images"] == ["test/keeper:1"]
    assert 0 <= report["paused"] <= report["seconds"]
    done = restore(keeper, tmp_path / "n.backup", "clone", "-i", key.identity, "--json")
    document = json.loads(done.stdout.splitlines()[-1])
    assert (document["service"], document["archived"]) == ("clone", "keeper")
    assert document["volumes"] == ["drunner-keeper-data", "drunner-keeper-more"]
    assert document["members"] == report["members"]
    done = restore(keeper, tmp_path / "n.backup", "clone", "-i", key.identity, "--json", check=False)
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert (done.returncode, error["kind"], error["code"], bool(error["hint"])) == (1, "ServiceExists", 1, True)


def test_an_archive_and_json_do_not_share_a_pipe(keeper: Host, key: Key) -> None:
    done = keeper.drunner("backup", "keeper", "-", "-r", key.recipient, "--json", check=False)
    assert (done.returncode, "standard output" in done.stderr) == (1, True)


def test_images_are_taken_along_as_asked(keeper: Host, key: Key, tmp_path: Path) -> None:
    for choice, embedded in (("auto", True), ("always", True), ("never", False)):
        archive = tmp_path / choice
        keeper.drunner("backup", "keeper", archive, "-r", key.recipient, "--images", choice)
        open_by_hand(archive, key, tmp_path / f"opened-{choice}")
        manifest = json.loads((tmp_path / f"opened-{choice}/manifest.json").read_text())
        assert [image["embedded"] for image in manifest["images"]] == [embedded]
        assert (tmp_path / f"opened-{choice}/images").exists() == embedded


def test_a_big_volume_does_not_take_big_memory(keeper: Host, key: Key, tmp_path: Path) -> None:
    data = volume_directory(keeper, "keeper")
    with (data / "random").open("wb") as stream:
        block = os.urandom(1 << 20)
        for _ in range(300):
            stream.write(block)
    with (data / "holes").open("wb") as stream:
        stream.truncate(100 << 30)
    for number in range(3000):
        (data / f"small-{number}").write_text("small")
    backed_up = _peak(keeper, tmp_path, "backup", "keeper", tmp_path / "n.backup", "-r", key.recipient)
    restored = _peak(keeper, tmp_path, "restore", tmp_path / "n.backup", "clone", "--any-sender", "-i", key.identity)
    assert max(backed_up, restored) < 300 << 10


def _peak(host: Host, directory: Path, *arguments: str | Path) -> int:
    """The most memory that a command had in use, in KiB."""
    report = directory / "peak"
    program = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[2:]);"
        "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(code)"
    )
    host.run("python3", "-c", program, report, "drunner", *arguments)
    return int(report.read_text())
