"""config check and config show, as a person calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drunner_vault.age import EncryptWriter, ScryptRecipient

Run = Callable[..., subprocess.CompletedProcess[str]]

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

WRONG = """\
recipient = ["x"]
recipients = ["age1x"]
signers = ["somebody"]
timezone = "Mars/Base"
environment_file = "gone.env"
metrics = "/nowhere/x.prom"
[stores.disk]
url = "s3:/backups"
[stores.bucket]
url = "s3://bucket"
lock = "forever"
[stores.bucket.retention]
keep_dayly = 1
[jobs.nightly]
store = "dsk"
schedule = "30 25 * * *"
identity_files = ["/nonexistent"]
ping_env = "NOWHERE"
[notifications.ops]
urls = ["nonsense://x"]
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(*arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "DRUNNER_CONFIG_DIR": str(tmp_path), "TZ": "UTC", **variables}
        command = [sys.executable, "-m", "drunner_vault", "config", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call


def configure(tmp_path: Path, text: str) -> None:
    (tmp_path / "vault.toml").write_text(text)


def problems(done: subprocess.CompletedProcess[str]) -> list[str]:
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["ok"] == (not document["problems"])
    assert all(item["hint"] for item in document["problems"])
    return [item["message"] for item in document["problems"]]


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_the_file(run: Run, tmp_path: Path) -> None:
    configure(tmp_path, WRONG)
    found = problems(run("check", "--json", code=1))
    expected = [
        "unknown setting recipient", "a recipient cannot be read", "is not a valid allowed signer",
        "no time zone Mars/Base", "cannot read", "/nowhere is no directory", "s3:/backups is no store's URL",
        "no lock mode forever", "unknown rule keep_dayly", "no store dsk", "'25' is no hour",
        "cannot read /nonexistent", "NOWHERE", "Apprise",
    ]  # fmt: skip
    assert len(found) == len(expected)
    for message, words in zip(found, expected, strict=True):
        assert words in message
        assert "vault.toml, line" in message
    said = run("check", code=1).stderr.splitlines()
    assert [line.split(":")[0] for line in said] == ["error", "hint"] * len(expected)


def test_settings_that_are_well_are_silent(run: Run, tmp_path: Path) -> None:
    run("check")
    configure(tmp_path, f"recipients = ['{RECIPIENT}']\n[stores.d]\nurl = '/nowhere'\n[jobs.n]\nstore = 'd'\n")
    done = run("check")
    assert done.stdout + done.stderr == ""
    assert problems(run("check", "--json")) == []


def test_a_file_that_is_no_toml_is_one_problem(run: Run, tmp_path: Path) -> None:
    configure(tmp_path, "x = = 1")
    (message,) = problems(run("check", "--json", code=1))
    assert "cannot read the settings" in message


def test_a_backup_without_anybody_to_encrypt_to_is_a_problem(run: Run, tmp_path: Path) -> None:
    configure(tmp_path, "[stores.d]\nurl = '/nowhere'\n[jobs.n]\nstore = 'd'\n")
    (message,) = problems(run("check", "--json", code=1))
    assert "nobody to encrypt to" in message
    assert problems(run("check", "--json", DRUNNER_PASSPHRASE="secret")) == []


def test_only_online_are_stores_asked(run: Run, tmp_path: Path) -> None:
    configure(
        tmp_path,
        f"[stores.d]\nurl = '{tmp_path}/gone'\n[stores.s]\nurl = 's3://bucket?endpoint=http://127.0.0.1:9&attempts=1'\n",
    )
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert problems(run("check", "--json", **keys)) == []
    directory, bucket = problems(run("check", "--online", "--json", code=1, **keys))
    assert "line 1: " in directory
    assert "cannot be reached" in directory
    assert "line 3: s3://bucket" in bucket
    (tmp_path / "gone").mkdir()
    assert len(problems(run("check", "--online", "--json", code=1, **keys))) == 1


def test_what_is_in_force_is_shown_with_defaults_and_without_secrets(run: Run, tmp_path: Path) -> None:
    configure(
        tmp_path,
        f"""
recipients = ["{RECIPIENT}"]
[stores.disk]
url = "/backups"
[stores.disk.retention]
keep_daily = 7
[stores.wrong]
url = "s3://somebody:hidden/hidden@bucket"
secret_key = "hidden2"
region = "eu"
[notifications.ops]
urls = ["mailto://user:hidden@example.com"]
[jobs.nightly]
store = "disk"
jitter = "90m"
max_age = "36h"
ping = "https://hc.example.com/hidden"
""",
    )
    text = run("show").stdout
    shown = run("show", "--json").stdout
    assert "hidden" not in (text + shown).replace("(hidden)", "")
    assert "hidden" not in run("check", code=1).stderr
    document = json.loads(shown)
    assert document["stores"]["disk"] == {"url": "/backups", "retention": {"keep_daily": 7}}
    job = document["jobs"]["nightly"]
    assert (job["task"], job["services"], job["jitter"], job["max_age"]) == ("backup", ["*"], "90m", "36h")
    assert job["ping"] == "(the text in the settings)"
    assert "[stores.disk.retention]\nkeep_daily = 7\n" in text
    assert 'services = ["*"]' in text


def test_a_file_that_may_not_be_read_is_said(run: Run, tmp_path: Path) -> None:
    configure(tmp_path, "")
    if os.geteuid() != 0:
        (tmp_path / "vault.toml").chmod(0)
    else:
        (tmp_path / "vault.toml").unlink()
        (tmp_path / "vault.toml").mkdir()
    (message,) = problems(run("check", "--json", code=1))
    assert "cannot read the settings" in message


def test_a_file_is_checked_in_place_of_the_settings_before_it_becomes_them(run: Run, tmp_path: Path) -> None:
    configure(tmp_path, "broken = = 1")
    (tmp_path / "new.toml").write_text(f'recipients = ["{RECIPIENT}"]\nenvironment_file = "vault.env"\n')
    (tmp_path / "vault.env").touch()
    document = json.loads(run("check", "--json", str(tmp_path / "new.toml")).stdout)
    assert (document["ok"], document["file"]) == (True, str(tmp_path / "new.toml"))
    (tmp_path / "new.toml").write_text("[stores.a]\nurl = '/b'\n[jobs.b]\nstore = 'c'\n[stores.d]\nurl = 1\n")
    found = problems(run("check", "--json", str(tmp_path / "new.toml"), code=1))
    lines = [line.partition(": ")[0] for line in found]
    assert lines == [f"{tmp_path}/new.toml, line {number}" for number in (3, 4, 6)]
    assert "does not exist" in run("check", str(tmp_path / "absent.toml"), code=1).stderr


JOB = f"recipients = ['{RECIPIENT}']\n[stores.d]\nurl = '/b'\n[jobs.n]\nstore = 'd'\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[stores.d]\nurl = ''", "line 2: url is empty"),
        ("[stores.d]\nurl = '/b'\nretension = 1", "line 3: unknown option retension"),
        ("[notifications.ops]\nurls = []", "line 2: urls is empty"),
        ("[notifications.ops]\nurls = ['json://h', ' ']", "line 2: urls is empty"),
        ("metrics = '/tmp'", "line 1: /tmp is a directory"),
        (f"{JOB}ping = 'https://'", "line 6: ping is no URL"),
        (f"{JOB}ping = 'https://[abc/hidden'", "line 6: ping is no URL"),
        (f"{JOB}ping_env = 'HIDDEN'", "line 6: ping is no URL"),
        (f"{JOB}task = 'drill'", "line 4: job n has nothing that opens archives"),
        (f"{JOB}task = 'rehearse'", "line 4: job n has nothing that opens archives"),
        (
            f"{JOB}task = 'drill'\nidentity_files = ['/etc/hostname']",
            "line 7: /etc/hostname, line 1: an identity cannot",
        ),
    ],
)
def test_what_would_only_fail_at_night_is_found(text: str, words: str, run: Run, tmp_path: Path) -> None:
    configure(tmp_path, text)
    done = run("check", "--json", code=1, HIDDEN="h c/hidden")
    (message,) = problems(done)
    assert words in message
    assert "hidden" not in done.stdout + done.stderr


