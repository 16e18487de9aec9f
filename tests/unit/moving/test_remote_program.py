"""A program that is started on another host, by an ssh that is a script of the test; and what a person is told."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from drunner_vault.errors import AccessDenied, BadUsage, ServiceError, StorageError, Unavailable, VaultError
from drunner_vault.stores.ssh.remote import remote_program

_ANSWERING = """
import os, sys
from drunner_vault.stores.ssh.channel import Channel, Gone
line = Channel(0, 1)
line.send(arguments=sys.argv[1:], user=os.environ.get("BECOME", ""))
try:
    while (message := line.receive()).get("ask") != "end":
        line.send(again=message)
except Gone:
    open(sys.argv[1], "w").close()
"""


@pytest.fixture
def answering(tmp_path: Path) -> list[str]:
    script = tmp_path / "answering.py"
    script.write_text(_ANSWERING)
    return [sys.executable, str(script), str(tmp_path / "left alone")]


def environment(tmp_path: Path, does: str) -> dict[str, str]:
    """Of a host whose ssh does as it is told; the line for the other host is in $line."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/called\nfor line; do :; done\n{does}\n')
    ssh.chmod(0o755)
    return {"DRUNNER_SSH": str(ssh)}


def error(tmp_path: Path, does: str, program: tuple[str, ...] = ("drunner-vault", "receive")) -> VaultError:
    there = remote_program("root@there", program, environment(tmp_path, does))
    with pytest.raises(VaultError) as caught, there.session() as channel:
        channel.receive()
    assert caught.value.hint
    return caught.value


def test_a_program_is_started_and_talked_to(tmp_path: Path, answering: list[str]) -> None:
    there = remote_program("me@there:2222", [*answering, "two words"], environment(tmp_path, 'exec sh -c "$line"'))
    assert there.name == "me@there:2222"
    with there.session() as channel:
        assert channel.receive()["arguments"][1:] == ["two words"]
        channel.send(ask="something")
        assert channel.receive() == {"again": {"ask": "something"}}
    called = (tmp_path / "called").read_text()
    assert "BatchMode=yes" in called
    assert "-p 2222 -l me -- there exec sh -c" in called
    assert Path(answering[2]).exists()


def test_who_is_not_root_there_becomes_root_by_sudo_without_a_question(tmp_path: Path, answering: list[str]) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "id").write_text("#!/bin/sh\necho 1000\n")
    (tools / "sudo").write_text('#!/bin/sh\n[ "$1" = -n ] || exit 1\nshift\nBECOME=root exec "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    does = f'PATH="{tools}:$PATH" exec sh -c "$line"'
    with remote_program("there", answering, environment(tmp_path, does)).session() as channel:
        assert channel.receive()["user"] == "root"


@pytest.mark.parametrize(
    ("does", "kind", "words"),
    [
        (
            "echo 'ssh: connect to host there port 22: Connection refused' >&2; exit 255",
            Unavailable,
            "cannot reach there",
        ),
        ("echo 'root@there: Permission denied (publickey).' >&2; exit 255", AccessDenied, "does not let us in"),
        ("echo 'Host key verification failed.' >&2; exit 255", StorageError, "host key of there is not known"),
        ('exec sh -c "$line"', ServiceError, "there has no drunner-vault-nowhere"),
        ("echo 'sudo: a password is required' >&2; exit 1", AccessDenied, "does not let us become root"),
        ("printf \"error: No such command 'receive'.\\nhint: x --help\\n\" >&2; exit 1", ServiceError, "too old"),
        (
            "printf 'error: bad settings\\nhint: mend them\\n' >&2; exit 1",
            ServiceError,
            "could not begin: bad settings",
        ),
        ("echo Welcome, traveller", StorageError, "is not from drunner-vault: it begins with 'Welcome"),
        ("", ServiceError, "could not begin: exit code 0"),
    ],
)
def test_why_it_could_not_be_started_is_told(tmp_path: Path, does: str, kind: type[VaultError], words: str) -> None:
    told = error(tmp_path, does, ("drunner-vault-nowhere",) if "$line" in does else ("drunner-vault", "receive"))
    assert type(told) is kind
    assert words in told.message
    assert "\n" not in told.message + told.hint


def test_a_connection_that_breaks_later_is_told_as_that(tmp_path: Path, answering: list[str]) -> None:
    does = 'sh -c "$line"; echo "Connection to there closed by remote host." >&2; exit 255'
    there = remote_program("there", answering, environment(tmp_path, does))

    def talk() -> None:
        with there.session() as channel:
            channel.receive()
            channel.send(ask="end")
            channel.receive()

    with pytest.raises(Unavailable, match="the connection to there was lost: Connection to"):
        talk()


def test_an_error_inside_waits_until_the_other_side_has_tidied_up(tmp_path: Path, answering: list[str]) -> None:
    does = f'sh -c "$line"; sleep 0.5; touch {tmp_path}/tidied'
    there = remote_program("there", answering, environment(tmp_path, does))

    def interrupted() -> None:
        with there.session() as channel:
            channel.receive()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "tidied").exists()


def test_what_the_other_side_says_to_the_last_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import sys; sys.stdin.read(); print('x' * 1_000_000); open(sys.argv[1], 'w')"]
    with remote_program(
        "there", [*program, f"{tmp_path}/ended"], environment(tmp_path, 'exec sh -c "$line"')
    ).session():
        pass
    assert (tmp_path / "ended").exists()


def test_no_ssh(tmp_path: Path) -> None:
    with (
        pytest.raises(BadUsage, match="cannot start /nowhere/ssh"),
        remote_program("there", ["x"], {"DRUNNER_SSH": "/nowhere/ssh"}).session(),
    ):
        pass


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b", "user:secret@host", "`id`", "host/path/", "@host"])
def test_what_can_be_no_host_is_refused(host: str) -> None:
    with pytest.raises(BadUsage, match=r"cannot be|no host") as caught:
        remote_program(host, ["drunner-vault"], {})
    assert "secret" not in caught.value.message + caught.value.hint


def test_no_process_is_left(tmp_path: Path, answering: list[str]) -> None:
    pid_file = tmp_path / "pid"
    does = f'echo $$ >{pid_file}; exec sh -c "$line"'
    with remote_program("there", answering, environment(tmp_path, does)).session() as channel:
        channel.receive()
        pid = int(pid_file.read_text())
        os.kill(pid, 0)
    time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
