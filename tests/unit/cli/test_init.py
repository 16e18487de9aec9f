"""init, as a person calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.s3servers import credentials, moto_server

from drunner_vault.age import parse_identities
from drunner_vault.catalog.identity import IDENTITY_KEY
from drunner_vault.config import read_settings

Run = Callable[..., subprocess.CompletedProcess[str]]
FILES = ["recovery-key.txt", "signing_key", "vault.toml"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "store").mkdir()

    def call(*arguments: str | Path, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "DRUNNER_CONFIG_DIR": str(tmp_path / "etc"), **variables}
        command = [sys.executable, "-m", "drunner_vault", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def test_a_host_is_set_up_and_its_store_proven(run: Run, tmp_path: Path) -> None:
    done = run("init", "--store", tmp_path / "store", "--json")
    said = json.loads(done.stdout)
    assert said["proof"]["decrypted"]
    assert said["proof"]["removed"]
    assert said["proof"]["bytes"] > 1 << 20
    assert list((tmp_path / "store").rglob("*.age*")) == []
    assert names(tmp_path / "etc") == FILES
    assert "take it away from this host" in done.stderr
    key = tmp_path / "etc/recovery-key.txt"
    assert key.stat().st_mode & 0o777 == 0o600
    (identity,) = parse_identities(key.read_bytes(), "key", None)
    known = read_settings(tmp_path / "etc/vault.toml")
    assert known.recipients == (str(identity.recipient()),)  # type: ignore[attr-defined]
    assert known.stores["main"].url == str(tmp_path / "store")
    run("config", "check", "--online")


def test_the_second_time_there_is_nothing_to_do_unless_something_else_is_asked_for(run: Run, tmp_path: Path) -> None:
    run("init", "--store", "./store")
    before = (tmp_path / "etc/vault.toml").read_bytes()
    assert read_settings(tmp_path / "etc/vault.toml").stores["main"].url == str(tmp_path / "store")
    run("init", code=3)
    run("init", "--store", "./store", code=3)
    assert "has no store s3://other" in run("init", "--store", "s3://other", code=1).stderr
    assert (tmp_path / "etc/vault.toml").read_bytes() == before


def test_with_a_recipient_no_identity_is_made(run: Run, tmp_path: Path) -> None:
    recipient = run("key", "new", "-o", "mine.txt").stdout.strip()
    said = json.loads(run("init", "-r", recipient, "--store", tmp_path / "store", "--json").stdout)
    assert (said["recipients"], said["key_file"], said["proof"]["decrypted"]) == ([recipient], "", False)
    assert names(tmp_path / "etc") == FILES[1:]
    for name in FILES[1:]:
        (tmp_path / "etc" / name).unlink()
    said = json.loads(run("init", "-r", recipient, "-i", "mine.txt", "--store", tmp_path / "store", "--json").stdout)
    assert said["proof"]["decrypted"]


def test_an_identity_that_does_not_open_what_is_made_is_found_out(run: Run, tmp_path: Path) -> None:
    recipient = run("key", "new", "-o", "mine.txt").stdout.strip()
    run("key", "new", "-o", "other.txt")
    done = run("init", "-r", recipient, "-i", "other.txt", "--store", tmp_path / "store", code=1)
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "etc/vault.toml").exists()
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_a_store_that_does_not_work_leaves_no_settings_and_a_second_try_goes_on_from_there(
    run: Run, tmp_path: Path
) -> None:
    assert "no directory" in run("init", "--store", tmp_path / "gone", code=1).stderr
    assert names(tmp_path / "etc") == FILES[:2]
    key = (tmp_path / "etc/recovery-key.txt").read_bytes()
    (tmp_path / "gone").mkdir()
    run("init", "--store", tmp_path / "gone")
    assert names(tmp_path / "etc") == FILES
    assert (tmp_path / "etc/recovery-key.txt").read_bytes() == key


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--store", "backups"), "is no store's URL"),
        (("--store", "s3:/bucket"), "did you mean s3://bucket/prefix?"),
        (("-r", "age1x"), "a recipient cannot be read"),
        (("--environment-file", "gone.env"), "gone.env"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_no_settings_written(
    arguments: tuple[str, ...], words: str, run: Run, tmp_path: Path
) -> None:
    assert words in run("init", *arguments, code=1).stderr
    assert "vault.toml" not in names(tmp_path / "etc")


def test_a_file_that_is_there_is_not_taken_for_the_identity(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine\n")
    assert "is no identity of ours" in run("init", "--recovery-key", "notes.txt", code=1).stderr
    assert (tmp_path / "notes.txt").read_text() == "mine\n"


def test_without_a_store_the_settings_are_written_and_it_is_said(run: Run, tmp_path: Path) -> None:
    assert "no store has been set" in run("init", "--post-quantum").stderr
    assert "AGE-SECRET-KEY-PQ-" in (tmp_path / "etc/recovery-key.txt").read_text()
    run("config", "check")


@pytest.mark.parametrize("lock", ["", "&lock=compliance"])
def test_a_bucket_is_proven_with_what_the_environment_file_says(lock: str, run: Run, tmp_path: Path) -> None:
    lines = [f"{name}='{value}'" for name, value in credentials().items()]
    (tmp_path / "vault.env").write_text("\n".join(lines))
    with moto_server() as server:
        bucket = server.bucket("backups", lockable=bool(lock))
        url = f"s3://backups/production?endpoint={server.endpoint}{lock}"
        said = json.loads(run("init", "--store", url, "--environment-file", "vault.env", "--json").stdout)
        assert said["proof"]["decrypted"]
        assert said["proof"]["removed"]
        assert set(bucket.objects()) == {f"production/{IDENTITY_KEY}"}  # all else that was written is gone
        assert run("config", "check", "--online").stderr == ""
    assert read_settings(tmp_path / "etc/vault.toml").environment_file == str(tmp_path / "vault.env")
    assert "cannot be reached" in run("config", "check", "--online", code=1).stderr
