"""Services of 2016 are called as they were then: which hooks, in which order, with what, in each of three dialects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.engines import Host
from support.images import build_service
from support.services import SERVICES, Call, build_fixture, read_calls

Events = list[str]

BACKUP_DIRECTORY = "DIR"


@dataclass(frozen=True)
class Dialect:
    """What one service is called for each command. DIR stands for the directory that backup and restore pass."""

    service: str
    install: Events
    update: Events
    recover: Events
    backup: Events
    restore: Events
    enter: Events
    uninstall: Events
    obliterate: Events


DIALECTS = {
    "first": Dialect(
        "first",
        install=["install"],
        update=["updatestart", "updateend"],
        recover=["destroy", "install"],
        backup=["backupstart DIR", "backupend DIR"],
        restore=["install", "restore DIR"],
        enter=["enter -c echo hi"],
        uninstall=["destroy"],
        obliterate=["destroy"],
    ),
    "second": Dialect(
        "second",
        install=["install"],
        update=["updatestart", "updateend"],
        recover=["uninstall", "install"],
        backup=["backupstart DIR", "backupend DIR"],
        restore=["install", "restore DIR"],
        enter=["enter -c echo hi"],
        uninstall=["uninstall"],
        obliterate=["obliterate"],
    ),
    "third": Dialect(
        "third",
        install=["install_end"],
        update=["update_start", "update_end"],
        recover=["uninstall_start", "install_end"],
        backup=["backup_start DIR", "backup_end DIR"],
        restore=["install_end", "restore_end DIR"],
        enter=["enter_start", "enter -c echo hi"],
        uninstall=["uninstall_start"],
        obliterate=["obliterate_start"],
    ),
}

Calling = Callable[..., list[Call]]


@pytest.fixture
def calls_of(host: Host, tmp_path: Path) -> Calling:
    """``calls_of(ARGS…)``: run ``drunner ARGS`` from a directory of its own, with PASS set; the calls it led to."""
    directory = tmp_path / "where we are"
    directory.mkdir()

    def run(*args: str | Path) -> list[Call]:
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        host.drunner(*args, env={"SERVICE_LOG": str(log), "PASS": "secret"}, cwd=directory)
        return read_calls(log)

    return run


def events(calls: list[Call]) -> Events:
    """The calls as a `Dialect` has them."""
    return [" ".join([call.event, *(_without_directory(arg) for arg in call.args)]) for call in calls]


def _without_directory(argument: str) -> str:
    return BACKUP_DIRECTORY if argument.startswith("/") else argument


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())
def test_each_command_calls_a_services_hooks_in_order_at_a_terminal_and_without_pass(
    host: Host, calls_of: Calling, tmp_path: Path, dialect: Dialect
) -> None:
    host.write_config_sh()
    image = build_fixture(host, dialect.service, f"test/order-{dialect.service}:1")
    assert calls_of("checkimage", image) == []
    calls = [*calls_of("install", image, "mine")]
    assert events(calls) == dialect.install
    build_service(host, image, SERVICES / dialect.service, instructions=["STOPSIGNAL SIGKILL", "RUN touch /newer"])
    calls += (updated := calls_of("update", "mine"))
    assert events(updated) == dialect.update
    calls += (entered := calls_of("enter", "mine", "-c", "echo hi"))
    assert events(entered) == dialect.enter
    calls += (recovered := calls_of("recover", "mine"))
    assert events(recovered) == dialect.recover
    calls += (backed_up := calls_of("backup", "mine", tmp_path / "archive"))
    assert events(backed_up) == dialect.backup
    assert len({call.args for call in backed_up}) == 1
    calls += (restored := calls_of("restore", tmp_path / "archive", "clone"))
    assert events(restored) == dialect.restore
    for command in (("list",), ("status", "mine")):
        assert calls_of(*command) == []
    calls += (uninstalled := calls_of("uninstall", "mine"))
    assert events(uninstalled) == dialect.uninstall
    calls += (obliterated := calls_of("obliterate", "clone"))
    assert events(obliterated) == dialect.obliterate
    assert {call.cwd for call in calls} == {tmp_path / "where we are"}
    for call in calls:
        assert (call.stdin_tty, call.stdout_tty, call.has_pass) == (True, True, False), call


@pytest.mark.parametrize("service", DIALECTS)
def test_a_command_of_the_services_own_is_passed_on_as_it_is(host: Host, calls_of: Calling, service: str) -> None:
    calls_of("install", build_fixture(host, service), "mine")
    for given in ([], ["help"]):
        (call,) = calls_of("servicecmd", "mine", *given)
        assert (call.event, call.args) == ("help", ())
    (call,) = calls_of("servicecmd", "mine", "selftest")
    assert (call.event, call.args) == ("selftest", ())
    assert (call.stdin_tty, call.stdout_tty, call.has_pass) == (False, False, True)


RESERVED = ("install", "backupstart", "backupend", "backup", "restore", "update", "enter")


@pytest.mark.parametrize(
    ("service", "reserved"),
    [
        ("first", [*RESERVED, "destroy"]),
        ("second", [*RESERVED, "uninstall", "obliterate"]),
        ("third", [*RESERVED, "uninstall", "obliterate", "install_end", "backup_start", "servicecmd_start"]),
    ],
)
def test_hooks_cannot_be_called_by_hand(host: Host, tmp_path: Path, service: str, reserved: list[str]) -> None:
    host.drunner("install", build_fixture(host, service), "mine")
    log = tmp_path / "log"
    for word in reserved:
        done = host.run("mine", word, "x", check=False, env={"SERVICE_LOG": str(log)})
        assert done.returncode == 1, word
        assert f"error: {word} is " in done.stderr
    assert read_calls(log) == []


def test_a_word_that_is_part_of_a_hooks_name_is_the_services_own(host: Host) -> None:
    host.drunner("install", build_fixture(host, "second"), "mine")
    assert host.run("mine", "start", check=False).returncode == 3


def test_a_service_of_one_dialect_can_be_updated_to_another(host: Host, calls_of: Calling) -> None:
    host.write_config_sh()
    image = build_fixture(host, "first", "test/changing:1")
    calls_of("install", image, "mine")
    build_fixture(host, "third", image)
    assert events(calls_of("update", "mine")) == ["updatestart", "update_end"]
    assert events(calls_of("uninstall", "mine")) == ["uninstall_start"]
