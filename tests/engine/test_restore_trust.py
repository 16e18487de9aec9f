"""Who may have made an archive that is restored here."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.engines import Host
from support.keeper import Key, assert_refused, backup, install_keeper, make_key, snapshot


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


@pytest.fixture
def archive(host: Host, key: Key, tmp_path: Path) -> Path:
    install_keeper(host)
    return backup(host, key, tmp_path)


def test_an_archive_of_a_host_that_nobody_trusts_is_refused_before_anything_is_done(
    other_host: Host, archive: Path, key: Key
) -> None:
    before = snapshot(other_host)
    refused = other_host.drunner("restore", archive, "-i", key.identity, check=False)
    assert_refused(refused, "who is not trusted")
    assert "--any-sender" in refused.stderr
    assert snapshot(other_host) == before


def test_it_is_restored_once_its_host_is_trusted(host: Host, other_host: Host, archive: Path, key: Key) -> None:
    signer = host.drunner("key", "signer").stdout
    other_host.drunner("key", "trust", "-", input=signer)
    other_host.drunner("restore", archive, "-i", key.identity)


def test_a_host_trusts_its_own_archives(host: Host, archive: Path, key: Key) -> None:
    host.drunner("restore", archive, "clone", "-i", key.identity)


def test_an_archive_with_a_passphrase_needs_no_signer(host: Host, other_host: Host, tmp_path: Path) -> None:
    install_keeper(host)
    secret = {"PASS": "correct horse"}
    host.drunner("backup", "keeper", tmp_path / "keeper.backup", env=secret)
    other_host.drunner("restore", tmp_path / "keeper.backup", env=secret)


def test_a_pipe_shows_its_signature_too_late(host: Host, archive: Path, key: Key) -> None:
    refused = host.run("bash", "-c", f"cat {archive} | drunner restore - clone -i {key.identity}", check=False)
    assert_refused(refused, "its signature cannot be checked before")
