"""`SERVICE COMMAND ARGS…` is the service's own: nothing that the caller gives or gets is changed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.engines import Host
from support.probe import build_probe
from support.services import build_fixture

WORDS = [
    "",
    " ",
    "two words",
    "a\nb",
    "*",
    "$HOME",
    '"',
    "'",
    "\\",
    "é",
    "--help",
    "-h",
    "--json",
    "--debug",
    "--",
    "-x",
]


def run_bytes(host: Host, *argv: str | bytes, data: bytes = b"", env: dict[str, str] | None = None) -> bytes:
    """What a command on the host prints, as bytes."""
    command = [*host.command(), *argv]
    environment = host.environment() | (env or {})
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, env=environment, check=True).stdout


@pytest.fixture
def service(host: Host) -> str:
    """An installed service, by name."""
    host.drunner("install", build_probe(host), "mine")
    return "mine"


def test_arguments_arrive_as_they_were_given(host: Host, service: str) -> None:
    said = run_bytes(host, service, "arguments", *WORDS, b"not utf-8: \xff")
    assert said.split(b"\0")[:-1] == [*(os.fsencode(word) for word in WORDS), b"not utf-8: \xff"]


def test_also_the_first_word_is_the_services(host: Host, service: str) -> None:
    for first in filter(None, WORDS):
        done = host.run(service, first, check=False)
        assert done.returncode == 1, first
        assert "no command" in done.stderr
        assert "error: " not in done.stderr


def test_the_environment_is_the_callers_and_pass_is_in_it(host: Host, service: str) -> None:
    given = {"PASS": "word", "DRUNNER_PASSPHRASE": "other word", "EMPTY": "", "LINES": "a\nb"}
    found = dict(item.split(b"=", 1) for item in run_bytes(host, service, "env", env=given).split(b"\0")[:-1])
    for name, value in given.items():
        assert found[name.encode()] == value.encode()
    assert found[b"PATH"] == host.environment()["PATH"].encode()


def test_standard_input_and_output_carry_any_bytes(host: Host, service: str) -> None:
    data = bytes(range(256)) * 4096
    assert run_bytes(host, service, "cat", data=data) == data


def test_the_working_directory_is_the_callers(host: Host, service: str, tmp_path: Path) -> None:
    assert host.run(service, "pwd", cwd=tmp_path).stdout == f"{tmp_path}\n"


def test_the_exit_code_is_the_services(host: Host, service: str) -> None:
    for code in (0, 1, 3, 7, 126, 127, 255):
        done = host.run(service, "code", str(code), check=False)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_the_exit_code_of_a_start_end_service_is_its_own_too(host: Host) -> None:
    host.drunner("install", build_fixture(host, "third"), "mine")
    assert host.run("mine", "nonsense", check=False).returncode == 1
    assert host.run("mine", "selftest").returncode == 0


def test_asking_for_help_succeeds_whatever_the_service_makes_of_it(host: Host, service: str) -> None:
    for words in ([], ["help"], ["help", "me"]):
        done = host.run(service, *words, env={"HELP_CODE": "1"})
        assert done.stdout == "the help of mine\n"


def test_signals_that_the_caller_ignores_stay_ignored(host: Host, service: str) -> None:
    """As `nohup SERVICE start` relies on."""
    script = host.root / "services" / service / "drunner" / "servicerunner"
    script.write_text("#!/bin/bash\ngrep SigIgn: /proc/self/status\n")
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        done = host.run("bash", "-c", f"trap '' {ignored.name}; {service} signals")
        assert int(done.stdout.split()[1], 16) & (1 << (ignored - 1)), ignored


def test_enter_has_a_terminal_and_gives_the_exit_code_of_what_was_run(host: Host, service: str) -> None:
    done = host.drunner("enter", service, "-c", "[ -t 0 ] && [ -t 1 ] && echo from a terminal; exit 7", check=False)
    assert done.returncode == 7
    assert "from a terminal" in done.stdout


def test_enter_types_what_comes_through_a_pipe(host: Host, service: str) -> None:
    done = host.drunner("enter", service, input="echo $((6*7))\nexit 5\n", check=False)
    assert done.returncode == 5
    assert "42" in done.stdout


def test_enter_of_a_start_end_service_calls_its_shell(host: Host) -> None:
    host.drunner("install", build_fixture(host, "third"), "mine")
    assert host.drunner("enter", "mine", "-c", "id -u").stdout.split() == ["22022"]


def test_options_before_the_name_are_ours(host: Host, service: str) -> None:
    for command in ("servicecmd", "enter"):
        assert "Usage: drunner-vault" in host.drunner(command, "--help").stdout
        assert host.drunner(command, "--debug", service, "-c", "true", check=False).returncode in (0, 1)