def test_an_option_that_is_meant_for_retention_is_recognized(run: Run, tmp_path: Path) -> None:
    configure(tmp_path, "[stores.d]\nurl = '/b'\nretension = 1")
    assert "hint: did you mean retention?" in run("check", code=1).stderr


def test_a_key_file_that_somebody_would_have_to_unlock_is_none_for_a_job(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "key.txt").open("wb") as file:
        writer = EncryptWriter(file, [ScryptRecipient("secret", 10)])
        writer.write(b"nobody gets this far")
        writer.close()
    configure(tmp_path, f"{JOB}task = 'drill'\nidentity_files = ['key.txt']")
    (message,) = problems(run("check", "--json", code=1))
    assert "is protected by a passphrase" in message


def test_files_as_other_systems_write_them_are_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "vault.toml").write_bytes(b"\xef\xbb\xbf" + JOB.replace("\n", "\r\n").encode())
    assert problems(run("check", "--json")) == []
    (tmp_path / "vault.toml").write_bytes(JOB.encode() + b"# caf\xe9\n")
    (message,) = problems(run("check", "--json", code=1))
    assert "vault.toml, line 6: this is no UTF-8 text" in message


def test_a_file_with_secrets_that_others_may_read_is_pointed_out(run: Run, tmp_path: Path) -> None:
    names = ("vault.env", "ops.urls", "ping")
    for name, text in zip(names, ("A=b", "json://h", "https://h/x"), strict=True):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o604)
    settings = f"environment_file = 'vault.env'\n{JOB}ping_file = 'ping'\n[notifications.ops]\nurls_file = 'ops.urls'"
    configure(tmp_path, settings)
    (tmp_path / "vault.toml").chmod(0o644)  # there is no secret in it
    said = json.loads(run("check", "--json").stdout)["exposed"]
    assert said == [f"others may read the secrets in {tmp_path / name}: chmod 600 {tmp_path / name}" for name in names]
    for name in names:
        (tmp_path / name).chmod(0o600)
    assert json.loads(run("check", "--json").stdout)["exposed"] == []
    configure(tmp_path, settings.replace("ping_file = 'ping'", "ping = 'https://h/x'"))
    assert json.loads(run("check", "--json").stdout)["exposed"][0].endswith("vault.toml")
