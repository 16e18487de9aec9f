"""Whom an archive is for: every way to say it, and what is refused before anything is written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.engines import Host
from support.keeper import (
    Key,
    assert_refused,
    calls,
    install_keeper,
    make_key,
    open_by_hand,
    restore,
    snapshot,
    volume_directory,
)


@pytest.fixture
def keeper(host: Host) -> Host:
    """A host with the service, which holds one file."""
    install_keeper(host)
    (volume_directory(host, "keeper") / "word").write_text("kept\n")
    return host


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


def test_every_recipient_that_is_given_can_open_the_archive(keeper: Host, key: Key, tmp_path: Path) -> None:
    second, third, fourth = (make_key(tmp_path, f"{number}.txt") for number in (2, 3, 4))
    (tmp_path / "list").write_text(f"# two of them\n{third.recipient}\n\n{fourth.recipient}\n")
    archive = tmp_path / "n.backup"
    keeper.drunner("backup", "keeper", archive, "-r", key.recipient, "-r", second.recipient, "-R", tmp_path / "list")
    for number, one in enumerate((key, second, third, fourth)):
        open_by_hand(archive, one, tmp_path / f"opened-{number}", "volumes/drunner-keeper-data")
        assert (tmp_path / f"opened-{number}/volumes/drunner-keeper-data/word").read_text() == "kept\n"
    assert archive.stat().st_mode & 0o777 == 0o600


def test_the_settings_name_whom_backups_are_for(keeper: Host, key: Key, tmp_path: Path) -> None:
    keeper.config_dir.mkdir(exist_ok=True)
    (keeper.config_dir / "vault.toml").write_text(f'recipients = ["{key.recipient}"]\n')
    keeper.drunner("backup", "keeper", f"{tmp_path}/n.backup")
    open_by_hand(tmp_path / "n.backup", key, tmp_path / "opened", "volumes/drunner-keeper-data")


@pytest.mark.parametrize("variable", ["PASS", "DRUNNER_PASSPHRASE", "DRUNNER_PASSPHRASE_FILE"])
def test_a_passphrase_from_the_environment_closes_and_opens(keeper: Host, tmp_path: Path, variable: str) -> None:
    (tmp_path / "passphrase").write_text("correct horse\nsecond line\n")
    secret = {variable: str(tmp_path / "passphrase") if variable.endswith("FILE") else "correct horse"}
    keeper.drunner("backup", "keeper", tmp_path / "n.backup", env=secret)
    assert (tmp_path / "n.backup").read_bytes().startswith(b"age-encryption.org/v1\n-> scrypt ")
    restore(keeper, tmp_path / "n.backup", "clone", env={"PASS": "correct horse"})
    assert (volume_directory(keeper, "clone") / "word").read_text() == "kept\n"


def test_unencrypted_is_said_in_so_many_words(keeper: Host, tmp_path: Path) -> None:
    done = keeper.drunner("backup", "keeper", f"{tmp_path}/", "--unencrypted")
    (archive,) = tmp_path.glob("keeper-*.tar.zst")
    assert done.stderr == ""
    open_by_hand(archive, None, tmp_path / "opened", "volumes/drunner-keeper-data")
    restore(keeper, archive, "clone")


def test_without_a_key_nothing_is_written_and_no_hook_called(keeper: Host, tmp_path: Path) -> None:
    before = snapshot(keeper)
    done = keeper.drunner("backup", "keeper", f"{tmp_path}/", check=False, env={"KEEPER_LOG": str(tmp_path / "log")})
    assert_refused(done, "no key")
    assert list(tmp_path.iterdir()) == []
    assert snapshot(keeper) == before


@pytest.mark.parametrize(
    ("options", "env"),
    [
        (["-r", "age1nonsense"], {}),
        (["-r", "AGE-SECRET-KEY-1" + "Q" * 58], {}),
        (["-R", "/no/such/file"], {}),
        (["-R", "/dev/null"], {}),
        (["-r", "RECIPIENT", "--unencrypted"], {}),
        (["-r", "RECIPIENT"], {"PASS": "and a passphrase"}),
        ([], {"DRUNNER_PASSPHRASE_FILE": "/no/such/file"}),
        ([], {"DRUNNER_PASSPHRASE_FILE": "/dev/null"}),
        ([], {"DRUNNER_PASSPHRASE_FILE": "/bin/busybox"}),
    ],
)
def test_a_key_that_is_no_good_is_refused_and_never_shown(
    keeper: Host, key: Key, tmp_path: Path, options: list[str], env: dict[str, str]
) -> None:
    log = tmp_path / "log"
    given = [key.recipient if option == "RECIPIENT" else option for option in options]
    done = keeper.drunner(
        "backup", "keeper", tmp_path / "n.backup", *given, check=False, env={**env, "KEEPER_LOG": str(log)}
    )
    assert_refused(done)
    assert not (tmp_path / "n.backup").exists()
    assert calls(log) == []
    assert "Q" * 58 not in done.stderr
    assert "and a passphrase" not in done.stderr


def test_a_post_quantum_key_opens_what_it_closed(keeper: Host, tmp_path: Path) -> None:
    keeper.drunner("key", "new", "--post-quantum", "-o", tmp_path / "pq.txt")
    (line,) = [line for line in (tmp_path / "pq.txt").read_text().splitlines() if line.startswith("# public key: ")]
    keeper.drunner("backup", "keeper", tmp_path / "n.backup", "-r", line.split()[-1])
    restore(keeper, tmp_path / "n.backup", "clone", "-i", tmp_path / "pq.txt")
    assert (volume_directory(keeper, "clone") / "word").read_text() == "kept\n"


def test_keys_that_do_not_open_an_archive_change_nothing(keeper: Host, key: Key, tmp_path: Path) -> None:
    public, secret = tmp_path / "public", tmp_path / "secret"
    keeper.drunner("backup", "keeper", public, "-r", key.recipient)
    keeper.drunner("backup", "keeper", secret, env={"PASS": "right"})
    other = make_key(tmp_path, "other.txt").identity
    (tmp_path / "garbage").write_text("no identity\n")
    before = snapshot(keeper)
    for archive, options, env in [
        (public, [], {}),
        (public, ["-i", other], {}),
        (public, [], {"PASS": "right"}),
        (public, ["-i", tmp_path / "garbage"], {}),
        (public, ["-i", "/no/such/file"], {}),
        (secret, [], {}),
        (secret, [], {"PASS": "wrong"}),
        (secret, ["-i", key.identity], {}),
    ]:
        assert_refused(restore(keeper, archive, "clone", *options, check=False, env=env))
        assert snapshot(keeper) == before


def test_a_passphrase_reaches_no_hook_and_no_process_list(keeper: Host, tmp_path: Path) -> None:
    log = tmp_path / "log"
    env = {"PASS": "s3cret-words", "KEEPER_LOG": str(log), "KEEPER_WAIT": "backupstart"}
    process = subprocess.Popen(
        keeper.command("drunner", "backup", "keeper", tmp_path / "n.backup"),
        env=keeper.environment() | env,
        stdin=subprocess.DEVNULL,
    )
    try:
        while "backupstart" not in calls(log):
            assert process.poll() is None
        shown = 0
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                assert b"s3cret-words" not in (entry / "cmdline").read_bytes()
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"KEEPER_WAIT=backupstart" in environment and entry.name != str(process.pid):
                shown += 1
                assert b"s3cret-words" not in environment
        assert shown
    finally:
        (tmp_path / "log.go").touch()
        assert process.wait(60) == 0
