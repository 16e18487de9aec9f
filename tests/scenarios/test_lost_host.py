"""The host is gone. What is left is one file and one key."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from support.engines import Host
from support.keeper import assert_refused, make_key, open_by_hand, restore, start, volume_directory, wait_until
from support.services import build_example
from support.trees import assert_same_tree, tar_of

WORDS = ("Water the plants", "Ünïcödé ☃", "two\nlines", "--dash", "x" * 3000)


@pytest.fixture
def notes(host: Host) -> Host:
    """A host on which somebody keeps notes, and serves them."""
    host.drunner("install", build_example(host, "notes"), "notes")
    for word in WORDS:
        host.run("notes", "add", word)
    host.run("notes", "start")
    return host


def test_a_service_comes_back_on_another_host_from_one_file_and_one_key(
    notes: Host, other_host: Host, tmp_path: Path
) -> None:
    key = make_key(tmp_path)
    notes.drunner("backup", "notes", tmp_path / "notes.backup", "-r", key.recipient)
    notes.run("notes", "selftest")
    listed = notes.run("notes", "list").stdout
    notes.drunner("obliterate", "notes")
    assert not {name for name in notes.volumes() if name.startswith("drunner-notes")}

    identifiers = other_host.docker("images", "-q", "example/notes").stdout.split()
    if identifiers:
        other_host.docker("rmi", "-f", *identifiers)
    restore(other_host, tmp_path / "notes.backup", "diary", "-i", key.identity)
    assert other_host.run("diary", "list").stdout == listed
    assert "is well: 5 notes" in other_host.run("diary", "selftest").stdout
    assert other_host.run("diary", "status").stdout == "diary is running.\n"
    other_host.run("diary", "add", "life goes on")
    assert other_host.run("diary", "count").stdout.strip() == "6"

    open_by_hand(tmp_path / "notes.backup", key, tmp_path / "opened")
    kept = sorted(path.name for path in (tmp_path / "opened/volumes/drunner-notes-notes").iterdir())
    assert kept == [
        "0001.txt",
        "0002.txt",
        "0003.txt",
        "0004.txt",
        "0005.txt",
        "index.txt",
        "install_date",
        "latest.txt",
    ]
    assert (tmp_path / "opened/RECOVER.txt").read_text().count("age -d")


def test_a_restored_service_is_backed_up_and_restored_again(notes: Host, other_host: Host, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    notes.drunner("backup", "notes", tmp_path / "first", "-r", key.recipient)
    notes.run("notes", "stop")
    notes.drunner("uninstall", "notes")
    expected = tar_of(volume_directory(notes, "notes", "notes"))
    restore(other_host, tmp_path / "first", "again", "-i", key.identity)
    other_host.drunner("backup", "again", tmp_path / "second", "-r", key.recipient)
    assert_refused(restore(notes, tmp_path / "second", "notes", "-i", key.identity, check=False), "kept")
    restore(notes, tmp_path / "second", "notes", "-i", key.identity, "--replace")
    assert_same_tree(volume_directory(notes, "notes", "notes"), expected)
    notes.run("notes", "selftest")


def test_a_killed_backup_leaves_the_service_running(notes: Host, tmp_path: Path) -> None:
    data = volume_directory(notes, "notes", "notes")
    (data / "ballast").write_bytes(os.urandom(20 << 20))
    process = start(notes, "backup", "notes", "-", "--unencrypted", "--images", "never")
    wait_until(lambda: notes.run("notes", "status").stdout == "notes is paused.\n")
    time.sleep(0.5)
    process.kill()
    process.communicate()
    wait_until(lambda: notes.run("notes", "status").stdout == "notes is running.\n")
    (data / "ballast").unlink()
    wait_until(lambda: not (notes.root / "paused").exists())
    notes.run("notes", "add", "not frozen")
    notes.run("notes", "selftest")


def test_a_backup_that_the_service_finds_not_well_is_not_restored(notes: Host, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    (volume_directory(notes, "notes", "notes") / "0002.txt").write_text("altered")
    notes.drunner("backup", "notes", tmp_path / "altered", "-r", key.recipient)
    volumes, containers = notes.volumes(), notes.containers()
    done = restore(notes, tmp_path / "altered", "clone", "-i", key.identity, check=False)
    assert_refused(done, "the restore hook of clone failed", "not well")
    assert (notes.volumes(), notes.containers()) == (volumes, containers)
    assert notes.launchers() == {"notes"}


def test_the_program_is_not_needed_to_read_a_note(notes: Host, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    notes.drunner("backup", "notes", tmp_path / "b", "-r", key.recipient)
    line = f"age -d -i {key.identity} {tmp_path / 'b'} | zstd -d | tar -xOf - volumes/drunner-notes-notes/0001.txt"
    assert subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout == f"{WORDS[0]}\n"
