"""Which hooks a service has."""

from __future__ import annotations

import pytest

from drunner_vault.services.dialect import (
    DIALECTS,
    FIRST,
    START_END,
    UNINSTALL_OBLITERATE,
    Event,
    detect,
    is_one_script_per_command,
)
from drunner_vault.services.servicecfg import ServiceConfig

V1 = ServiceConfig()


def case(*labels: str) -> str:
    branches = "".join(f"         {label})\n            ;;\n" for label in labels)
    return f'#!/bin/bash\nfunction main {{\n   case "$1" in\n{branches}         *)\n            exit 1\n   esac\n}}\n'


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        (case("install", "destroy", "help"), FIRST),
        (case("install", '"destroy"'), FIRST),
        (case("install", "remove | destroy"), FIRST),
        (case("install", "uninstall", "obliterate"), UNINSTALL_OBLITERATE),
        (case("install", "destroy", "uninstall", "obliterate"), UNINSTALL_OBLITERATE),
        (case("install"), UNINSTALL_OBLITERATE),
        ("# destroy)\n" + case("install"), UNINSTALL_OBLITERATE),
        ("# ! isHook\n" + case("uninstall"), UNINSTALL_OBLITERATE),
        (case("help") + '! isHook "$1" || exit 127\n', START_END),
        ("", UNINSTALL_OBLITERATE),
    ],
)
def test_the_dialect_is_told_from_the_script(text: str, dialect: object) -> None:
    assert detect(V1, text) is dialect
    assert detect(V1, text.encode()) is dialect


def test_version_two_in_the_settings_means_start_end_whatever_the_script() -> None:
    assert detect(ServiceConfig(version=2), case("destroy")) is START_END


def test_a_script_that_is_not_text_has_a_dialect_too() -> None:
    assert detect(V1, b"\x7fELF\xff\xfe\x00") is UNINSTALL_OBLITERATE


@pytest.mark.parametrize(
    ("event", "first", "second", "third"),
    [
        (Event.INSTALL, "install", "install", "install_end"),
        (Event.BACKUP_START, "backupstart", "backupstart", "backup_start"),
        (Event.BACKUP_END, "backupend", "backupend", "backup_end"),
        (Event.RESTORE, "restore", "restore", "restore_end"),
        (Event.UPDATE_START, "updatestart", "updatestart", "update_start"),
        (Event.UPDATE_END, "updateend", "updateend", "update_end"),
        (Event.UNINSTALL, "destroy", "uninstall", "uninstall_start"),
        (Event.OBLITERATE, "destroy", "obliterate", "obliterate_start"),
        (Event.ENTER_START, None, None, "enter_start"),
        (Event.ENTER, "enter", "enter", "enter"),
        (Event.HELP, "help", "help", "help"),
    ],
)
def test_every_event_has_its_name_in_each_dialect(
    event: Event, first: str | None, second: str | None, third: str | None
) -> None:
    assert [dialect.hook(event) for dialect in (FIRST, UNINSTALL_OBLITERATE, START_END)] == [first, second, third]


def test_127_means_not_implemented_in_the_start_end_dialect_only() -> None:
    assert START_END.succeeded(Event.BACKUP_START, 127)
    assert START_END.not_implemented(Event.BACKUP_START, 127)
    assert not FIRST.succeeded(Event.BACKUP_START, 127)
    assert not UNINSTALL_OBLITERATE.succeeded(Event.INSTALL, 127)


def test_enter_is_no_hook_and_cannot_be_left_out() -> None:
    assert not START_END.succeeded(Event.ENTER, 127)


@pytest.mark.parametrize("code", [1, 2, 3, 126, 130, 137])
def test_any_other_exit_status_is_a_failure(code: int) -> None:
    assert not any(dialect.succeeded(Event.BACKUP_END, code) for dialect in DIALECTS.values())


def test_reserved_commands_follow_the_dialect() -> None:
    common = {"install", "backupstart", "backupend", "backup", "restore", "update", "enter"}
    assert common | {"destroy"} == FIRST.reserved
    assert common | {"uninstall", "obliterate"} == UNINSTALL_OBLITERATE.reserved
    assert common | {"uninstall", "obliterate", "backup_start", "install_end"} <= START_END.reserved
    for dialect in DIALECTS.values():
        assert not {"help", "start", "stop", "status", "configure", "test", "selftest"} & dialect.reserved


def test_one_script_per_command_is_recognised() -> None:
    assert is_one_script_per_command(["install", "destroy", "help", "backup", "restore", "enter", "_variables"])
    assert not is_one_script_per_command(["install", "destroy", "help", "servicerunner"])
    assert not is_one_script_per_command(["install"])
