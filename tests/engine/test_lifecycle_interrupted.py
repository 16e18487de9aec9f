"""Two commands at once, commands that are told to stop, and commands that are killed without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.engines import Host
from support.probe import build_probe, refused, snapshot
from support.services import read_calls

Command = subprocess.Popen[str]
Sleeping = Callable[..., Command]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What the service writes its calls to."""
    return tmp_path / "log"


@pytest.fixture
def sleeping(host: Host, log: Path) -> Iterator[Sleeping]:
    """``sleeping(HOOK, ARGS…)``: ``drunner ARGS``, running, at the moment when that hook waits."""
    started: list[Command] = []

    def start(hook: str, *args: str) -> Command:
        env = host.environment() | {"SERVICE_LOG": str(log), "SLEEP_AT": hook}
        command = subprocess.Popen(
            host.command("drunner", *args), env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        started.append(command)
        asleep = Path(f"{log}.asleep")
        deadline = time.monotonic() + 30
        while not asleep.exists():
            assert command.poll() is None, command.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        asleep.unlink()
        return command

    yield start
    for command in started:
        if command.poll() is None:
            command.kill()
            command.communicate()


def wait_until_gone(process: str) -> None:
    """Until no process has this in its environment; hooks of a killed command are hung up, which takes a moment."""
    deadline = time.monotonic() + 10
    while any(process in _environment(entry) for entry in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _environment(entry: Path) -> str:
    try:
        return (entry / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_a_second_command_on_the_same_service_is_told_who_is_first(host: Host, sleeping: Sleeping) -> None:
    image = build_probe(host)
    host.write_config_sh()
    host.drunner("install", image, "other")
    first = sleeping("install", "install", image, "mine")
    for second in (
        ("install", image, "mine"),
        ("uninstall", "mine"),
        ("update", "mine"),
        ("recover", "mine"),
        ("obliterate", "mine"),
    ):
        said = refused(host, *second)
        assert "mine is busy: 'install mine' is working on it (process " in said
    host.drunner("update", "other", check=False)
    host.drunner("obliterate", "other")
    assert first.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_install_hook_takes_everything_back(
    host: Host, sleeping: Sleeping, log: Path, number: signal.Signals
) -> None:
    image = build_probe(host)
    before = snapshot(host)
    command = sleeping("install", "install", image, "mine")
    assert snapshot(host) != before
    command.send_signal(number)
    _, said = command.communicate(timeout=30)
    assert command.returncode == 130, said
    assert said.startswith(f"error: stopped by {number.name}")
    assert snapshot(host) == before
    assert [call.event for call in read_calls(log)] == ["install", "uninstall"]


def test_a_signal_in_an_update_hook_takes_the_update_back(host: Host, sleeping: Sleeping, log: Path) -> None:
    host.write_config_sh()
    host.drunner("install", build_probe(host, "test/stopped:1"), "mine")
    build_probe(host, "test/stopped:1", version="two", cfg='VOLUMES=("/data" "/more")\n')
    before = snapshot(host)
    command = sleeping("updateend", "update", "mine")
    command.terminate()
    # taking it back calls the old version's updateend, which sleeps as well
    deadline = time.monotonic() + 30
    while not Path(f"{log}.asleep").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    wait_for_second_sleeper = [call.event for call in read_calls(log)]
    assert wait_for_second_sleeper == ["updatestart", "updateend", "updateend"]
    end_sleepers(log)
    _, said = command.communicate(timeout=30)
    assert command.returncode == 130, said
    assert snapshot(host) == before
    assert host.run("mine", "version").stdout == "one\n"


def end_sleepers(log: Path) -> None:
    """End the `sleep` of the hook that waits."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text() == "sleep\n" and str(log) in _environment(entry):
                os.kill(int(entry.name), signal.SIGTERM)
        except OSError:
            continue


def test_what_a_killed_install_did_is_taken_back_by_the_next_command(host: Host, sleeping: Sleeping, log: Path) -> None:
    image = build_probe(host)
    before = snapshot(host)
    command = sleeping("install", "install", image, "mine")
    command.kill()
    command.communicate()
    wait_until_gone(str(log))
    assert "mine" in host.launchers()
    assert "killed" in host.drunner("status", "mine", check=False).stdout
    done = host.drunner("uninstall", "mine", check=False)
    assert done.returncode == 1
    assert "'install mine' was killed before it was done: taking back what it did" in done.stderr
    assert "error: there is no service named mine" in done.stderr
    assert snapshot(host) == before
    host.drunner("install", image, "mine")
    assert host.run("mine", "version").stdout == "one\n"


def test_a_killed_install_can_simply_be_run_again(host: Host, sleeping: Sleeping, log: Path) -> None:
    image = build_probe(host)
    command = sleeping("install", "install", image, "mine")
    command.kill()
    command.communicate()
    wait_until_gone(str(log))
    host.drunner("install", image, "mine")
    assert "all well" in host.drunner("status", "mine").stdout


@pytest.mark.parametrize("hook", ["updatestart", "updateend"])
def test_what_a_killed_update_did_is_taken_back_by_the_next_command(
    host: Host, sleeping: Sleeping, log: Path, hook: str
) -> None:
    host.write_config_sh()
    host.drunner("install", build_probe(host, "test/killed:1"), "mine")
    build_probe(host, "test/killed:1", version="two", cfg='VOLUMES=("/data" "/more")\n')
    before = snapshot(host)
    command = sleeping(hook, "update", "mine")
    command.kill()
    command.communicate()
    wait_until_gone(str(log))
    build_probe(host, "test/killed:1", version="three", user=None)
    said = host.drunner("update", "mine", check=False, env={"SERVICE_LOG": str(log)})
    assert "'update mine' was killed" in said.stderr
    assert "runs as root" in said.stderr
    assert snapshot(host).files == before.files
    assert snapshot(host).volumes == before.volumes
    assert [call.event for call in read_calls(log)][-1] == "updateend"
    assert host.run("mine", "version").stdout == "one\n"


def test_a_killed_recover_gives_the_old_service_back(host: Host, sleeping: Sleeping, log: Path) -> None:
    host.drunner("install", build_probe(host), "mine")
    before = snapshot(host)
    command = sleeping("install", "recover", "mine")
    command.kill()
    command.communicate()
    wait_until_gone(str(log))
    host.write_config_sh()
    assert host.drunner("update", "mine", check=False).returncode == 3
    assert snapshot(host).files == before.files


def test_a_journal_that_cannot_be_read_is_not_passed_over(host: Host) -> None:
    host.drunner("install", build_probe(host), "mine")
    journal = host.root / "undo" / "mine.json"
    journal.parent.mkdir()
    journal.write_text("{")
    assert f"{journal} is damaged" in refused(host, "uninstall", "mine")
